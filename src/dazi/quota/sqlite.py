"""The counts of all processes of one machine, in a SQLite file beside that of their logs.

Laws: a file of its own, so that a start waits for no commit of the logs, nor they for it; its commits are not waited for until
they are on the disk, since all that a loss of power could take back is seconds old, or a token count. It is made when first
used. What another boot of the machine left behind holds nothing, but for the tokens of the day.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec

from dazi.errors import StoreUnavailable
from dazi.log.sqlite.file import boot, connect, explain, transaction
from dazi.quota import SPENT_KEPT, Ask, Kept, Limit, Verdict, book

# Seconds between two times that what is past its time is deleted.
_SWEEP = 60.0

_TABLES = (
    "CREATE TABLE IF NOT EXISTS held (name TEXT, ticket TEXT, until REAL, PRIMARY KEY (name, ticket)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS line (ticket TEXT PRIMARY KEY, until REAL, ask TEXT)",
    "CREATE TABLE IF NOT EXISTS start (name TEXT, until REAL)",
    "CREATE INDEX IF NOT EXISTS start_of ON start (name, until)",
    "CREATE TABLE IF NOT EXISTS spent (name TEXT PRIMARY KEY, tokens INTEGER, kept REAL)",
    "CREATE TABLE IF NOT EXISTS mark (generation TEXT PRIMARY KEY, until REAL)",
    "CREATE TABLE IF NOT EXISTS boot (name TEXT, mark REAL)",
)
_SHORT_LIVED = ("held", "line", "start", "mark")

_ASK = msgspec.json.Decoder(Ask)
_T = TypeVar("_T")


class SqliteQuota:
    """A `Quota` with `Marks`.

    Args:
        path: of the file; its folder must exist.
        lease: seconds for which a place is held without being renewed.
        clock: of monotonic seconds, the same in all processes of this machine.
    """

    def __init__(self, path: str | Path, *, lease: float = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._lease = lease
        self._clock = clock
        self._swept = clock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dazi quota")
        self._connection: sqlite3.Connection | None = None

    async def ask(self, ask: Ask) -> Verdict:
        """Judge a start."""
        return await self._do(lambda counts: book.judge(counts, ask))

    async def keep(self, held: Collection[Ask], waiting: Sequence[Ask], *, anew: bool = False) -> Kept:
        """Renew leases, and give what can be given."""
        return await self._do(lambda counts: book.keep(counts, held, waiting, anew=anew))

    async def leave(self, ask: Ask, *, tokens: int = 0) -> None:
        """Give back a place, or stop waiting."""
        await self._do(lambda counts: book.leave(counts, ask, tokens=tokens))

    async def mark(self, generations: Collection[str], *, seconds: float) -> None:
        """Remember for so many seconds that these are read."""
        await self._do(lambda counts: counts.mark(generations, seconds))

    async def marked(self, generations: Collection[str]) -> frozenset[str]:
        """Tell which of these are read."""
        return await self._do(lambda counts: counts.marked(generations))

    async def close(self) -> None:
        """Let go of the file; idempotent."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _do(self, deed: Callable[[_Counts], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, deed)
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(self._path, error)) from None
        except OSError as error:
            raise StoreUnavailable(
                f"The file {self._path} cannot be opened: {os.strerror(error.errno or 0)}."
            ) from None
        except RuntimeError:
            raise StoreUnavailable(f"The file {self._path} is closed.") from None

    def _commit(self, deed: Callable[[_Counts], _T]) -> _T:
        if self._connection is None:
            self._connection = self._open()
        with transaction(self._connection):
            now = self._clock()
            counts = _Counts(self._connection, now=now, lease=self._lease)
            if now >= self._swept + _SWEEP:
                self._swept = now
                counts.sweep()
            return deed(counts)

    def _open(self) -> sqlite3.Connection:
        # Whoever may read it may see who is there, so nobody but the user who made it may.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = connect(self._path, fsync="normal")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            with transaction(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                self._begin_boot(connection)
        except sqlite3.Error:
            with closing(connection):
                raise
        return connection

    def _begin_boot(self, connection: sqlite3.Connection) -> None:
        """Forget what another boot's monotonic clock timed."""
        now, name = self._clock(), boot()
        found = connection.execute("SELECT name, mark FROM boot").fetchone()
        if found is not None and found[0] == name and found[1] <= now:
            return
        for table in (*_SHORT_LIVED, "boot"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own words
        connection.execute("INSERT INTO boot VALUES (?, ?)", (name, now))


class _Counts:
    """The counts in one transaction."""

    def __init__(self, connection: sqlite3.Connection, *, now: float, lease: float) -> None:
        self._execute = connection.execute
        self._now = now
        self._until = now + lease

    def running(self, name: str) -> int:
        return self._number("SELECT count(*) FROM held WHERE name = ? AND until > ?", name, self._now)

    def holds(self, ask: Ask) -> bool:
        mine = (ask.running[0].name, ask.ticket, self._now)
        return self._number("SELECT count(*) FROM held WHERE name = ? AND ticket = ? AND until > ?", *mine) > 0

    def hold(self, ask: Ask) -> None:
        for limit in ask.running:
            self._execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", (limit.name, ask.ticket, self._until))

    def renew(self, ask: Ask) -> bool:
        if not self.holds(ask):
            return False
        self.hold(ask)
        return True

    def drop(self, ask: Ask) -> None:
        self.call_up(ask)
        for limit in ask.running:
            self._execute("DELETE FROM held WHERE name = ? AND ticket = ?", (limit.name, ask.ticket))

    def wait(self, limit: Limit) -> float | None:
        mine = (limit.name, self._now)
        count = self._number("SELECT count(*) FROM start WHERE name = ? AND until > ?", *mine)
        if count < limit.most:
            return None
        (until,) = self._execute(
            "SELECT until FROM start WHERE name = ? AND until > ? ORDER BY until LIMIT 1 OFFSET ?",
            (*mine, count - limit.most),
        ).fetchone()
        return float(until) - self._now

    def count_start(self, limit: Limit) -> None:
        self._execute("INSERT INTO start VALUES (?, ?)", (limit.name, self._now + limit.window))

    def spent(self, name: str) -> int:
        return self._number("SELECT coalesce(sum(tokens), 0) FROM spent WHERE name = ?", name)

    def spend(self, name: str, tokens: int) -> None:
        self._execute(
            "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens",
            (name, tokens, time.time() + SPENT_KEPT),
        )

    def line(self) -> list[Ask]:
        self._execute("DELETE FROM line WHERE until <= ?", (self._now,))
        # A new row's id is above all others'.
        found = self._execute("SELECT ask FROM line ORDER BY rowid")
        return [_ASK.decode(ask) for (ask,) in found]

    def line_up(self, ask: Ask) -> None:
        self._execute(
            "INSERT INTO line VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until",
            (ask.ticket, self._until, msgspec.json.encode(ask).decode()),
        )

    def call_up(self, ask: Ask) -> None:
        self._execute("DELETE FROM line WHERE ticket = ?", (ask.ticket,))

    def mark(self, generations: Collection[str], seconds: float) -> None:
        for generation in generations:
            self._execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (generation, self._now + seconds))

    def marked(self, generations: Collection[str]) -> frozenset[str]:
        found = self._execute(
            "SELECT generation FROM mark WHERE until > ? AND generation IN (SELECT value FROM json_each(?))",
            (self._now, msgspec.json.encode(list(generations)).decode()),
        )
        return frozenset(row[0] for row in found)

    def sweep(self) -> None:
        """Forget what is past its time."""
        for table in _SHORT_LIVED:
            self._execute(f"DELETE FROM {table} WHERE until <= ?", (self._now,))  # noqa: S608  # our own words
        self._execute("DELETE FROM spent WHERE kept <= ?", (time.time(),))

    def _number(self, statement: str, *values: object) -> int:
        (found,) = self._execute(statement, values).fetchone()
        return int(found)
