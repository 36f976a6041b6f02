"""What this process writes to its logs: each append and end is checked, and those of a commit are stored together.

Laws: a check is made in the transaction that stores, against what stands there. How the logs stand that this process writes is
remembered, and believed only while nobody else has committed; so a process alone asks once for each log, and then stores a
commit's rows with two statements, however many logs they are of.

A row costs what it touches: all rows of a commit lie together at the end of `part`, and of each log one small row in `head` tells
its last part. So a commit writes a handful of pages; with an index of the parts by log it would write one a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import msgspec

from dazi.errors import Closed, LogError, OutOfOrder, Unknown
from dazi.events import End, Event, Retract, Started, Text
from dazi.log import Append, Cursor, Record
from dazi.log.sqlite import chain
from dazi.log.sqlite.records import coalesce

# Rows with one statement; each number of them is a statement that SQLite compiles once and keeps.
_AT_ONCE = 64
# Logs that are remembered.
_REMEMBERED = 20_000

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is done, as the store and as the monotonic clock count, and what has expired by then."""

    store: float
    monotonic: float
    horizon: float


@dataclass(frozen=True, slots=True)
class Ending:
    """A terminal event to be stored, `after` that record if one is given. Who `takes_over` ends it under the next epoch."""

    generation: str
    end: End
    after: Cursor | None = None
    takes_over: bool = False


Write = Append | Ending
Outcome = tuple[Record, ...] | LogError


@dataclass(slots=True)
class _Standing:
    """How a log stands: as the tables say, and then with what will be stored. `part` is the id of its last."""

    log: int
    epoch: int
    ended: bool
    part: int
    position: int
    n: int
    crc32: int
    retracted: int = 0
    end: End | None = None

    def take(self, event: Event) -> None:
        self.position += 1
        if event.__class__ is Text:
            self.n, self.crc32 = event.n, crc32(event.text.encode(), self.crc32)
        elif isinstance(event, Retract):
            self.n, self.crc32 = event.n, crc32(event.text.encode())
            self.retracted = self.position


class Journal:
    """The writes of one process, for the thread that commits.

    Args:
        writer: tells this process's rows from those of others.
    """

    def __init__(self, writer: int) -> None:
        self._writer = writer
        # What nobody else has changed since `_version`, the counter that moves with every commit of another connection.
        self._standings: dict[str, _Standing] = {}
        self._version = -1
        # The id of the last part.
        self._last = 0
        # What goes into the tables at the end of a write.
        self._rows: list[object] = []

    def forget(self) -> None:
        """Forget how the logs stand: what was to be stored may not have been."""
        self._version = -1
        self._rows.clear()

    def create(self, connection: sqlite3.Connection, log: int, started: Started) -> None:
        """Store the first event of a log that was made in this transaction."""
        self._catch_up(connection)
        standing = _Standing(log, 1, ended=False, part=0, position=0, n=0, crc32=0)
        self._standings[started.generation] = standing
        self._store(standing, (started,))
        self._flush(connection, (standing,))

    def write(self, connection: sqlite3.Connection, writes: Sequence[Write], now: Moment) -> list[Outcome]:
        """Store what can be, in order; returns what came of each."""
        self._catch_up(connection)
        self._look_up(connection, {one.generation for one in writes} - self._standings.keys(), now)
        changed: dict[str, _Standing] = {}
        outcomes = [self._check(one, changed) for one in writes]
        self._flush(connection, changed.values())
        for standing in changed.values():
            self._close(connection, standing, now)
        for one in writes:
            if (known := self._standings.get(one.generation)) and known.ended:
                del self._standings[one.generation]
        return outcomes

    def _close(self, connection: sqlite3.Connection, standing: _Standing, now: Moment) -> None:
        if standing.retracted:
            chain.withdraw(connection, standing.part, standing.retracted)
            connection.execute("UPDATE log SET retracted = ? WHERE id = ?", (standing.retracted, standing.log))
            standing.retracted = 0
        if standing.end is not None:
            connection.execute(
                'UPDATE log SET ended = ?, "end" = ?, epoch = ? WHERE id = ?',
                (now.store, _encode(standing.end).decode(), standing.epoch, standing.log),
            )

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._standings) > _REMEMBERED:
            self._standings.clear()
            self._version, self._last = version, newest(connection)

    def _look_up(self, connection: sqlite3.Connection, generations: Iterable[str], now: Moment) -> None:
        if not generations:
            return
        (found,) = connection.execute(
            """SELECT json_group_array(json_array(
                   generation, log.id, epoch, ended IS NOT NULL, part, position, n, crc32))
               FROM json_each(?) AS wanted
               JOIN log ON log.generation = wanted.value AND (ended IS NULL OR ended > ?)
               JOIN head ON head.log = log.id""",
            (_encode([*generations]).decode(), now.horizon),
        ).fetchone()
        for generation, log, epoch, ended, *head in msgspec.json.decode(found):
            self._standings[generation] = _Standing(log, epoch, bool(ended), *head)

    def _check(self, write: Write, changed: dict[str, _Standing]) -> Outcome:
        standing = self._standings.get(write.generation)
        if standing is None:
            return Unknown(write.generation)
        if standing.ended:
            return Closed(write.generation)
        after = (write.epoch, write.previous) if write.__class__ is Append else write.after  # type: ignore[union-attr]  # mypy knows isinstance only
        if after is not None and after != (standing.epoch, standing.position):
            expected, got = f"{standing.epoch}-{standing.position}", f"{after[0]}-{after[1]}"
            return OutOfOrder(write.generation, expected=expected, got=got)
        changed[write.generation] = standing
        if write.__class__ is Append:
            return self._store(standing, write.pieces)
        return self._end(standing, write)  # type: ignore[arg-type]  # the same

    def _end(self, standing: _Standing, write: Ending) -> Outcome:
        standing.ended = True
        standing.epoch += write.takes_over
        standing.end = msgspec.structs.replace(write.end, n=standing.n, crc32=standing.crc32, ai_generated=True)
        return self._store(standing, (standing.end,))

    def _store(self, standing: _Standing, events: tuple[Event, ...]) -> tuple[Record, ...]:
        if not events:
            return ()
        previous, epoch = standing.position, standing.epoch
        for event in events:
            standing.take(event)
        self._last += 1
        self._rows += (self._last, standing.log, standing.part, previous, epoch, self._writer, _encode(events).decode())
        standing.part = self._last
        if len(events) == 1:
            return (Record(epoch, previous, previous + 1, events[0]),)
        return tuple(coalesce((epoch, position, event) for position, event in enumerate(events, previous + 1)))

    def _flush(self, connection: sqlite3.Connection, changed: Iterable[_Standing]) -> None:
        rows, self._rows = self._rows, []
        _insert(connection, "INSERT INTO part VALUES", 7, rows)
        heads: list[object] = []
        for one in changed:
            heads += (one.log, one.part, one.position, one.n, one.crc32)
        _insert(connection, "REPLACE INTO head VALUES", 5, heads)


def newest(connection: sqlite3.Connection) -> int:
    """Tell the id of the last part that was ever committed."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'part'").fetchone()
    return found[0] if found else 0


def _insert(connection: sqlite3.Connection, statement: str, columns: int, values: Sequence[object]) -> None:
    for start in range(0, len(values), columns * _AT_ONCE):
        some = values[start : start + columns * _AT_ONCE]
        connection.execute(_statement(statement, columns, len(some) // columns), some)


@cache
def _statement(statement: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{statement} {', '.join([row] * rows)}"
