"""What a person sees when the line, the phone or the gateway is in trouble: the answer goes on where it was, or its end is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.conftest import Serve
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.e2e.nginx import nginx
from tests.e2e.process import Dazi
from tests.log.redis_server import redis_server
from tests.miniprogram.chat import ANSWER, PATIENCE, Chat
from tests.waiting import until

from dazi.upstream.demo import DemoUpstream
from dazi.upstream.openai import OpenAIUpstream

FIRST = "前一半，👨\u200d👩\u200d👧\u200d👦 𠮷。"
SECOND = "后一半，一个字也不少。"
HALVES = [FIRST, "", SECOND]
TEXT = FIRST + SECOND
# The last character as a person sees it waits for what follows.
TYPED = FIRST[:-1]

Nodes = Callable[..., Awaitable[Dazi]]


async def test_ten_seconds_in_the_background_cost_nothing(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(HALVES)
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url, speed=10)
    await chat.ask("?")
    await chat.until_shown(TYPED)
    await chat.program.background()
    # After 5 s, which are half of one here, the platform cuts the line.
    await chat.program.until("preview.counts().interrupted > 0")
    model.release()
    await model.wait_until(lambda model: model.done == 1, seconds=PATIENCE)
    await chat.program.foreground()
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1
    await chat.program.check_clean()


async def test_a_screen_that_is_locked_for_ten_seconds_costs_nothing(
    serve: Serve, mock: Mock, page: Page, preview: str, built: Path
) -> None:
    """By the button of the preview's panel, on an iPhone, in the frame that a person sees."""
    model = await mock(HALVES)
    served = await serve({"m": OpenAIUpstream(model.url)})
    await page.goto(f"{preview}?app={built.parent.name}&profile=ios&speed=10&cut=random&fresh=1&gateway={served.url}")
    program = page.frame_locator("iframe")
    await program.locator("wx-textarea textarea").fill("?")
    await program.locator("[aria-label=发送]").click()
    answer = program.locator(ANSWER)
    await expect(answer).to_contain_text(TYPED)
    await page.locator("#lock").click()
    await expect(page.locator(".veil")).to_be_visible()
    # As after five seconds in the background.
    await page.wait_for_function("preview.counts().interrupted > 0")
    model.release()
    await expect(page.locator(".veil")).to_be_hidden()
    await expect(program.locator("[aria-label=重新生成]")).to_be_visible(timeout=PATIENCE * 1000)
    await expect(answer).to_have_text(TEXT)
    assert (len(model.requests), await page.evaluate("[preview.errors, preview.missing]")) == (1, [[], []])


@pytest.mark.parametrize("profile", ["android", "pc"])
async def test_a_network_that_is_away_is_waited_for(serve: Serve, mock: Mock, chat: Chat, profile: str) -> None:
    """Also on a PC, which gets no chunks, and polls."""
    model = await mock(HALVES)
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url, profile=profile, speed=10)
    await chat.ask("?")
    await chat.until_shown(TYPED)
    await chat.program.ask("preview.offline()")
    await chat.says("网络断开了，恢复后接着写")
    model.release()
    await model.wait_until(lambda model: model.done == 1, seconds=PATIENCE)
    await chat.program.ask("preview.online()")
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1
    await chat.program.check_clean()


async def test_who_was_killed_goes_on_where_it_was(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(HALVES)
    served = await serve({"m": OpenAIUpstream(model.url)})
    await chat.open(served.url)
    await chat.ask("问题")
    await chat.until_shown(TYPED)
    await chat.kill_and_reopen(served.url)
    await chat.until_shown(TYPED)
    await expect(chat.program.find(".question-text")).to_have_text("问题")
    model.release()
    await chat.until_ended(TEXT)
    await chat.kill_and_reopen(served.url)
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1
    await chat.program.check_clean()


async def test_who_asks_elsewhere_meanwhile_finds_both_answers_whole(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(HALVES)
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url, cut="random")
    await chat.ask("甲")
    await chat.until_shown(TYPED)
    await chat.tap("历史对话")
    await chat.program.tap("text=新对话 >> nth=-1")
    await chat.says("想聊点什么？")
    await chat.ask("乙")
    await chat.until_shown(TYPED)
    await chat.tap("历史对话")
    await chat.program.tap("text=甲 >> nth=-1")
    await expect(chat.program.find(".question-text")).to_have_text("甲")
    await chat.until_shown(TYPED)
    model.release()
    await chat.until_ended(TEXT)
    await chat.tap("历史对话")
    await chat.program.tap("text=乙 >> nth=-1")
    await expect(chat.program.find(".question-text")).to_have_text("乙")
    await chat.until_ended(TEXT)
    assert len(model.requests) == 2
    await chat.program.check_clean()


async def test_who_was_killed_at_once_has_asked_once(serve: Serve, mock: Mock, chat: Chat) -> None:
    model = await mock(["", TEXT])
    served = await serve({"m": OpenAIUpstream(model.url)})
    await chat.open(served.url)
    await chat.ask("问题")
    await model.wait_until(lambda model: model.waiting == 1, seconds=PATIENCE)
    await chat.kill_and_reopen(served.url)
    model.release()
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1


async def test_after_a_crash_what_was_shown_stays_and_one_tap_asks_again(mock: Mock, chat: Chat, nodes: Nodes) -> None:
    model = await mock(HALVES)
    node = await nodes(model)
    await chat.open(f"http://127.0.0.1:{node.port}")
    await chat.ask("?")
    await chat.until_shown(TYPED)
    node.signal(signal.SIGKILL)
    await node.gone()
    await nodes(model, "--port", str(node.port))
    await chat.says("这个回答已经不在服务器上了")
    await chat.until_ended(FIRST)
    model.release()
    await chat.program.tap("text=再问一次 >> nth=-1")
    await chat.until_ended(TEXT)
    await chat.program.check_clean()


async def test_a_node_of_two_is_restarted_in_mid_answer(
    mock: Mock, chat: Chat, nodes: Nodes, stack: AsyncExitStack, tmp_path: Path
) -> None:
    model = await mock(HALVES)
    leaving = await ask_one_of_two(model, chat, nodes, stack, tmp_path)
    leaving.signal(signal.SIGTERM)
    await until(lambda: "may finish" in leaving.said, seconds=PATIENCE)
    model.release()
    assert await leaving.gone(PATIENCE) == 0
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1
    await chat.program.check_clean()


@pytest.mark.full
async def test_a_node_of_two_that_is_killed_in_mid_answer_is_told_and_one_tap_asks_the_other(
    mock: Mock, chat: Chat, nodes: Nodes, stack: AsyncExitStack, tmp_path: Path
) -> None:
    model = await mock(HALVES)
    dying = await ask_one_of_two(model, chat, nodes, stack, tmp_path)
    dying.signal(signal.SIGKILL)
    await dying.gone()
    await chat.says("写这个回答的服务停了，上面的内容不完整")
    await chat.until_ended(FIRST)
    model.release()
    await chat.program.tap("text=再问一次 >> nth=-1")
    await chat.until_ended(TEXT)
    await chat.program.check_clean()


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_network_that_is_away_for_minutes_is_told_and_what_was_written_comes_when_it_is_back(
    serve: Serve, mock: Mock, chat: Chat
) -> None:
    model = await mock(HALVES)
    await chat.open((await serve({"m": OpenAIUpstream(model.url)})).url)
    await chat.ask("?")
    await chat.until_shown(TYPED)
    await chat.program.ask("preview.offline()")
    model.release()
    await chat.program.until("document.body.textContent.includes('网络断开了。回答还在服务器上写着')", seconds=200)
    await expect(chat.program.find(".trouble-button")).to_have_text("重新连接")
    assert await chat.shown() == FIRST
    await chat.program.ask("preview.online()")
    await chat.until_ended(TEXT)
    assert len(model.requests) == 1
    await chat.program.check_clean()


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_minute_of_answer_outlives_the_platforms_limit(serve: Serve, chat: Chat) -> None:
    """A request ends after 60 s, which are 12 here, and the program goes away in between."""
    text = "".join(f"第 {number} 句话，一个字也不少。" for number in range(300))
    served = await serve({"m": DemoUpstream(pace=100, text=text)})
    await chat.open(served.url, speed=5, cut="random")
    await chat.ask("?")
    for _ in range(3):
        await chat.program.page.wait_for_timeout(4000)
        await chat.program.background(10)
    await expect(chat.labelled("停止")).to_have_count(0, timeout=120_000)
    await chat.until_ended(text)
    await chat.program.check_clean()


async def ask_one_of_two(model: MockModel, chat: Chat, nodes: Nodes, stack: AsyncExitStack, folder: Path) -> Dazi:
    """The example of deploy/two-nodes: one Redis, and nginx before them. Gives the node that answers."""
    log = stack.enter_context(redis_server()).url
    pair = await asyncio.gather(*(nodes(model, "--log", log, "--drain", "15", DAZI_LEASE="1") for _ in range(2)))
    port = await stack.enter_async_context(nginx([node.port for node in pair], folder))
    await chat.open(f"http://127.0.0.1:{port}")
    await chat.ask("?")
    await chat.until_shown(TYPED)
    running = [(await node.client.get("/health/ready")).json()["running"] for node in pair]
    return pair[running.index(1)]


@pytest.fixture
def nodes(stack: AsyncExitStack, tmp_path: Path) -> Nodes:
    """Start `dazi serve` before a model's server."""

    async def start(model: MockModel, *arguments: str, **settings: str) -> Dazi:
        environ = {"OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "m", **settings}
        node = await Dazi.run(*arguments, folder=tmp_path, environ=environ)
        stack.push_async_callback(node.end)
        return await node.ready()

    return start
