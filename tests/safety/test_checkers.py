"""The contract of checkers, which every one of them keeps; and what is particular about each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from tests.conftest import listening
from tests.safety.worlds import APP, FINE, REVIEW, RISKY, SECRET, WORLDS, Server, World, judge, opened
from tests.waiting import until

from dazi.errors import ConfigError, Unchecked
from dazi.safety import MOST_CHARACTERS, Checker, Passage, Verdict
from dazi.safety.endpoint import HttpChecker
from dazi.safety.function import THREADS, FunctionChecker
from dazi.safety.wechat import WeChatChecker
from dazi.upstream import NOBODY, Asker
from dazi.wechat import FakeWeChat, WeChat

# A list of words needs nobody; a function has no quota but its own.
CANNOT_HAPPEN = {("go_down", "words"), ("use_up", "words"), ("use_up", "check")}
KINDS = ("prompt", "text", "reasoning", "tool_call")


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with WORLDS[request.param]() as made, opened(made.checker):
        yield made


async def ask(world: World, text: str) -> Verdict:
    return await world.checker.check(Passage(text, "text", world.asker))


# The contract


async def test_it_is_a_checker_with_a_name(world: World) -> None:
    assert isinstance(world.checker, Checker)
    assert world.checker.name


async def test_the_verdict_is_one_of_three_words(world: World) -> None:
    assert await ask(world, FINE) == "pass"
    assert await ask(world, RISKY) == "risky"
    assert await ask(world, REVIEW) == ("review" if world.knows_review else "pass")


async def test_every_kind_is_judged(world: World) -> None:
    found = [await world.checker.check(Passage(RISKY, kind, world.asker)) for kind in KINDS]  # type: ignore[arg-type]
    assert found == ["risky"] * len(KINDS)


async def test_the_longest_passage_is_judged_to_its_end(world: World) -> None:
    fine = "好" * MOST_CHARACTERS
    assert await ask(world, fine) == "pass"
    assert await ask(world, fine[:-2] + "违禁") == "risky"
    assert await ask(world, "🍆" * (MOST_CHARACTERS // 2 - 1) + "违禁") == "risky"


async def test_any_text_is_judged(world: World) -> None:
    for text in ('"}\\\n\r\x00\u2028', " ", "违\u0000禁"[:1], "😀", "\ufffd"):
        assert await ask(world, text) == "pass"


async def test_many_ask_at_once_and_each_hears_its_own_verdict(world: World) -> None:
    texts = [RISKY if number % 3 == 0 else FINE for number in range(30)]
    verdicts = await asyncio.gather(*(ask(world, f"{text} {number}") for number, text in enumerate(texts)))
    assert verdicts == ["risky" if text is RISKY else "pass" for text in texts]


@pytest.mark.parametrize("trouble", ["go_down", "use_up"])
async def test_what_could_not_be_judged_never_passes(
    world: World, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ask(world, FINE) == "pass"
    make = getattr(world, trouble)
    if make is None:
        assert (trouble, world.checker.name) in CANNOT_HAPPEN
        return
    make()
    with pytest.raises(Unchecked) as caught:
        await ask(world, RISKY)
    assert RISKY not in str(caught.value) + repr(caught.value) + caplog.text
    assert caught.value.__cause__ is None


async def test_giving_up_lets_go_of_the_question(world: World) -> None:
    if world.get_stuck is None:
        return
    world.get_stuck()
    asking = asyncio.create_task(ask(world, FINE))
    await until(world.is_asked)
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(world.has_let_go)


async def test_nothing_of_the_text_is_in_a_repr(world: World) -> None:
    passage = Passage(RISKY, "text", world.asker)
    assert RISKY not in repr(passage)
    if world.asker.openid:
        assert world.asker.openid not in repr(passage)
    assert "object at" not in repr(world.checker)


# A server


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    async with listening(server) as port:
        yield server, f"http://127.0.0.1:{port}"


async def test_a_server_is_told_what_the_documents_say(server: tuple[Server, str]) -> None:
    asked, url = server
    async with opened(HttpChecker(f"{url}/judge", key="a-secret-key")) as checker:
        await checker.check(Passage("你好", "prompt", Asker("wx:1", "app", "openid")))
    assert asked.questions == [{"text": "你好", "kind": "prompt", "owner": "wx:1"}]
    assert asked.headers[0][b"authorization"] == b"Bearer a-secret-key"
    assert asked.headers[0][b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        ((200, b"fine"), False),
        ((200, b"{}"), False),
        ((200, b'{"verdict":"maybe"}'), False),
        ((200, b'{"verdict":"pass"' + b" " * 70_000 + b"}"), False),
        ((204, b""), False),
        ((302, b'{"verdict":"pass"}'), False),
        ((401, b'{"verdict":"pass"}'), False),
        ((429, b'{"verdict":"pass"}'), False),
        ((503, b""), False),
        ((500, b""), True),
    ],
)
async def test_what_is_no_verdict_is_none(
    answer: tuple[int, bytes], *, again: bool, server: tuple[Server, str]
) -> None:
    asked, url = server
    asked.answer = answer
    async with opened(HttpChecker(url)) as checker:
        with pytest.raises(Unchecked) as caught:
            await checker.check(Passage(FINE, "text"))
    assert caught.value.again is again
    assert len(asked.questions) == 1


async def test_a_server_that_is_not_there_may_be_asked_again() -> None:
    async with opened(HttpChecker("http://127.0.0.1:9/judge?token=secret")) as checker:
        with pytest.raises(Unchecked) as caught:
            await checker.check(Passage(FINE, "text"))
    assert caught.value.again
    assert "secret" not in str(caught.value)


# A function


class Judge:
    async def __call__(self, passage: Passage) -> Verdict:
        return "risky" if passage.kind == "text" else "pass"


async def test_an_object_with_an_async_call_is_a_function() -> None:
    assert await FunctionChecker(Judge()).check(Passage(FINE, "text")) == "risky"


async def test_what_a_function_returns_must_be_a_verdict() -> None:
    async with opened(FunctionChecker(lambda _: True)) as checker:  # type: ignore[arg-type]
        with pytest.raises(Unchecked, match="a bool"):
            await checker.check(Passage(FINE, "text"))


async def test_questions_that_were_given_up_while_all_threads_are_stuck_leave_nothing_behind() -> None:
    go_on = threading.Event()

    def check(passage: Passage) -> Verdict:
        go_on.wait(20)
        return judge(passage.text)

    async with opened(FunctionChecker(check)) as checker:
        stuck = [asyncio.create_task(checker.check(Passage(FINE, "text"))) for _ in range(THREADS)]
        assert isinstance(checker, FunctionChecker)
        await until(checker._slots.locked)
        for _ in range(50):
            waiting = asyncio.create_task(checker.check(Passage(RISKY, "text")))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        for one in stuck[:8]:
            one.cancel()
        assert checker._threads is not None
        assert checker._threads._work_queue.qsize() == 0
        assert checker._slots.locked()
        go_on.set()
        assert await asyncio.wait_for(checker.check(Passage(RISKY, "text")), 5) == "risky"
        assert await asyncio.gather(*stuck[8:]) == ["pass"] * 8


def test_a_function_is_found_by_its_name() -> None:
    assert FunctionChecker.load("tests.safety.worlds:judge").name == "judge"


@pytest.mark.parametrize("reference", ["judge", "no.such.module:x", "tests.safety.worlds:nothing", f"{__name__}:KINDS"])
def test_a_reference_that_is_no_function_stops_the_start(reference: str) -> None:
    with pytest.raises(ConfigError, match=reference):
        FunctionChecker.load(reference)


# WeChat


@pytest.fixture
async def wechat() -> AsyncIterator[tuple[FakeWeChat, WeChat]]:
    fake = FakeWeChat({APP: SECRET})
    async with listening(fake) as port:
        client = WeChat({APP: SECRET}, url=f"http://127.0.0.1:{port}")
        yield fake, client
        await client.close()


async def test_who_came_by_no_mini_program_is_judged_by_others_or_by_nobody(
    wechat: tuple[FakeWeChat, WeChat],
) -> None:
    fake, client = wechat
    with pytest.raises(Unchecked, match="mini program"):
        await WeChatChecker(client).check(Passage(RISKY, "text", NOBODY))
    assert await WeChatChecker(client, skips_others=True).check(Passage(RISKY, "text", NOBODY)) == "pass"
    assert fake.calls["/wxa/msg_sec_check"] == 0


async def test_a_user_who_was_not_there_lately_is_not_judged(wechat: tuple[FakeWeChat, WeChat]) -> None:
    _, client = wechat
    with pytest.raises(Unchecked, match="two hours") as caught:
        await WeChatChecker(client).check(Passage(FINE, "text", Asker("wx:1", APP, "o-never-seen")))
    assert not caught.value.again
