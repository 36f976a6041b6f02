"""How the upstreams are, for the operator's page: who is asked, who is left alone, and how the last askings ended.

Laws: upstreams are named as the operator named them; nothing of their addresses, keys or answers is told.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from dazi.upstream import Upstream
from dazi.upstream.member import Member
from dazi.upstream.pool import Observer, Outcome, Pool

# Endings that are remembered of each upstream.
_RECENT = 30


class Watch:
    """Watches the pools of a gateway.

    Args:
        upstreams: by model name; those that are no pools are not watched.
        tell: who else hears of each asking.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], tell: Observer) -> None:
        self._tell = tell
        self._models: dict[Member, list[str]] = defaultdict(list)
        self._recent: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_RECENT))
        for model, upstream in upstreams.items():
            if isinstance(upstream, Pool):
                upstream.observer = upstream.observer or self.asked
                for seat in upstream.seats:
                    self._models[seat.member].append(model)

    def asked(self, outcome: Outcome) -> None:
        """Take note of how asking an upstream ended."""
        self._recent[outcome.upstream].append(outcome.code)
        self._tell(outcome)

    def state(self) -> list[dict[str, object]]:
        """Tell how each upstream is: its models, its breaker's state, what it has to do, and its last endings, the oldest first."""
        return [
            {
                "name": member.name,
                "models": models,
                "state": member.state,
                "rests": round(member.rests, 1),
                "outstanding": member.outstanding,
                "concurrency": member.bounds.concurrency,
                "health": round(member.health, 3),
                "recent": list(self._recent[member.name]),
            }
            for member, models in self._models.items()
        ]
