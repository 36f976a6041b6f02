"""What the running generations of a process may hold in memory: each, all of one owner, and all together.

Laws: characters of text, reasoning and tool arguments count, from when they are said until the generation has ended; they are
reserved in blocks, so that a piece costs a comparison; a generation that may have no more ends in a code that says whose limit it
was, and a cut answer never looks finished; a start that could not say anything is refused before its model is asked.
"""

from __future__ import annotations

from collections import Counter

from dazi.errors import GenerationError, Unavailable

# Characters that a generation reserves at a time: enough for most answers, and little beside what a process may hold.
_BLOCK = 16_384
# Characters that a token has at most, nearly always.
_CHARACTERS_A_TOKEN = 4
# Seconds after which a refused client may ask again; answers take about as long.
_RETRY = 5


class Budget:
    """What all of a process share.

    Args:
        per_owner: characters of all running generations of one owner; 0 for no limit of their own.
        total: characters of all running generations.
    """

    def __init__(self, *, per_owner: int, total: int) -> None:
        # Without a limit of their own nobody meets it before the total.
        self._per_owner = per_owner or total + 1
        self._total = total
        self._held = 0
        self._of_owner: Counter[str] = Counter()

    def check(self, owner: str) -> None:
        """Raise `Unavailable` where a generation of this owner could not say a word."""
        if self._of_owner[owner] >= self._per_owner:
            raise Unavailable(
                f"Your running answers hold {self._of_owner[owner]} characters, which is the limit.",
                remedy="Try again when one of them has ended.",
                code="owner_limit",
                status=429,
                retry_after=_RETRY,
            )
        if self._held >= self._total:
            raise Unavailable(
                f"All running answers hold {self._held} characters, which is the limit of this process.",
                remedy="Try again when some have ended.",
                code="memory_limit",
                retry_after=_RETRY,
            )

    def reserve(self, owner: str, wanted: int) -> int:
        """Reserve some of what is wanted. Raises `GenerationError` where there is nothing left."""
        if (mine := self._per_owner - self._of_owner[owner]) <= 0:
            limit = f"All running answers of this owner together may hold {self._per_owner} characters."
            raise GenerationError("owner_limit", limit, retryable=True)
        if (left := self._total - self._held) <= 0:
            limit = f"All running answers of this process together may hold {self._total} characters."
            raise GenerationError("memory_limit", limit, retryable=True)
        granted = min(wanted, mine, left)
        self._held += granted
        self._of_owner[owner] += granted
        return granted

    def release(self, owner: str, count: int) -> None:
        """Give back what was reserved."""
        self._held -= count
        self._of_owner[owner] -= count
        if self._of_owner[owner] <= 0:
            del self._of_owner[owner]


class Share:
    """What one generation may say.

    Args:
        budget: of the process.
        owner: whose generation it is.
        limit: characters that it may say.
        tokens: that it may say, as `estimate` counts them; 0 for no limit.
    """

    __slots__ = ("_budget", "_limit", "_owner", "_refusal", "_reserved", "_tokens")

    def __init__(self, budget: Budget, owner: str, *, limit: int, tokens: int = 0) -> None:
        self._budget = budget
        self._owner = owner
        self._limit = limit
        self._tokens = tokens
        self._reserved = 0
        # Why it may say nothing more: remembered, since room that others leave later does not make a cut answer whole.
        self._refusal: GenerationError | None = None

    def grow(self, pieces: int) -> int:
        """Reserve another block, after so many pieces; returns its characters. Raises `GenerationError`."""
        try:
            return self._grow(pieces)
        except GenerationError as error:
            self._refusal = error
            raise

    def _grow(self, pieces: int) -> int:
        if self._refusal is not None:
            raise self._refusal
        if (left := self._limit - self._reserved) <= 0:
            raise GenerationError(
                "too_long", f"The answer is longer than this gateway's limit of {self._limit} characters."
            )
        if self._tokens:
            # A token has a character at least, so that one comes here again before the last of them.
            left = min(left, self._tokens - estimate(pieces, self._reserved))
            if left <= 0:
                raise GenerationError(
                    "token_limit", f"The answer is longer than this gateway's limit of {self._tokens} tokens."
                )
        granted = self._budget.reserve(self._owner, min(_BLOCK, left))
        self._reserved += granted
        return granted

    def release(self) -> None:
        """Give back everything."""
        self._budget.release(self._owner, self._reserved)
        self._limit = self._reserved = 0


def estimate(pieces: int, characters: int) -> int:
    """Guess how many tokens were said at least: upstreams send one in a piece, or several; few have more than four characters."""
    return max(pieces, characters // _CHARACTERS_A_TOKEN)
