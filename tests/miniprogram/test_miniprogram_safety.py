"""The gateway's content safety and its limits, as a user of the mini program meets them: logged in, on the screen, in words."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect
from tests.conftest import Serve
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.miniprogram.chat import PATIENCE, Chat
from tests.miniprogram.users import settings_of

from dazi.safety.plan import Safety
from dazi.upstream.openai import OpenAIUpstream
from dazi.wechat import FakeWeChat

FINE = "头一句话谁都可以看，没有一点问题。"
RISKY = "后面这一句里有一个违禁"
END = "的词。"
# It waits before the sentence ends, and goes on for long after it.
ANSWER = [FINE, RISKY, "", END, *["这一句谁也不该看到。"] * 2000]
PACE = 0.02
# Windows of a sentence; none is judged because it has waited long.
RULES: dict[str, Any] = {"wechat": "users", "window": 8, "overlap": 2, "delay": 60}
# What the screen has shown of any answer, at any time.
_WATCH = """{
  const shown = (window.everShown = new Set())
  new MutationObserver(() => shown.add(document.body.textContent)).observe(document.body, { childList: true, subtree: true, characterData: true })
}"""


async def test_a_risky_answer_is_taken_back_in_mid_stream_and_a_limit_is_told(
    serve: Serve, mock: Mock, user: Chat, fake: FakeWeChat, wechat: str
) -> None:
    model = await mock(ANSWER, pace=PACE)
    rules = Safety(**RULES, mode="show")
    served = await serve({"m": OpenAIUpstream(model.url)}, settings=settings_of(wechat, safety=rules, tokens_per_day=1))
    await user.open(served.url, cut="random")
    await user.ask("讲一句")
    await user.until_shown(FINE + RISKY[:-1])
    model.release()
    await stopped(model)
    await user.until_ended(FINE[:-2])
    await user.says("部分内容已被撤回 · 部分内容未通过审核")
    assert "违禁" not in await user.program.ask("JSON.stringify({ ...localStorage })")
    assert (fake.calls["/sns/jscode2session"], fake.calls["/wxa/msg_sec_check"]) == (1, 3)

    await user.ask("再讲一句")
    await user.says("今天的用量已经用完，明天再来。")
    await expect(user.program.find(".trouble-button")).to_have_count(0)
    await user.kill_and_reopen(served.url, fresh=1, user="somebody else")
    await user.ask("我呢")
    await user.until_shown(FINE[:-2])
    assert len(model.requests) == 2
    await user.program.check_clean()


async def test_what_is_held_until_it_was_judged_is_never_on_the_screen(
    serve: Serve, mock: Mock, user: Chat, wechat: str
) -> None:
    model = await mock(ANSWER, pace=PACE)
    model.release()
    rules = Safety(**RULES, mode="hold")
    served = await serve({"m": OpenAIUpstream(model.url)}, settings=settings_of(wechat, safety=rules))
    await user.open(served.url)
    await user.program.ask(_WATCH)
    await user.ask("讲一句")
    await user.until_ended(FINE[:-2])
    await user.says("部分内容未通过审核")
    await stopped(model)
    ever = "".join(await user.program.ask("[...everShown]"))
    assert ("头一句" in ever, "后面这" in ever) == (True, False)
    await user.program.check_clean()


async def test_a_risky_question_is_refused_in_words_and_reaches_no_model(
    serve: Serve, mock: Mock, user: Chat, wechat: str
) -> None:
    model = await mock(["好。"])
    served = await serve({"m": OpenAIUpstream(model.url)}, settings=settings_of(wechat, safety=Safety(wechat="users")))
    await user.open(served.url)
    await user.ask("讲一个违禁的词")
    await user.says("这个问题没有通过内容审核，请换个问法。")
    await user.until_ended("")
    await user.program.tap("text=改一改")
    field = user.program.find("wx-textarea textarea")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("讲一个违禁的词")
    await user.ask("讲一个别的")
    await user.until_ended("好。")
    assert [request["messages"][-1]["content"] for _, request in model.requests] == ["讲一个别的"]
    await user.program.check_clean()


async def stopped(model: MockModel) -> None:
    """Wait until nobody listens to the model any more, who had not finished."""
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1), seconds=PATIENCE)
