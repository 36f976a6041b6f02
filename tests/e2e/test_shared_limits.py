"""Limits over two gateway processes that share a log: one Redis, or one SQLite file."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.e2e.process import Dazi
from tests.log.redis_server import redis_server
from tests.waiting import eventually

# What the machine may add to anything here, being busy.
PATIENCE = 60.0
ASK = {"messages": [{"role": "user", "content": "?"}]}
JSON = {"accept": "application/json"}
Nodes = Callable[..., Awaitable[list[Dazi]]]


@pytest.fixture(params=["redis", "sqlite"])
def nodes(request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path) -> Nodes:
    """Start two nodes on one store, with these settings."""
    log = stack.enter_context(redis_server()).url if request.param == "redis" else f"sqlite:///{tmp_path}/log.db"

    async def start(model: MockModel, **settings: object) -> list[Dazi]:
        told = {f"DAZI_{name.upper()}": str(value) for name, value in settings.items()}
        environ = {"OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "m", "DAZI_LOG": log, "DAZI_LEASE": "2", **told}
        nodes = [await Dazi.run("--drain", "0", folder=tmp_path, environ=environ) for _ in range(2)]
        for node in nodes:
            stack.push_async_callback(node.end)
        await asyncio.gather(*(node.ready() for node in nodes))
        return nodes

    return start


async def begin(node: Dazi) -> httpx.Response:
    return await node.client.post("/v1/generations", json=ASK, headers=JSON, timeout=PATIENCE)


async def running(node: Dazi) -> int:
    return int((await node.client.get("/health/ready")).json()["running"])


async def standing(node: Dazi, generation: str) -> dict[str, Any]:
    return dict((await node.client.get(f"/v1/generations/{generation}")).json())


async def test_starts_at_once_on_both_never_exceed_a_limit_and_a_dead_nodes_places_are_free_again(
    nodes: Nodes, mock: Mock
) -> None:
    model = await mock(["a", ""])
    one, other = await nodes(model, running_total=6)
    answers = await asyncio.gather(*(begin(node) for node in (one, other) for _ in range(20)))
    started = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(started), len(refused)) == (6, 34)
    assert {answer.json()["error"]["code"] for answer in refused} == {"too_many_running"}
    assert {answer.headers["ratelimit-policy"] for answer in refused} == {
        '"running-total";q=6;qu="concurrent-requests"'
    }
    # All places may have gone to one of them: the one that dies has some.
    dead, living = (one, other) if await running(one) else (other, one)
    dead.signal(signal.SIGKILL)
    assert await running(living) < 6

    async def takes_the_dead_ones() -> bool:
        await begin(living)
        return await running(living) == 6

    await eventually(takes_the_dead_ones, seconds=PATIENCE)
    assert (await begin(living)).status_code == 429


async def test_starts_a_minute_and_tokens_a_day_are_counted_together(nodes: Nodes, mock: Mock) -> None:
    model = await mock(["abcd" * 100])
    one, other = await nodes(model, starts_per_minute=3, tokens_per_day=250)
    statuses = [(await begin(node)).status_code for node in (one, other, one, other, one)]
    assert statuses == [202, 202, 202, 429, 429]

    async def is_used_up() -> bool:
        return bool((await begin(other)).json()["error"]["code"] == "tokens_used_up")

    await eventually(is_used_up, seconds=PATIENCE)
    assert (await begin(one)).headers["ratelimit-policy"] == '"tokens";q=250;w=86400'


async def test_who_waits_at_one_node_is_read_at_the_other_and_called_when_the_other_has_done(
    nodes: Nodes, mock: Mock
) -> None:
    model = await mock(["a", ""])
    one, other = await nodes(model, running_total=1, queue=2)
    runs = (await begin(one)).json()["generation"]
    waits, aborted = [(await begin(other)).json()["generation"] for _ in range(2)]
    assert (await begin(one)).json()["error"]["code"] == "queue_full"
    async with one.client.stream("GET", f"/v1/generations/{waits}/events") as stream:
        lines = stream.aiter_lines()
        frames = [json.loads(line[6:]) async for line in until_frame(lines, "queued")]
        assert frames[-1] == {"type": "queued", "place": 1}
        end = (await one.client.post(f"/v1/generations/{aborted}/abort")).json()
        assert end["status"] == "aborted"
        assert len(model.requests) == 1
        model.release()
        frames = [json.loads(line[6:]) async for line in until_frame(lines, "done")]
    assert [frame["type"] for frame in frames] == ["queued", "text", "done"]
    assert frames[0]["place"] == 0
    assert (await standing(other, runs))["status"] == "done"
    assert len(model.requests) == 2


async def until_frame(lines: Any, kind: str) -> Any:
    """Give the data lines, to the first of a kind."""
    async for line in lines:
        if line.startswith("data: "):
            yield line
            if f'"type":"{kind}"' in line:
                return


async def test_a_reader_at_the_other_node_counts_and_when_it_has_gone_the_answer_is_stopped(
    nodes: Nodes, mock: Mock
) -> None:
    model = await mock(["a", ""])
    one, other = await nodes(model, unread=2)
    read, unread = [(await begin(one)).json()["generation"] for _ in range(2)]
    async with other.client.stream("GET", f"/v1/generations/{read}/events") as stream:
        lines = stream.aiter_lines()
        [line async for line in until_frame(lines, "text")]

        async def is_stopped() -> bool:
            # By a look that is no reading.
            return bool((await one.client.get("/health/ready")).json()["running"] == 1)

        await eventually(is_stopped, seconds=PATIENCE)
    answer = await standing(other, unread)
    assert (answer["status"], answer["error"]["code"], answer["text"]) == ("failed", "abandoned", "a")

    async def nothing_runs() -> bool:
        return bool((await one.client.get("/health/ready")).json()["running"] == 0)

    await eventually(nothing_runs, seconds=PATIENCE)
    assert (await standing(other, read))["error"]["code"] == "abandoned"
    await model.wait_until(lambda model: model.open == 0, seconds=PATIENCE)
