"""Whose turn it is: the places that this process's generations hold, and those that wait here for one.

Laws: a place is held from before a generation's log is made until its end is told, and its lease renewed meanwhile; one that was
given back counts no more for the next start of this process. Who waits hears of its place as it changes, twice a second at
most. Trouble with the store refuses starts (or lets them be counted here alone, where the operator chose answers above all),
and never stops what runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Self

from dazi.errors import StoreUnavailable
from dazi.quota import Ask, Quota
from dazi.quota.memory import MemoryQuota
from dazi.service.allowance import Allowance, Scope, name_of
from dazi.service.refusals import told
from dazi.service.telemetry import SILENT, Telemetry
from dazi.upstream import Asker

logger = logging.getLogger("dazi.service")

# Seconds between two looks whether a turn has come: the places that other nodes give back are heard of so.
_LOOK = 0.5
# Renewals in the time of one lease.
_RENEWALS = 3
# Places that are given back at once, where many generations end together.
_AT_ONCE = 64
# What is to be given back while the store is away; leases end by themselves, and only token counts are lost beyond.
_MOST_LEAVING = 10_000
# Seconds for which an end waits for its place to be given back; what is slower is told by the lease.
_PATIENCE = 1.0


class Turn:
    """One start's place, given back at the end of a `with` unless somebody has taken it on.

    `place` is 0 where it may run, else its number among those who wait, as last heard.
    """

    def __init__(self, turns: Turns, ask: Ask, place: int, quota: Quota) -> None:
        self.ask = ask
        self.place = place
        self.quota = quota
        self.patience = turns.allowance.patience
        # Set once a runner has it, which gives it back.
        self.is_taken = False
        self.tokens = 0
        self.since = time.monotonic()
        self._turns = turns
        self._moved = asyncio.Event()
        self._left: asyncio.Future[None] | None = None
        # Set once the store has taken it back.
        self.is_gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_taken:
            self.leave()

    @property
    def is_counted(self) -> bool:
        """Whether there is anything to give back."""
        return bool(self.ask.limits)

    @property
    def counts_tokens(self) -> bool:
        """Whether what it uses counts."""
        return any(limit.kind == "tokens" for limit in self.ask.limits)

    async def moved(self) -> int:
        """Wait until its place has changed; returns it."""
        await self._moved.wait()
        self._moved.clear()
        return self.place

    def move(self, place: int) -> None:
        """Take another place."""
        if place != self.place:
            self.place = place
            self._moved.set()

    def leave(self, *, tokens: int = 0) -> None:
        """Give it back, and tell what was used; idempotent."""
        if self._left is None and (self.ask.running or (tokens and self.ask.limits)):
            self.tokens = tokens
            self._left = asyncio.get_running_loop().create_future()
            self._turns.give_back(self)

    def has_left(self) -> None:
        """Hear that it was given back."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    async def left(self) -> None:
        """Wait until it was given back, or for as long as an end may wait for that."""
        if self._left is not None and not self._left.done():
            await asyncio.wait((self._left,), timeout=_PATIENCE)


class Turns:
    """The turns of one process.

    Args:
        allowance: what is allowed; by default everything.
        quota: where it is counted; by default here.
        lease: seconds for which a place is held there without being renewed.
        telemetry: who is told of refusals and of waiting.
        is_lenient: whether starts are counted here alone while the store is away.
    """

    def __init__(
        self,
        allowance: Allowance | None = None,
        quota: Quota | None = None,
        *,
        lease: float = 10,
        telemetry: Telemetry = SILENT,
        is_lenient: bool = False,
    ) -> None:
        self.allowance = allowance or Allowance()
        self._quota = quota or MemoryQuota(lease=math.inf)
        self._own = MemoryQuota(lease=math.inf) if is_lenient else None
        self._renewal = lease / _RENEWALS
        self._telemetry = telemetry
        self._held: dict[str, Turn] = {}
        self._waiting: dict[str, Turn] = {}
        self._leaving: list[Turn] = []
        self._giving = asyncio.Lock()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Of leases that the store had forgotten at the last look.
        self._lost: frozenset[str] = frozenset()
        self._is_closed = False
        # The turn of everybody, where nothing is limited.
        self._free = None if self.allowance else Turn(self, Ask("", ()), 0, self._quota)

    @property
    def has_line(self) -> bool:
        """Whether some may wait."""
        return self.allowance.line > 0

    @property
    def waiting(self) -> int:
        """How many wait here."""
        return len(self._waiting)

    async def enter(self, owner: str, asker: Asker) -> Turn:
        """Ask for a turn. Raises `TooMany`, `Unavailable`."""
        if self._free is not None:
            return self._free
        names: dict[Scope, str] = {"owner": owner, "key": asker.key, "ip": asker.ip, "total": "all"}
        ask, scopes = self.allowance.ask(names)
        return await self._ask(ask, scopes) if ask.limits else Turn(self, ask, 0, self._quota)

    async def _ask(self, ask: Ask, scopes: tuple[Scope, ...]) -> Turn:
        # What has ended here counts no more: a client may ask again the moment it has heard the end.
        if self._leaving:
            await self._give_back()
        quota = self._quota
        try:
            verdict = await quota.ask(ask)
        except StoreUnavailable as error:
            if self._own is None:
                with told():
                    raise
            logger.warning("%s Starts are counted by this process alone meanwhile.", error)
            quota = self._own
            verdict = await quota.ask(ask)
        if verdict.place < 0:
            limit, scope = ask.limits[verdict.limit], scopes[verdict.limit]
            self._telemetry.refused(name_of(limit.kind, scope))
            raise self.allowance.refusal(limit, scope, verdict)
        turn = Turn(self, ask, verdict.place, quota)
        if ask.running:
            self._hold(turn)
        return turn

    def _hold(self, turn: Turn) -> None:
        if turn.place:
            self._telemetry.queued()
        (self._waiting if turn.place else self._held)[turn.ask.ticket] = turn
        self._wake()

    def give_back(self, turn: Turn) -> None:
        """Give a turn back soon."""
        self._held.pop(turn.ask.ticket, None)
        if self._waiting.pop(turn.ask.ticket, None):
            self._telemetry.called(time.monotonic() - turn.since, "gone")
        if len(self._leaving) >= _MOST_LEAVING:
            turn.has_left()
            return
        self._leaving.append(turn)
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._keep(), name="dazi keeper of turns")

    async def close(self) -> None:
        """Give everything back, and let go of the store; idempotent."""
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for turn in (*self._held.values(), *self._waiting.values()):
            turn.leave()
        await self._give_back()
        await self._quota.close()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK if self._waiting else self._renewal):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._give_back()
                await self._look()
                if loop.time() >= renewed + self._renewal:
                    renewed = loop.time()
                    await self._renew()
            except StoreUnavailable as error:
                logger.warning("Places cannot be renewed: %s", error)
                await asyncio.sleep(_LOOK)
            except Exception as error:  # noqa: BLE001  # the places of all that runs here depend on the next round
                logger.warning("The upkeep of places failed: %s", type(error).__name__)
                await asyncio.sleep(_LOOK)

    async def _give_back(self) -> None:
        async with self._giving:
            while self._leaving:
                some, self._leaving = self._leaving[:_AT_ONCE], self._leaving[_AT_ONCE:]
                try:
                    await asyncio.gather(*map(self._leave, some))
                finally:
                    # The store is away, or the start on whose way this was done was cancelled; who waits for these need not.
                    kept = [turn for turn in some if not turn.is_gone]
                    self._leaving = kept + self._leaving
                if kept:
                    return

    async def _leave(self, turn: Turn) -> None:
        try:
            await turn.quota.leave(turn.ask, tokens=turn.tokens)
            turn.is_gone = True
        except StoreUnavailable:
            pass
        except Exception as error:  # noqa: BLE001  # its lease gives the place back; no other turn may be held up by it
            logger.warning("A place could not be given back: %s", type(error).__name__)
            turn.is_gone = True
        turn.has_left()

    async def _look(self) -> None:
        """Ask for the places of those who wait."""
        for quota, waiting in _by_quota(self._waiting.values()):
            kept = await quota.keep((), [turn.ask for turn in waiting])
            for turn, place in zip(waiting, kept.places, strict=True):
                if turn.ask.ticket not in self._waiting:
                    continue  # it left meanwhile
                if not place:
                    del self._waiting[turn.ask.ticket]
                    self._held[turn.ask.ticket] = turn
                    self._telemetry.called(time.monotonic() - turn.since, "turn")
                turn.move(place)

    async def _renew(self) -> None:
        for quota, held in _by_quota(self._held.values()):
            # Told as lost twice in a row, a place is taken again: once, it may have been given back on the way.
            again = [turn.ask for turn in held if turn.ask.ticket in self._lost]
            if again:
                await quota.keep(again, (), anew=True)
            kept = await quota.keep([turn.ask for turn in held if turn.ask.ticket not in self._lost], ())
            self._lost = frozenset(kept.lost)


def _by_quota(turns: Iterable[Turn]) -> list[tuple[Quota, list[Turn]]]:
    found: dict[int, tuple[Quota, list[Turn]]] = {}
    for turn in turns:
        found.setdefault(id(turn.quota), (turn.quota, []))[1].append(turn)
    return list(found.values())
