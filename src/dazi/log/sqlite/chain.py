"""The parts of a log, each of which names the one before it: they are walked from the last one back, as far as is asked.

Laws: what follows a position costs what follows it, not what is; each function within a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from dazi.events import Retract, Text
from dazi.log.sqlite.records import BODY, ROWS, Row

# Parts that are decoded in one go, which holds Python's lock.
_ROWS = 1000

# The newest parts first; each column but `id` as it stands.
_WALK = f"""WITH RECURSIVE chain (id, prior, previous, epoch, body) AS (
        SELECT id, prior, previous, epoch, body FROM part WHERE id = ?
        UNION ALL
        SELECT part.id, part.prior, part.previous, part.epoch, part.body
        FROM chain JOIN part ON part.id = chain.prior WHERE chain.previous >= ? LIMIT {_ROWS})"""  # noqa: S608  # our own number

_ROWS_OF_CHAIN = f"""{_WALK}
    SELECT '[' || group_concat('[' || previous || ',' || epoch || ',' || body || ']') || ']',
        (SELECT prior FROM chain ORDER BY id LIMIT 1), min(previous)
    FROM (SELECT * FROM chain ORDER BY id)"""  # noqa: S608  # our own words
_PARTS_OF_CHAIN = f"{_WALK} SELECT id, previous, body, prior FROM chain"  # noqa: S608  # the same


def rows_after(connection: sqlite3.Connection, part: int, position: int) -> list[Row]:
    """Give the parts that follow a position, and the one that it lies in, in order; `part` is the last one."""
    chunks: list[list[Row]] = []
    while part:
        found, part, previous = connection.execute(_ROWS_OF_CHAIN, (part, position)).fetchone()
        chunks.append(ROWS.decode(found))
        if previous < position:
            break
    return [row for chunk in reversed(chunks) for row in chunk]


def withdraw(connection: sqlite3.Connection, part: int, position: int) -> None:
    """Forget all text before a retraction; the positions stay."""
    for identity, previous, body in [*_parts(connection, part)]:
        events = [
            None if isinstance(event, Text | Retract) and at < position else event
            for at, event in enumerate(BODY.decode(body), previous + 1)
        ]
        connection.execute("UPDATE part SET body = ? WHERE id = ?", (msgspec.json.encode(events).decode(), identity))


def _parts(connection: sqlite3.Connection, part: int) -> Iterator[tuple[int, int, str]]:
    while part:
        rows = connection.execute(_PARTS_OF_CHAIN, (part, 0)).fetchall()
        yield from (row[:3] for row in rows)
        part = rows[-1][3]


def delete(connection: sqlite3.Connection, logs: str) -> None:
    """Delete the parts of these logs, a JSON array of their ids."""
    connection.execute(
        """WITH RECURSIVE chain (id, prior) AS (
               SELECT part.id, part.prior
               FROM json_each(?) AS log JOIN head ON head.log = log.value JOIN part ON part.id = head.part
               UNION ALL
               SELECT part.id, part.prior FROM chain JOIN part ON part.id = chain.prior)
           DELETE FROM part WHERE id IN (SELECT id FROM chain)""",
        (logs,),
    )
    connection.execute("DELETE FROM head WHERE log IN (SELECT value FROM json_each(?))", (logs,))
