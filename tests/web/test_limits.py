from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Serve, Served
from tests.log.redis_server import RedisServer
from tests.puppet import Play, Puppet
from tests.waiting import until
from tests.web.wire import HELLO, attach

from dazi.client import AsyncClient
from dazi.events import Usage
from dazi.settings import Settings

KEYS = ("a-key-of-a-user-123", "a-key-of-another-45")
ANNA, BERT = ({"Authorization": f"Bearer {key}", "accept": "application/json"} for key in KEYS)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    server = RedisServer(tmp_path)
    server.start()
    yield server.url
    server.kill()


async def test_an_owner_starts_so_often_a_minute_and_is_told_when_again(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(api_keys=KEYS, starts_per_minute=2))
    for _ in range(2):
        assert (await served.client.post("/v1/generations", json=HELLO, headers=ANNA)).status_code == 202
    refused = await served.client.post("/v1/generations", json=HELLO, headers=ANNA)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["retryable"]) == (429, "too_many_starts", True)
    assert 1 <= error["retry_after"] <= 60
    assert refused.headers["retry-after"] == str(error["retry_after"])
    assert refused.headers["ratelimit-policy"] == '"starts";q=2;w=60'
    assert refused.headers["ratelimit"] == f'"starts";r=0;t={error["retry_after"]}'
    assert (await served.client.post("/v1/generations", json=HELLO, headers=BERT)).status_code == 202


async def test_a_start_that_is_sent_again_does_not_count(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(api_keys=KEYS, starts_per_minute=1))
    for _ in range(5):
        again = await served.client.post("/v1/generations", json=HELLO, headers={**ANNA, "idempotency-key": "k"})
        assert again.status_code == 202
    assert puppet.asked == 1


async def test_openai_clients_are_told_too(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(starts_per_minute=1))
    await served.client.post("/v1/generations", json=HELLO, headers={"accept": "application/json"})
    refused = await served.client.post("/v1/chat/completions", json={**HELLO, "stream": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_starts")
    assert refused.headers["ratelimit-policy"] == '"starts";q=1;w=60'


async def test_machines_on_one_redis_count_together(serve: Serve, puppet: Puppet, redis: str) -> None:
    settings = Settings(log=redis, starts_per_minute=2)
    one, two = await serve({"m": puppet}, settings=settings), await serve({"m": puppet}, settings=settings)
    answers = [
        (await served.client.post("/v1/generations", json=HELLO, headers={"accept": "application/json"})).status_code
        for served in (one, two, one, two)
    ]
    assert answers == [202, 202, 429, 429]


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({"starts_per_minute_total": 1}, '"starts-total";q=1;w=60'),
        ({"starts_per_minute_key": 1}, '"starts-key";q=1;w=60'),
        ({"running_per_owner": 1}, '"running";q=1;qu="concurrent-requests"'),
        ({"running_per_key": 1}, '"running-key";q=1;qu="concurrent-requests"'),
    ],
)
async def test_headers_and_the_error_name_the_limit_its_value_and_when_to_come_back(
    serve: Serve, puppet: Puppet, settings: dict[str, int], policy: str
) -> None:
    served = await serve({"m": puppet}, settings=Settings(api_keys=KEYS, **settings))  # type: ignore[arg-type]  # some fields
    assert (await served.client.post("/v1/generations", json=HELLO, headers=ANNA)).status_code == 202
    refused = await served.client.post("/v1/generations", json=HELLO, headers=ANNA)
    error = refused.json()["error"]
    name = policy.partition(";")[0]
    assert (refused.status_code, f'"{error["param"]}"') == (429, name)
    assert refused.headers["ratelimit-policy"] == policy
    assert refused.headers["ratelimit"] == f"{name};r=0;t={error['retry_after']}"
    assert " 1 " in error["message"]


@pytest.mark.parametrize(("scope", "other"), [("ip", 429), ("total", 429), ("key", 202)])
async def test_tokens_of_the_day_are_counted_for_each_scope(
    serve: Serve, puppet: Puppet, scope: str, other: int
) -> None:
    settings = Settings(api_keys=KEYS, **{f"tokens_per_day_{scope}": 2})  # type: ignore[arg-type]  # one of its fields
    served = await serve({"m": puppet}, settings=settings)
    assert (await served.client.post("/v1/generations", json=HELLO, headers=ANNA)).status_code == 202
    (await puppet.play()).finish(usage=Usage(1, 1, 2))
    await until(lambda: served.app.gateway.running == 0)
    refused = await served.client.post("/v1/generations", json=HELLO, headers=ANNA)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "tokens_used_up")
    assert refused.headers["ratelimit-policy"] == f'"tokens-{scope}";q=2;w=86400'
    assert (await served.client.post("/v1/generations", json=HELLO, headers=BERT)).status_code == other


@pytest.mark.parametrize("scope", ["", "_key", "_ip", "_total"])
async def test_an_abort_that_comes_before_its_start_counts_as_one(serve: Serve, puppet: Puppet, scope: str) -> None:
    """Its log is kept as long as any."""
    settings = Settings(api_keys=KEYS, **{f"starts_per_minute{scope}": 2})  # type: ignore[arg-type]  # one of its fields
    served = await serve({"m": puppet}, settings=settings)
    answers = [
        await served.client.post("/v1/generations/abort", headers={**ANNA, "idempotency-key": key})
        for key in ("a", "b", "b", "c")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


# Waiting


async def waiting(serve: Serve, puppet: Puppet) -> tuple[Served, Play, str]:
    """A gateway where one answer runs, and one waits; returns the play of the first, and the id of the second."""
    served = await serve({"m": puppet}, settings=Settings(running_total=1, queue=3))
    headers = {"accept": "application/json"}
    await served.client.post("/v1/generations", json=HELLO, headers=headers)
    play = await puppet.play()
    waits = await served.client.post("/v1/generations", json=HELLO, headers=headers)
    assert (waits.status_code, waits.json()["status"]) == (202, "running")
    generation = str(waits.json()["generation"])
    await until(lambda: served.app.gateway._running[generation].position == 2)
    return served, play, generation


async def finish(puppet: Puppet, first: Play) -> None:
    first.finish()
    second = await puppet.play()
    second.say("你", "好")
    second.finish()


@pytest.mark.parametrize("encoding", ["ascii", "utf8", "url"])
@pytest.mark.parametrize("profile", ["full", "plain"])
async def test_a_stream_tells_the_place_and_the_turn(serve: Serve, puppet: Puppet, encoding: str, profile: str) -> None:
    served, first, generation = await waiting(serve, puppet)
    line = await attach(served.port, generation, f"encoding={encoding}&profile={profile}")
    frames = [await line.frame() for _ in range(2)]
    assert [frame.event["type"] for frame in frames] == ["started", "queued"]
    assert frames[1].event["place"] == 1
    await finish(puppet, first)
    rest = [frame.event for frame in await line.rest()]
    assert (rest[0]["type"], rest[0]["place"], rest[-1]["type"]) == ("queued", 0, "done")
    assert "".join(event["text"] for event in rest[1:-1]) == "你好"


async def test_replace_mode_tells_the_place_until_there_is_text(serve: Serve, puppet: Puppet) -> None:
    served, first, generation = await waiting(serve, puppet)
    line = await attach(served.port, generation, "mode=replace")
    frames = [await line.frame() for _ in range(2)]
    assert [frame.event["type"] for frame in frames] == ["started", "queued"]
    await finish(puppet, first)
    rest = [frame.event for frame in await line.rest()]
    assert {event["type"] for event in rest[:-1]} <= {"queued", "snapshot"}
    assert rest[-2]["text"] == "你好"


@pytest.mark.parametrize("mode", ["append", "replace"])
async def test_a_poll_tells_the_place(serve: Serve, puppet: Puppet, mode: str) -> None:
    served, first, generation = await waiting(serve, puppet)
    path = f"/v1/generations/{generation}/events?mode={mode}"
    page = (await served.client.get(path, headers={"accept": "application/json"})).json()
    assert [event["type"] for event in page["events"]] == ["started", "queued"]
    assert page["status"] == "running"
    await finish(puppet, first)
    answer = {"text": ""}
    while answer.get("status") != "done":
        answer = (await served.client.get(f"/v1/generations/{generation}")).json()
    assert answer["text"] == "你好"


async def test_openai_clients_wait_without_a_word_of_it(serve: Serve, puppet: Puppet) -> None:
    served, first, generation = await waiting(serve, puppet)
    chunks = asyncio.create_task(served.client.get(f"/v1/generations/{generation}/events?format=openai"))
    await until(lambda: served.app.gateway._attention.readers(generation))
    await finish(puppet, first)
    body = (await chunks).text
    assert "queued" not in body
    assert "position_lost" not in body
    assert body.endswith("data: [DONE]\n\n")
    assert json.dumps("你")[1:-1] in body


async def test_pythons_own_client_takes_what_waited(serve: Serve, puppet: Puppet) -> None:
    served, first, generation = await waiting(serve, puppet)

    async def read() -> str:
        async with AsyncClient(served.url) as client:
            return "".join([piece async for piece in client.attach(generation)])

    reading = asyncio.create_task(read())
    await finish(puppet, first)
    assert await asyncio.wait_for(reading, 10) == "你好"


async def test_refusals_and_waiting_are_counted(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(running_total=1, queue=1))
    for status in (202, 202, 429):
        started = await served.client.post("/v1/generations", json=HELLO, headers={"accept": "application/json"})
        assert started.status_code == status
    told = (await served.client.get("/metrics")).text
    assert 'dazi_starts_refused_total{limit="running-total"} 1.0' in told
    assert "dazi_generations_waiting 1.0" in told
    (await puppet.play()).finish()
    await puppet.play()
    told = (await served.client.get("/metrics")).text
    assert "dazi_generations_waiting 0.0" in told
    assert 'dazi_queue_seconds_count{outcome="turn"} 1.0' in told
