"""Events as they are stored and handed out: many in one row, and neighbouring pieces as one record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dazi.events import Event, Reasoning, Text
from dazi.log import Record

# Characters that a read puts into one record: see `dazi.log.memory`.
_COALESCE = 256

# An event, where it stands, and under which epoch.
Placed = tuple[int, int, Event]
# A row: `previous`, the epoch, and the events that follow; None where one was withdrawn.
Row = tuple[int, int, list[Event | None]]

ROWS = msgspec.json.Decoder(list[Row])
BODY = msgspec.json.Decoder(list[Event | None])


def placed(rows: Iterable[Row], *, after: int = 0) -> Iterator[Placed]:
    """Tell where each event of the rows stands that follows a position."""
    for previous, epoch, events in rows:
        for position, event in enumerate(events, previous + 1):
            if event is not None and position > after:
                yield epoch, position, event


def coalesce(entries: Iterable[Placed]) -> Iterator[Record]:
    """Make records, neighbouring pieces of the same kind and epoch in one."""
    run: list[Placed] = []
    length = 0
    for entry in entries:
        if run and (length >= _COALESCE or not _continues(run[-1], entry)):
            yield _record(run)
            run, length = [], 0
        run.append(entry)
        if isinstance(event := entry[2], Text | Reasoning):
            length += len(event.text)
    if run:
        yield _record(run)


def _continues(last: Placed, entry: Placed) -> bool:
    (epoch, position, event), (next_epoch, next_position, next_event) = last, entry
    is_text = isinstance(event, Text | Reasoning) and type(event) is type(next_event)
    return is_text and (epoch, position + 1) == (next_epoch, next_position)


def _record(run: list[Placed]) -> Record:
    epoch, position, event = run[-1]
    if len(run) > 1 and isinstance(event, Text | Reasoning):
        event = type(event)("".join(entry[2].text for entry in run), event.n)  # type: ignore[union-attr]  # all are of one kind
    return Record(epoch, run[0][1] - 1, position, event)
