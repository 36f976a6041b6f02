"""The chat page in a real browser: what a person sees is what the gateway keeps, to the character."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from tests.conftest import Serve, Served
from tests.e2e.conftest import Mock
from tests.e2e.proxy import CuttingProxy
from tests.e2e.test_cuts import rough_line

from dazi.errors import UpstreamError
from dazi.settings import Settings
from dazi.upstream import Prompt
from dazi.upstream.custom import Yielded, from_generator
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.openai import OpenAIUpstream

KEY = "a-key-for-the-page-test-1"
WORDS = [
    "Once",
    " upon",
    " a",
    " time",
    "，从前",
    "有座",
    "山",
    "，",
    "👩\u200d🚀",
    "🇨🇳",
    "𠮷",
    " e\u0301",
    ".",
    "\n\n",
    "完",
    "。",
]

SHOWN = "one => one.shownText"
RAW = "one => one.rawText"
# The offsets in a text at which no grapheme is cut.
BOUNDARIES = "text => [...new Intl.Segmenter().segment(text)].map(({ index }) => index).concat(text.length)"


class Chat:
    """The page, as a person uses it. `answer` is the newest."""

    def __init__(self, page: Page, served: Served) -> None:
        self.page = page
        self.answer = page.locator("[data-answer]").last
        self._served = served

    async def open(self, origin: str = "") -> None:
        await self.page.goto(origin or self._served.url)

    async def ask(self, question: str) -> None:
        await self.page.locator("#question").fill(question)
        await self.page.keyboard.press("Enter")

    async def shown(self) -> str:
        return str(await self.answer.evaluate(SHOWN))

    async def until_shown(self, text: str) -> None:
        """Wait until this much is typed out."""
        await eventually(lambda: self._shows(text))

    async def _shows(self, text: str) -> bool:
        return (await self.shown()).startswith(text)

    async def until_ended(self, end: str) -> None:
        await expect(self.answer).to_have_attribute("data-state", "ended", timeout=15_000)
        await expect(self.answer).to_have_attribute("data-end", end)

    async def kept(self) -> dict[str, Any]:  # Any: JSON
        """What the gateway keeps of the newest answer."""
        generation = await self.answer.get_attribute("data-generation")
        headers = {"Authorization": f"Bearer {KEY}"}
        return dict((await self._served.client.get(f"/v1/generations/{generation}", headers=headers)).json())

    async def prove(self, text: str) -> None:
        """Check that the page holds, and shows, exactly this text, and that the gateway keeps it."""
        assert (await self.answer.evaluate(RAW), await self.shown()) == (text, text)
        assert (await self.kept())["text"] == text
        await expect(self.answer).to_have_attribute("data-proof", "held")


async def eventually(probe: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await probe():
            pass


@pytest.fixture
def chat(page: Page) -> Callable[[Served], Awaitable[Chat]]:
    async def start(served: Served) -> Chat:
        chat = Chat(page, served)
        await chat.open()
        return chat

    return start


Open = Callable[[Served], Awaitable[Chat]]


async def test_a_question_is_answered_letter_by_letter(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(WORDS, pace=0.08)
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("What happened, 然后呢?")
    seen = [await page.shown()]
    while await page.answer.get_attribute("data-state") != "ended":
        if (now := await page.shown()) != seen[-1]:
            seen.append(now)
    await page.until_ended("done")
    await page.prove("".join(WORDS))
    assert len(seen) > 5, "it came in lumps"
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    boundaries = await page.page.evaluate(BOUNDARIES, "".join(WORDS))
    assert {len(text.encode("utf-16-le")) // 2 for text in seen} <= set(boundaries), "a grapheme was shown in part"
    (_, asked), *others = model.requests
    assert (asked["messages"], others) == ([{"role": "user", "content": "What happened, 然后呢?"}], [])
    told = await page.answer.locator("[data-part=text]").inner_text()
    assert "".join(told.split()) == "".join("".join(WORDS).split())


@pytest.mark.parametrize("by", ["button", "Escape"])
async def test_stop_in_mid_stream_releases_the_model(serve: Serve, mock: Mock, chat: Open, by: str) -> None:
    model = await mock(["你好", "，", "世界", "", "！"])
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("?")
    await page.until_shown("你好，")
    await (page.page.locator("#stop").click() if by == "button" else page.page.keyboard.press(by))
    await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 1, 0))
    await page.until_ended("aborted")
    await page.prove("你好，世界")
    assert (await page.kept())["status"] == "aborted"
    await expect(page.page.locator("#send")).to_be_visible()


async def test_stop_before_the_first_token_releases_the_model(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["a"], holds_head=True)
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("?")
    await model.wait_until(lambda model: model.waiting == 1, seconds=5)
    await page.page.locator("#stop").click()
    await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 1, 0))
    await page.until_ended("aborted")
    await page.prove("")


async def test_a_reload_in_mid_stream_loses_and_doubles_nothing(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["从前", "有座山，", "", "山里", "有座庙。👨\u200d👩\u200d👧"])
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("?")
    await page.until_shown("从前有座山")
    await page.page.reload()
    await page.until_shown("从前有座山")
    assert not (await page.shown()).startswith("从前有座山，从")
    model.release()
    await page.until_ended("done")
    await page.prove("从前有座山，山里有座庙。👨\u200d👩\u200d👧")
    assert (len(model.requests), await page.answer.count()) == (1, 1)
    await page.page.reload()
    await page.until_ended("done")
    assert await page.shown() == "从前有座山，山里有座庙。👨\u200d👩\u200d👧"
    assert len(model.requests) == 1


async def test_a_reload_before_anything_came_asks_once(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["好"], holds_head=True)
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("?")
    await model.wait_until(lambda model: model.waiting == 1, seconds=5)
    await page.page.reload()
    model.release()
    await page.until_ended("done")
    await page.prove("好")
    assert len(model.requests) == 1


async def test_it_may_be_reloaded_again_and_again(serve: Serve, chat: Open) -> None:
    text, rng = "".join(WORDS) * 8, random.Random(6)
    page = await chat(await serve({"m": DemoUpstream(pace=40, text=text)}))
    await page.ask("?")
    for _ in range(4):
        await page.page.wait_for_timeout(rng.random() * 500)  # a moment that nothing chose
        await page.page.reload()
    await page.until_ended("done")
    await page.prove(text)


async def test_it_types_on_over_a_line_that_breaks_all_the_time(serve: Serve, page: Page) -> None:
    text = "".join(WORDS) * 4
    served = await serve({"m": DemoUpstream(pace=60, text=text)})
    lines = rough_line(random.Random(7))
    async with CuttingProxy(served.port, lines, where="v1/generations") as proxy:
        chat = Chat(page, served)
        await chat.open(f"http://127.0.0.1:{proxy.port}")
        await chat.ask("?")
        await chat.until_ended("done")
        await chat.prove(text)
        assert len(proxy.conversations) > 1


async def test_two_tabs_show_the_same(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["一", "二", "", "三"])
    served = await serve({"m": OpenAIUpstream(model.url)})
    first = await chat(served)
    await first.ask("?")
    await first.until_shown("一")
    second = Chat(await first.page.context.new_page(), served)
    await second.open()
    await second.until_shown("一")
    model.release()
    for tab in (first, second):
        await tab.until_ended("done")
        await tab.prove("一二三")
    assert len(model.requests) == 1


async def test_the_demo_is_shown_exactly(serve: Serve, chat: Open) -> None:
    page = await chat(await serve({"demo": DemoUpstream(pace=math.inf)}))
    await page.ask("你会写什么？")
    await page.until_ended("done")
    kept = (await page.kept())["text"]
    await page.prove(kept)
    rendered = await page.answer.locator("[data-part=text]").inner_text()
    for piece in ("春眠不觉晓", "𠮷野家", "👨\u200d👩\u200d👧\u200d👦 一家人", "🏴\U000e0067", "Z͑͗ạ̈l̰͋g̣̈o", "हिन्दी", "🎉"):
        assert piece in kept
        assert piece in rendered
    assert await page.answer.locator("code").count() > 0
    assert await page.answer.locator("table").count() == 1


MARKDOWN = """# 标题
段落 **粗** *斜* `code` [链接](https://a.b)
第二行

- 一
  - 一之一
- 二

3. three

   more of three
4. four

- [x] done

> 引用
>> 更深

```python
def f():
    return 1
```

| a | b |
|---|--:|
| 1 | **2**<br>x |

---
完"""


async def test_markdown_typed_out_is_what_markdown_shown_at_once_is(serve: Serve, chat: Open) -> None:
    page = await chat(await serve({"m": DemoUpstream(pace=60, text=MARKDOWN)}))
    await page.ask("?")
    await page.until_ended("done")
    await page.prove(MARKDOWN)
    text = page.answer.locator("[data-part=text]")
    typed = await text.inner_html()
    for tag in (
        "h2",
        "strong",
        "em",
        "p code",
        "a[rel]",
        "ul ul p",
        "ol li[value='4'] p",
        "blockquote blockquote",
        "td.right strong",
        "hr",
    ):
        assert await text.locator(tag).count() > 0, tag
    assert await text.locator("figure code").inner_text() == "def f():\n    return 1"
    assert await text.locator("li[value='3'] p").all_inner_texts() == ["three", "more of three"]
    await page.page.reload()
    await page.until_ended("done")
    assert await text.evaluate("one => (one.normalize(), one.innerHTML)") == typed


async def test_reasoning_is_folded_away(serve: Serve, chat: Open) -> None:
    page = await chat(await serve({"thinking": DemoUpstream(pace=math.inf, text="好", thoughts="让我想想 🤔")}))
    await page.ask("?")
    await page.until_ended("done")
    await page.prove("好")
    thoughts = page.answer.locator("[data-part=thoughts]")
    await expect(thoughts).to_be_hidden()
    await page.answer.locator("summary").first.click()
    await expect(thoughts).to_be_visible()
    assert await thoughts.inner_text() == "让我想想 🤔"


async def test_an_answer_is_text_whatever_it_holds(serve: Serve, chat: Open) -> None:
    text = (
        "<img src=x onerror='window.hit = 1'> <script>window.hit = 1</script>\n\n"
        "[a](javascript:window.hit=1) [b](https://example.com) ![c](https://example.com/x.png) <b>d</b>"
    )
    page = await chat(await serve({"m": DemoUpstream(pace=math.inf, text=text)}))
    await page.ask("<u>q</u>")
    await page.until_ended("done")
    await page.prove(text)
    shown = page.page.locator("article")
    assert await shown.locator("img, script, b, u").count() == 0
    links = await shown.locator("a").evaluate_all("all => all.map((one) => one.protocol)")
    assert set(links) <= {"https:"}
    assert await page.page.evaluate("window.hit") is None


async def test_the_chosen_model_answers(serve: Serve, chat: Open) -> None:
    page = await chat(
        await serve({"one": DemoUpstream(pace=math.inf, text="1"), "two": DemoUpstream(pace=math.inf, text="2")})
    )
    await page.page.locator("#model").select_option("two")
    await page.ask("?")
    await page.until_ended("done")
    await page.prove("2")
    assert (await page.kept())["model"] == "two"


async def test_where_a_key_is_needed_it_asks_for_one(serve: Serve, chat: Open) -> None:
    page = await chat(await serve({"m": DemoUpstream(pace=math.inf, text="好")}, settings=Settings(api_keys=(KEY,))))
    dialog = page.page.locator("#sign-in")
    await expect(dialog).to_be_visible()
    await sign_in(page, "not-the-key-of-this-gateway")
    await expect(dialog.locator("[role=alert]")).not_to_be_empty()
    await sign_in(page, KEY)
    await expect(dialog).to_be_hidden()
    await page.ask("?")
    await page.until_ended("done")
    await page.prove("好")
    (cookie,) = await page.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], KEY in cookie["value"]) == (True, "Strict", False)
    assert KEY not in str(
        await page.page.evaluate("JSON.stringify([localStorage, sessionStorage, location, document.cookie])")
    )


async def sign_in(chat: Chat, key: str) -> None:
    await chat.page.locator("#sign-in [type=password]").fill(key)
    await chat.page.keyboard.press("Enter")


async def test_a_session_that_was_lost_in_mid_answer_is_asked_for_again(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["你", "", "好"])
    served = await serve({"m": OpenAIUpstream(model.url)}, settings=Settings(api_keys=(KEY,)))
    page = await chat(served)
    await sign_in(page, KEY)
    await page.ask("?")
    await model.wait_until(lambda model: model.waiting == 1, seconds=5)
    await page.page.context.clear_cookies()
    await page.page.reload()
    await expect(page.page.locator("#sign-in")).to_be_visible()
    await sign_in(page, KEY)
    model.release()
    await page.until_ended("done")
    await page.prove("你好")
    assert len(model.requests) == 1


async def test_a_failure_is_told_in_words_and_can_be_tried_again(serve: Serve, mock: Mock, chat: Open) -> None:
    model = await mock(["好"], status=503)
    page = await chat(await serve({"m": OpenAIUpstream(model.url)}))
    await page.ask("再问")
    await page.until_ended("failed")
    trouble = page.answer.locator("[data-part=trouble]")
    await expect(trouble).to_be_visible()
    assert len(await trouble.locator("[data-part=error]").inner_text()) > 4
    assert "what a secret" not in await page.page.content()
    model.status = 200
    await trouble.locator("[data-act=again]").click()
    await page.until_ended("done")
    await page.prove("好")
    assert [request["messages"] for _, request in model.requests] == [[{"role": "user", "content": "再问"}]] * 2
    assert await page.page.locator("[data-answer]").count() == 1


async def test_what_was_said_before_a_failure_stands(serve: Serve, chat: Open) -> None:
    async def breaks_off(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield "说到一半 👩"
        raise UpstreamError("truncated", "It broke off.", retryable=True)

    page = await chat(await serve({"m": from_generator(breaks_off)}))
    await page.ask("?")
    await page.until_ended("failed")
    await page.prove("说到一半 👩")
    await expect(page.answer.locator("[data-part=error]")).to_have_attribute("data-error", "truncated")


async def test_it_fits_a_phone(serve: Serve, browser: Browser, tmp_path: Path) -> None:
    served = await serve({"demo": DemoUpstream(pace=math.inf)})
    context = await browser.new_context(
        viewport={"width": 360, "height": 640}, device_scale_factor=2, is_mobile=True, has_touch=True, locale="zh-CN"
    )
    chat = Chat(await context.new_page(), served)
    await chat.open()
    await expect(chat.page.locator("#question")).to_be_in_viewport()
    await chat.page.locator("#question").fill("在手机上好看吗？" + "w" * 200)
    await chat.page.locator("#send").tap()
    await chat.until_ended("done")
    await expect(chat.page.locator("#question")).to_be_in_viewport()
    assert await chat.page.evaluate("document.documentElement.scrollWidth") == 360
    target = await chat.page.locator("#send").bounding_box()
    assert target is not None
    assert min(target["width"], target["height"]) >= 40
    picture = tmp_path / "phone.png"
    await chat.page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
