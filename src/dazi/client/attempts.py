"""When to try again, and when to stop trying.

Laws: the first failure after anything came is tried again at once, each further one in a row after a longer, jittered
wait; a gateway's own `retry_after` is never undercut; what brings nothing new so often that patience ends raises what
went wrong last.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from dazi.errors import DaziError

# The longest wait, in first ones: waits double up to it.
_MOST_DOUBLED = 20
# A gateway that asks for more seconds than this is better asked again by a person.
_LONGEST_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes: `connect` (seconds for a connection), `silence` (seconds without a byte, heartbeats included, after which
    a line counts as dead; at least 2.5, as heartbeats can come each second), `first_attempts` (tries until the gateway
    has answered once: a wrong address shall be told soon), `attempts` (tries in a row that bring nothing new, after
    that: about a minute of an unreachable gateway), `wait` (seconds of the first wait; doubled from one to the next, up
    to 20 times as long).
    """

    connect: float = 10.0
    silence: float = 25.0
    first_attempts: int = 4
    attempts: int = 12
    wait: float = 0.5

    @property
    def heartbeat(self) -> int:
        """Seconds between the heartbeats to ask the gateway for: two may be late before a line counts as dead."""
        return max(1, min(60, int(self.silence / 2.5)))


class Attempts:
    """Counts the tries in a row that brought nothing new.

    Args:
        patience: how many there may be.
        random: spreads the waits, so that the readers of one gateway do not all come back at once.
    """

    def __init__(self, patience: Patience, random: Random) -> None:
        self._patience = patience
        self._random = random
        self._failures = 0
        # Whether the gateway has answered at all: from then on it is known to be the right address.
        self._has_answered = False

    def answered(self) -> None:
        """Take note that the gateway is there."""
        self._has_answered = True

    def progressed(self) -> None:
        """Take note that something new came."""
        self._failures = 0

    def failed(self, error: DaziError, retry_after: float = 0) -> float:
        """Return the seconds to wait before the next try, or raise `error` if there shall be none."""
        self._failures += 1
        patience = self._patience
        limit = patience.attempts if self._has_answered else patience.first_attempts
        if self._failures >= limit or retry_after > _LONGEST_RETRY_AFTER:
            self._failures = 0  # whoever asks again after the error starts afresh
            raise error
        return max(retry_after, self._wait())

    def _wait(self) -> float:
        if self._failures == 1:
            return 0.0
        longest = self._patience.wait * min(_MOST_DOUBLED, 2.0 ** (self._failures - 2))
        return longest * self._random.uniform(0.5, 1)
