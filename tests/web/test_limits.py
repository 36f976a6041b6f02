from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Serve
from tests.log.redis_server import RedisServer
from tests.puppet import Puppet
from tests.web.wire import HELLO

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
