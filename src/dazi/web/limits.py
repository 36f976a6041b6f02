"""How often an owner may start, by the library `limits`: over a moving minute, in memory or shared in Redis.

Laws: only what would begin a new generation counts; an attach, a poll, or a start that is sent again does not; a refusal
says when to come back, by `Retry-After` and the `RateLimit` headers of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from dazi.errors import TooMany, Unavailable

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

_WINDOW = 60


class StartLimit:
    """An `Admission` of so many starts a minute for each owner.

    Args:
        most: starts a minute.
        log: where generations are kept: in a Redis of one server the count is shared by all who use it; elsewhere each
            process counts for itself.
    """

    def __init__(self, most: int, *, log: str) -> None:
        self._item = RateLimitItemPerMinute(most)
        self._most = most
        self._pool = _pool_of(log)
        self._limiter = MovingWindowRateLimiter(_storage(log, self._pool))

    async def open(self) -> None:
        """Nothing to make ready: Redis is connected to by the first start."""

    async def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def admit(self, owner: str) -> None:
        """Count a start. Raises `TooMany`, `Unavailable`."""
        try:
            if await self._limiter.hit(self._item, owner):
                return
            reset, _ = await self._limiter.get_window_stats(self._item, owner)
        except StorageError as error:
            raise Unavailable(
                f"The store cannot be reached ({type(error.storage_error).__name__}).",
                remedy="Try again in a moment.",
                code="store_unavailable",
                retry_after=2,
            ) from None
        raise TooMany(
            f"This is more than {self._most} starts a minute.",
            remedy="Wait as long as Retry-After says.",
            code="too_many_starts",
            quota=self._most,
            window=_WINDOW,
            retry_after=max(1, math.ceil(reset - time.time())),
        )


def _pool_of(log: str) -> ConnectionPool | None:
    """Make connections of our own, which can be closed."""
    if not log.startswith(("redis://", "rediss://")):
        return None
    from redis.asyncio import ConnectionPool  # noqa: PLC0415  # an extra, there where such a log is

    return ConnectionPool.from_url(log)


def _storage(log: str, pool: ConnectionPool | None) -> Storage:
    if pool is None:
        return MemoryStorage()
    return RedisStorage(
        f"async+{log}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="dazi:limits",
        connection_pool=pool,  # type: ignore[arg-type]  # an option of redis-py's, which it hands on
    )
