from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import Serve, Served
from tests.waiting import until

from dazi.settings import Settings
from dazi.upstream.demo import DemoUpstream

KEYS = ("a-long-enough-key-1", "another-long-key-22")


def frames(body: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


async def test_pieces_carry_the_time_at_which_they_were_sent(served: Served) -> None:
    response = await served.client.get("/v1/probe?ticks=3&interval=0.02", headers={"Last-Event-ID": "1-7"})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"
    first, *ticks, end = frames(response.text)
    assert first["seen"]["http"] == "1.1"
    assert first["seen"]["headers"]["last-event-id"] == "1-7"
    assert [tick["tick"] for tick in ticks] == [1, 2, 3]
    assert ticks[0]["sent"] <= ticks[1]["sent"] <= ticks[2]["sent"] <= end["sent"]


async def test_silence_has_heartbeats_where_they_are_asked_for(served: Served) -> None:
    response = await served.client.get("/v1/probe?ticks=0&silence=0.25&heartbeat=0.1")
    assert response.text.count("\n: ") + response.text.startswith(": ") >= 2


async def test_a_client_that_left_is_remembered(served: Served) -> None:
    async with served.client.stream("GET", "/v1/probe?ticks=0&silence=60") as response:
        async for line in response.aiter_lines():
            probe = json.loads(line.removeprefix("data: "))["probe"]
            assert (await served.client.get(f"/v1/probe/{probe}")).json()["status"] == "running"
            break
    ends: list[str] = []
    while "left" not in ends:
        ends.append((await served.client.get(f"/v1/probe/{probe}")).json()["status"])
    await until(lambda: ends[-1] == "left")


async def test_a_finished_one_is_too_for_its_owner_alone(serve: Serve) -> None:
    served = await serve({"demo": DemoUpstream()}, settings=Settings(api_keys=KEYS))
    mine, theirs = ({"Authorization": f"Bearer {key}"} for key in KEYS)
    response = await served.client.get("/v1/probe?ticks=0", headers=mine)
    probe = frames(response.text)[0]["probe"]
    assert KEYS[0] not in response.text
    assert (await served.client.get(f"/v1/probe/{probe}", headers=mine)).json()["status"] == "finished"
    assert (await served.client.get(f"/v1/probe/{probe}", headers=theirs)).status_code == 404
    assert (await served.client.get("/v1/probe?ticks=0")).status_code == 401


async def test_few_run_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazi.web.probe._MOST_AT_ONCE", 1)
    async with served.client.stream("GET", "/v1/probe?ticks=0&silence=60") as response:
        await anext(response.aiter_lines())
        refused = await served.client.get("/v1/probe")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_probes")
    assert refused.headers["retry-after"] == "5"


async def test_an_unknown_option_is_named(served: Served) -> None:
    response = await served.client.get("/v1/probe?pace=3")
    assert response.status_code == 400
    assert "'pace'" in response.json()["error"]["message"]
