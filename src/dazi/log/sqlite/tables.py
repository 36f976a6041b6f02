"""What is done to the tables, in SQL; each function within a transaction, or one statement.

Laws: what concerns many rows is done by few statements, and comes back as one row of JSON: every step of a statement gives up
Python's lock and has to wait for it again, and in a busy process each of these waits may take milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import msgspec

from dazi.errors import Closed, LogError, OutOfOrder, Unavailable, Unknown
from dazi.events import End, Event, Piece, Retract, Text
from dazi.log import START, Cursor, Draft, Opened, Page, Record, Summary
from dazi.log.sqlite.records import BODY, ROWS, Row, coalesce, placed

# Rows that a read takes at a time: what is decoded in one go holds Python's lock.
_ROWS = 1000
# Logs that are forgotten with one commit.
_FORGOTTEN = 50

# Rows are inserted so many with a statement, as long as there are; each size is a statement that SQLite keeps compiled.
_INSERTS = {
    size: "INSERT INTO entry (log, previous, position, epoch, n, crc32, writer, body) VALUES "  # noqa: S608  # our own words
    + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * size)
    for size in (64, 8, 1)
}
# The columns of a row up to `crc32`, and its events.
_NewRow = tuple[int, int, int, int, int, int, Sequence[Event]]

_END = msgspec.json.Decoder(End)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is done, as the store and as the monotonic clock count, and what has expired by then."""

    store: float
    monotonic: float
    horizon: float


@dataclass(frozen=True, slots=True)
class Append:
    """Pieces to be stored."""

    generation: str
    pieces: tuple[Piece, ...]
    previous: int
    epoch: int


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
    """How a log stands: as the tables say, and then with what will be stored."""

    id: int
    epoch: int
    ended: bool
    position: int
    n: int
    crc32: int
    retracted: int = 0
    end: End | None = None

    def take(self, event: Event) -> None:
        self.position += 1
        if isinstance(event, Text):
            self.n, self.crc32 = event.n, crc32(event.text.encode(), self.crc32)
        elif isinstance(event, Retract):
            self.n, self.crc32 = event.n, crc32(event.text.encode())
            self.retracted = self.position


@dataclass(slots=True)
class _Writing:
    """What will be stored, once every write of a commit has been checked."""

    standings: dict[str, _Standing]
    rows: list[_NewRow] = field(default_factory=list)

    def check(self, write: Write) -> Outcome:
        standing = self.standings.get(write.generation)
        if standing is None:
            return Unknown(write.generation)
        if standing.ended:
            return Closed(write.generation)
        after = write.after if isinstance(write, Ending) else Cursor(write.epoch, write.previous)
        if after not in {None, (standing.epoch, standing.position)}:
            expected, got = f"{standing.epoch}-{standing.position}", f"{after[0]}-{after[1]}"
            return OutOfOrder(write.generation, expected=expected, got=got)
        if isinstance(write, Ending):
            return self._end(standing, write)
        return self._store(standing, write.pieces)

    def _end(self, standing: _Standing, write: Ending) -> Outcome:
        standing.ended = True
        standing.epoch += write.takes_over
        standing.end = msgspec.structs.replace(write.end, n=standing.n, crc32=standing.crc32, ai_generated=True)
        return self._store(standing, (standing.end,))

    def _store(self, standing: _Standing, events: tuple[Event, ...]) -> tuple[Record, ...]:
        previous, epoch = standing.position, standing.epoch
        for event in events:
            standing.take(event)
        if events:
            self.rows.append((standing.id, previous, standing.position, epoch, standing.n, standing.crc32, events))
        return tuple(coalesce((epoch, position, event) for position, event in enumerate(events, previous + 1)))


def write(connection: sqlite3.Connection, writes: Sequence[Write], *, writer: int, now: Moment) -> list[Outcome]:
    """Store what can be, in order; returns what came of each."""
    writing = _Writing(_standings(connection, {one.generation for one in writes}, now))
    outcomes = [writing.check(one) for one in writes]
    _insert(connection, writing.rows, writer)
    for standing in writing.standings.values():
        if standing.retracted:
            _withdraw(connection, standing.id, standing.retracted)
        if standing.end is not None:
            connection.execute(
                'UPDATE log SET ended = ?, "end" = ?, epoch = ? WHERE id = ?',
                (now.store, _json(standing.end), standing.epoch, standing.id),
            )
    return outcomes


def _standings(connection: sqlite3.Connection, generations: Iterable[str], now: Moment) -> dict[str, _Standing]:
    (found,) = connection.execute(
        """SELECT json_group_array(json_array(
               log.generation, log.id, log.epoch, log.ended IS NOT NULL, entry.position, entry.n, entry.crc32))
           FROM json_each(?) AS wanted
           JOIN log ON log.generation = wanted.value AND (log.ended IS NULL OR log.ended > ?)
           JOIN entry ON entry.log = log.id
               AND entry.position = (SELECT max(position) FROM entry WHERE entry.log = log.id)""",
        (_json(list(generations)), now.horizon),
    ).fetchone()
    return {
        generation: _Standing(identity, epoch, bool(ended), position, n, crc)
        for generation, identity, epoch, ended, position, n, crc in msgspec.json.decode(found)
    }


def _insert(connection: sqlite3.Connection, rows: Sequence[_NewRow], writer: int) -> None:
    at = 0
    for size, statement in _INSERTS.items():
        while len(rows) - at >= size:
            values = [value for *row, events in rows[at : at + size] for value in (*row, writer, _json(events))]
            connection.execute(statement, values)
            at += size


def _withdraw(connection: sqlite3.Connection, log: int, position: int) -> None:
    """Forget all text before a retraction; the positions stay."""
    rows = connection.execute(
        "SELECT id, previous, body FROM entry WHERE log = ? AND previous < ?", (log, position)
    ).fetchall()
    for identity, previous, body in rows:
        events = [
            None if isinstance(event, Text | Retract) and at < position else event
            for at, event in enumerate(BODY.decode(body), previous + 1)
        ]
        connection.execute("UPDATE entry SET body = ? WHERE id = ?", (_json(events), identity))
    connection.execute("UPDATE log SET retracted = ? WHERE id = ?", (position, log))


def create(
    connection: sqlite3.Connection, draft: Draft, *, writer: int, lease: float, max_bytes: int, now: Moment
) -> Opened:
    """Make a log, or find the one that (owner, key) stands for. Raises `Unavailable` when the file is full."""
    if draft.key is not None:
        try:
            return find(connection, draft.owner, draft.key, now)
        except Unknown:
            _delete(connection, "owner = ? AND key = ?", (draft.owner, draft.key))
    _check_room(connection, max_bytes)
    started = draft.started
    identity = connection.execute(
        """INSERT INTO log (generation, owner, key, fingerprint, model, created, epoch, renewed, lease)
           VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)""",
        (
            *(started.generation, draft.owner, draft.key, draft.fingerprint, started.model, started.created),
            *(now.monotonic, lease),
        ),
    ).lastrowid
    assert identity is not None  # noqa: S101  # a row was inserted
    _insert(connection, [(identity, 0, 1, 1, 0, 0, (started,))], writer)
    return Opened(started.generation, 1, created=True, fingerprint=draft.fingerprint)


def _check_room(connection: sqlite3.Connection, max_bytes: int) -> None:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    if max_bytes and (pages - free) * size >= max_bytes:
        raise Unavailable(
            f"The log file is full: {(pages - free) * size} bytes, limit {max_bytes}.",
            remedy="Try again when some answers have expired, or raise the limit.",
            code="log_full",
            retry_after=60,
        )


def find(connection: sqlite3.Connection, owner: str, key: str, now: Moment) -> Opened:
    """Find the log that (owner, key) stands for. Raises `Unknown`."""
    found = connection.execute(
        "SELECT generation, epoch, fingerprint FROM log WHERE owner = ? AND key = ? AND (ended IS NULL OR ended > ?)",
        (owner, key, now.horizon),
    ).fetchone()
    if found is None:
        raise Unknown(key)
    generation, epoch, fingerprint = found
    return Opened(generation, epoch, created=False, fingerprint=fingerprint)


def read(connection: sqlite3.Connection, generation: str, after: Cursor, now: Moment) -> Page:
    """Read what follows the cursor, all of one moment. Raises `Unknown`."""
    connection.execute("BEGIN")
    try:
        return _read(connection, generation, after, now)
    finally:
        connection.execute("COMMIT")


def _read(connection: sqlite3.Connection, generation: str, after: Cursor, now: Moment) -> Page:
    found = connection.execute(
        """SELECT log.id, owner, retracted, "end", entry.position, entry.epoch,
               (SELECT epoch FROM entry WHERE entry.log = log.id AND position >= ? ORDER BY position LIMIT 1)
           FROM log
           JOIN entry ON entry.log = log.id
               AND entry.position = (SELECT max(position) FROM entry WHERE entry.log = log.id)
           WHERE generation = ? AND (ended IS NULL OR ended > ?)""",
        (min(after.position, 2**62), generation, now.horizon),
    ).fetchone()
    if found is None:
        raise Unknown(generation)
    log, owner, retracted, end, position, epoch, epoch_there = found
    if after == START:
        matched = not retracted
    else:
        matched = after.epoch == epoch_there and max(retracted, 1) <= after.position <= position
    start = after.position if matched else 0
    return Page(
        owner=owner,
        head=Cursor(epoch, position),
        end=None if end is None else _END.decode(end),
        matched=matched,
        records=tuple(coalesce(placed(_rows(connection, log, start, position), after=start))),
    )


def _rows(connection: sqlite3.Connection, log: int, after: int, until: int) -> Iterable[Row]:
    while after < until:
        rows, after = connection.execute(
            """SELECT '[' || group_concat('[' || previous || ',' || epoch || ',' || body || ']') || ']', max(position)
               FROM (SELECT previous, epoch, body, position FROM entry
                     WHERE log = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?)""",
            (log, after, until, _ROWS),
        ).fetchone()
        yield from ROWS.decode(rows)


def renew(connection: sqlite3.Connection, held: Mapping[str, int], *, lease: float, now: Moment) -> frozenset[str]:
    """Prolong these leases; returns the generations whose lease is lost."""
    connection.execute(
        """UPDATE log SET renewed = ?, lease = ? WHERE ended IS NULL AND EXISTS (
               SELECT 1 FROM json_each(?) AS held WHERE held.key = log.generation AND held.value = log.epoch)""",
        (now.monotonic, lease, _json(held)),
    )
    (lost,) = connection.execute(
        """SELECT json_group_array(held.key) FROM json_each(?) AS held WHERE NOT EXISTS (
               SELECT 1 FROM log WHERE generation = held.key AND epoch = held.value AND ended IS NULL)""",
        (_json(held),),
    ).fetchone()
    return frozenset(msgspec.json.decode(lost))


def orphans(connection: sqlite3.Connection, now: Moment) -> tuple[str, ...]:
    """Name the running logs whose lease ran out, or is from a future that no clock of this boot has seen."""
    (found,) = connection.execute(
        "SELECT json_group_array(generation) FROM log WHERE ended IS NULL AND abs(renewed - ?) >= lease",
        (now.monotonic,),
    ).fetchone()
    return tuple(msgspec.json.decode(found))


def has_expired(connection: sqlite3.Connection, now: Moment) -> bool:
    """Whether any log is past its time."""
    return connection.execute("SELECT 1 FROM log WHERE ended <= ? LIMIT 1", (now.horizon,)).fetchone() is not None


def forget(connection: sqlite3.Connection, now: Moment) -> int:
    """Delete some of the logs that are past their time; returns how many."""
    return _delete(connection, "ended <= ?", (now.horizon,))


def running_of(connection: sqlite3.Connection, owner: str) -> tuple[str, ...]:
    """Name what runs of an owner."""
    (found,) = connection.execute(
        "SELECT json_group_array(generation) FROM log WHERE owner = ? AND ended IS NULL", (owner,)
    ).fetchone()
    return tuple(msgspec.json.decode(found))


def erase(connection: sqlite3.Connection, owner: str) -> int:
    """Delete some of an owner's ended logs; returns how many."""
    return _delete(connection, "owner = ? AND ended IS NOT NULL", (owner,))


def _delete(connection: sqlite3.Connection, condition: str, parameters: tuple[object, ...]) -> int:
    (found,) = connection.execute(
        f"SELECT json_group_array(id) FROM (SELECT id FROM log WHERE {condition} LIMIT {_FORGOTTEN})",  # noqa: S608  # our own words
        parameters,
    ).fetchone()
    connection.execute("DELETE FROM entry WHERE log IN (SELECT value FROM json_each(?))", (found,))
    return connection.execute("DELETE FROM log WHERE id IN (SELECT value FROM json_each(?))", (found,)).rowcount


def summaries(connection: sqlite3.Connection, owner: str | None, limit: int, now: Moment) -> tuple[Summary, ...]:
    """List the newest logs."""
    rows = connection.execute(
        """SELECT generation, owner, model, created, coalesce(json_extract("end", '$.type'), 'running'),
               (SELECT max(position) FROM entry WHERE entry.log = log.id)
           FROM log WHERE (?1 IS NULL OR owner = ?1) AND (ended IS NULL OR ended > ?2) ORDER BY id DESC LIMIT ?3""",
        (owner, now.horizon, limit),
    )
    return tuple(Summary(*row) for row in rows)


def newest(connection: sqlite3.Connection) -> int:
    """Tell the id of the last row that was ever committed."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    return found[0] if found else 0


def head_of(connection: sqlite3.Connection, generation: str) -> int:
    """Tell a log's last position, or 0."""
    (found,) = connection.execute(
        "SELECT max(position) FROM entry WHERE log = (SELECT id FROM log WHERE generation = ?)", (generation,)
    ).fetchone()
    return found or 0


def news(
    connection: sqlite3.Connection, generations: Iterable[str], *, after: int, until: int, writer: int
) -> list[tuple[str, Record]]:
    """Tell what others than this writer committed to these logs, in order."""
    (found,) = connection.execute(
        """SELECT json_group_array(json_array(generation, previous, epoch, json(body)))
           FROM (SELECT generation, previous, entry.epoch, body FROM entry JOIN log ON log.id = entry.log
                 WHERE entry.id > ? AND entry.id <= ? AND writer <> ?
                     AND generation IN (SELECT value FROM json_each(?)) ORDER BY entry.id)""",
        (after, until, writer, _json(list(generations))),
    ).fetchone()
    rows = msgspec.json.decode(found, type=list[tuple[str, int, int, list[Event | None]]])
    return [(generation, record) for generation, *row in rows for record in coalesce(placed([tuple(row)]))]  # type: ignore[list-item]  # the rest of the row is one


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
