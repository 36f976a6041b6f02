"""What a script's answer means: an error of the log's, a page, a row of the shelf."""

from __future__ import annotations

from collections.abc import Sequence

from dazi.errors import Closed, OutOfOrder, Unknown
from dazi.events import status_of
from dazi.log import Cursor, Page, Record, Summary
from dazi.log.redis import entries
from dazi.log.redis.store import Reply


def refusal(generation: str, answer: bytes, facts: Sequence[bytes], *, got: str) -> Closed | OutOfOrder | Unknown:
    """Make the error of what a script refused."""
    match answer:
        case b"closed" | b"held":
            return Closed(generation)
        case b"order":
            return OutOfOrder(generation, expected=f"{facts[0].decode()}-{facts[1].decode()}", got=got)
        case _:
            return Unknown(generation)


def page(generation: str, reply: Reply, after: Cursor) -> Page:
    """Make a page of what `READ` found. Raises `Unknown`."""
    if not reply:
        raise Unknown(generation)
    matched, names, values, owner, epoch, position, value, end_epoch, n, crc32 = reply
    head = Cursor(int(end_epoch or epoch), int(position))
    end = None
    if value:
        end = Record(head.epoch, head.position - 1, head.position, entries.stamped(value, int(n), int(crc32)))
    return Page(
        owner=owner.decode(),
        head=head,
        end=end.event if end else None,  # type: ignore[arg-type]  # of this record's event that is known
        matched=bool(matched),
        records=entries.records_of((names, values), int(epoch), after.position if matched else 0, end),
    )


def summary(row: Sequence[bytes]) -> Summary:
    """Make a summary of a row of `SHELF`."""
    owner, model, created, position, value = row[:5]
    return Summary(
        generation=row[6].decode(),
        owner=owner.decode(),
        model=model.decode(),
        created=int(created),
        status=status_of(entries.stamped(value, 0, 0) if value else None),
        position=int(position),
    )
