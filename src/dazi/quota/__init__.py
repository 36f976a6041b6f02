"""What everybody together may have: how many generations run at once, how often they start, how many tokens a day.

Laws, which every backend's contract suite checks:

- a start is judged by all of its limits in one step: it counts against every one of them, or against none; however many starts
  come at once, on however many nodes, no limit is exceeded;
- who runs holds a place by a lease. One that is not renewed in time is free again, so a node that died holds nothing;
- where a line is kept, the next place goes to who waits for the owner that runs the fewest, and of those to who came first; who
  could not use it (another of their limits is reached) does not stand in the way of others;
- the same start, sent again under its ticket, changes nothing;
- times are the store's, or monotonic; what is forgotten (a store that was emptied) is told again by those who hold it.

Any verb may raise `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Kind = Literal["running", "starts", "tokens"]
# Seconds that a day's tokens are remembered: a day everywhere on earth, and a margin.
SPENT_KEPT = 3 * 24 * 3600


class Limit(Struct, frozen=True, gc=False):
    """How much of one kind may be had under a name.

    `running`: at once; `starts`: within any `window` of seconds; `tokens`: until the name, which holds the day, is another.
    `most` is 0 where it is counted, for fairness, but not limited.
    """

    kind: Kind
    name: str
    most: int
    window: float = 0.0


class Ask(Struct, frozen=True, gc=False):
    """One who wants to start, and what it is held to.

    `ticket` is random and the asker's own. Of its limits of kind `running` the first is its owner's. `line` is how many may wait in
    all, and `line_of_owner` how many of one owner; 0 and nobody waits.
    """

    ticket: str
    limits: tuple[Limit, ...]
    line: int = 0
    line_of_owner: int = 0

    @property
    def running(self) -> tuple[Limit, ...]:
        """Those that are held while it runs."""
        return tuple(limit for limit in self.limits if limit.kind == "running")


class Verdict(Struct, frozen=True, gc=False):
    """What came of asking.

    `place`: 0: it runs; n: it is the n-th that waits; -1: it is refused, and `limit` is the first (an index into those asked for)
    that is reached; there is room again in `seconds`, or who knows when (0).
    """

    place: int
    limit: int = -1
    seconds: float = 0.0


REFUSED = -1


class Kept(Struct, frozen=True, gc=False):
    """What came of keeping: the tickets that hold nothing any more, and for each who waits its place, 0 for a turn that came."""

    lost: tuple[str, ...]
    places: tuple[int, ...]


class Quota(Protocol):
    """The counts of all nodes that share a store; the module's docstring states its laws."""

    async def ask(self, ask: Ask) -> Verdict:
        """Judge a start; it then runs, waits, or is refused."""
        ...

    async def keep(self, held: Collection[Ask], waiting: Sequence[Ask], *, anew: bool = False) -> Kept:
        """Renew the leases of those who run, and of those who wait; what can be given to who waits is given.

        The store may have forgotten both: who waits lines up again, in this order; who runs is told as lost, or, with `anew`, has its
        places again.
        """
        ...

    async def leave(self, ask: Ask, *, tokens: int = 0) -> None:
        """Give back a place, or stop waiting; `tokens` are what was used of the limits of that kind."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


class Marks(Protocol):
    """Who reads what, told by each node of what it does not run itself, so that the one that does knows of them."""

    async def mark(self, generations: Collection[str], *, seconds: float) -> None:
        """Remember for so many seconds that these are read."""
        ...

    async def marked(self, generations: Collection[str]) -> frozenset[str]:
        """Tell which of these are read."""
        ...
