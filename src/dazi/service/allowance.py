"""What an operator allows whom, and how a refusal is told.

Laws: a start is held to the limits of its owner, of what it came in by, of where it came from, and of everybody; those whose name
is not known do not apply. A refusal names the limit, its value, and when to come back.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from dazi.errors import TooMany
from dazi.quota import Ask, Kind, Limit, Verdict

Scope = Literal["owner", "key", "ip", "total"]
# How much of a kind each scope may have; what is missing is not limited.
Most = Mapping[Scope, int]

_MINUTE = 60
# Seconds after which a refused client may ask again for what ends nobody knows when; answers take about as long.
_RETRY = 5
_WHOSE: dict[Scope, str] = {
    "owner": "for one owner",
    "key": "for one key",
    "ip": "for one address",
    "total": "in all",
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is allowed.

    Attributes: `running` (generations at once), `starts` (a minute) and `tokens` (a day, which begins at midnight in `zone`), each
    by scope; `line` and `line_of_owner`: how many may wait for a turn, in all and of one owner (0: nobody waits, who cannot
    start is refused); `patience`: seconds that one waits.
    """

    running: Most = field(default_factory=dict)
    starts: Most = field(default_factory=dict)
    tokens: Most = field(default_factory=dict)
    line: int = 0
    line_of_owner: int = 0
    patience: float = 60.0
    zone: tzinfo = UTC
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __bool__(self) -> bool:
        return any(most for of in (self.running, self.starts, self.tokens) for most in of.values())

    def ask(self, names: Mapping[Scope, str]) -> tuple[Ask, tuple[Scope, ...]]:
        """Make what is asked for whoever has these names ("" where one is not known), and tell of which scope each limit is."""
        held = tuple(self._limits(names))
        limits = tuple(limit for _, limit in held)
        return Ask(secrets.token_hex(8), limits, self.line, self.line_of_owner), tuple(scope for scope, _ in held)

    def _limits(self, names: Mapping[Scope, str]) -> Iterator[tuple[Scope, Limit]]:
        if any(self.running.values()):
            # Counted also where it is not limited: those who wait are served fairly, by owner.
            yield "owner", Limit("running", f"owner {names['owner']}", self.running.get("owner", 0))
        for scope, name in names.items():
            if scope != "owner" and name and (most := self.running.get(scope, 0)):
                yield scope, Limit("running", f"{scope} {name}", most)
            if name and (most := self.starts.get(scope, 0)):
                yield scope, Limit("starts", f"{scope} {name}", most, _MINUTE)
            if name and (most := self.tokens.get(scope, 0)):
                yield scope, Limit("tokens", f"{self._today():%Y-%m-%d} {scope} {name}", most)

    def refusal(self, limit: Limit, scope: Scope, verdict: Verdict) -> TooMany:
        """Tell why a start is refused."""
        name = name_of(limit.kind, scope)
        match limit.kind:
            case "running":
                return self._too_many_running(limit, scope, name)
            case "starts":
                return TooMany(
                    f"This is more than {limit.most} starts a minute {_WHOSE[scope]}.",
                    remedy="Wait as long as Retry-After says.",
                    code="too_many_starts",
                    param=name,
                    quota=limit.most,
                    window=_MINUTE,
                    retry_after=max(1, math.ceil(verdict.seconds)),
                )
            case "tokens":
                return TooMany(
                    f"The {limit.most} tokens a day {_WHOSE[scope]} are used up.",
                    remedy="Ask again tomorrow: Retry-After says in how many seconds that is.",
                    code="tokens_used_up",
                    param=name,
                    quota=limit.most,
                    window=24 * 3600,
                    retry_after=self._until_midnight(),
                )

    def _too_many_running(self, limit: Limit, scope: Scope, name: str) -> TooMany:
        told = f"No more than {limit.most} answers may run at once {_WHOSE[scope]}"
        if self.line:
            of_owner = f", or {self.line_of_owner} of one owner" if self.line_of_owner else ""
            told += f", and as many wait as may ({self.line}{of_owner})"
        return TooMany(
            f"{told}.",
            remedy="Try again when one has ended.",
            code="queue_full" if self.line else "too_many_running",
            param=name,
            quota=limit.most,
            window=None,
            retry_after=_RETRY,
        )

    def _today(self) -> datetime:
        return self.clock().astimezone(self.zone)

    def _until_midnight(self) -> int:
        now = self._today()
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1, math.ceil(tomorrow.timestamp() - now.timestamp()))


def name_of(kind: Kind, scope: Scope) -> str:
    """Name a limit, as headers, errors and metrics do: `starts` for an owner's, `starts-ip` for an address's."""
    return kind if scope == "owner" else f"{kind}-{scope}"
