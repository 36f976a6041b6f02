from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.puppet import Puppet
from tests.waiting import until

from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.log.memory import MemoryLog
from dazi.service import Gateway
from dazi.service.telemetry import Chorus
from dazi.upstream import Prompt
from dazi.web.traces import Traces

PROMPT = Prompt("m", [{"role": "user", "content": "a secret question"}])


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def told(exporter: InMemorySpanExporter, error: UpstreamError | None = None) -> ReadableSpan:
    """Run a generation that says something and ends; its span."""
    provider, puppet = TracerProvider(), Puppet()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gateway = Gateway(MemoryLog(), {"m": puppet}, telemetry=Chorus((Traces(provider),)))
    await gateway.open()
    await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a secret answer")
    if error is None:
        play.finish(usage=Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7))
    else:
        play.fail(error)
    await until(exporter.get_finished_spans)
    await gateway.close()
    return exporter.get_finished_spans()[0]


async def test_a_generation_is_a_span_by_the_conventions(exporter: InMemorySpanExporter) -> None:
    span = await told(exporter)
    attributes = dict(span.attributes or {})
    assert span.name == "chat m"
    assert attributes["gen_ai.request.model"] == "m"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (3, 4)
    assert [event.name for event in span.events] == ["first token"]
    assert (span.start_time or 0) <= span.events[0].timestamp <= (span.end_time or 0)
    assert "secret" not in span.to_json()


async def test_a_failure_is_an_error_with_its_code(exporter: InMemorySpanExporter) -> None:
    span = await told(exporter, UpstreamError("truncated", "It broke off."))
    assert not span.status.is_ok
    assert (span.attributes or {})["error.type"] == "truncated"
