"""The counts of one process, in its memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from dazi.quota import SPENT_KEPT, Ask, Kept, Limit, Verdict, book

# Names of which starts and tokens are remembered until what is past its time is looked for; then as many more.
_SWEPT_AFTER = 4096


class MemoryQuota:
    """A `Quota`; nothing is shared with other processes, and nothing outlives this one.

    Args:
        lease: seconds for which a place is held without being renewed.
        clock: of monotonic seconds.
    """

    def __init__(self, *, lease: float = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        # By name, and by ticket until when; and by name when the first of them may be over.
        self._held: dict[str, dict[str, float]] = {}
        self._first: dict[str, float] = {}
        # By ticket, in the order of arrival: who waits, and until when that is believed.
        self._line: dict[str, tuple[Ask, float]] = {}
        self._starts: dict[str, deque[float]] = {}
        self._spent: dict[str, tuple[int, float]] = {}
        self._swept_at = _SWEPT_AFTER

    async def ask(self, ask: Ask) -> Verdict:
        """Judge a start."""
        self._sweep()
        return book.judge(self, ask)

    async def keep(self, held: Collection[Ask], waiting: Sequence[Ask], *, anew: bool = False) -> Kept:
        """Renew leases, and give what can be given."""
        return book.keep(self, held, waiting, anew=anew)

    async def leave(self, ask: Ask, *, tokens: int = 0) -> None:
        """Give back a place, or stop waiting."""
        book.leave(self, ask, tokens=tokens)

    async def close(self) -> None:
        """Nothing to let go of."""

    # The counts

    def running(self, name: str) -> int:
        """Count who holds a place under a name."""
        held, now = self._held.get(name, {}), self._clock()
        if held and self._first[name] <= now:
            for ticket in [ticket for ticket, until in held.items() if until <= now]:
                del held[ticket]
            self._first[name] = min(held.values(), default=now)
        return len(held)

    def holds(self, ask: Ask) -> bool:
        """Whether this one does."""
        return self._held.get(ask.running[0].name, {}).get(ask.ticket, 0.0) > self._clock()

    def hold(self, ask: Ask) -> None:
        """Give it its places, for a lease."""
        until = self._clock() + self._lease
        for limit in ask.running:
            self._held.setdefault(limit.name, {})[ask.ticket] = until
            self._first.setdefault(limit.name, until)

    def renew(self, ask: Ask) -> bool:
        """Prolong its places; whether it had them still."""
        if not self.holds(ask):
            return False
        self.hold(ask)
        return True

    def drop(self, ask: Ask) -> None:
        """Take them, and its place in the line, away."""
        self._line.pop(ask.ticket, None)
        for limit in ask.running:
            if (held := self._held.get(limit.name)) is not None:
                held.pop(ask.ticket, None)
                if not held:
                    del self._held[limit.name], self._first[limit.name]

    def wait(self, limit: Limit) -> float | None:
        """Tell in how many seconds there is room for a start under this limit; None where there is now."""
        starts, now = self._starts.get(limit.name, deque()), self._clock()
        while starts and starts[0] <= now:
            starts.popleft()
        return starts[len(starts) - limit.most] - now if len(starts) >= limit.most else None

    def count_start(self, limit: Limit) -> None:
        """Count one."""
        self._starts.setdefault(limit.name, deque()).append(self._clock() + limit.window)

    def spent(self, name: str) -> int:
        """Tell how many tokens were used under a name."""
        return self._spent.get(name, (0, 0.0))[0]

    def spend(self, name: str, tokens: int) -> None:
        """Count them."""
        self._spent[name] = (self.spent(name) + tokens, self._clock() + SPENT_KEPT)

    def line(self) -> list[Ask]:
        """List who waits, the first who came first."""
        now = self._clock()
        for ticket in [ticket for ticket, (_, until) in self._line.items() if until <= now]:
            del self._line[ticket]
        return [ask for ask, _ in self._line.values()]

    def line_up(self, ask: Ask) -> None:
        """Let one wait behind all others, or wait on, for a lease."""
        self._line[ask.ticket] = (ask, self._clock() + self._lease)

    def call_up(self, ask: Ask) -> None:
        """Take one out of the line."""
        self._line.pop(ask.ticket, None)

    def _sweep(self) -> None:
        """Forget what is past its time, before it is much."""
        if len(self._starts) + len(self._spent) < self._swept_at:
            return
        now = self._clock()
        self._starts = {name: starts for name, starts in self._starts.items() if starts and starts[-1] > now}
        self._spent = {name: one for name, one in self._spent.items() if one[1] > now}
        self._swept_at = len(self._starts) + len(self._spent) + _SWEPT_AFTER
