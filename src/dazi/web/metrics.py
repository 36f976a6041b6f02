"""What Prometheus reads at `/metrics`.

Laws: nothing is counted on the way of a token, only when a generation or a reader comes and goes, once a turn of the loop
and once a commit; no label holds what a user chose, so that their number stays small; with several workers the numbers are
those of all (`PROMETHEUS_MULTIPROC_DIR`, which the supervisor sets).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from dazi.safety.policy import Judgement
from dazi.service.telemetry import Beginning, Story
from dazi.upstream.pool import Outcome

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# When a counter was made is of no use to anybody, and doubles what is read.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

# Seconds. A first token may think for a minute; a gap of over a second is a stutter that people see.
_FIRST_TOKEN = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_GAP = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
_LENGTH = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
_ADDED = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_JUDGED = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# How an attach was answered: from its start, where it was, by a snapshot, with 204 at the end, or as not there.
Attached = Literal["started", "continued", "snapshot", "ended", "gone"]
# Why a reader went: it had everything, was asked to attach again, left by itself, took nothing, or failed.
Left = Literal["finished", "reconnect", "gone", "stalled", "failed"]


@dataclass(frozen=True, slots=True)
class _OfModel:
    """The numbers of one model."""

    started: Counter
    pieces: Counter
    characters: Counter
    prompt_tokens: Counter
    completion_tokens: Counter
    first_token: Histogram
    gap: Histogram
    length: Histogram


class Metrics:
    """The numbers of one gateway. Hears what its telemetry tells.

    Args:
        models: the names that may be a label; any other is told as `other`.
    """

    def __init__(self, models: tuple[str, ...] = ()) -> None:
        self._models = frozenset(models)
        registry = self._registry = CollectorRegistry()
        self._started = Counter("dazi_generations_started", "Generations begun.", ["model"], registry=registry)
        self._ended = Counter(
            "dazi_generations_ended",
            "Generations ended, by status and code.",
            ["model", "status", "code"],
            registry=registry,
        )
        self._running = Gauge(
            "dazi_generations_running",
            "Generations that run, or wait for their turn.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._readers = Gauge("dazi_readers", "Readers connected.", registry=registry, multiprocess_mode="livesum")
        self._left = Counter("dazi_readers_left", "Readers that went, by why.", ["why"], registry=registry)
        self._attached = Counter("dazi_attaches", "Attaches, by how they were answered.", ["answer"], registry=registry)
        self._pieces = Counter("dazi_pieces", "Pieces that models sent.", ["model"], registry=registry)
        self._characters = Counter("dazi_characters", "UTF-16 units of answers.", ["model"], registry=registry)
        self._tokens = Counter("dazi_tokens", "Tokens, as upstreams count them.", ["model", "kind"], registry=registry)
        self._first_token = Histogram(
            "dazi_first_token_seconds",
            "Until a generation's first piece.",
            ["model"],
            buckets=_FIRST_TOKEN,
            registry=registry,
        )
        self._gap = Histogram(
            "dazi_token_gap_seconds",
            "Mean gap between a generation's pieces.",
            ["model"],
            buckets=_GAP,
            registry=registry,
        )
        self._length = Histogram(
            "dazi_generation_seconds", "How long generations ran.", ["model"], buckets=_LENGTH, registry=registry
        )
        self._added = Histogram(
            "dazi_added_latency_seconds",
            "From the log to the sockets, of one turn of the loop in sixteen.",
            buckets=_ADDED,
            registry=registry,
        )
        self._commit = Histogram(
            "dazi_store_seconds", "How long a durable log took to store pieces.", buckets=_COMMIT, registry=registry
        )

        self._refused = Counter(
            "dazi_starts_refused", "Starts that a limit refused, by its name.", ["limit"], registry=registry
        )
        self._waiting = Gauge(
            "dazi_generations_waiting",
            "Generations that wait for their turn.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waited = Histogram(
            "dazi_queue_seconds",
            "How long generations waited, by what came of it: turn or gone.",
            ["outcome"],
            buckets=_LENGTH,
            registry=registry,
        )

        self._asked = Counter(
            "dazi_upstream_requests",
            "Askings of upstreams, by how they ended, and why this one was asked: first, retry, fallback or continuation.",
            ["upstream", "model", "code", "why"],
            registry=registry,
        )
        self._answered = Histogram(
            "dazi_upstream_first_token_seconds",
            "Until an upstream's first piece.",
            ["upstream"],
            buckets=_FIRST_TOKEN,
            registry=registry,
        )

        self._judged = Counter(
            "dazi_safety_verdicts",
            "Passages that content checkers judged: pass, review, risky, or unchecked where one could not.",
            ["checker", "kind", "verdict"],
            registry=registry,
        )
        self._judging = Histogram(
            "dazi_safety_seconds", "Until a content checker's verdict.", ["checker"], buckets=_JUDGED, registry=registry
        )

        # To find a child by its labels costs as much as to count, so those of each model are found once.
        self._of_model = cache(self._find_of_model)
        self._ended_as = cache(self._ended.labels)
        self._left_as = cache(self._left.labels)
        self._attached_as = cache(self._attached.labels)

    def _find_of_model(self, label: str) -> _OfModel:
        return _OfModel(
            started=self._started.labels(label),
            pieces=self._pieces.labels(label),
            characters=self._characters.labels(label),
            prompt_tokens=self._tokens.labels(label, "prompt"),
            completion_tokens=self._tokens.labels(label, "completion"),
            first_token=self._first_token.labels(label),
            gap=self._gap.labels(label),
            length=self._length.labels(label),
        )

    def began(self, beginning: Beginning) -> None:
        """Count a generation that runs."""
        self._of_model(self._label(beginning.model)).started.inc()
        self._running.inc()

    def ended(self, story: Story) -> None:
        """Count one that has run."""
        model = self._label(story.beginning.model)
        numbers = self._of_model(model)
        self._running.dec()
        self._ended_as(model, story.status, story.code if story.status == "failed" else "").inc()
        numbers.pieces.inc(story.pieces)
        numbers.characters.inc(story.characters)
        numbers.length.observe(story.seconds)
        if story.first_token is not None:
            numbers.first_token.observe(story.first_token)
        if story.gap is not None:
            numbers.gap.observe(story.gap)
        if story.usage is not None:
            numbers.prompt_tokens.inc(story.usage.prompt_tokens)
            numbers.completion_tokens.inc(story.usage.completion_tokens)

    def asked(self, outcome: Outcome) -> None:
        """Count one asking of an upstream. Its labels are the operator's own words."""
        self._asked.labels(outcome.upstream, outcome.model, outcome.code, outcome.why).inc()
        if outcome.first_token is not None:
            self._answered.labels(outcome.upstream).observe(outcome.first_token)

    def refused(self, limit: str) -> None:
        """Count a start that a limit refused."""
        self._refused.labels(limit).inc()

    def queued(self) -> None:
        """Count one that waits for its turn."""
        self._waiting.inc()

    def called(self, seconds: float, outcome: str) -> None:
        """Count one that waits no more."""
        self._waiting.dec()
        self._waited.labels(outcome).observe(seconds)

    def judged(self, judgement: Judgement) -> None:
        """Count one verdict. Its labels are the operator's own words."""
        self._judged.labels(judgement.checker, judgement.kind, judgement.found).inc()
        self._judging.labels(judgement.checker).observe(judgement.seconds)

    def stored(self, seconds: float, pieces: int) -> None:  # noqa: ARG002  # as `Telemetry` tells it
        """Count a commit."""
        self._commit.observe(seconds)

    def reader_came(self) -> None:
        """Count a reader."""
        self._readers.inc()

    def reader_left(self, why: Left) -> None:
        """Count one that went."""
        self._readers.dec()
        self._left_as(why).inc()

    def attached(self, answer: Attached) -> None:
        """Count an attach."""
        self._attached_as(answer).inc()

    def flushed(self, seconds: float) -> None:
        """Count a turn of the loop in which readers were written to, of those that are timed."""
        self._added.observe(seconds)

    def exposition(self) -> bytes:
        """Write the numbers, in Prometheus' text format."""
        if _DIRECTORY not in os.environ:
            return generate_latest(self._registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(everybody)

    def _label(self, model: str) -> str:
        return model if model in self._models else "other"
