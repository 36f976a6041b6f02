"""Waiting for what nothing announces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

# What is promised within a second: held to that by tests marked `alone`; beside others, which keep all cores and the disk busy, with some more.
A_SECOND = 3.0 if "PYTEST_XDIST_WORKER" in os.environ else 1.0


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
