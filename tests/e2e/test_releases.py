"""Upstream connections are released within a second of an abort, in every state that a generation behind a pool can be in."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pytest
from tests.conftest import Serve, Served
from tests.e2e.client import Format, Held, Question
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.waiting import until

from dazi.upstream.build import build
from dazi.upstream.plan import Plan, Routing

SEED = int(os.environ.get("SEED", "8"))
# What the model does when the abort comes, by MockModel's options.
STATES: dict[str, dict[str, Any]] = {  # Any: MockModel's options
    "before the headers": {"pieces": ["a"], "holds_head": True},
    "before the first token": {"pieces": ["", "a"]},
    "in mid-stream": {"pieces": ["你", "好", "", "！"]},
    "behind a slow reader": {"pieces": [*["龘" * 20_000] * 10, ""]},
    "at the end": {"pieces": ["你", "好", "！", ""]},
    "at any moment": {"pieces": list("你好，世界！") * 4, "pace": 0.001},
}
TOGETHER = 60


class House:
    """A gateway with one model for each state. Each has a second upstream, which would be asked if the first had failed."""

    def __init__(self, served: Served, models: dict[str, MockModel], spare: MockModel) -> None:
        self.served = served
        self.models = models
        self.spare = spare
        self.slow = ExitStack()

    async def start(self, key: str, state: str) -> None:
        """Start a generation, and read it slowly where that is its state."""
        body = b'{"model":"%b","messages":[{"role":"user","content":"?"}]}' % state.encode()
        question = Question(self.served.port, key, body)
        if state == "behind a slow reader":
            line = self.slow.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", self.served.port))
            line.sendall(question.request(Held(), Format()))
            return
        headers = {"Accept": "application/json", "Idempotency-Key": key, "Content-Type": "application/json"}
        answer = await self.served.client.post("/v1/generations", content=body, headers=headers)
        assert answer.status_code == 202

    async def abort(self, key: str) -> str:
        answer = await self.served.client.post("/v1/generations/abort", headers={"Idempotency-Key": key})
        return str(answer.json()["status"])


async def a_batch(house: House, keys: dict[str, str], rng: random.Random) -> float:
    """Start these, abort them in their states, and return how long it took until nothing was open any more."""
    await asyncio.gather(*(house.start(key, state) for key, state in keys.items()))
    for name, model in house.models.items():
        if name != "at any moment":
            count = list(keys.values()).count(name)
            await model.wait_until(lambda model, count=count: model.waiting == count, seconds=30)  # type: ignore[misc]
    order = list(keys)
    rng.shuffle(order)
    began = asyncio.get_running_loop().time()
    statuses = await asyncio.gather(*map(house.abort, order))
    held = {state for key, state in keys.items() if state != "at any moment"}
    assert {status for key, status in zip(order, statuses, strict=True) if keys[key] in held} == {"aborted"}
    for model in house.models.values():
        await model.wait_until(lambda model: model.open == 0)
    took = asyncio.get_running_loop().time() - began
    await until(lambda: house.served.app.gateway.running == 0)
    house.slow.close()
    return took


async def aborts(serve: Serve, mock: Mock, count: int) -> str:
    models = {name: await mock(**options) for name, options in STATES.items()}
    spare = await mock(["never"])
    plans = [
        *(Plan(name=name, preset="vllm", url=model.url, models=(name,), weight=9) for name, model in models.items()),
        Plan(name="spare", preset="vllm", url=spare.url, models=tuple(STATES), weight=0.001),
    ]
    pools = build(plans, Routing(continuation=True, balance="least"), environment={})
    served = await serve(pools)
    house, rng = House(served, models, spare), random.Random(SEED)
    longest = 0.0
    for keys in batches(count, rng):
        longest = max(longest, await a_batch(house, keys, rng))
    asked = sum(len(model.requests) for model in (*models.values(), spare))
    left = sum(model.open for model in (*models.values(), spare))
    assert (left, [seat.member.outstanding for pool in pools.values() for seat in pool.seats]) == (0, [0] * 12)
    assert spare.requests == []
    return f"seed {SEED}: {count} aborts, {asked} requests, {left} left, nothing open at most {longest:.3f} s after the first of {TOGETHER} aborts"


def batches(count: int, rng: random.Random) -> Iterator[dict[str, str]]:
    names = list(STATES)
    keys = ((f"k{number}", rng.choice(names)) for number in range(count))
    while batch := dict(islice(keys, TOGETHER)):
        yield batch


async def test_aborts_in_every_state_leave_nothing_open(
    serve: Serve, mock: Mock, record_property: Callable[[str, object], None]
) -> None:
    record_property("counts", await aborts(serve, mock, 120))


@pytest.mark.full
async def test_a_thousand_aborts_in_every_state_leave_nothing_open(
    serve: Serve, mock: Mock, record_property: Callable[[str, object], None]
) -> None:
    record_property("counts", await aborts(serve, mock, 1000))
