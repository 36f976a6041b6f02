"""Observed logs: who shall hear of them, how far they were shown, and what brings the next records.

Laws: every observer of a log hears each record once and in order, after it is stored. Records of this process's own
writers are shown as soon as Redis has confirmed them. Those of others are read when a notice tells of them, and since a
notice may be lost, each observed log is looked at every `recheck` seconds; appends are told of only while somebody looks. A log that has vanished, and that nobody puts
back within `grace` seconds, ends for its observers with `store_lost`: they are told, not left waiting.

While a read is under way nothing else is shown of that log, and while a write of ours is, no notice starts a read: so no
record can come twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from dazi.errors import StoreUnavailable, Unknown
from dazi.events import Failed
from dazi.log import Cursor, Observer, Page, Record, show

# Seconds between two attempts to hear notices while the store is in trouble.
_PAUSE = 0.2
# Logs whose heads are asked for by one script.
_HEADS_AT_ONCE = 200
_STORE_LOST = Failed("store_lost", "The store has lost this answer.", retryable=True)


class Source(Protocol):
    """Where observed logs come from."""

    async def follow(self, generation: str, after: Cursor) -> Page:
        """Read what follows the cursor, and have appends told of for a while. Raises `Unknown`."""
        ...

    async def heads(self, shard: int, generations: Sequence[str], *, followed: int = 0) -> Sequence[int]:
        """Tell the last position of each, 0 where there is none; the first `followed` go on being told of."""
        ...

    async def tail(self, shard: int) -> str:
        """Tell the id of the shard's last notice."""
        ...

    async def notices(self, shard: int, after: str) -> tuple[str, Sequence[tuple[str, int]]]:
        """Wait for what is told after an id; gives the last id, and generations with their positions."""
        ...


class _Follower:
    """One observed log."""

    __slots__ = (
        *("again", "cursor", "ended", "missed_at", "noticed", "ours", "reading", "seats", "shard", "suspect", "writes"),
    )

    def __init__(self, shard: int, cursor: Cursor, *, ours: bool) -> None:
        self.shard = shard
        # Whether this process writes it, and so hears of appends without being told.
        self.ours = ours
        # The last record that was shown, or stored before anybody observed.
        self.cursor = cursor
        self.ended = False
        # One for each observer. A tuple, replaced on change: it is walked while observers come and go.
        self.seats: tuple[list[Observer], ...] = ()
        # A read is under way; `again`: something came meanwhile, so it is to be done once more.
        self.reading = False
        self.again = False
        # Writes of this process under way, and the last position told of meanwhile.
        self.writes = 0
        self.noticed = 0
        # The last look found less than was shown. An answer may have been overtaken by a write; two in a row were not.
        self.suspect = False
        # Loop time since when the log is missing.
        self.missed_at: float | None = None

    def show(self, record: Record) -> None:
        self.cursor = Cursor(record.epoch, record.position)
        self.ended = record.event.ends
        show(record, (observer for (observer,) in self.seats))


class Followers:
    """All observed logs of this process.

    Args:
        source: where they come from.
        recheck: seconds between two looks at each.
        grace: seconds after which one that has vanished is given up.
    """

    def __init__(self, source: Source, *, recheck: float, grace: float) -> None:
        self._source = source
        self._recheck = recheck
        self._grace = grace
        self._followers: dict[str, _Follower] = {}
        self._of_shard: defaultdict[int, set[str]] = defaultdict(set)
        # Shards whose notices are being listened to.
        self._heard: set[int] = set()
        self._checking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        while tasks := tuple(self._tasks):
            for task in tasks:
                task.cancel()
            # Once more after a while: redis-py, where it is about to connect, may swallow a cancellation.
            await asyncio.wait(tasks, timeout=_PAUSE)

    def observe(
        self, generation: str, observer: Observer, *, shard: int, since: Cursor, ours: bool
    ) -> Callable[[], None]:
        """Let `observer` hear what follows `since`; if the log is not `ours` to write, look at once what that is."""
        follower = self._followers.get(generation)
        if follower is None or follower.ended:
            # One that has ended has nothing more to tell; the log itself may run again, where the store lost that end.
            follower = self._followers[generation] = _Follower(shard, since, ours=ours)
            self._of_shard[shard].add(generation)
            self._listen(shard)
            if not ours:
                self._wake(generation)
        # An object of its own, since the same function may observe twice.
        seat: list[Observer] = [observer]
        follower.seats = (*follower.seats, seat)
        return lambda: self._leave(generation, follower, seat)

    def writes(self, generation: str) -> None:
        """Know that a write of this process begins."""
        if follower := self._followers.get(generation):
            follower.writes += 1

    def wrote(self, generation: str, records: Iterable[Record]) -> None:
        """Know that it is over, and show what it stored."""
        follower = self._followers.get(generation)
        if follower is None:
            return
        follower.writes = max(0, follower.writes - 1)
        for record in records:
            if record.position <= follower.cursor.position:
                continue
            if follower.reading or record.previous != follower.cursor.position:
                self._wake(generation)
                return
            follower.show(record)
        if not follower.writes and follower.noticed > follower.cursor.position:
            self._wake(generation)

    def position(self, generation: str) -> Cursor | None:
        """How far an observed log was shown."""
        follower = self._followers.get(generation)
        return follower.cursor if follower else None

    def _leave(self, generation: str, follower: _Follower, seat: list[Observer]) -> None:
        follower.seats = tuple(other for other in follower.seats if other is not seat)
        if not follower.seats and self._followers.get(generation) is follower:
            del self._followers[generation]
            self._of_shard[follower.shard].discard(generation)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Reading

    def _wake(self, generation: str) -> None:
        follower = self._followers.get(generation)
        if follower is None or follower.ended or self._closed:
            return
        follower.again = True
        if not follower.reading:
            follower.reading = True
            self._spawn(self._catch_up(generation, follower), f"dazi follower of {generation}")

    async def _catch_up(self, generation: str, follower: _Follower) -> None:
        try:
            while follower.again and follower.seats and not follower.ended:
                follower.again = False
                self._take(follower, await self._source.follow(generation, follower.cursor))
        except Unknown:
            self._miss(follower)
        except StoreUnavailable:
            pass  # the next look, at most `recheck` seconds away, tries again
        finally:
            follower.reading = False

    def _take(self, follower: _Follower, page: Page) -> None:
        follower.missed_at = None
        for record in page.records:
            if record.position > follower.cursor.position:
                follower.show(record)
        if page.records and page.ended and not follower.ended:
            # It ended before what was shown already: the store had lost its tail. The end is told all the same.
            follower.show(page.records[-1])
        # Without records it had ended before anybody here observed it.
        follower.ended = page.ended

    def _miss(self, follower: _Follower) -> None:
        now = asyncio.get_running_loop().time()
        follower.missed_at = follower.missed_at or now
        if now - follower.missed_at >= self._grace:
            epoch, position = follower.cursor
            follower.show(Record(epoch + 1, position, position + 1, _STORE_LOST))

    # What tells that there is something to read

    def _listen(self, shard: int) -> None:
        if shard not in self._heard:
            self._heard.add(shard)
            self._spawn(self._hear(shard), f"dazi notices of shard {shard}")
        if not self._checking:
            self._checking = True
            self._spawn(self._check_all(), "dazi recheck")

    async def _hear(self, shard: int) -> None:
        after = ""
        try:
            while self._of_shard[shard] and not self._closed:
                try:
                    if not after:
                        after = await self._source.tail(shard)
                        await self._check(shard)
                    after, notices = await self._source.notices(shard, after)
                except StoreUnavailable:
                    after = ""
                    await asyncio.sleep(_PAUSE)
                    continue
                for generation, position in notices:
                    self._notice(generation, position)
        finally:
            self._heard.discard(shard)

    def _notice(self, generation: str, position: int) -> None:
        follower = self._followers.get(generation)
        if follower is None or position <= follower.cursor.position:
            return
        if follower.writes:
            follower.noticed = position
        else:
            self._wake(generation)

    async def _check_all(self) -> None:
        try:
            while self._followers and not self._closed:
                await asyncio.sleep(self._recheck)
                for shard in [shard for shard, generations in self._of_shard.items() if generations]:
                    with suppress(StoreUnavailable):
                        await self._check(shard)
        finally:
            self._checking = False

    async def _check(self, shard: int) -> None:
        """Look at every observed log of a shard, and read those that are not where they were shown to be."""
        # Those that others write come first.
        observed = sorted(self._of_shard[shard], key=lambda generation: self._followers[generation].ours)
        theirs = sum(not self._followers[generation].ours for generation in observed)
        for start in range(0, len(observed), _HEADS_AT_ONCE):
            generations = observed[start : start + _HEADS_AT_ONCE]
            heads = await self._source.heads(shard, generations, followed=max(0, theirs - start))
            for generation, position in zip(generations, heads, strict=True):
                self._compare(generation, position)

    def _compare(self, generation: str, position: int) -> None:
        follower = self._followers.get(generation)
        if follower is None:
            return
        lost = position < follower.cursor.position
        if lost and follower.suspect:
            self._wake(generation)
        follower.suspect = lost
        self._notice(generation, position)
