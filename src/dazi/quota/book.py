"""How places are given, over any counts: what memory and SQLite do in Python, and Redis does in Lua (`redis.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from dazi.quota import REFUSED, Ask, Kept, Limit, Verdict


class Counts(Protocol):
    """The numbers, at one moment. What is past its time is not among them."""

    def running(self, name: str) -> int:
        """Count who holds a place under a name."""
        ...

    def holds(self, ask: Ask) -> bool:
        """Whether this one does."""
        ...

    def hold(self, ask: Ask) -> None:
        """Give it its places, for a lease."""
        ...

    def renew(self, ask: Ask) -> bool:
        """Prolong its places; whether it had them still."""
        ...

    def drop(self, ask: Ask) -> None:
        """Take them, and its place in the line, away."""
        ...

    def wait(self, limit: Limit) -> float | None:
        """Tell in how many seconds there is room for a start under this limit; None where there is now."""
        ...

    def count_start(self, limit: Limit) -> None:
        """Count one."""
        ...

    def spent(self, name: str) -> int:
        """Tell how many tokens were used under a name."""
        ...

    def spend(self, name: str, tokens: int) -> None:
        """Count them."""
        ...

    def line(self) -> list[Ask]:
        """Forget who is not believed to wait any more, and list who does, the first who came first."""
        ...

    def line_up(self, ask: Ask) -> None:
        """Let one wait behind all others, or wait on, for a lease."""
        ...

    def call_up(self, ask: Ask) -> None:
        """Take one out of the line."""
        ...


def judge(counts: Counts, ask: Ask) -> Verdict:
    """Judge a start."""
    if (place := _place_of(counts, ask)) is not None:
        return Verdict(place)
    if ask.running:
        # Leases run out between two calls: what they leave is for those who wait, before anybody who comes.
        serve(counts)
    refusal = _refusal(counts, ask.limits)
    place = 0
    if refusal is None:
        if ask.running:
            counts.hold(ask)
    elif ask.limits[refusal.limit].kind != "running" or not _may_wait(counts, ask):
        return refusal
    else:
        counts.line_up(ask)
        place = len(counts.line())
    for limit in ask.limits:
        if limit.kind == "starts":
            counts.count_start(limit)
    return Verdict(place)


def keep(counts: Counts, held: Collection[Ask], waiting: Sequence[Ask], *, anew: bool) -> Kept:
    """Renew leases, and give what can be given."""
    lost = []
    for ask in held:
        if counts.renew(ask):
            continue
        if anew:
            counts.hold(ask)
        else:
            lost.append(ask.ticket)
    counts.line()  # without those who did not keep their places in it
    for ask in waiting:
        if not counts.holds(ask):
            counts.line_up(ask)
    serve(counts)
    order = {ask.ticket: place for place, ask in enumerate(counts.line(), 1)} if waiting else {}
    return Kept(tuple(lost), tuple(order.get(ask.ticket, 0) for ask in waiting))


def leave(counts: Counts, ask: Ask, *, tokens: int) -> None:
    """Give back, count what was used, and give on what has become free."""
    counts.drop(ask)
    for limit in ask.limits:
        if limit.kind == "tokens" and tokens:
            counts.spend(limit.name, tokens)
    if ask.running:
        serve(counts)


def serve(counts: Counts) -> None:
    """Give places to those who wait, until nobody who does can have one."""
    line = counts.line()
    if not line:
        return
    running = Counter({limit.name: counts.running(limit.name) for limit in _limits_of(line)})
    while (ask := _next(line, running)) is not None:
        line.remove(ask)
        counts.call_up(ask)
        counts.hold(ask)
        running.update(limit.name for limit in ask.running)


def _next(line: Iterable[Ask], running: Counter[str]) -> Ask | None:
    able = [ask for ask in line if all(not each.most or running[each.name] < each.most for each in ask.running)]
    return min(able, key=lambda ask: running[ask.running[0].name], default=None)


def _limits_of(line: Iterable[Ask]) -> set[Limit]:
    return {limit for ask in line for limit in ask.running}


def _place_of(counts: Counts, ask: Ask) -> int | None:
    if ask.running and counts.holds(ask):
        return 0
    return next((place for place, one in enumerate(counts.line(), 1) if one.ticket == ask.ticket), None)


def _refusal(counts: Counts, limits: Sequence[Limit]) -> Verdict | None:
    """Find the first limit that is reached; those that say when there is room again come first."""
    for kind in ("tokens", "starts", "running"):
        for at, limit in enumerate(limits):
            if limit.kind == kind and limit.most and (seconds := _reached(counts, limit)) is not None:
                return Verdict(REFUSED, at, seconds)
    return None


def _reached(counts: Counts, limit: Limit) -> float | None:
    match limit.kind:
        case "running":
            return 0.0 if counts.running(limit.name) >= limit.most else None
        case "tokens":
            return 0.0 if counts.spent(limit.name) >= limit.most else None
        case "starts":
            return counts.wait(limit)


def _may_wait(counts: Counts, ask: Ask) -> bool:
    line = counts.line()
    owner = ask.running[0].name
    theirs = sum(one.running[0].name == owner for one in line)
    return len(line) < ask.line and (not ask.line_of_owner or theirs < ask.line_of_owner)
