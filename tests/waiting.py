"""Waiting for what nothing announces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], object], *, seconds: float = 5) -> None:
    """Wait until the condition holds, looking once a turn of the loop. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.001)


async def eventually(condition: Callable[[], Awaitable[object]], *, seconds: float = 5) -> None:
    """Wait until the condition, which has to be asked for, holds. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
