"""The two threads of a log: one commits, one reads and looks for news. Each has its own connection.

Laws: what is asked of a thread is done in order; its answer, or its error, comes back in the loop; nothing else of it does.
A thread ends when it is told to, after everything asked before.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from dazi.errors import DaziError, StoreUnavailable
from dazi.log import Record
from dazi.log.sqlite import tables
from dazi.log.sqlite.file import explain, is_busy, transaction
from dazi.log.sqlite.journal import Journal, Moment, Outcome, Write, newest

# Seconds between two looks for news: while there is some, and at most. Twenty looks a second cost a third of a percent of a core.
SOONEST = 0.01
LATEST = 0.05

_T = TypeVar("_T")
Deed = Callable[[sqlite3.Connection], _T]
News = list[tuple[str, Record]]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something that a thread shall do, and who waits for it."""

    deed: Deed[Any] | Sequence[Write]  # Any: what a deed gives is between it and who waits for it
    future: asyncio.Future[Any]  # Any: the same


Jobs = list[Job]
Settled = list[tuple[Job, object]]


class _Worker(ABC):
    """A thread with a connection, and a queue."""

    def __init__(self, name: str, path: Path, connection: sqlite3.Connection) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._connection = connection
        self._queue: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"dazi {name}", daemon=True)
        self._thread.start()

    def ask(self, jobs: Sequence[Job]) -> None:
        """Do these, in order."""
        self._queue.put(jobs)

    def stop(self) -> None:
        """Do what was asked, and end. Blocks until then."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    @abstractmethod
    def _work(self) -> None:
        """Do what is in the queue, until told to stop. Runs in the thread."""

    def _try(self, deed: Deed[object]) -> object:
        """Do it; returns its result, or its error."""
        try:
            return deed(self._connection)
        except DaziError as error:
            return error
        except sqlite3.Error as error:
            return StoreUnavailable(explain(self._path, error))
        except Exception as error:  # noqa: BLE001  # the thread has to outlive it, and who waits has to be told
            return _unexpected(error)

    def _settle(self, settled: Settled) -> None:
        """Give the answers, in the loop."""
        for job, outcome in settled:
            if job.future.done():
                continue
            if isinstance(outcome, BaseException):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)


def _unexpected(error: Exception) -> StoreUnavailable:
    # Not its words: they may quote what was to be stored.
    return StoreUnavailable(f"The log file failed in an unknown way: {type(error).__name__}.")


class Committer(_Worker):
    """Commits: everything that waits, in one transaction.

    Args:
        path: of the file.
        connection: for this thread alone.
        journal: stores what is to be written.
        now: tells the time.
        show: called in the loop with what was committed, before those who wait for it hear.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        journal: Journal,
        now: Callable[[], Moment],
        show: Callable[[str, tuple[Record, ...]], None],
    ) -> None:
        self._journal = journal
        self._now = now
        self._show = show
        # Whether another process was in a commit for too long the last time: stopped there, perhaps.
        self._stuck = False
        super().__init__("committer", path, connection)

    def _work(self) -> None:
        while (jobs := self._queue.get()) is not None:
            waiting = list(jobs)
            is_last = self._gather(waiting)
            self._loop.call_soon_threadsafe(self._settle, self._commit(waiting))
            if is_last:
                return

    def _gather(self, waiting: list[Job]) -> bool:
        """Take what else waits; returns whether that was the last."""
        while True:
            try:
                jobs = self._queue.get_nowait()
            except Empty:
                return False
            if jobs is None:
                return True
            waiting += jobs

    def _commit(self, jobs: list[Job]) -> Settled:
        settled: Settled = []
        try:
            with transaction(self._connection, stuck=self._stuck):
                for is_deed, group in groupby(jobs, lambda job: callable(job.deed)):
                    settled += (self._deeds if is_deed else self._writes)(list(group))
        except sqlite3.Error as error:
            self._journal.forget()
            self._stuck = is_busy(error)
            reason = explain(self._path, error)
            return [(job, StoreUnavailable(reason)) for job in jobs]
        except Exception as error:  # noqa: BLE001  # the thread has to outlive it, and who waits has to be told
            self._journal.forget()
            return [(job, _unexpected(error)) for job in jobs]
        self._stuck = False
        return settled

    def _writes(self, jobs: list[Job]) -> Settled:
        groups = [cast("Sequence[Write]", job.deed) for job in jobs]
        outcomes = iter(self._journal.write(self._connection, [*chain.from_iterable(groups)], self._now()))
        return [(job, [*islice(outcomes, len(group))]) for job, group in zip(jobs, groups, strict=True)]

    def _deeds(self, jobs: list[Job]) -> Settled:
        """Do each; an error of ours is one job's, an error of SQLite's is everybody's."""
        settled: Settled = []
        for job in jobs:
            try:
                settled.append((job, job.deed(self._connection)))  # type: ignore[operator]  # grouped by this
            except DaziError as error:
                settled.append((job, error))
        return settled

    def _settle(self, settled: Settled) -> None:
        for job, outcome in settled:
            if callable(job.deed) or isinstance(outcome, BaseException):
                continue
            for write, records in zip(job.deed, cast("list[Outcome]", outcome), strict=True):
                if records.__class__ is tuple and records:
                    self._show(write.generation, records)
        super()._settle(settled)


class Watcher(_Worker):
    """Reads, and looks for what other processes commit to the logs that are attended.

    Args:
        path: of the file.
        connection: for this thread alone.
        writer: whose rows are no news.
        tell: called in the loop with the news.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, *, writer: int, tell: Callable[[News], None]
    ) -> None:
        self._writer = writer
        self._tell = tell
        self._attended: set[str] = set()
        # The counter that moves with every commit of another connection, and the last row seen.
        self._version = -1
        self._seen = 0
        self._pause = SOONEST
        self._next_look = 0.0
        super().__init__("watcher", path, connection)

    def attend(self, connection: sqlite3.Connection, generation: str) -> int:
        """Begin to look for news of a log, in this thread; returns its last position, which is no news."""
        if not self._attended:
            self._seen = newest(connection)
            self._version = -1
        else:
            self._look()
        self._attended.add(generation)
        self._pause = SOONEST
        return tables.head_of(connection, generation)

    def ignore(self, _connection: sqlite3.Connection, generation: str) -> None:
        """Look for news of it no more."""
        self._attended.discard(generation)

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            if jobs:
                settled = [(job, self._try(job.deed)) for job in jobs if callable(job.deed)]
                self._loop.call_soon_threadsafe(self._settle, settled)
            if self._attended and self._time_left() <= 0:
                self._try(lambda _: self._look())

    def _next(self) -> Sequence[Job] | None:
        """Wait for jobs, until it is time to look; None is the last word."""
        try:
            return self._queue.get(timeout=self._time_left() if self._attended else None)
        except Empty:
            return ()

    def _time_left(self) -> float:
        return max(0.0, self._next_look - time.monotonic())

    def _look(self) -> None:
        self._pause = min(self._pause * 1.5, LATEST)
        self._next_look = time.monotonic() + self._pause
        if found := self._news():
            self._pause = SOONEST
            self._loop.call_soon_threadsafe(self._tell, found)

    def _news(self) -> News:
        # Without a look at any page: the counter is in memory that all processes share.
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return []
        last, is_news = tables.look(self._connection, after=self._seen, writer=self._writer)
        found: News = []
        if is_news:
            found = tables.news(self._connection, self._attended, after=self._seen, until=last, writer=self._writer)
        self._version, self._seen = version, last
        return found
