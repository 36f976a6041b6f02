"""The mini program in Chromium, in WeChat's component engine, against the real gateway: what a person sees is what the model said."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from playwright.async_api import expect
from tests.conftest import Serve
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.miniprogram.building import ROOT
from tests.miniprogram.chat import Chat

from dazi import Prompt, Reasoning
from dazi.errors import UpstreamError
from dazi.settings import Settings
from dazi.upstream import Finish, Retracts, Sink
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.openai import OpenAIUpstream

WORDS = ["从前", "有座", "山，", "山里有座庙。", "👩\u200d🚀", "🇨🇳", "𠮷", " e\u0301", " Once upon", " a time", "。完"]
TEXT = "".join(WORDS)
LONG = "这一段话一个字也不能少，👨\u200d👩\u200d👧\u200d👦 𠮷 也是。" * 30


async def test_a_question_is_answered_as_it_is_typed(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(WORDS, pace=0.12)
    served = await serve({"m": OpenAIUpstream(model.url)})
    await chat.open(served.url, cut="random")
    await chat.ask("  讲个故事？ ")
    await chat.until_shown("从")
    seen = [await chat.shown()]
    while await chat.labelled("停止").count():
        if (now := await chat.shown()) != seen[-1]:
            seen.append(now)
    await chat.until_ended(TEXT)
    assert len(seen) > 3, "it came in lumps"
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    assert all(text.encode() for text in seen), "half of a surrogate pair was shown"
    await expect(chat.program.find(".question-text")).to_have_text("讲个故事？")
    await chat.says("AI 生成")
    ((_, asked),) = model.requests
    assert asked["messages"] == [{"role": "user", "content": "讲个故事？"}]
    await chat.program.check_clean()


@pytest.mark.parametrize(
    "profile",
    [
        "ios",
        "devtools",
        "pc",
        *(pytest.param(old, marks=pytest.mark.full) for old in ("baselib-2.19", "baselib-3.8.11")),
    ],
)
async def test_whatever_the_host_does_the_text_is_the_same(serve: Serve, chat: Chat, profile: str) -> None:
    served = await serve({"m": DemoUpstream(pace=600, text=LONG)})
    await chat.open(served.url, profile=profile, cut="random", speed=10)
    await chat.ask("?")
    await chat.until_ended(LONG)
    await chat.program.check_clean()


async def test_stopping_stops_the_model_and_what_was_said_stands(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(["你好", "，世界", ""])
    served = await serve({"m": OpenAIUpstream(model.url)})
    await chat.open(served.url)
    await chat.ask("?")
    await chat.until_shown("你好，")
    await chat.tap("停止")
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1), seconds=5)
    await chat.until_ended("你好，世界")
    await chat.says("已停止")
    await chat.program.check_clean()


async def test_reasoning_is_folded_away(serve: Serve, chat: Chat) -> None:
    async def thinks(_prompt: Prompt) -> AsyncIterator[str | Reasoning]:
        yield Reasoning("先想一想，")
        yield Reasoning("再想一想。")
        yield "想好了。"

    await chat.open((await serve({"m": thinks})).url)
    await chat.ask("?")
    await chat.until_ended("思考过程想好了。")
    await chat.tap("展开思考过程")
    await chat.until_shown("思考过程先想一想，再想一想。想好了。")
    await chat.program.check_clean()


async def test_a_failure_is_told_in_words_and_one_tap_asks_again(serve: Serve, chat: Chat) -> None:
    prompts: list[Prompt] = []

    async def fails_once(prompt: Prompt) -> AsyncIterator[str]:
        prompts.append(prompt)
        yield "一半"
        if len(prompts) == 1:
            raise UpstreamError("upstream_error", "It broke.", retryable=True)
        yield "，和另一半。"

    await chat.open((await serve({"m": fails_once})).url)
    await chat.ask("?")
    await chat.says("模型在回答途中出错了，再问一次。")
    await chat.until_ended("一半")
    await chat.program.tap("text=再问一次 >> nth=-1")
    await chat.until_ended("一半，和另一半。")
    assert [message["content"] for message in prompts[1].messages] == ["?"], "what had failed was sent along"
    await chat.program.check_clean()


async def test_an_answer_is_copied_with_its_label_and_made_anew(serve: Serve, chat: Chat) -> None:
    prompts: list[Prompt] = []

    async def counts(prompt: Prompt) -> AsyncIterator[str]:
        prompts.append(prompt)
        yield f"第 {len(prompts)} 次回答"

    await chat.open((await serve({"m": counts})).url)
    await chat.ask("一")
    await chat.until_ended("第 1 次回答")
    await chat.tap("重新生成")
    await chat.until_ended("第 2 次回答")
    await chat.ask("二")
    await chat.until_ended("第 3 次回答")
    said = [[message["content"] for message in prompt.messages] for prompt in prompts]
    assert said == [["一"], ["一"], ["一", "第 2 次回答", "二"]]
    await chat.tap("复制回答")
    await chat.program.until("preview.notes.some(({ kind, value }) => kind === 'toast' && value === '已复制')")
    assert await chat.program.notes("clipboard") == ["第 3 次回答\n\n（以上内容由 AI 生成）"]
    await chat.program.check_clean()


async def test_a_limit_that_is_reached_is_told_in_words(serve: Serve, chat: Chat) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="好。")}, settings=Settings(starts_per_minute=1))
    await chat.open(served.url)
    await chat.ask("一")
    await chat.until_ended("好。")
    await chat.ask("二")
    await chat.says("你问得太快了，歇一会儿再问。")
    await chat.program.check_clean()


@pytest.mark.parametrize("pace", [150, pytest.param(30, marks=pytest.mark.full)])
async def test_an_answer_costs_little_set_data(
    serve: Serve, chat: Chat, pace: int, record_property: Callable[[str, object], None]
) -> None:
    """WeChat's advice is at most 20 calls a second; the whole answer of 1,679 characters has to do with 40 KB."""
    answer = (ROOT / "sdk" / "test" / "data" / "answer.md").read_text().strip()
    served = await serve({"m": DemoUpstream(pace=pace, text=answer)})
    await chat.open(served.url)
    await chat.program.reset_counters()
    await chat.ask("?")
    await chat.until_shown("微信小程序里的流式输出")
    await chat.until_over()
    counts = await chat.set_data()
    record_property("counts", f"{pace} pieces a second: {counts}")
    assert (counts["perSecond"] <= 20, counts["bytes"] <= 40 * 1024, counts["undefinedFields"]) == (True, True, []), (
        counts
    )


async def test_conversations_are_kept_and_reopened(serve: Serve, chat: Chat) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="# 标题\n\n- **一**\n- 二")})
    await chat.open(served.url)
    await chat.ask("第一个问题")
    await chat.until_ended("标题•一•二")
    await chat.tap("新对话")
    await chat.ask("第二个问题")
    await chat.until_ended("标题•一•二")
    await chat.tap("历史对话")
    await chat.program.tap("text=第一个问题 >> nth=-1")
    await expect(chat.program.find(".question-text")).to_have_text("第一个问题")
    assert await chat.shown() == "标题•一•二"
    await chat.tap("历史对话")
    await chat.program.find('[aria-label="删除 第一个问题"]').click()
    await chat.program.tap(".preview-modal-confirm")
    await chat.tap("返回")
    await chat.says("想聊点什么？")
    await chat.program.check_clean()


async def test_the_answer_to_a_conversation_that_was_deleted_is_stopped(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await deleted_in_mid_answer(serve, mock, chat)
    await chat.tap("返回")
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1), seconds=5)
    await chat.says("想聊点什么？")
    assert "说到一半" not in await chat.program.ask("JSON.stringify({ ...localStorage })")
    await chat.program.check_clean()


async def test_an_answer_that_ends_after_its_conversation_was_deleted_does_not_bring_it_back(
    serve: Serve, mock: Mock, chat: Chat
) -> None:
    model = await deleted_in_mid_answer(serve, mock, chat)
    model.release()
    await chat.program.ask("preview.idle()")
    assert "秘密" not in await chat.program.ask("JSON.stringify({ ...localStorage })")
    await chat.program.check_clean()


async def deleted_in_mid_answer(serve: Serve, mock: Mock, chat: Chat) -> MockModel:
    """Ask, and delete the conversation while it is answered; the history is on the screen then."""
    model = await mock(["说到一半", "", "的秘密"])
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url)
    await chat.ask("问题")
    await chat.until_shown("说到一")
    await chat.tap("历史对话")
    await chat.program.find('[aria-label="删除 问题"]').click()
    await chat.program.tap(".preview-modal-confirm")
    await chat.says("还没有对话")
    return model


async def test_an_old_conversation_is_opened_from_the_history_and_its_end_is_drawn_first(
    serve: Serve, chat: Chat
) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="新的回答")})
    await chat.open(served.url)
    said = [{"id": f"m{at}", "role": ("user", "assistant")[at % 2], "text": f"第 {at} 句"} for at in range(30)]
    kept = {"id": "c", "title": "长谈", "changed": 1, "messages": said}
    await chat.program.ask(f"(preview.app().store.write({json.dumps(kept)}), preview.app().store.setCurrent('c'))")
    await chat.kill_and_reopen(served.url)
    await chat.says("想聊点什么？")
    await chat.tap("历史对话")
    await chat.program.tap("text=长谈 >> nth=-1")
    questions = chat.program.find(".question-text")
    await expect(questions).to_have_text([f"第 {at} 句" for at in range(10, 30, 2)])
    await chat.ask("再问")
    await chat.until_ended("新的回答")
    await chat.program.tap("text=更早的消息")
    await expect(chat.program.find("#question-m12")).to_be_in_viewport()
    await expect(questions).to_have_text([*(f"第 {at} 句" for at in range(0, 30, 2)), "再问"])
    assert await chat.shown() == "新的回答"
    await chat.program.check_clean()


class Withdraws:
    """Says something that it takes back when it is told to."""

    def __init__(self) -> None:
        self.is_found = asyncio.Event()

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        sink.text("这一句有风险，不该留在屏幕上。")
        await self.is_found.wait()
        assert isinstance(sink, Retracts)
        sink.retract("这部分内容已撤回。", reason="content_filter")
        return Finish("content_filter")


async def test_what_was_withdrawn_is_gone_from_the_screen_and_the_phone(serve: Serve, chat: Chat) -> None:
    model = Withdraws()
    await chat.open((await serve({"m": model})).url)
    await chat.ask("?")
    await chat.until_shown("这一句有风险，不该留在屏幕上")
    model.is_found.set()
    await chat.until_ended("这部分内容已撤回。")
    await chat.says("部分内容已被撤回 · 部分内容未通过审核")
    assert "风险" not in await chat.program.ask("JSON.stringify({ ...localStorage })")
    await chat.program.check_clean()


async def test_the_list_follows_its_end_until_somebody_scrolls_up(serve: Serve, mock: Mock, chat: Chat) -> None:
    lines = [f"第 {number} 行\n\n" for number in range(60)]
    model = await mock([*lines, "", *lines])
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url)
    await chat.ask("?")
    rest = "(list => Math.round(list.scrollHeight - list.clientHeight - list.scrollTop))(document.querySelector('#list .preview-scroll'))"
    await chat.program.until("document.querySelector('wx-dazi-message')?.textContent.includes('第 59 行')")
    await chat.program.until(f"{rest} < 2")
    await chat.program.ask("document.querySelector('#list .preview-scroll').scrollBy(0, -400)")
    await expect(chat.labelled("回到最新")).to_be_visible()
    model.release()
    await chat.until_over()
    assert await chat.program.ask(rest) > 1000, "who read above was taken away"
    await chat.tap("回到最新")
    await chat.program.until(f"{rest} < 2")
    await expect(chat.labelled("回到最新")).to_have_count(0)
    await chat.program.check_clean()


async def test_the_keyboard_hides_nothing(serve: Serve, chat: Chat) -> None:
    served = await serve({"m": DemoUpstream(pace=math.inf, text="第一行\n\n" * 60)})
    await chat.open(served.url, profile="ios")
    await chat.ask("?")
    await chat.program.until("document.querySelector('wx-dazi-message')?.textContent.length > 170")
    box = "document.querySelector('.box').getBoundingClientRect()"
    assert await chat.program.ask(f"innerHeight - {box}.bottom") >= 34, "it lies under the bar of the phone"
    await chat.program.page.focus("wx-textarea textarea")
    await chat.program.ask("preview.keyboard(300)")
    await chat.program.until(f"innerHeight - {box}.bottom >= 300")
    await chat.program.until(
        "(list => list.scrollHeight - list.clientHeight - list.scrollTop)(document.querySelector('#list .preview-scroll')) < 2"
    )
    await chat.program.check_clean()


async def tappable(chat: Chat) -> set[str]:
    """What a screen reader says of the buttons and fields that can be seen."""
    session = await chat.program.page.context.new_cdp_session(chat.program.page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    heard = [node for node in nodes if not node["ignored"] and node["role"]["value"] in {"button", "textbox"}]
    return {node["name"]["value"] for node in heard}


async def test_who_cannot_see_hears_what_can_be_tapped(serve: Serve, chat: Chat) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="```js\n1\n```\n\n好。")})
    await chat.open(served.url)
    always = {"历史对话", "你的问题", "发送"}
    suggestions = {"打字机效果是怎么做到的？", "写一首关于雨夜的短诗", "用 Python 写一个快速排序"}
    assert await tappable(chat) == always | suggestions | {"比较 HTTP/1.1、HTTP/2 和 HTTP/3"}
    await chat.ask("问题")
    await chat.until_ended("js复制1好。")
    assert await tappable(chat) == always | {"新对话", "复制代码", "复制回答", "重新生成"}
    await chat.tap("历史对话")
    heard = {name[:2] if name.startswith("问题") else name for name in await tappable(chat)}
    assert heard == {"返回", "新对话", "问题", "删除 问题", "设置"}
    await chat.program.tap("text=设置 >> nth=-1")
    assert await tappable(chat) == {"返回", "网关地址", "开发令牌", "模型", "保存", "清空所有对话"}


async def test_in_the_dark_it_is_dark(serve: Serve, chat: Chat) -> None:
    """Also the links of the component, whose colour is the page's, by `--dazi-link`."""
    served = await serve({"m": DemoUpstream(pace=2000, text="[链接](https://dazi.example)")})
    await chat.open(served.url, theme="dark")
    await chat.ask("?")
    await chat.until_ended("链接")
    page, link = chat.program.find(".page"), chat.answer.locator("[class*='--link']")
    for theme, paper, accent in [
        ("dark", "rgb(23, 24, 26)", "rgb(240, 144, 127)"),
        ("light", "rgb(251, 251, 250)", "rgb(181, 56, 42)"),
    ]:
        await chat.program.ask(f"preview.theme('{theme}')")
        await expect(page).to_have_css("background-color", paper)
        await expect(link).to_have_css("color", accent)


async def test_who_clears_all_is_forgotten_by_the_phone_and_by_the_gateway(serve: Serve, chat: Chat) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="好。")})
    await chat.open(served.url)
    await chat.ask("问题")
    await chat.until_ended("好。")
    await chat.tap("历史对话")
    await chat.program.tap("text=设置 >> nth=-1")
    await chat.program.tap("text=清空所有对话 >> nth=-1")
    await chat.program.tap("text=清空 >> nth=-1")
    await chat.program.until("preview.notes.some(({ kind, value }) => kind === 'toast' && value === '已清空')")
    assert (await served.client.post("/v1/generations/erase")).json() == {"erased": 0}
    assert "问题" not in await chat.program.ask("JSON.stringify({ ...localStorage })")
    for _ in range(2):
        await chat.tap("返回")
    await chat.says("想聊点什么？")
    await chat.program.check_clean()


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_the_end_of_a_long_answer_costs_what_its_beginning_did(
    serve: Serve, chat: Chat, record_property: Callable[[str, object], None]
) -> None:
    """20,000 characters: of what stands nothing is drawn again, neither in `setData` nor in the browser's own work."""
    part = (ROOT / "sdk" / "test" / "data" / "answer.md").read_text().strip()
    text = "\n\n".join(f"## 第 {number} 部分\n\n{part}" for number in range(12))
    assert len(text) > 20_000
    await chat.open((await serve({"m": DemoUpstream(pace=300, text=text)})).url)
    session = await chat.program.page.context.new_cdp_session(chat.program.page)
    await session.send("Performance.enable")
    await chat.ask("?")
    sent: list[float] = []
    worked: list[float] = []
    for number in range(2, 12):
        await chat.program.until(
            f"document.querySelector('wx-dazi-message')?.textContent.includes('第 {number} 部分')", 60
        )
        metrics = {one["name"]: one["value"] for one in (await session.send("Performance.getMetrics"))["metrics"]}
        sent.append((await chat.set_data())["bytes"])
        worked.append(metrics["ScriptDuration"] + metrics["LayoutDuration"] + metrics["RecalcStyleDuration"])
    await chat.until_over()
    parts = [after - before for before, after in pairwise(sent)]
    assert max(parts) < 1.5 * min(parts), parts
    seconds = [after - before for before, after in pairwise(worked)]
    record_property("counts", "seconds of work for each part: " + " ".join(f"{one:.2f}" for one in seconds))
    assert sum(seconds[-3:]) < 2 * sum(seconds[:3]), seconds
    typed = await chat.shown()
    await chat.kill_and_reopen((await serve({"m": DemoUpstream()})).url)
    await chat.until_ended(typed)
