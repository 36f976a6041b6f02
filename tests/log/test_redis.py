from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from tests.log.contract import Backend, LogContract
from tests.log.redis_server import RedisServer, redis_cluster, redis_server

from dazi.log.redis import RedisLog
from dazi.log.redis.store import Store

Open = Callable[..., Awaitable[RedisLog]]


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with redis_server() as one:
        yield one


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster() as servers:
        yield servers


class _Opener:
    """Opens empty logs: each has keys of its own, and all of a test share their connections."""

    count = 0

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: Store | None = None
        self.logs: list[RedisLog] = []

    async def __call__(self, *, prefix: str = "", **options: float) -> RedisLog:
        _Opener.count += 1
        self.store = self.store or Store.from_url(self.url)
        log = RedisLog(self.store, prefix=prefix or f"test{_Opener.count}", **options)
        self.logs.append(log)
        return log

    async def close(self) -> None:
        await asyncio.gather(*(log.close() for log in self.logs))


@pytest.fixture
async def opener(server: RedisServer) -> AsyncIterator[_Opener]:
    opener = _Opener(server.url)
    yield opener
    await opener.close()


class TestRedisLog(LogContract):
    @pytest.fixture
    def backend(self, opener: _Opener) -> Backend:
        return Backend(opener, expires=False)


class TestRedisCluster(LogContract):
    @pytest.fixture
    async def backend(self, cluster: list[RedisServer]) -> AsyncIterator[Backend]:
        opener = _Opener(f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}")
        yield Backend(opener, expires=False)
        await opener.close()
