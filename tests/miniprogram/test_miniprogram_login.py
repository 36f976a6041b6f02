"""Log-in by `wx.login`, end to end: the mini program, the gateway, and a WeChat, of which only the last is a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page
from tests.conftest import Serve, listening
from tests.miniprogram.building import EXAMPLE
from tests.miniprogram.chat import Chat
from tests.miniprogram.preview import Program, previewing

from dazi.settings import Settings
from dazi.upstream.demo import DemoUpstream
from dazi.wechat import FakeWeChat

APP, APP_SECRET = "wx0123456789abcdef", "the-secret-of-the-app"
TEXT = "只有登录的人才看得到。"


@pytest.fixture
def fake() -> FakeWeChat:
    return FakeWeChat({APP: APP_SECRET})


@pytest.fixture
async def wechat(fake: FakeWeChat) -> AsyncIterator[str]:
    async with listening(fake) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def chat(page: Page, built: Path, wechat: str) -> Iterator[Chat]:
    assert built.is_dir()
    with ExitStack() as stack:
        yield Chat(Program(page, stack.enter_context(previewing(EXAMPLE, wechat=wechat)), "miniprogram"))


def settings(wechat: str, secret: str) -> Settings:
    return Settings(wechat_apps=(f"{APP}:{APP_SECRET}",), wechat_url=wechat, session_secrets=(secret,))


def models() -> dict[str, DemoUpstream]:
    return {"m": DemoUpstream(pace=2000, text=TEXT)}


async def test_who_asks_is_logged_in_once_and_anew_when_the_session_is_refused(
    serve: Serve, chat: Chat, fake: FakeWeChat, wechat: str
) -> None:
    secret, other = "one signing secret, which is long enough", "another signing secret, also long enough"
    served = await serve(models(), settings=settings(wechat, secret))
    await chat.open(served.url)
    for question in ("一", "二"):
        await chat.ask(question)
        await chat.until_ended(TEXT)
    assert fake.calls["/sns/jscode2session"] == 1
    # As after the session's end: the token that is kept is none of this gateway's.
    next_served = await serve(models(), settings=settings(wechat, other))
    await chat.kill_and_reopen(next_served.url)
    await chat.ask("三")
    await chat.until_ended(TEXT)
    assert fake.calls["/sns/jscode2session"] == 2
    await chat.program.check_clean()


async def test_who_may_not_log_in_is_told_why(serve: Serve, chat: Chat, fake: FakeWeChat, wechat: str) -> None:
    secret = "one signing secret, which is long enough"
    served = await serve(models(), settings=settings(wechat, secret))
    code = fake.mint("developer")
    openid = fake._codes[code].openid
    fake.blocked.add(openid)
    await chat.open(served.url)
    await chat.ask("一")
    await chat.says("微信判定这个账号有风险，暂时不能使用。")
    fake.blocked.remove(openid)
    fake.is_down = True
    await chat.program.tap("text=再问一次 >> nth=-1")
    await chat.says("微信登录没有成功，检查网络后再问一次。")
    fake.is_down = False
    await chat.program.tap("text=再问一次 >> nth=-1")
    await chat.until_ended(TEXT)
    await chat.program.check_clean()
