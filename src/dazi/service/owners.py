"""Whose generations are, as far as this process knows.

Laws: for anybody but its owner a generation costs the log one question, whether it is another's or never was, and is never read: so
the time of a refusal tells nothing. What is remembered is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from dazi.errors import Unknown
from dazi.log import Log, TellsOwner

# Generations that are remembered, the latest last. Forgetting one costs its owner a question.
_MOST = 16_384


class Owners:
    """Asks a log whose its generations are.

    Args:
        log: that is asked. One that cannot tell is read, and its page tells.
    """

    def __init__(self, log: Log) -> None:
        self._log = log if isinstance(log, TellsOwner) else None
        self._known: OrderedDict[str, str] = OrderedDict()

    def remember(self, generation: str, owner: str) -> None:
        """Take note of a generation that was made here."""
        self._known[generation] = owner
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def check(self, generation: str, owner: str) -> None:
        """Raise `Unknown` where this is not its owner."""
        if self._log is None or self._known.get(generation) == owner:
            return
        if await self._log.owner(generation) != owner:
            raise Unknown(generation)
        self.remember(generation, owner)
