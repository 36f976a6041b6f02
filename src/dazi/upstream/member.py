"""One upstream of a pool: how much it may be asked, how it has been, and when it is left alone.

Laws:

- time is what `clock` says; nothing here waits;
- after `failures` in a row nobody asks it for `cooldown` seconds; then one request tries it (half-open): if that goes well
  it is asked as before, else it is left alone for twice as long, up to `LONGEST_COOLDOWN`;
- whoever took a place gives it back once, whatever happened; a request that ended for reasons of our own (an abort) says
  nothing about the upstream, but ends its try.
"""

from __future__ import annotations

import math
from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from dazi.upstream import Lifecycle, Upstream

LONGEST_COOLDOWN = 60.0
# Seconds' worth of starts that may come at once under a rate: houses count by the minute, and some by ten seconds.
_BURST = 10.0
# How fast the share of good outcomes follows the outcomes, and the least weight that is left of a bad one: it has to be
# asked now and then to be found good again.
_MEMORY = 0.9
_LEAST_HEALTH = 0.1

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`concurrency` and `rate` (starts a minute): 0 is no limit. `failures` in a row until it rests; 0 is never."""

    weight: float = 1.0
    concurrency: int = 0
    rate: float = 0.0
    total: float = 3600.0
    failures: int = 5
    cooldown: float = 5.0
    continues: bool = True


class Member:
    """An upstream, and what is known about it.

    Args:
        name: in logs and metrics.
        upstream: what is asked.
        bounds: see `Bounds`.
        clock: monotonic seconds.
    """

    def __init__(
        self, name: str, upstream: Upstream, bounds: Bounds | None = None, *, clock: Clock = monotonic
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.bounds = bounds or Bounds()
        self.outstanding = 0
        # Who waits for a place, in the order they came.
        self.waiters: deque[Future[None]] = deque()
        self._is_open = False
        self._clock = clock
        self._health = 1.0
        self._failures = 0
        self._cooldown = self.bounds.cooldown
        # Until when it is left alone, by its failures or because it asked for that.
        self._rests_until = -math.inf
        # Whether it has failed too often, so that the next request is a try; and whether that is under way.
        self._is_broken = False
        self._is_tried = False
        # When the bucket of starts will be full again.
        self._full_at = -math.inf

    @property
    def state(self) -> str:
        """`closed` (it is asked), `open` (left alone) or `half-open` (tried), as circuit breakers are."""
        if not self._is_broken:
            return "closed"
        return "open" if self._clock() < self._rests_until else "half-open"

    @property
    def health(self) -> float:
        """The share of good outcomes, of 1; the newer ones count for more."""
        return self._health

    @property
    def rests(self) -> float:
        """Seconds for which it is still left alone; 0 if it is not."""
        return max(0.0, self._rests_until - self._clock())

    @property
    def load(self) -> float:
        """How much it would have to do with one more, against what it can."""
        return (self.outstanding + 1) / self.weight

    @property
    def weight(self) -> float:
        """Its share, less where it has failed lately."""
        return self.bounds.weight * max(self._health, _LEAST_HEALTH)

    def wait(self) -> float:
        """Return the seconds until it may be asked: 0 is now, infinity when only another's leaving makes room."""
        if self._is_tried or (self.bounds.concurrency and self.outstanding >= self.bounds.concurrency):
            return math.inf
        now = self._clock()
        wait = max(0.0, self._rests_until - now)
        if self.bounds.rate:
            burst = max(_BURST, self._interval)
            wait = max(wait, self._full_at - now - burst + self._interval)
        return wait

    async def open(self) -> None:
        """Make the upstream ready, once, however many pools it is in."""
        if isinstance(self.upstream, Lifecycle) and not self._is_open:
            await self.upstream.open()
        self._is_open = True

    async def close(self) -> None:
        """Let it go; that may be said more than once."""
        if isinstance(self.upstream, Lifecycle):
            await self.upstream.close()
        self._is_open = False

    def take(self) -> Place:
        """Take a place: one request begins."""
        self.outstanding += 1
        is_try = self._is_broken
        self._is_tried = self._is_tried or is_try
        if self.bounds.rate:
            self._full_at = max(self._full_at, self._clock()) + self._interval
        return Place(self, is_try=is_try)

    def leave(self, place: Place) -> None:
        """Take a place back, of which nothing is learned."""
        self.outstanding -= 1
        if place.is_try:
            self._is_tried = False
        self.wake()

    def succeed(self, place: Place) -> None:
        """Take a place back after an answer."""
        self._health = _MEMORY * self._health + 1 - _MEMORY
        self._failures = 0
        self._is_broken = False
        self._is_tried = False
        self._cooldown = self.bounds.cooldown
        self.leave(place)

    def fail(self, place: Place) -> None:
        """Take a place back after a fault of the upstream's."""
        self._health *= _MEMORY
        self._failures += 1
        if place.is_try and self._is_broken:
            self._cooldown = min(2 * self._cooldown, max(LONGEST_COOLDOWN, self.bounds.cooldown))
            self.rest(self._cooldown)
        elif not self._is_broken and self.bounds.failures and self._failures >= self.bounds.failures:
            self._is_broken = True
            self.rest(self._cooldown)
        self.leave(place)

    def rest(self, seconds: float) -> None:
        """Leave it alone for so long, if it is not for longer already."""
        self._rests_until = max(self._rests_until, self._clock() + seconds)

    def wake(self) -> None:
        """Let the first who waits look for a place."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    @property
    def _interval(self) -> float:
        return 60.0 / self.bounds.rate


@dataclass(frozen=True, slots=True)
class Place:
    """One request at a member. `is_try`: it finds out whether the member is well again."""

    member: Member
    is_try: bool
