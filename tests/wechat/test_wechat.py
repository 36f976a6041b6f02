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
from dazi.wechat.refusals import refusal_of

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


async def test_many_who_find_a_token_forgotten_fetch_one(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    await world.wechat.check("hi", openid=openid)
    world.fake._tokens.clear()
    verdicts = await asyncio.gather(*(world.wechat.check("hi", openid=openid) for _ in range(20)))
    assert {verdict.suggest for verdict in verdicts} == {"pass"}
    assert world.fake.calls["/cgi-bin/stable_token"] == 2


async def test_a_token_that_cannot_be_renewed_ahead_is_good_until_its_end(world: World) -> None:
    token = await world.wechat.access_token()
    world.clock.now += 7200 - 299
    world.fake.is_down = True
    for _ in range(5):
        assert await world.wechat.access_token() == token
    assert world.fake.calls["/cgi-bin/stable_token"] == 2
    world.clock.now += 16
    assert await world.wechat.access_token() == token
    assert world.fake.calls["/cgi-bin/stable_token"] == 3
    world.clock.now += 299
    assert (await refused(world.wechat.access_token())).code == "wechat_unavailable"
    world.fake.is_down = False
    assert await world.wechat.access_token() != token


async def test_what_is_too_long_to_be_judged_is_not_judged_in_part(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    assert (await refused(world.wechat.check("好" * 2500 + "违禁", openid=openid))).code == "wechat_unavailable"


async def test_an_app_is_checked_so_often_a_minute_and_no_more(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    world.fake.checks = 3
    for _ in range(3):
        await world.wechat.check("hi", openid=openid)
    assert (await refused(world.wechat.check("hi", openid=openid))).code == "wechat_rate_limited"
    world.clock.now += 61
    await world.wechat.check("hi", openid=openid)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (40029, "wechat_bad_code", "wx.login"),
        (40163, "wechat_bad_code", "used already"),
        (45011, "wechat_rate_limited", "minute"),
        (45009, "wechat_rate_limited", "minute"),
        (40226, "wechat_blocked", "high-risk"),
        (40003, "wechat_user_absent", "two hours"),
        (61010, "wechat_user_absent", "two hours"),
        (40013, "wechat_misconfigured", "AppSecret"),
        (40125, "wechat_misconfigured", "AppSecret"),
        (40164, "wechat_misconfigured", "IP list"),
        (89503, "wechat_misconfigured", "IP list"),
        (-1, "wechat_unavailable", "errcode -1"),
        (99999, "wechat_unavailable", "errcode 99999"),
    ],
)
def test_each_of_wechats_numbers_says_what_to_do(number: int, code: str, words: str) -> None:
    error = refusal_of(number)
    assert error.code == code
    assert words in str(error)


async def test_the_fakes_tokens_can_be_forced_to_change_now_and_then(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:

        async def ask(*, forced: bool) -> dict[str, Any]:
            body = {"grant_type": "client_credential", "appid": APP, "secret": SECRET, "force_refresh": forced}
            return dict((await client.post("/cgi-bin/stable_token", json=body)).json())

        first = (await ask(forced=False))["access_token"]
        forced = (await ask(forced=True))["access_token"]
        assert forced != first
        assert not world.fake._is_good(APP, first)
        # Again within half a minute, and without force, it is the same.
        assert (await ask(forced=True))["access_token"] == (await ask(forced=False))["access_token"] == forced
        for _ in range(19):
            world.clock.now += 31
            forced = (await ask(forced=True))["access_token"]
        world.clock.now += 31
        assert (await ask(forced=True))["errcode"] == 45009
        assert (await ask(forced=False))["access_token"] == forced


async def test_both_tokens_are_good_while_one_takes_the_place_of_the_other(world: World) -> None:
    openid = (await world.wechat.login(world.fake.mint("anna"))).openid
    old = await world.wechat.access_token()
    world.clock.now += 7200 - 200
    await world.wechat.login(world.fake.mint("anna"))
    new = await world.wechat.access_token()
    whole = {"version": 2, "scene": 2, "openid": openid, "content": "hi"}
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        for token, number in ((old, 0), (new, 0), ("made up", 40001)):
            answer = await client.post("/wxa/msg_sec_check", params={"access_token": token}, json=whole)
            assert answer.json()["errcode"] == number
        world.clock.now += 201
        answer = await client.post("/wxa/msg_sec_check", params={"access_token": old}, json=whole)
        assert answer.json()["errcode"] == 40001


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
