"""Keeps a burst of calls from holding up the streams that run.

A start costs about as much as ten tokens. A thousand at once would be taken up in one turn of the loop, and no stream
would get a token for as long as that takes; so each turn takes up a few, and between two turns tokens pass.
"""

from __future__ import annotations

import asyncio
from collections import deque

# Calls taken up in one turn: about two milliseconds of work.
A_TURN = 4


class Turnstile:
    """Lets a few calls in each turn of the loop, in the order in which they came."""

    def __init__(self) -> None:
        # Calls let in since the turn began; None where no turn is being counted.
        self._let_in: int | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_free(self) -> bool:
        """Whether a call may go in now; then it has. Otherwise it has to `wait`."""
        if self._let_in is None:
            self._let_in = 0
            asyncio.get_running_loop().call_soon(self._turn)
        if self._waiting or self._let_in >= A_TURN:
            return False
        self._let_in += 1
        return True

    async def wait(self) -> None:
        """Wait for one's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _turn(self) -> None:
        if not self._waiting:
            self._let_in = None
            return
        self._let_in = 0
        while self._waiting and self._let_in < A_TURN:
            turn = self._waiting.popleft()
            if not turn.done():  # a client may go while it waits
                turn.set_result(None)
                self._let_in += 1
        asyncio.get_running_loop().call_soon(self._turn)
