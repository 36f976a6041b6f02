"""A durable log with memory beside it: the same laws, and what happens while the durable one is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.log.contract import Backend, ClockedLogContract, TogetherContract
from tests.log.redis_server import redis_server
from tests.puppet import Puppet

from dazi.errors import ConfigError, NotFound, Unavailable
from dazi.log import Degrades, Leases, Log, Restores, Shelf
from dazi.log.fallback import FallbackLog, beside_memory
from dazi.log.memory import MemoryLog
from dazi.log.redis import RedisLog
from dazi.log.sqlite import SqliteLog
from dazi.service import Gateway, Limits
from dazi.settings import Settings, check
from dazi.upstream import Prompt

PROMPT = Prompt("m", [{"role": "user", "content": "?"}])


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    """Open logs in one file after another; a log of their own each."""
    opened: list[FallbackLog] = []

    async def open_one(**options: Any) -> Log:  # Any: as SqliteLog's
        log = beside_memory(SqliteLog(tmp_path / f"{len(opened)}.db", **options), MemoryLog())
        opened.append(log)
        await log.open()
        return log

    yield Backend(open_one)
    for log in opened:
        await log.close()


class TestFallbackLog(ClockedLogContract, TogetherContract):
    pass


def test_it_has_the_powers_of_the_log_that_it_stands_beside(tmp_path: Path) -> None:
    sqlite = beside_memory(SqliteLog(tmp_path / "log.db"), MemoryLog())
    redis = beside_memory(RedisLog.from_url("redis://127.0.0.1:1/0"), MemoryLog())
    for log in (sqlite, redis):
        assert all(isinstance(log, power) for power in (Leases, Shelf, Degrades))
    assert (isinstance(sqlite, Restores), isinstance(redis, Restores)) == (False, True)


def test_workers_cannot_fall_back_to_a_memory_that_they_do_not_share() -> None:
    with pytest.raises(ConfigError, match=r"workers=2.*undurable"):
        check(Settings(log="sqlite:///log.db", workers=2, undurable=True, model=("demo",)))


async def answered(gateway: Gateway, puppet: Puppet, key: str) -> str:
    opened = await gateway.start("me", PROMPT, key=key)
    play = await puppet.play()
    play.say("你好")
    play.finish()
    await asyncio.wait_for(gateway.ended("me", opened.generation), 10)
    assert (await gateway.answer("me", opened.generation))[0].text == "你好"
    return opened.generation


async def test_while_redis_is_down_answers_are_kept_in_memory_and_afterwards_again_where_they_belong() -> None:
    with redis_server(append_only="always") as server:
        puppet = Puppet()
        nodes = [
            Gateway(beside_memory(RedisLog.from_url(server.url), MemoryLog()), {"m": puppet}, limits=Limits(patience=1))
            for _ in range(2)
        ]
        for node in nodes:
            await node.open()
        durable = await answered(nodes[0], puppet, "k1")
        server.kill()
        undurable = await answered(nodes[0], puppet, "k2")
        assert "Redis" in nodes[0].undurable
        await nodes[0].check()  # it takes starts
        assert (await nodes[0].start("me", PROMPT, key="k2")).generation == undurable
        with pytest.raises(Unavailable):
            await nodes[0].read("me", durable)
        server.start()
        await answered(nodes[0], puppet, "k3")
        assert not nodes[0]._log.undurable  # type: ignore[attr-defined]  # a log that degrades
        assert (await nodes[1].answer("me", durable))[0].text == "你好"
        assert (await nodes[0].answer("me", undurable))[0].text == "你好"
        with pytest.raises(NotFound):
            await nodes[1].read("me", undurable)
        assert await nodes[0].erase("me") == 3
        for node in nodes:
            await node.close()
