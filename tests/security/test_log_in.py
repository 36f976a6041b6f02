"""A log-in code is good once, for its app, for five minutes; and a WeChat that stalls, floods or lies holds nobody up.

Not a CVE, but how `wx.login` has to be used: the `session_key` never leaves, and nobody becomes somebody else. (`tests/wechat/test_wechat.py` has the
client alone, `tests/web/test_sessions.py` what goes well.)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import jwt
import pytest
from tests.conftest import Serve, Served, listening
from tests.puppet import Puppet
from tests.security.raw import Answer, ask, request

from dazi.settings import Settings
from dazi.web import sessions
from dazi.wechat import FakeWeChat
from dazi.wechat import client as wechat_client

ONE, TWO = (
    ("wx1234567890abcd", "0f3c9a7e5d1b8246acf013579bd2468e"),
    ("wxother000000000", "acf013579bd2468e0f3c9a7e5d1b8246"),
)
SIGNING = "what signs the tokens of these tests 7f3a"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(port: int) -> Settings:
    apps = tuple(":".join(app) for app in (ONE, TWO))
    return Settings(wechat_apps=apps, wechat_url=f"http://127.0.0.1:{port}", session_secrets=(SIGNING,))


async def log_in(port: int, **body: object) -> Answer:
    return await ask(
        port, request("POST", "/v1/wechat/sessions", [("Content-Type", "application/json")], json.dumps(body).encode())
    )


def code_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> FakeWeChat:
    return FakeWeChat(dict((ONE, TWO)), clock=clock)


@pytest.fixture
async def served(serve: Serve, puppet: Puppet, fake: FakeWeChat) -> AsyncIterator[Served]:
    async with listening(fake) as port:
        yield await serve({"m": puppet}, settings=settings(port))


async def test_of_many_who_send_one_code_one_is_let_in(served: Served, fake: FakeWeChat) -> None:
    code = fake.mint("anna")
    answers = await asyncio.gather(*(log_in(served.port, code=code) for _ in range(20)))
    assert [answer.status for answer in answers].count(200) == 1
    assert {code_of(answer) for answer in answers if answer.status != 200} == {(401, "wechat_bad_code")}
    assert all(code.encode() not in answer.body for answer in answers)


async def test_a_code_of_one_app_is_no_code_of_another(served: Served, fake: FakeWeChat) -> None:
    assert code_of(await log_in(served.port, code=fake.mint("anna", ONE[0]), appid=TWO[0])) == (401, "wechat_bad_code")
    assert code_of(await log_in(served.port, code=fake.mint("anna", TWO[0]))) == (401, "wechat_bad_code")
    assert code_of(await log_in(served.port, code=fake.mint("anna"), appid="wxevil")) == (422, "invalid_field")
    both = [
        jwt.decode(
            (await log_in(served.port, code=fake.mint("anna", app), appid=app)).json["token"],
            options={"verify_signature": False},
        )
        for app, _ in (ONE, TWO)
    ]
    assert both[0]["sub"] != both[1]["sub"]


async def test_a_code_grows_old(served: Served, fake: FakeWeChat, clock: Clock) -> None:
    code = fake.mint("anna")
    clock.now += 301
    assert code_of(await log_in(served.port, code=code)) == (401, "wechat_bad_code")


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x&appid=wxevil",
        "x&secret=y&js_code=z",
        "x#",
        "x?y",
        "x\r\nX-Evil: 1",
        "x\u0000",
        "../../",
        "%26",
        "码",
        "x" * 4000,
    ],
)
async def test_no_code_is_more_than_a_code(served: Served, fake: FakeWeChat, code: str) -> None:
    assert code_of(await log_in(served.port, code=code)) == (401, "wechat_bad_code")
    assert set(fake.calls) == {"/sns/jscode2session"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": 1},
        {"code": None},
        {"code": "x", "secret": "y"},
        {"code": "x", "openid": "o"},
        {"code": "x", "appid": 1},
    ],
)
async def test_a_log_in_takes_a_code_and_nothing_else(
    served: Served, fake: FakeWeChat, body: dict[str, object]
) -> None:
    assert (await log_in(served.port, **body)).status == 422
    assert not fake.calls


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n{")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


def says(body: bytes, status: int = 200, fields: bytes = b"") -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d So\r\n%bContent-Length: %d\r\n\r\n" % (status, fields, len(body)) + body)
        await writer.drain()

    return behave


BEHAVIOURS: dict[str, Behaviour] = {
    "silence": silent,
    "a drip": drips,
    "a flood": floods,
    "no JSON": says(b"<html>"),
    "a list": says(b"[]"),
    "what is too deep": says(b"[" * 50_000),
    "an error of no number": says(b'{"errcode":["x"]}'),
    "nobody": says(b"{}"),
    "somebody who is no text": says(b'{"openid":{"a":1}}'),
    "a redirect": says(b"", 302, b"Location: http://127.0.0.1:9/\r\n"),
    "an error of a server": says(b'{"openid":"o"}', 500),
    "half a character": says(b'{"errcode":-1,"errmsg":"\\ud83d"}'),
}


@asynccontextmanager
async def behaving(behave: Behaviour) -> AsyncIterator[int]:
    """A WeChat that does this, whatever it is asked."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await behave(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def took(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(accept(reader, writer)))

    async with await asyncio.start_server(took, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("what", BEHAVIOURS)
async def test_a_wechat_that_is_out_of_order_is_told_in_time(
    serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(wechat_client, "_TIMEOUT", 0.3)
    monkeypatch.setattr(wechat_client, "_WHOLE_CALL", 0.5)
    async with behaving(BEHAVIOURS[what]) as port:
        served = await serve({"m": puppet}, settings=settings(port))
        answer = await log_in(served.port, code="a-code-of-somebodys")
        assert code_of(answer) == (503, "wechat_unavailable"), answer
        assert answer.named("retry-after")
        assert b"a-code-of" not in answer.body
        await served.app._wechat.close()  # type: ignore[union-attr]  # there is one


async def test_log_ins_that_wait_for_wechat_hold_up_nobody_for_ever(
    serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_AT_ONCE", 2)
    monkeypatch.setattr(sessions, "_PATIENCE", 0.2)
    monkeypatch.setattr(wechat_client, "_TIMEOUT", 1.0)
    async with behaving(silent) as port:
        served = await serve({"m": puppet}, settings=settings(port))
        waiting = [asyncio.create_task(log_in(served.port, code=f"c{at}")) for at in range(6)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert code_of(next(iter(done)).result()) == (503, "wechat_unavailable")
        assert (await ask(served.port, request("GET", "/health/ready"))).status == 200
        for task in waiting:
            assert (await task).status == 503
        await served.app._wechat.close()  # type: ignore[union-attr]  # there is one
