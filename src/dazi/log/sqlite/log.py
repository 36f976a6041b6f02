"""`SqliteLog`: the log's verbs, handed to the threads that do them."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar, overload

from dazi.errors import Closed, StoreUnavailable, Unknown
from dazi.events import Aborted, End, Failed, Piece
from dazi.log import START, Append, Cursor, Draft, Observer, Opened, Page, Record, Summary, at_end
from dazi.log.sqlite import tables
from dazi.log.sqlite.channel import Channel
from dazi.log.sqlite.file import Fsync, connect, prepare
from dazi.log.sqlite.journal import Ending, Journal, Moment, Outcome
from dazi.log.sqlite.threads import LATEST, Committer, Deed, Job, Jobs, News, Watcher

_LOST = Failed("producer_lost", "The server that wrote this answer was stopped.", retryable=True)
# Seconds between two marks of the store's clock, which are what another boot goes on from.
_MARK = 60.0

# What every generation's id looks like.
_ID = re.compile(r"[0-9a-f]{32}")

_T = TypeVar("_T")


class SqliteLog:
    """A `Log` in a SQLite file, with `Leases` and `Shelf`.

    Args:
        path: of the file; its folder must exist.
        ttl: seconds that a log is kept after its end.
        lease: seconds until a writer that does not renew counts as gone.
        fsync: `full`: a commit is on the disk when it returns; `normal`: a loss of power may take the last ones back.
        max_bytes: of the file, beyond which new logs are refused; 0 for no limit.
        clock: monotonic seconds, the same in all processes of this machine.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        ttl: float = 86_400,
        lease: float = 8,
        fsync: Fsync = "full",
        max_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._ttl = ttl
        self._lease = lease
        self._fsync: Fsync = fsync
        self._max_bytes = max_bytes
        self._clock = clock
        # Tells our rows from those of other processes.
        self._writer = random.SystemRandom().getrandbits(62)
        # Seconds that the store's clock is ahead of ours, and when that was last marked in the file.
        self._ahead = 0.0
        self._marked = 0.0
        self._committer: Committer | None = None
        self._watcher: Watcher | None = None
        # Jobs of this turn of the loop: they reach the committer together, and so are committed together.
        self._jobs: Jobs = []
        self._channels: dict[str, Channel] = {}
        # The last position of each log that this process writes: what is observed of it is known without a look.
        self._heads: dict[str, int] = {}

    @property
    def lease(self) -> float:
        """Seconds for which a lease holds."""
        return self._lease

    async def open(self) -> None:
        """Open the file, or make it. Raises `ConfigError`."""
        if self._committer is not None:
            return
        now = self._clock()
        self._ahead = await asyncio.to_thread(prepare, self._path, fsync=self._fsync, now=now)
        self._marked = now
        commits = connect(self._path, fsync=self._fsync, busy=0)
        self._journal = Journal(self._writer)
        self._committer = Committer(self._path, commits, self._journal, self._now, self._show)
        self._watcher = Watcher(self._path, self._connect(), writer=self._writer, tell=self._hear)

    async def close(self) -> None:
        """Finish what was begun, and let go of the file; idempotent."""
        committer, watcher = self._committer, self._watcher
        self._submit()
        self._committer = self._watcher = None
        for worker in (watcher, committer):
            if worker is not None:
                await asyncio.to_thread(worker.stop)

    async def create(self, draft: Draft) -> Opened:
        """Store `started` at position 1, or find the log that (owner, key) already stands for."""

        def deed(connection: sqlite3.Connection) -> Opened:
            return tables.create(
                *(connection, draft, self._journal),
                lease=self._lease,
                max_bytes=self._max_bytes,
                now=self._now(),
            )

        opened = await self._do(deed)
        if opened.created:
            self._heads[opened.generation] = 1
        return opened

    async def find(self, owner: str, key: str) -> Opened:
        """Find the log that (owner, key) stands for. Raises `Unknown`."""
        return await self._ask(lambda connection: tables.find(connection, owner, key, self._now()))

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        """Store pieces after `previous`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        await self._write(Append(generation, pieces, previous, epoch))

    async def append_all(self, appends: Sequence[Append]) -> Sequence[Exception | None]:
        """Store them with one commit; returns what each would have raised, at its place."""
        try:
            outcomes: Sequence[Outcome] = await self._do(appends)
        except StoreUnavailable as error:
            return [error] * len(appends)
        return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        """Store the terminal event, stamped with `n` and `crc32`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        return (await self._write(Ending(generation, end, after)))[0]

    async def read(self, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `Unknown`."""
        return await self._ask(lambda connection: tables.read(connection, generation, after, self._now()))

    async def owner(self, generation: str) -> str:
        """Tell whose it is. Raises `Unknown`."""
        return await self._ask(lambda connection: tables.owner(connection, generation, self._now()))

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each record stored from now on; returns what ends that.

        What other processes store is heard from the next read on, which comes after this in the watcher's queue. Raises
        `Unknown` where the id is none.
        """
        if _ID.fullmatch(generation) is None:
            raise Unknown(generation)
        channel = self._channels.get(generation)
        if channel is None:
            self._channels[generation] = channel = Channel(self._heads.get(generation))
            self._attend(generation, channel)
        channel.observers = (*channel.observers, observer)

        def stop() -> None:
            channel.observers = tuple(other for other in channel.observers if other is not observer)
            if not channel.observers and self._channels.get(generation) is channel:
                del self._channels[generation]
                self._ignore(generation)

        return stop

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with the terminal record, once it is stored; returns what ends that. Raises `Unknown`."""
        return self.observe(generation, at_end(observer))

    async def renew(self, held: Mapping[str, int]) -> frozenset[str]:
        """Prolong the leases of these generations, by the epochs they are held under; returns those that are lost."""
        return await self._do(lambda connection: tables.renew(connection, held, lease=self._lease, now=self._now()))

    async def sweep(self) -> tuple[str, ...]:
        """End every log whose lease ran out, and forget what has expired. Returns the generations that it ended."""
        orphans = await self._ask(lambda connection: tables.orphans(connection, self._now()))
        ended = await self._end_all(orphans, _LOST, takes_over=True)
        if await self._ask(lambda connection: tables.has_expired(connection, self._now())):
            await self._delete_all(lambda connection: tables.forget(connection, self._now()))
        if self._clock() >= self._marked + _MARK:
            await self.touch()
        return ended

    async def touch(self) -> None:
        """Mark the store's clock, which is also a try whether the file takes anything."""
        await self._do(self._mark)

    async def list(self, *, owner: str | None = None, limit: int = 100) -> tuple[Summary, ...]:
        """List the newest logs, of one owner or of all."""
        return await self._ask(lambda connection: tables.summaries(connection, owner, limit, self._now()))

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner; what runs is ended first. Returns how many logs that were."""
        running = await self._ask(lambda connection: tables.running_of(connection, owner))
        if await self._end_all(running, Aborted()):
            # Until every process has looked, and its runners and readers have heard.
            await asyncio.sleep(4 * LATEST)
        count = await self._delete_all(lambda connection: tables.erase(connection, owner))
        # What was deleted stands in the write-ahead log still.
        await asyncio.to_thread(self._empty_wal)
        return count

    async def _end_all(self, generations: Sequence[str], end: End, *, takes_over: bool = False) -> tuple[str, ...]:
        writes = [Ending(generation, end, takes_over=takes_over) for generation in generations]
        outcomes: Sequence[Outcome] = await self._do(writes) if writes else ()
        pairs = zip(generations, outcomes, strict=True)
        return tuple(generation for generation, outcome in pairs if not isinstance(outcome, Closed))

    async def _delete_all(self, deed: Deed[int]) -> int:
        """Delete in batches, so that nobody waits long."""
        total = 0
        while count := await self._do(deed):
            total += count
        return total

    def _empty_wal(self) -> None:
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _mark(self, connection: sqlite3.Connection) -> None:
        now = self._now()
        connection.execute("UPDATE clock SET now = ?, mark = ?", (now.store, now.monotonic))
        self._marked = now.monotonic

    def _now(self) -> Moment:
        monotonic = self._clock()
        store = monotonic + self._ahead
        return Moment(store=store, monotonic=monotonic, horizon=store - self._ttl)

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, fsync=self._fsync)

    async def _write(self, write: Append | Ending) -> tuple[Record, ...]:
        (outcome,) = await self._do([write])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @overload
    async def _do(self, deed: Sequence[Append | Ending]) -> Sequence[Outcome]: ...

    @overload
    async def _do(self, deed: Deed[_T]) -> _T: ...

    async def _do(self, deed: Deed[_T] | Sequence[Append | Ending]) -> _T | Sequence[Outcome]:
        """Have it committed, with all that is asked for in this turn of the loop."""
        if self._committer is None:
            raise _not_open(self._path)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T | Sequence[Outcome]] = loop.create_future()
        if not self._jobs:
            loop.call_soon(self._submit)
        self._jobs.append(Job(deed, future))
        return await future

    def _submit(self) -> None:
        jobs, self._jobs = self._jobs, []
        if jobs and self._committer is not None:
            self._committer.ask(jobs)

    async def _ask(self, deed: Deed[_T]) -> _T:
        """Have it read."""
        if self._watcher is None:
            raise _not_open(self._path)
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._watcher.ask([Job(deed, future)])
        return await future

    def _attend(self, generation: str, channel: Channel) -> None:
        if self._watcher is None:
            return

        def begin(future: asyncio.Future[int]) -> None:
            if not future.cancelled() and future.exception() is None:
                channel.begin(future.result())

        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(begin)
        self._watcher.ask([Job(partial(self._watcher.attend, generation=generation), future)])

    def _ignore(self, generation: str) -> None:
        if self._watcher is not None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watcher.ask([Job(partial(self._watcher.ignore, generation=generation), future)])

    def _show(self, generation: str, records: tuple[Record, ...]) -> None:
        """Hear what was committed here."""
        last = records[-1]
        if last.event.ends:
            self._heads.pop(generation, None)
        elif generation in self._heads:
            self._heads[generation] = last.position
        if channel := self._channels.get(generation):
            for record in records:
                channel.take(record)

    def _hear(self, news: News) -> None:
        """Hear what was committed elsewhere."""
        for generation, record in news:
            if record.event.ends:
                self._heads.pop(generation, None)
            if channel := self._channels.get(generation):
                channel.take(record)


def _not_open(path: Path) -> StoreUnavailable:
    return StoreUnavailable(f"The log file {path} is not open.")
