"""What is done to the tables, in SQL; each function within a transaction, or one statement.

Laws: what concerns many rows is done by few statements, and comes back as one row of JSON: every step of a statement gives up
Python's lock and has to wait for it again, and in a busy process each of these waits may take milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from dazi.errors import Unavailable, Unknown
from dazi.events import End, Event
from dazi.log import START, Cursor, Draft, Opened, Page, Record, Summary
from dazi.log.sqlite.chain import delete, rows_after
from dazi.log.sqlite.journal import Journal, Moment
from dazi.log.sqlite.records import coalesce, placed

# Logs that are forgotten with one commit.
_FORGOTTEN = 50

_END = msgspec.json.Decoder(End)
_NEWS = msgspec.json.Decoder(list[tuple[str, int, int, list[Event | None]]])


def create(
    connection: sqlite3.Connection, draft: Draft, journal: Journal, *, lease: float, max_bytes: int, now: Moment
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
    journal.create(connection, identity, started)
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


def owner(connection: sqlite3.Connection, generation: str, now: Moment) -> str:
    """Tell whose a log is. Raises `Unknown`."""
    found = connection.execute(
        "SELECT owner FROM log WHERE generation = ? AND (ended IS NULL OR ended > ?)", (generation, now.horizon)
    ).fetchone()
    if found is None:
        raise Unknown(generation)
    return str(found[0])


def read(connection: sqlite3.Connection, generation: str, after: Cursor, now: Moment) -> Page:
    """Read what follows the cursor, all of one moment. Raises `Unknown`."""
    connection.execute("BEGIN")
    try:
        return _read(connection, generation, after, now)
    finally:
        connection.execute("COMMIT")


def _read(connection: sqlite3.Connection, generation: str, after: Cursor, now: Moment) -> Page:
    found = connection.execute(
        """SELECT owner, retracted, "end", head.part, head.position, part.epoch
           FROM log JOIN head ON head.log = log.id JOIN part ON part.id = head.part
           WHERE generation = ? AND (ended IS NULL OR ended > ?)""",
        (generation, now.horizon),
    ).fetchone()
    if found is None:
        raise Unknown(generation)
    owner, retracted, end, part, position, epoch = found
    rows = rows_after(connection, part, min(after.position, position)) if after != START else []
    # The epoch of a position is that of the part it lies in.
    matched = (
        not retracted
        if after == START
        else (bool(rows) and rows[0][1] == after.epoch and max(retracted, 1) <= after.position <= position)
    )
    if not matched or after == START:
        rows = rows_after(connection, part, 0)
    return Page(
        owner=owner,
        head=Cursor(epoch, position),
        end=None if end is None else _END.decode(end),
        matched=matched,
        records=tuple(coalesce(placed(rows, after=after.position if matched else 0))),
    )


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
    delete(connection, found)
    return connection.execute("DELETE FROM log WHERE id IN (SELECT value FROM json_each(?))", (found,)).rowcount


def summaries(connection: sqlite3.Connection, owner: str | None, limit: int, now: Moment) -> tuple[Summary, ...]:
    """List the newest logs."""
    rows = connection.execute(
        """SELECT generation, owner, model, created, coalesce(json_extract("end", '$.type'), 'running'),
               position
           FROM log JOIN head ON head.log = log.id WHERE (?1 IS NULL OR owner = ?1) AND (ended IS NULL OR ended > ?2) ORDER BY id DESC LIMIT ?3""",
        (owner, now.horizon, limit),
    )
    return tuple(Summary(*row) for row in rows)


def head_of(connection: sqlite3.Connection, generation: str) -> int:
    """Tell a log's last position, or 0."""
    found = connection.execute(
        "SELECT position FROM log JOIN head ON head.log = log.id WHERE generation = ?", (generation,)
    ).fetchone()
    return found[0] if found else 0


def look(connection: sqlite3.Connection, *, after: int, writer: int) -> tuple[int, bool]:
    """Tell the id of the last part, and whether others than this writer have committed any after an id."""
    last, is_news = connection.execute(
        """SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'part'),
               EXISTS (SELECT 1 FROM part WHERE id > ? AND writer <> ?)""",
        (after, writer),
    ).fetchone()
    return last or 0, bool(is_news)


def news(
    connection: sqlite3.Connection, generations: Iterable[str], *, after: int, until: int, writer: int
) -> list[tuple[str, Record]]:
    """Tell what others than this writer committed to these logs, in order."""
    (found,) = connection.execute(
        """SELECT '[' || group_concat('["' || generation || '",' || previous || ',' || epoch || ',' || body || ']') || ']'
           FROM (SELECT generation, previous, part.epoch, body FROM part CROSS JOIN log ON log.id = part.log
                 WHERE part.id > ? AND part.id <= ? AND writer <> ?
                     AND generation IN (SELECT value FROM json_each(?)) ORDER BY part.id)""",
        (after, until, writer, _json(list(generations))),
    ).fetchone()
    rows = _NEWS.decode(found) if found else []
    return [(generation, record) for generation, *row in rows for record in coalesce(placed([tuple(row)]))]  # type: ignore[list-item]  # the rest of the row is one


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
