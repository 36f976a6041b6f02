"""The client against the fake, over real sockets; and the fake against the documents (field: code2Session, msgSecCheck)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.conftest import listening

from dazi.errors import RequestError
from dazi.wechat import FakeWeChat, WeChat

APP, SECRET = "wx1234567890abcd", "an-app-secret-of-32-characters-x"
OTHER, OTHER_SECRET = "wxother000000000", "another-app-secret-of-32-chars-x"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    fake: FakeWeChat
    wechat: WeChat
    clock: Clock
    url: str


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = Clock()
    fake = FakeWeChat({APP: SECRET, OTHER: OTHER_SECRET}, clock=clock)
    async with listening(fake) as port:
        url = f"http://127.0.0.1:{port}"
        wechat = WeChat({APP: SECRET, OTHER: OTHER_SECRET}, url=url, clock=clock)
        yield World(fake, wechat, clock, url)
        await wechat.close()


async def refused(call: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await call
    return caught.value


async def test_a_code_is_a_user_once(world: World) -> None:
    code = world.fake.mint("anna")
    login = await world.wechat.login(code)
    assert login.appid == APP
    assert login.openid.startswith("o")
    again = await refused(world.wechat.login(code))
    assert (again.code, again.status) == ("wechat_bad_code", 401)


async def test_the_same_user_has_an_openid_an_app(world: World) -> None:
    first = await world.wechat.login(world.fake.mint("anna"))
    second = await world.wechat.login(world.fake.mint("anna"))
    elsewhere = await world.wechat.login(world.fake.mint("anna", OTHER), OTHER)
    assert first.openid == second.openid != elsewhere.openid


async def test_a_code_is_good_for_five_minutes_and_for_its_app(world: World) -> None:
    old = world.fake.mint("anna")
    world.clock.now += 301
    assert (await refused(world.wechat.login(old))).code == "wechat_bad_code"
    assert (await refused(world.wechat.login(world.fake.mint("anna", OTHER), APP))).code == "wechat_bad_code"
    assert (await refused(world.wechat.login("made-up"))).code == "wechat_bad_code"


async def test_refusals_have_codes_that_tell_what_to_do(world: World) -> None:
    assert (await refused(world.wechat.login("x", "wxunknown"))).code == "invalid_field"
    stranger = WeChat({APP: "a-wrong-secret-of-32-characters-"}, url=world.url)
    assert (await refused(stranger.login("x"))).code == "wechat_misconfigured"
    await stranger.close()
    world.fake.blocked.add((await world.wechat.login(world.fake.mint("eve"))).openid)
    assert (await refused(world.wechat.login(world.fake.mint("eve")))).code == "wechat_blocked"
    world.fake.is_down = True
    assert (await refused(world.wechat.login("x"))).code == "wechat_unavailable"


async def test_a_user_logs_in_a_hundred_times_a_minute_and_no_more(world: World) -> None:
    for _ in range(100):
        await world.wechat.login(world.fake.mint("anna"))
    error = await refused(world.wechat.login(world.fake.mint("anna")))
    assert (error.code, error.status, error.retry_after) == ("wechat_rate_limited", 429, 60)
    world.clock.now += 61
    await world.wechat.login(world.fake.mint("anna"))


async def test_a_wechat_that_is_not_there_is_told_without_the_secret() -> None:
    wechat = WeChat({APP: SECRET}, url="http://127.0.0.1:1")
    error = await refused(wechat.login("a-code-of-somebody"))
    await wechat.close()
    assert error.code == "wechat_unavailable"
    assert SECRET not in str(error)
    assert "a-code-of-somebody" not in str(error)
    assert error.__cause__ is None


async def test_an_access_token_is_fetched_once_for_all_and_ahead_of_its_end(world: World) -> None:
    tokens = await asyncio.gather(*(world.wechat.access_token() for _ in range(20)))
    assert len(set(tokens)) == 1
    assert world.fake.calls["/cgi-bin/stable_token"] == 1
    worker = WeChat({APP: SECRET}, url=world.url, clock=world.clock)
    assert await worker.access_token() == tokens[0]  # as `stable_token` promises
    await worker.close()
    world.clock.now += 7200 - 299
    renewed = await world.wechat.access_token()
    assert renewed != tokens[0]


async def test_the_verdict_is_the_suggestion(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    verdicts = [await world.wechat.check(text, openid=openid) for text in ("你好", "这是违禁内容", "疑似")]
    assert [verdict.suggest for verdict in verdicts] == ["pass", "risky", "review"]


async def test_a_user_must_have_been_there_within_two_hours(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    world.clock.now += 7201
    assert (await refused(world.wechat.check("hi", openid=openid))).code == "wechat_user_absent"


async def test_a_token_that_wechat_forgot_is_fetched_again(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    await world.wechat.check("hi", openid=openid)
    world.fake._tokens.clear()
    assert (await world.wechat.check("hi", openid=openid)).suggest == "pass"


@pytest.mark.parametrize(
    ("body", "number"), [({"content": "x" * 2501}, 47001), ({"content": ""}, 44002), ({"version": 1}, 47001)]
)
async def test_the_fake_refuses_what_the_documents_say(world: World, body: dict[str, Any], number: int) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    whole = {"version": 2, "scene": 2, "openid": openid, "content": "hi", **body}
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        query = {"access_token": await world.wechat.access_token()}
        answer = await client.post("/wxa/msg_sec_check", params=query, json=whole)
    assert answer.json()["errcode"] == number
