"""Spans by OpenTelemetry's conventions for generative AI (`gen_ai.*`, version 1.37). The only file that knows the library.

Laws: a span is made once, when a generation has ended, with the times at which things were; it holds no word of a prompt or
an answer. Where spans go is OpenTelemetry's own to configure (`OTEL_EXPORTER_OTLP_ENDPOINT` and its siblings).
"""

from __future__ import annotations

import os
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from dazi.service.telemetry import Beginning, Story

_NANOSECONDS = 1_000_000_000


def exporting() -> Traces:
    """Make traces that are sent where OpenTelemetry's environment says, in batches, by a thread of its own."""
    provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "dazi")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class Traces:
    """Tells generations as spans. A `Telemetry`."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("dazi")

    def began(self, beginning: Beginning) -> None:
        """Nothing yet: its span is made when it has ended."""

    def ended(self, story: Story) -> None:
        """Make its span."""
        ended = time.time_ns()
        began = ended - int(story.seconds * _NANOSECONDS)
        span = self._tracer.start_span(
            f"chat {story.beginning.model}", kind=SpanKind.CLIENT, start_time=began, attributes=_attributes(story)
        )
        if story.first_token is not None:
            span.add_event("first token", timestamp=began + int(story.first_token * _NANOSECONDS))
        if story.status == "failed":
            span.set_attribute("error.type", story.code)
            span.set_status(Status(StatusCode.ERROR, story.code))
        span.end(ended)

    def stored(self, seconds: float, pieces: int) -> None:
        """Nothing: a commit is of many generations."""

    def refused(self, limit: str) -> None:
        """Nothing to note."""

    def queued(self) -> None:
        """Nothing to note."""

    def called(self, seconds: float, outcome: str) -> None:
        """Nothing to note."""


def _attributes(story: Story) -> dict[str, str | int | list[str]]:
    attributes: dict[str, str | int | list[str]] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": story.beginning.model,
        "gen_ai.response.id": story.beginning.generation,
        "gen_ai.response.finish_reasons": [story.code if story.status == "done" else story.status],
        "dazi.pieces": story.pieces,
    }
    if story.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = story.usage.prompt_tokens
        attributes["gen_ai.usage.output_tokens"] = story.usage.completion_tokens
    return attributes
