"""Log-in by `wx.login`, end to end: the mini program, the gateway, and a WeChat, of which only the last is a fake."""

from __future__ import annotations

from tests.conftest import Serve
from tests.miniprogram.chat import Chat
from tests.miniprogram.users import settings_of

from dazi.upstream.demo import DemoUpstream
from dazi.wechat import FakeWeChat

TEXT = "只有登录的人才看得到。"


def models() -> dict[str, DemoUpstream]:
    return {"m": DemoUpstream(pace=2000, text=TEXT)}


async def test_who_asks_is_logged_in_once_and_anew_when_the_session_is_refused(
    serve: Serve, user: Chat, fake: FakeWeChat, wechat: str
) -> None:
    served = await serve(models(), settings=settings_of(wechat))
    await user.open(served.url)
    for question in ("一", "二"):
        await user.ask(question)
        await user.until_ended(TEXT)
    assert fake.calls["/sns/jscode2session"] == 1
    # As after the session's end: the token that is kept is none of this gateway's.
    other = "another signing secret, also long enough"
    next_served = await serve(models(), settings=settings_of(wechat, other))
    await user.kill_and_reopen(next_served.url)
    await user.ask("三")
    await user.until_ended(TEXT)
    assert fake.calls["/sns/jscode2session"] == 2
    await user.program.check_clean()


async def test_who_may_not_log_in_is_told_why(serve: Serve, user: Chat, fake: FakeWeChat, wechat: str) -> None:
    served = await serve(models(), settings=settings_of(wechat))
    code = fake.mint("developer")
    openid = fake._codes[code].openid
    fake.blocked.add(openid)
    await user.open(served.url)
    await user.ask("一")
    await user.says("微信判定这个账号有风险，暂时不能使用。")
    fake.blocked.remove(openid)
    fake.is_down = True
    await user.program.tap("text=再问一次 >> nth=-1")
    await user.says("微信登录没有成功，检查网络后再问一次。")
    fake.is_down = False
    await user.program.tap("text=再问一次 >> nth=-1")
    await user.until_ended(TEXT)
    await user.program.check_clean()
