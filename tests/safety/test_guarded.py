"""What reaches readers of an answer that is judged while it streams: over every log, however it is cut."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.log.redis_server import redis_server
from tests.puppet import Acting, Play, Puppet
from tests.safety.test_windows import pieces_of
from tests.waiting import until

from dazi.errors import Unchecked, UpstreamError
from dazi.events import Answer, Done, Failed, Retract, Text
from dazi.log import START, Cursor, Log, Record
from dazi.log.memory import MemoryLog
from dazi.log.redis import RedisLog
from dazi.log.sqlite import SqliteLog
from dazi.safety import Checker, Passage, Verdict
from dazi.safety.folding import fold as folded
from dazi.safety.guarded import Guarded
from dazi.safety.policy import Judgement, Policy, Rules
from dazi.safety.words import WordList
from dazi.service import Gateway, Limits
from dazi.service.views import append_view
from dazi.upstream import Finish, Prompt, Retracts, Sink

PROMPT = Prompt("m", [{"role": "user", "content": "hi"}])
WORD = "违禁词"
LOGS = ("memory", "sqlite", "redis")


class Judge:
    """A checker that lets the test wait for its questions, and give their verdicts."""

    name = "judge"

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[Passage, asyncio.Future[Verdict]]] = asyncio.Queue()

    async def check(self, passage: Passage) -> Verdict:
        if passage.kind == "prompt":
            return "pass"
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((passage, verdict))
        return await verdict

    async def answer(self, verdict: Verdict | Exception) -> str:
        """Wait for the next question and answer it; returns its text."""
        passage, waiting = await asyncio.wait_for(self.asked.get(), 5)
        if isinstance(verdict, Exception):
            waiting.set_exception(verdict)
        else:
            waiting.set_result(verdict)
        return passage.text


class Broken:
    name = "broken"

    async def check(self, _passage: Passage) -> Verdict:
        raise Unchecked("it is down")


@pytest.fixture(params=LOGS)
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
    elif request.param == "sqlite":
        yield SqliteLog(tmp_path / "log.db")
    else:
        with redis_server() as server:
            yield RedisLog.from_url(server.url)


@pytest.fixture
async def gateway(log: Log) -> AsyncIterator[Gateway]:
    """A gateway whose models tests put in as they go."""
    made = Gateway(log, {"m": Puppet()}, limits=Limits(window=0.001))
    await made.open()
    yield made
    await made.close()


def put(gateway: Gateway, upstream: Puppet | Acting | Saying, checkers: Sequence[Checker], rules: Rules) -> None:
    gateway._models["m"] = Guarded(upstream, Policy(checkers, rules))


class Saying:
    """An upstream that says pieces, and lets others run after some."""

    def __init__(self, pieces: Sequence[str], pauses: set[int]) -> None:
        self._pieces = pieces
        self._pauses = pauses

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        for number, piece in enumerate(self._pieces):
            sink.text(piece)
            if number in self._pauses:
                await asyncio.sleep(0.002)
        return Finish()


class Follower:
    """Readers of one generation: one that hears all as it comes, and the answers that others had at any time."""

    def __init__(self, gateway: Gateway, generation: str) -> None:
        self.live = Answer()
        self.texts: list[str] = []
        self.cursors: list[tuple[Cursor, str]] = []
        self._stop = gateway.observe(generation, self._hear)

    def _hear(self, record: Record) -> None:
        self.live.fold(record.event)
        self.texts.append(self.live.text)
        self.cursors.append((Cursor(record.epoch, record.position), self.live.text))


async def run(gateway: Gateway) -> tuple[str, Follower]:
    opened = await gateway.start("local", PROMPT)
    follower = Follower(gateway, opened.generation)
    await gateway.ended("local", opened.generation)
    await until(lambda: follower.live.end is not None)
    return opened.generation, follower


async def agree(gateway: Gateway, generation: str, follower: Follower) -> Answer:
    """See that live, resumed and late readers have the same answer; returns it."""
    late, _ = await gateway.answer("local", generation)
    for cursor, text in [(START, ""), *follower.cursors]:
        answer = Answer()
        answer.fold(Text(text))
        for _, event in append_view(await gateway.read("local", generation, cursor)):
            answer.fold(event)
        assert answer.text == late.text
    assert follower.live.text == late.text
    assert late.end is not None
    assert (late.end.n, late.end.crc32) == (len(late.text.encode("utf-16-le")) // 2, zlib.crc32(late.text.encode()))
    return late


FINE = st.text("ab1 .。！\n好🍆é\u200b", max_size=60)
SPLIT = st.lists(st.text("\u200b *\ufe0f", max_size=6), min_size=2, max_size=2)


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, str, list[str], set[int], Rules]:
    """Draw what a model says: what stands before a risky phrase and the whole of it; cut into pieces, with pauses; and rules."""
    before, after = draw(FINE), draw(FINE)
    one, two = draw(SPLIT)
    phrase = draw(st.sampled_from([WORD[0] + one + WORD[1] + two + WORD[2], ""]))
    text = before + phrase + after
    pieces = pieces_of(text, draw(st.lists(st.integers(0, 30), max_size=12)))
    pauses = draw(st.sets(st.integers(0, len(pieces))))
    rules = Rules(
        mode=draw(st.sampled_from(["hold", "show"])),
        window=draw(st.integers(1, 20)),
        overlap=draw(st.integers(len(WORD) - 1, 8)),
        delay=draw(st.sampled_from([0.0, 0.001, 5.0])),
    )
    return (before if phrase else text), text, pieces, pauses, rules


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
async def test_no_reader_keeps_a_character_of_a_risky_window(
    gateway: Gateway, story: tuple[str, str, list[str], set[int], Rules]
) -> None:
    safe, text, pieces, pauses, rules = story
    windows: list[tuple[str, bool]] = []
    words = WordList([WORD])

    async def check(passage: Passage) -> Verdict:
        found = words.finds(passage.text)
        if passage.kind == "text":
            windows.append((passage.text, found))
        return "risky" if found else "pass"

    put(gateway, Saying(pieces, pauses), [check], rules)  # type: ignore[list-item]  # a function counts as one
    generation, follower = await run(gateway)
    answer = await agree(gateway, generation, follower)
    assert isinstance(answer.end, Done)
    if safe == text:
        assert (answer.text, answer.end.finish_reason) == (text, "stop")
        return
    assert answer.end.finish_reason == "content_filter"
    assert safe.startswith(answer.text)
    # The window that did not pass is what follows the text that stays.
    risky = [window for window, found in windows if found]
    assert len(risky) == 1
    assert text.startswith(risky[0], len(answer.text))
    if rules.mode == "hold":
        assert not any(isinstance(part, Retract) for _, part in append_view(await gateway.read("local", generation)))
        assert all(safe.startswith(seen) for seen in follower.texts)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
async def test_what_was_taken_back_is_in_the_log_no_more(
    gateway: Gateway, story: tuple[str, str, list[str], set[int], Rules]
) -> None:
    _, _, pieces, pauses, rules = story
    put(gateway, Saying(pieces, pauses), [WordList([WORD])], rules)
    generation, _ = await run(gateway)
    page = await gateway.read("local", generation)
    assert not [record for record in page.records if set(WORD) & set(repr(record.event))]


# Hold, and show


async def begin(gateway: Gateway, checkers: Sequence[Checker], rules: Rules) -> tuple[Play, Follower, str]:
    puppet = Puppet()
    put(gateway, puppet, checkers, rules)
    opened = await gateway.start("local", PROMPT)
    return await puppet.play(), Follower(gateway, opened.generation), opened.generation


@pytest.fixture
async def here() -> AsyncIterator[Gateway]:
    """A gateway with a log in memory."""
    made = Gateway(MemoryLog(), {"m": Puppet()})
    yield made
    await made.close()


async def test_in_hold_only_what_was_judged_is_shown(here: Gateway) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(window=4, overlap=2))
    play.say("今天天气", "很好。")
    assert await judge.answer("pass") == "今天天气很好。"
    await until(lambda: follower.live.text == "今天天气很")
    play.say("我们去散步吧。")
    assert await judge.answer("pass") == "好。我们去散步吧。"
    await until(lambda: follower.live.text == "今天天气很好。我们去散步")
    play.finish()
    await here.ended("local", generation)
    assert follower.live.text == "今天天气很好。我们去散步吧。"


async def test_in_show_what_is_risky_is_taken_back_and_the_model_is_stopped(here: Gateway) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(mode="show", window=4, overlap=2))
    play.say("今天天气很好。")
    assert follower.live.text == "今天天气很好。"
    await judge.answer("pass")
    play.say("我们去做坏事吧。")
    assert follower.live.text == "今天天气很好。我们去做坏事吧。"
    await judge.answer("risky")
    await here.ended("local", generation)
    await play.wait_released()
    assert follower.live.text == "今天天气很"
    assert isinstance(follower.live.end, Done)
    assert follower.live.end.finish_reason == "content_filter"


async def test_a_slow_checker_is_asked_about_all_that_came_meanwhile(here: Gateway) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(window=4, overlap=0))
    play.say("今天天气很好。")
    passage, verdict = await judge.asked.get()
    play.say("我们去散步。", "买了花。", "也买了鱼。", "然后")
    verdict.set_result("pass")
    assert passage.text == "今天天气很好。"
    assert await judge.answer("pass") == "我们去散步。买了花。也买了鱼。"
    play.finish()
    assert await judge.answer("pass") == "然后"
    await here.ended("local", generation)
    assert follower.live.text == "今天天气很好。我们去散步。买了花。也买了鱼。然后"


async def test_what_is_said_slowly_is_judged_after_a_delay(here: Gateway) -> None:
    judge = Judge()
    play, follower, _ = await begin(here, [judge], Rules(window=100, overlap=0, delay=0.02))
    play.say("今天")
    assert await judge.answer("pass") == "今天"
    await until(lambda: follower.live.text == "今天")
    play.say("天气")
    assert await judge.answer("pass") == "天气"
    play.finish()


async def test_the_end_waits_for_the_last_verdict(here: Gateway) -> None:
    judge = Judge()
    for mode in ("hold", "show"):
        play, follower, generation = await begin(here, [judge], Rules(mode=mode))
        play.say("今天")
        play.finish()
        _, verdict = await judge.asked.get()
        assert (await here.read("local", generation)).end is None
        verdict.set_result("risky")
        await here.ended("local", generation)
        assert follower.live.text == ""


# Reasoning and tools


async def test_reasoning_is_held_until_it_was_judged_and_stands_before_the_answer(here: Gateway) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(mode="show", window=4, overlap=2))
    play.think("先想一想。")
    passage, verdict = await judge.asked.get()
    assert (passage.kind, passage.text, follower.live.reasoning) == ("reasoning", "先想一想。", "")
    verdict.set_result("pass")
    await until(lambda: follower.live.reasoning == "先想一")
    play.say("想好了。")
    await until(lambda: follower.live.reasoning == "先想一想。")
    assert await judge.answer("pass") == "想好了。"
    play.finish()
    await here.ended("local", generation)
    assert (follower.live.reasoning, follower.live.text) == ("先想一想。", "想好了。")


async def test_a_risky_thought_is_shown_to_nobody_and_ends_the_answer(here: Gateway) -> None:
    def think(sink: Sink) -> None:
        sink.reasoning(f"怎么说{WORD}呢")
        sink.text("好")

    put(here, Acting(think), [WordList([WORD])], Rules())
    generation, follower = await run(here)
    answer = await agree(here, generation, follower)
    assert (answer.reasoning, answer.text) == ("", "")
    assert isinstance(answer.end, Done)
    assert answer.end.finish_reason == "content_filter"


async def test_reasoning_that_goes_on_behind_the_answer_is_judged_with_its_beginning(here: Gateway) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(window=2, overlap=2, delay=0.01))
    play.think("想一想违")
    assert await judge.answer("pass") == "想一想违"
    play.say("好的")
    play.think("禁词")
    found = {await judge.answer("pass"), await judge.answer("pass")}
    play.finish()
    assert found == {"好的", "想违禁词"}
    await here.ended("local", generation)
    assert follower.live.reasoning == "想一想违禁词"


@pytest.mark.parametrize("mode", ["hold", "show"])
@pytest.mark.parametrize(
    "arguments",
    [
        f'{{"q": "{WORD}"}}',
        '{"q": "\\u8fdd\\u7981\\u8bcd"}',
        '{"q": "\\u8fdd\\u7981\\u8bcd',
        '{"q": "\\u8fdd\\u7981\\u8bcd", "q": "fine"}',
        f"no JSON {WORD}",
    ],
)
async def test_a_tool_call_is_judged_whole_and_shown_only_then(here: Gateway, mode: str, arguments: str) -> None:
    def call(sink: Sink, said: str) -> None:
        sink.tool_call(0, call_id="c", name="search")
        for character in said:
            sink.tool_call(0, arguments=character)

    rules = Rules(mode=mode)  # type: ignore[arg-type]
    put(here, Acting(lambda sink: call(sink, arguments)), [WordList([WORD])], rules)
    generation, follower = await run(here)
    answer = await agree(here, generation, follower)
    assert answer.tool_calls == ()
    assert isinstance(answer.end, Done)
    assert answer.end.finish_reason == "content_filter"
    put(here, Acting(lambda sink: call(sink, '{"q": "fine"}')), [WordList([WORD])], rules)
    generation, follower = await run(here)
    calls = (await agree(here, generation, follower)).tool_calls
    assert [(one.call_id, one.name, one.arguments) for one in calls] == [("c", "search", '{"q": "fine"}')]


# What an upstream takes back, and how it ends


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_what_an_upstream_takes_back_is_judged_no_more(here: Gateway, mode: str) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(mode=mode, window=4, overlap=0))  # type: ignore[arg-type]
    play.say("今天天气很好。")
    await judge.answer("pass")
    await until(lambda: follower.live.text == "今天天气很好。")
    play.say("我们去做坏事。")
    _, verdict = await judge.asked.get()
    assert isinstance(play.sink, Retracts)
    play.sink.retract("重新来过。", reason="upstream")
    verdict.set_result("risky")
    assert await judge.answer("pass") == "重新来过。"
    play.finish()
    await here.ended("local", generation)
    answer = await agree(here, generation, follower)
    assert (answer.text, answer.end and answer.end.crc32) == ("重新来过。", zlib.crc32("重新来过。".encode()))


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_what_was_said_before_the_model_failed_is_judged_and_stands(here: Gateway, mode: str) -> None:
    play, follower, generation = await begin(here, [WordList([WORD])], Rules(mode=mode))  # type: ignore[arg-type]
    play.say("今天天气")
    play.fail(UpstreamError("upstream_error", "It broke.", retryable=True))
    await here.ended("local", generation)
    assert follower.live.text == "今天天气"
    assert isinstance(follower.live.end, Failed)
    assert follower.live.end.code == "upstream_error"


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_an_abort_stops_the_model_and_asks_no_more(here: Gateway, mode: str) -> None:
    judge = Judge()
    play, _, generation = await begin(here, [judge], Rules(mode=mode, window=2))  # type: ignore[arg-type]
    play.say("今天天气很好。")
    _, verdict = await judge.asked.get()
    await here.abort("local", generation)
    await play.wait_released()
    await until(lambda: here.running == 0)
    assert verdict.cancelled()
    assert [task for task in asyncio.all_tasks() if "watch" in task.get_name()] == []


async def test_what_ran_out_of_time_keeps_only_what_was_judged() -> None:
    judge, puppet = Judge(), Puppet()
    guarded = Guarded(puppet, Policy([judge], Rules(mode="show", window=4, overlap=0)))
    gateway = Gateway(MemoryLog(), {"m": guarded}, limits=Limits(seconds=0.05))
    opened = await gateway.start("local", PROMPT)
    play = await puppet.play()
    play.say("今天天气很好。")
    await judge.answer("pass")
    play.say("还没有判断过的话。")
    await gateway.ended("local", opened.generation)
    answer, _ = await gateway.answer("local", opened.generation)
    assert answer.text == "今天天气很好。"
    assert isinstance(answer.end, Failed)
    assert answer.end.code == "time_limit"
    await gateway.close()


# Who cannot judge


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_an_answer_that_cannot_be_judged_fails_and_keeps_what_was(here: Gateway, mode: str) -> None:
    judge = Judge()
    play, follower, generation = await begin(here, [judge], Rules(mode=mode, window=4, overlap=0))  # type: ignore[arg-type]
    play.say("今天天气很好。")
    await judge.answer("pass")
    play.say("我们去散步吧。")
    await judge.answer(Unchecked("it is down"))
    await here.ended("local", generation)
    await play.wait_released()
    assert follower.live.text == "今天天气很好。"
    assert isinstance(follower.live.end, Failed)
    assert (follower.live.end.code, follower.live.end.retryable) == ("safety_unavailable", True)


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_a_fault_while_judging_leaves_nothing_that_was_not_judged(here: Gateway, mode: str) -> None:
    def heard(judgement: Judgement) -> None:
        if judgement.kind == "text":
            raise LookupError

    policy = Policy([WordList([WORD])], Rules(mode=mode))  # type: ignore[arg-type]
    policy.observer = heard
    here._models["m"] = Guarded(Acting(lambda sink: sink.text("今天天气")), policy)
    generation, follower = await run(here)
    answer = await agree(here, generation, follower)
    assert isinstance(answer.end, Failed)
    assert (answer.text, answer.end.code) == ("", "internal")


async def test_an_operator_may_let_pass_what_cannot_be_judged(here: Gateway) -> None:
    put(here, Acting(lambda sink: sink.text(f"今天{WORD}")), [Broken()], Rules(unchecked="pass"))
    generation, follower = await run(here)
    assert (await agree(here, generation, follower)).text == f"今天{WORD}"
    put(here, Acting(lambda sink: sink.text(WORD)), [Broken(), WordList([WORD])], Rules(unchecked="pass"))
    generation, follower = await run(here)
    assert (await agree(here, generation, follower)).text == ""


def test_folding_is_what_hides_the_phrases_of_these_tests() -> None:
    assert folded("违\u200b禁*词") == WORD
