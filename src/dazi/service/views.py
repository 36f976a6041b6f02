"""What a reader is told of a page, in each mode.

Laws: folding what `append_view` tells, after what the reader had at its cursor, gives the log's answer; so does the
newest snapshot of `replace_view`. Each part comes with the cursor of the last position that it covers.
"""

from __future__ import annotations

from collections.abc import Iterator

from dazi.events import Answer, Event, Queued, Snapshot
from dazi.log import START, Cursor, Page, Record

Part = tuple[Cursor, Event | Snapshot]


def fold(records: tuple[Record, ...]) -> Answer:
    """Fold records, from the start of a log, into an answer."""
    answer = Answer()
    for record in records:
        answer.fold(record.event)
    return answer


def append_view(page: Page) -> Iterator[Part]:
    """Tell what follows; where the cursor did not match, all so far as a snapshot, and then the end if it is there."""
    if page.matched:
        yield from (_part(record) for record in page.records)
        return
    said, end = _split(page.records)
    yield _place(said[-1]), fold(said).snapshot()
    yield from (_part(record) for record in end)


def replace_view(page: Page, after: Cursor, *, insists: bool = False) -> Iterator[Part]:
    """Tell the whole text, if the reader at `after` lacks any of it, and if it `insists` once more before the end.

    `page` is read from the start.
    """
    said, end = _split(page.records)
    last = _place(said[-1])
    if after == START:
        yield _part(said[0])
    if isinstance(said[-1].event, Queued):
        # Nothing is said before its turn comes.
        yield from [_part(said[-1])] if after != last else ()
        yield from (_part(record) for record in end)
        return
    # Nothing said is nothing to show, but a reader from elsewhere has to be told even that.
    whole = [] if len(said) == 1 and after in {START, last} else [(last, fold(said).snapshot())]
    if after != last:
        yield from whole
    if insists and end:
        yield from whole
    yield from (_part(record) for record in end)


def _split(records: tuple[Record, ...]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    return (records[:-1], records[-1:]) if records[-1].event.ends else (records, ())


def _place(record: Record) -> Cursor:
    return Cursor(record.epoch, record.position)


def _part(record: Record) -> Part:
    return _place(record), record.event
