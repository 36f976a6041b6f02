"""Judges a history. What it asserts is what Dazi promises; `test_checker` shows that it sees each broken promise.

Laws that every history has to keep: a piece continues exactly what its reader holds, and what the model said; an end proves
what is held; nothing follows an end; nobody waits longer than the limit; every reader comes to an end; no generation
is run twice. Where the store never forgets, what was shown stays, nothing is gone, and all readers and nodes know the same
one end. Where it may forget, a loss has to be told: by a snapshot, by `failed`, or by a 404, and a reader never goes on without.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from tests.faults.history import TERMINAL, Broke, History, Reading, Refused, Shown

Kind = Literal["missing", "doubled", "different", "unproved", "after the end", "no end", "refused", "gone"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise, and where."""

    kind: str
    who: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.who}: {self.detail}"


def check(history: History, *, wait: float) -> list[Violation]:
    """Find what a history breaks. `wait`: seconds that a reader may go without news while there should be some."""
    forgets = any(fault.forgets for fault in history.faults)
    said = defaultdict(list)
    for one in history.said:
        said[one.key].append(one.text)
    return [
        *(
            found
            for reading in history.readings
            for found in _Judge(reading, said[reading.key], forgets=forgets).judge()
        ),
        *(found for reading in history.readings for found in _waits(reading, wait)),
        *_runs(history),
        *([] if forgets else _agreements(history)),
        *_nodes(history),
    ]


class _Judge:
    """Follows one reader, holding what it holds."""

    def __init__(self, reading: Reading, said: Sequence[str], *, forgets: bool) -> None:
        self._reading = reading
        self._said = said
        self._forgets = forgets
        self._text = ""
        self._place = (0, 0)
        self._end: dict[str, Any] | None = None  # Any: JSON
        self._gone = False

    def judge(self) -> Iterator[Violation]:
        for item in self._reading.items:
            match item:
                case Shown():
                    yield from self._shown(item)
                case Refused():
                    yield from self._refused(item)
                case Broke():
                    pass
        if self._end is None and not self._gone:
            yield self._found("no end", f"it holds {len(self._text)} characters, at {self._place}")

    def _shown(self, item: Shown) -> Iterator[Violation]:
        kind = item.event["type"]
        if self._end is not None:
            yield self._found("after the end", f"{kind} {item.id}")
        if kind in {"reconnect", "error"}:
            return
        yield from self._moves(item)
        if kind == "text":
            yield from self._piece(item)
        elif kind == "snapshot":
            yield from self._snapshot(item)
        elif kind in TERMINAL:
            self._end = item.event
            yield from self._ended(item)

    def _ended(self, item: Shown) -> Iterator[Violation]:
        """An end proves what is held; only of a log that the store lost there is nothing to prove it by."""
        proof = item.event.get("n"), item.event.get("crc32")
        if self._forgets and item.event.get("code") == "store_lost" and proof == (None, None):
            return
        if proof != (utf16_length(self._text), zlib.crc32(self._text.encode())):
            kind = item.event["type"]
            yield self._found("unproved", f"{kind} {item.id} has n {proof[0]}, held is {len(self._text)}")

    def _moves(self, item: Shown) -> Iterator[Violation]:
        """A snapshot may come twice, and where the store forgets go back; anything else goes on."""
        epoch, _, position = item.id.partition("-")
        before, self._place = self._place, (int(epoch), int(position))
        if item.event["type"] == "snapshot":
            if self._place[1] < before[1] and not self._forgets:
                yield self._found("missing", f"a snapshot at {item.id} came after {before}")
        elif self._place[1] <= before[1]:
            yield self._found("doubled", f"{item.event['type']} {item.id} came after {before}")

    def _piece(self, item: Shown) -> Iterator[Violation]:
        self._text += item.event["text"]
        told, held = item.event["n"], utf16_length(self._text)
        if told != held:
            yield self._found("missing" if told > held else "doubled", f"{item.id} has n {told}, held are {held}")
        yield from self._as_said(item)

    def _snapshot(self, item: Shown) -> Iterator[Violation]:
        before, self._text = self._text, item.event["text"]
        if item.event["n"] != utf16_length(self._text):
            yield self._found("unproved", f"snapshot {item.id} has n {item.event['n']}")
        if not self._forgets and not self._text.startswith(before):
            kind: Kind = "missing" if before.startswith(self._text) else "different"
            yield self._found(kind, f"snapshot {item.id} has {len(self._text)} characters, shown were {len(before)}")
        yield from self._as_said(item)

    def _as_said(self, item: Shown) -> Iterator[Violation]:
        if self._text and not any(text.startswith(self._text) for text in self._said):
            yield self._found("different", f"{item.id} makes it what the model never said")

    def _refused(self, item: Refused) -> Iterator[Violation]:
        if item.status == 404:
            self._gone = True
            if not self._forgets:
                yield self._found("gone", f"404 {item.code} after {self._place}")
        elif item.status != 503:
            yield self._found("refused", f"{item.status} {item.code} after {self._place}")

    def _found(self, kind: Kind, detail: str) -> Violation:
        return Violation(kind, self._reading.reader, detail)


def utf16_length(text: str) -> int:
    """Count as the protocol does."""
    return len(text.encode("utf-16-le")) // 2


def _waits(reading: Reading, wait: float) -> Iterator[Violation]:
    news = [item.at for item in reading.items if isinstance(item, Shown)]
    for before, after in pairwise([reading.began, *news, reading.finished]):
        if after - before > wait:
            yield Violation("waited", reading.reader, f"{after - before:.1f} s without news, from {before:.2f} on")


def _runs(history: History) -> Iterator[Violation]:
    """One request for a key, and one more for each time that the store may have forgotten the key."""
    allowed = 1 + sum(fault.forgets for fault in history.faults)
    for key, count in Counter(one.key for one in history.said).items():
        if count > allowed:
            yield Violation("ran twice", key, f"the model was asked {count} times")


def _agreements(history: History) -> Iterator[Violation]:
    """Every reader, and every node, knows one generation for a key, and one end for that."""
    ends: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
    generations: defaultdict[str, set[str]] = defaultdict(set)
    for reading in history.readings:
        generations[reading.key].add(reading.generation)
        for item in reading.shown:
            if item.event["type"] in TERMINAL:
                ends[reading.key].add((item.id, item.event["type"], item.event.get("code"), item.event.get("crc32")))
    for key, some in ends.items():
        if len(some) > 1:
            yield Violation("two ends", key, f"{sorted(some, key=str)}")
    for key, ids in generations.items():
        if len(ids) > 1:
            yield Violation("ran twice", key, f"its readers know {sorted(ids)}")
    yield from _answers(history)


def _answers(history: History) -> Iterator[Violation]:
    """What stands is what every reader was left with."""
    left = [(reading, _left(reading)) for reading in history.readings]
    for standing in history.standings:
        told = standing.status, standing.text
        for reading, (status, text) in left:
            if reading.generation == standing.generation and told != (status, text):
                detail = f"{standing.status}, {len(standing.text)} characters; {reading.reader}: {status}, {len(text)}"
                yield Violation("unknown answer", f"{standing.generation} on {standing.node}", detail)


def _left(reading: Reading) -> tuple[str, str]:
    text, status = "", "running"
    for item in reading.shown:
        match item.event["type"]:
            case "text":
                text += item.event["text"]
            case "snapshot":
                text = item.event["text"]
            case kind if kind in TERMINAL:
                status = kind
    return status, text


def _nodes(history: History) -> Iterator[Violation]:
    """All nodes tell the same of a generation, and that it has ended."""
    told: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for standing in history.standings:
        told[standing.generation].add((standing.status, standing.text))
        if standing.status == "running":
            yield Violation("no end", f"{standing.generation} on {standing.node}", "it still runs")
    for generation, answers in told.items():
        if len(answers) > 1:
            yield Violation("two ends", generation, f"nodes tell {sorted(status for status, _ in answers)}")
