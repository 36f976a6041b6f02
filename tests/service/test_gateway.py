from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from tests.log.contract import covers_all, fold
from tests.puppet import Acting, Play, Puppet, Scripted
from tests.waiting import until

from dazi.errors import ConfigError, Conflict, DaziError, GenerationError, NotFound, Unavailable, UpstreamError
from dazi.events import Aborted, Done, End, Event, Failed, Started, Text, Usage, status_of
from dazi.log import START, Cursor, Draft, Opened, Page, Record
from dazi.log.memory import MemoryLog
from dazi.quota import Ask, Verdict
from dazi.quota.memory import MemoryQuota
from dazi.service import Gateway, Limits
from dazi.service.allowance import Allowance
from dazi.service.turns import Turns
from dazi.upstream import Finish, Prompt, Sink, Upstream
from dazi.upstream.custom import Yielded, from_generator

PROMPT = Prompt("m", [{"role": "user", "content": "hi"}])
Result = TypeVar("Result")
SECRET = "what the user asked"


class Unhurried(MemoryLog):
    """A log whose calls take a turn of the loop before and after, as a durable one's do."""

    async def create(self, draft: Draft) -> Opened:
        return await self._slowly(super().create(draft))

    async def find(self, owner: str, key: str) -> Opened:
        return await self._slowly(super().find(owner, key))

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        return await self._slowly(super().end(generation, end, after=after))

    async def read(self, generation: str, after: Cursor = START) -> Page:
        return await self._slowly(super().read(generation, after))

    async def _slowly(self, call: Awaitable[Result]) -> Result:
        await asyncio.sleep(0)
        try:
            return await call
        finally:
            await asyncio.sleep(0)


LOGS = pytest.mark.parametrize("log", [MemoryLog, Unhurried])


def gateway_of(upstream: Upstream, log: type[MemoryLog] = MemoryLog, **limits: Any) -> Gateway:  # Any: those of Limits
    return Gateway(log(), {"m": upstream}, limits=Limits(**limits))


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def gateway(puppet: Puppet) -> AsyncIterator[Gateway]:
    gateway = gateway_of(puppet)
    yield gateway
    await gateway.close()


@pytest.fixture(autouse=True)
def no_task_fails_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    gc.collect()
    assert [record.message for record in caplog.get_records("call") if record.name == "asyncio"] == []


async def begin(gateway: Gateway, puppet: Puppet, **start: str) -> tuple[Opened, Play]:
    opened = await gateway.start("me", PROMPT, **start)
    return opened, await puppet.play()


async def ended(gateway: Gateway, opened: Opened, owner: str = "me") -> Page:
    """Wait for the end; returns the whole log."""
    await asyncio.wait_for(gateway.ended(owner, opened.generation), 5)
    return await gateway.read(owner, opened.generation)


async def end_of(upstream: Upstream, **limits: Any) -> Page:
    """Run one generation to its end, all alone; returns its log."""
    gateway = gateway_of(upstream, **limits)
    page = await ended(gateway, await gateway.start("me", PROMPT))
    await gateway.close()
    return page


def said(page: Page) -> str:
    return fold(record.event for record in page.records).text


def kinds(page: Page) -> list[type[Event]]:
    return [type(record.event) for record in page.records]


# Starting


async def test_a_generation_is_started_said_and_done() -> None:
    page = await end_of(Scripted("你", "好", usage=Usage(1, 2, 3)))
    assert kinds(page) == [Started, Text, Done]
    assert said(page) == "你好"
    end = page.end
    assert isinstance(end, Done)
    assert (end.finish_reason, end.usage, end.n, end.crc32) == ("stop", Usage(1, 2, 3), 2, 1352841281)


async def test_started_names_the_generation_and_its_model(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    started = (await gateway.read("me", opened.generation)).records[0].event
    assert isinstance(started, Started)
    assert (started.generation, started.model) == (opened.generation, "m")
    assert started.created > 1_700_000_000


async def test_ids_are_random_and_long(gateway: Gateway) -> None:
    ids = {(await gateway.start("me", PROMPT)).generation for _ in range(100)}
    assert len(ids) == 100
    assert all(len(generation) == 32 and int(generation, 16) >= 0 for generation in ids)


async def test_the_upstream_gets_the_prompt_as_it_is(gateway: Gateway, puppet: Puppet) -> None:
    _, play = await begin(gateway, puppet)
    assert play.prompt is PROMPT


async def test_an_unknown_model_is_refused_with_the_names_of_the_known(gateway: Gateway, puppet: Puppet) -> None:
    with pytest.raises(NotFound) as caught:
        await gateway.start("me", Prompt("other", []))
    assert (caught.value.code, caught.value.status, caught.value.param) == ("unknown_model", 404, "model")
    assert "'other'" in caught.value.message
    assert "m" in caught.value.remedy
    assert (puppet.asked, gateway.running) == (0, 0)


def test_a_gateway_without_models_is_no_gateway() -> None:
    with pytest.raises(ConfigError, match="at least one model"):
        Gateway(MemoryLog(), {})


async def test_nobody_has_to_read_for_a_generation_to_run(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.say("a", "b")
    play.finish()
    assert said(await ended(gateway, opened)) == "ab"
    assert gateway.running == 0


# Keys


async def test_the_same_key_and_request_attach(gateway: Gateway, puppet: Puppet) -> None:
    first, _ = await begin(gateway, puppet, key="k", fingerprint="f")
    second = await gateway.start("me", PROMPT, key="k", fingerprint="f")
    assert (second.generation, second.created) == (first.generation, False)
    assert puppet.asked == 1


async def test_the_same_key_attaches_also_after_the_end(gateway: Gateway, puppet: Puppet) -> None:
    first, play = await begin(gateway, puppet, key="k", fingerprint="f")
    play.finish()
    await ended(gateway, first)
    assert (await gateway.start("me", PROMPT, key="k", fingerprint="f")).generation == first.generation
    assert puppet.asked == 1


async def test_another_request_under_the_key_is_a_conflict(gateway: Gateway, puppet: Puppet) -> None:
    await begin(gateway, puppet, key="k", fingerprint="f")
    with pytest.raises(Conflict) as caught:
        await gateway.start("me", PROMPT, key="k", fingerprint="g")
    assert (caught.value.code, caught.value.status, caught.value.param) == (
        "idempotency_conflict",
        409,
        "Idempotency-Key",
    )


@LOGS
async def test_many_starts_with_one_key_ask_the_model_once(log: type[MemoryLog], puppet: Puppet) -> None:
    gateway = gateway_of(puppet, log)
    starts = [gateway.start("me", PROMPT, key="k", fingerprint="f") for _ in range(20)]
    opened = await asyncio.gather(*starts)
    await puppet.play()
    assert len({one.generation for one in opened}) == 1
    assert [one.created for one in opened].count(True) == 1
    assert puppet.asked == 1
    await gateway.close()


@LOGS
async def test_of_two_requests_racing_for_a_key_one_conflicts(log: type[MemoryLog]) -> None:
    gateway = gateway_of(Puppet(), log)
    results = await asyncio.gather(
        *(gateway.start("me", PROMPT, key="k", fingerprint=name) for name in "fg"), return_exceptions=True
    )
    assert [type(result) for result in results] == [Opened, Conflict]
    await gateway.close()


async def test_owners_do_not_share_keys(gateway: Gateway) -> None:
    mine = await gateway.start("me", PROMPT, key="k", fingerprint="f")
    yours = await gateway.start("you", PROMPT, key="k", fingerprint="g")
    assert mine.generation != yours.generation


async def test_a_key_attaches_even_when_its_model_is_gone_or_the_house_is_full() -> None:
    gateway = gateway_of(Puppet(), running=1)
    first = await gateway.start("me", PROMPT, key="k")
    assert (await gateway.start("me", Prompt("gone", []), key="k")).generation == first.generation
    await gateway.close()


# Owners


async def test_what_is_anothers_does_not_exist(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet, key="k")
    calls: list[Callable[[str], Awaitable[object]]] = [
        lambda generation: gateway.read("you", generation),
        lambda generation: gateway.read("you", generation, Cursor(1, 1)),
        lambda generation: gateway.wait("you", generation, START, seconds=0),
        lambda generation: gateway.wait("you", generation, Cursor(1, 1), seconds=9),
        lambda generation: gateway.answer("you", generation),
        lambda generation: gateway.abort("you", generation),
        lambda generation: gateway.ended("you", generation),
    ]
    for call in calls:
        with pytest.raises(NotFound) as hidden:
            await call(opened.generation)
        with pytest.raises(NotFound) as absent:
            await call("0" * 32)
        assert (hidden.value.code, hidden.value.status) == ("not_found", 404)
        assert str(hidden.value).replace(opened.generation, "0" * 32) == str(absent.value)
    assert not (await gateway.read("me", opened.generation)).ended


async def test_an_abort_by_key_touches_nobody_elses(gateway: Gateway, puppet: Puppet) -> None:
    mine, _ = await begin(gateway, puppet, key="k")
    generation, _ = await gateway.abort_key("you", "k")
    assert generation != mine.generation
    assert not (await gateway.read("me", mine.generation)).ended


# Aborting


async def test_an_abort_stops_the_upstream_and_keeps_what_was_said(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.say("half")
    record = await gateway.abort("me", opened.generation)
    await play.wait_released()
    assert isinstance(record.event, Aborted)
    assert (record.event.n, record.position) == (4, 3)
    assert said(await ended(gateway, opened)) == "half"
    await until(lambda: gateway.running == 0)


async def test_an_abort_before_the_tasks_first_step_never_asks_the_model(gateway: Gateway, puppet: Puppet) -> None:
    opened = await gateway.start("me", PROMPT)
    await gateway.abort("me", opened.generation)
    await until(lambda: gateway.running == 0)
    assert puppet.asked == 0
    assert kinds(await ended(gateway, opened)) == [Started, Aborted]


async def test_a_second_abort_tells_the_same_end(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    records = await asyncio.gather(*(gateway.abort("me", opened.generation) for _ in range(5)))
    assert len({id(record.event) for record in records}) == 1
    assert await gateway.abort("me", opened.generation) == records[0]


async def test_an_abort_after_the_end_tells_how_it_ended(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.finish("length")
    page = await ended(gateway, opened)
    assert await gateway.abort("me", opened.generation) == page.records[-1]
    assert isinstance(page.end, Done)


async def test_an_abort_that_races_with_the_finish_leaves_one_end(gateway: Gateway, puppet: Puppet) -> None:
    for order in range(2):
        opened, play = await begin(gateway, puppet)
        if order:
            play.finish()
        record = await gateway.abort("me", opened.generation)
        play.finish()
        page = await ended(gateway, opened)
        assert page.records[-1] == record
        assert kinds(page) == [Started, Aborted]


async def test_an_abort_by_key_stops_what_runs_under_it(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet, key="k", fingerprint="f")
    generation, record = await gateway.abort_key("me", "k")
    await play.wait_released()
    assert generation == opened.generation
    assert isinstance(record.event, Aborted)


async def test_an_abort_by_key_that_overtakes_its_start_stops_that(gateway: Gateway, puppet: Puppet) -> None:
    generation, record = await gateway.abort_key("me", "k")
    opened = await gateway.start("me", PROMPT, key="k", fingerprint="f")
    assert (opened.generation, opened.created) == (generation, False)
    assert kinds(await ended(gateway, opened)) == [Started, Aborted]
    assert record.position == 2
    assert puppet.asked == 0
    assert await gateway.abort_key("me", "k") == (generation, record)


@LOGS
async def test_aborts_by_key_racing_with_the_start_always_stop_it(log: type[MemoryLog]) -> None:
    for order in range(4):
        gateway = gateway_of(Puppet(), log)
        calls: list[Awaitable[object]] = [gateway.abort_key("me", "k") for _ in range(3)]
        calls.insert(order, gateway.start("me", PROMPT, key="k", fingerprint="f"))
        results = await asyncio.gather(*calls)
        opened = results[order]
        assert isinstance(opened, Opened)
        assert kinds(await ended(gateway, opened)) == [Started, Aborted]
        await asyncio.wait_for(gateway.close(drain=5), 5)


# Upstreams that go wrong


class Weird(Exception):  # not one of ours
    pass


def raising(error: BaseException, *pieces: str) -> Upstream:
    def act(sink: Sink) -> None:
        for piece in pieces:
            sink.text(piece)
        raise error

    return Acting(act)


async def test_what_an_upstream_says_went_wrong_is_told() -> None:
    page = await end_of(raising(UpstreamError("truncated", "It broke off.", retryable=True), "half"))
    end = page.end
    assert isinstance(end, Failed)
    assert (end.code, end.message, end.retryable, end.n) == ("truncated", "It broke off.", True, 4)
    assert said(page) == "half"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        Weird(SECRET),
        KeyError(SECRET),
        TimeoutError(SECRET),
        StopAsyncIteration(SECRET),
        ExceptionGroup(SECRET, [UpstreamError("truncated", SECRET)]),
        DaziError(SECRET),
        RecursionError(SECRET),
    ],
)
async def test_what_nobody_foresaw_is_told_without_its_words(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    page = await end_of(raising(error, "half"))
    end = page.end
    assert isinstance(end, Failed)
    assert (end.code, end.retryable, end.n) == ("internal", True, 4)
    assert SECRET not in end.message
    assert SECRET not in caplog.text
    assert type(error).__name__ in caplog.text
    assert "test_gateway.py" in caplog.text


async def test_an_upstream_that_cancels_itself_still_ends() -> None:
    end = (await end_of(raising(asyncio.CancelledError()))).end
    assert isinstance(end, Failed)
    assert end.code == "producer_lost"


async def test_too_much_is_too_long() -> None:
    page = await end_of(Scripted("1234", "5678", "9"), characters=8)
    end = page.end
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("too_long", False)
    assert said(page) == "12345678"


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(owner_characters=20_000), "owner_limit"), (Limits(total_characters=20_000), "memory_limit")],
)
async def test_together_running_answers_hold_no_more_than_is_allowed(limits: Limits, code: str) -> None:
    puppet = Puppet()
    gateway = Gateway(MemoryLog(), {"m": puppet}, limits=limits)
    opened = [await gateway.start("me", PROMPT) for _ in range(2)]
    plays = [await puppet.play() for _ in opened]
    plays[0].say("a" * 16_000)
    plays[1].say("b" * 3_000)
    with pytest.raises(GenerationError) as caught:
        plays[1].say("c" * 3_000)
    assert (caught.value.code, caught.value.retryable) == (code, True)
    with pytest.raises(Unavailable) as refused:
        await gateway.start("me", PROMPT)
    assert refused.value.code == code
    plays[0].finish()
    plays[1].finish()  # though room is there now, what was cut does not look finished
    for one, text in zip(opened, ("a" * 16_000, "b" * 3_000), strict=True):
        await gateway.ended("me", one.generation)
        assert (await gateway.answer("me", one.generation))[0].text == text
    assert [status_of((await gateway.read("me", one.generation)).end) for one in opened] == ["done", "failed"]
    await gateway.start("me", PROMPT)
    await gateway.close()


async def test_an_owner_at_its_limit_is_in_nobodys_way() -> None:
    puppet = Puppet()
    gateway = Gateway(MemoryLog(), {"m": puppet}, limits=Limits(owner_characters=5))
    await gateway.start("me", PROMPT)
    (await puppet.play()).say("12345")
    opened = await gateway.start("another", PROMPT)
    play = await puppet.play()
    play.say("12345")
    play.finish()
    await gateway.ended("another", opened.generation)
    assert isinstance((await gateway.read("another", opened.generation)).end, Done)
    await gateway.close()


async def test_too_much_is_too_long_also_when_the_upstream_looks_away() -> None:
    def act(sink: Sink) -> None:
        for _ in range(5):
            with suppress(DaziError):
                sink.text("1234")

    end = (await end_of(Acting(act), characters=8)).end
    assert isinstance(end, Failed)
    assert end.code == "too_long"


async def test_too_slow_is_a_time_limit(puppet: Puppet) -> None:
    page = await end_of(puppet, seconds=0.01)
    end = page.end
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("time_limit", False)
    assert "0.01 seconds" in end.message
    assert (await puppet.play()).released.is_set()


async def test_a_half_character_at_the_end_is_told_as_what_it_is() -> None:
    assert said(await end_of(Scripted("a\ud83d"))) == "a\ufffd"


class Stubborn:
    """An upstream that takes its time to stop, and goes on talking meanwhile."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_stop = asyncio.Event()

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        sink.text("before")
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_stop.wait()
            sink.text("after")
        return Finish()


async def test_an_upstream_that_ignores_its_cancellation_says_no_more(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn()
    gateway = gateway_of(stubborn)
    opened = await gateway.start("me", PROMPT)
    await stubborn.begun.wait()
    await gateway.abort("me", opened.generation)
    await stubborn.cancelled.wait()
    assert gateway.running == 1
    page = await gateway.read("me", opened.generation)
    stubborn.may_stop.set()
    await until(lambda: gateway.running == 0)
    assert await gateway.read("me", opened.generation) == page
    assert kinds(page) == [Started, Text, Aborted]
    assert caplog.text == ""


async def test_a_sink_refuses_what_comes_after_the_end_and_nobody_is_alarmed(
    gateway: Gateway, puppet: Puppet, caplog: pytest.LogCaptureFixture
) -> None:
    """As a connection's callback finds it, which the runner's cancellation has not reached yet."""
    opened, play = await begin(gateway, puppet)
    await gateway.abort("me", opened.generation)
    with pytest.raises(DaziError) as caught:
        play.say("late")
    play.fail(caught.value)
    await until(lambda: gateway.running == 0)
    assert kinds(await ended(gateway, opened)) == [Started, Aborted]
    assert caplog.text == ""


async def test_a_generator_is_closed_when_its_generation_is_aborted() -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    async def answer(_: Prompt) -> AsyncGenerator[Yielded, None]:
        try:
            yield "a"
            begun.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    gateway = gateway_of(from_generator(answer))
    opened = await gateway.start("me", PROMPT)
    await asyncio.wait_for(begun.wait(), 5)
    await gateway.abort("me", opened.generation)
    await asyncio.wait_for(closed.wait(), 5)
    await until(lambda: gateway.running == 0)


# Limits


async def test_no_more_run_at_once_than_may(puppet: Puppet) -> None:
    gateway = gateway_of(puppet, running=2)
    _, play = await begin(gateway, puppet)
    await begin(gateway, puppet)
    with pytest.raises(Unavailable) as caught:
        await gateway.start("me", PROMPT)
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("too_many_generations", 503, 2)
    play.finish()
    await until(lambda: gateway.running == 1)
    assert (await gateway.start("me", PROMPT)).created
    await gateway.close()


async def test_many_starts_at_once_cannot_pass_the_limit_together(puppet: Puppet) -> None:
    gateway = gateway_of(puppet, running=3)
    results = await asyncio.gather(*(gateway.start("me", PROMPT) for _ in range(10)), return_exceptions=True)
    assert [type(result) for result in results].count(Unavailable) == 7
    assert gateway.running == 3
    await gateway.close()


# Reading and waiting


async def test_a_wait_returns_at_once_when_something_follows(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    page = await asyncio.wait_for(gateway.wait("me", opened.generation, START, seconds=60), 5)
    assert kinds(page) == [Started]


async def test_a_wait_returns_when_something_comes(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    waiting = asyncio.create_task(gateway.wait("me", opened.generation, Cursor(1, 1), seconds=60))
    await asyncio.sleep(0)
    assert not waiting.done()
    play.say("a")
    page = await asyncio.wait_for(waiting, 5)
    assert [record.event for record in page.records] == [Text("a", 1)]
    assert page.head == Cursor(1, 2)


async def test_a_wait_returns_when_the_generation_ends(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    waiting = asyncio.create_task(gateway.wait("me", opened.generation, Cursor(1, 1), seconds=60))
    await asyncio.sleep(0)
    await gateway.abort("me", opened.generation)
    assert kinds(await asyncio.wait_for(waiting, 5)) == [Aborted]


async def test_a_wait_returns_empty_when_its_time_is_over(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    for seconds in (0, 0.01):
        page = await asyncio.wait_for(gateway.wait("me", opened.generation, Cursor(1, 1), seconds=seconds), 5)
        assert (page.records, page.ended, page.head) == ((), False, Cursor(1, 1))


async def test_a_wait_at_the_end_does_not_wait(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.finish()
    page = await ended(gateway, opened)
    again = await asyncio.wait_for(gateway.wait("me", opened.generation, page.head, seconds=60), 5)
    assert (again.records, again.ended, again.matched) == ((), True, True)


async def test_a_wait_from_a_strange_position_does_not_wait(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    page = await asyncio.wait_for(gateway.wait("me", opened.generation, Cursor(7, 7), seconds=60), 5)
    assert (page.matched, kinds(page)) == (False, [Started])


async def test_a_cancelled_wait_leaves_no_reader(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    waiting = asyncio.create_task(gateway.wait("me", opened.generation, Cursor(1, 1), seconds=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert not gateway._attention._readers
    play.finish()


async def test_the_answer_is_the_fold_of_the_log(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.think("hm")
    play.say("你", "好")
    answer, head = await gateway.answer("me", opened.generation)
    assert (answer.text, answer.reasoning, answer.n, answer.end) == ("你好", "hm", 2, None)
    assert head == Cursor(1, 4)


async def test_an_observer_hears_and_counts_until_it_leaves(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    seen: list[Record] = []
    stop = gateway.observe(opened.generation, seen.append)
    play.say("a")
    stop()
    play.say("b")
    assert [record.event for record in seen] == [Text("a", 1)]
    with pytest.raises(NotFound):
        gateway.observe("nothing", seen.append)


# Abandoning


async def test_an_abandoned_generation_is_aborted_after_its_grace(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    gateway.abandon(opened.generation, grace=0)
    await play.wait_released()
    assert kinds(await ended(gateway, opened)) == [Started, Aborted]


async def test_an_abandoned_generation_that_is_read_again_goes_on(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    gateway.abandon(opened.generation, grace=0)
    stop = gateway.observe(opened.generation, lambda _: None)
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, passed.set)
    await passed.wait()
    play.say("on")
    stop()
    play.finish()
    assert said(await ended(gateway, opened)) == "on"


# Closing


async def test_what_finishes_within_the_drain_is_done(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    closing = asyncio.create_task(gateway.close(drain=60))
    await until(lambda: gateway.is_closing)
    play.say("still")
    play.finish()
    await asyncio.wait_for(closing, 5)
    page = await gateway.read("me", opened.generation)
    assert isinstance(page.end, Done)
    assert said(page) == "still"


async def test_what_does_not_is_lost_and_says_so(gateway: Gateway, puppet: Puppet) -> None:
    opened, play = await begin(gateway, puppet)
    play.say("half")
    await asyncio.wait_for(gateway.close(drain=0.01), 5)
    page = await gateway.read("me", opened.generation)
    assert isinstance(page.end, Failed)
    assert (page.end.code, page.end.retryable, said(page)) == ("producer_lost", True, "half")
    assert play.released.is_set()
    assert gateway.running == 0


async def test_a_second_close_with_a_shorter_drain_wins(gateway: Gateway, puppet: Puppet) -> None:
    opened, _ = await begin(gateway, puppet)
    patient = asyncio.create_task(gateway.close(drain=600))
    await until(lambda: gateway.is_closing)
    await asyncio.wait_for(gateway.close(), 5)
    await asyncio.wait_for(patient, 5)
    end = (await gateway.read("me", opened.generation)).end
    assert isinstance(end, Failed)


async def test_a_closed_gateway_can_be_closed_again(gateway: Gateway) -> None:
    await gateway.close(drain=60)
    await gateway.close()


async def test_while_closing_starts_are_refused_but_keys_attach_and_aborts_work(
    gateway: Gateway, puppet: Puppet
) -> None:
    opened, play = await begin(gateway, puppet, key="k", fingerprint="f")
    closing = asyncio.create_task(gateway.close(drain=60))
    await until(lambda: gateway.is_closing)
    with pytest.raises(Unavailable) as caught:
        await gateway.start("me", PROMPT)
    assert (caught.value.code, caught.value.retry_after) == ("shutting_down", 2)
    with pytest.raises(Unavailable):
        await gateway.start("me", PROMPT, key="fresh")
    assert (await gateway.start("me", PROMPT, key="k", fingerprint="f")).generation == opened.generation
    assert isinstance((await gateway.abort("me", opened.generation)).event, Aborted)
    await asyncio.wait_for(closing, 5)
    assert play.released.is_set()


class Hesitant(MemoryLog):
    """A log that makes nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.may_create = asyncio.Event()

    async def create(self, draft: Draft) -> Opened:
        self.asked.set()
        await self.may_create.wait()
        return await super().create(draft)


async def test_a_start_that_was_let_in_before_the_goodbye_is_finished_by_the_drain() -> None:
    log = Hesitant()
    gateway = Gateway(log, {"m": Scripted("whole")})
    starting = asyncio.create_task(gateway.start("me", PROMPT))
    await log.asked.wait()
    closing = asyncio.create_task(gateway.close(drain=60))
    await until(lambda: gateway.is_closing)
    log.may_create.set()
    opened = await asyncio.wait_for(starting, 5)
    await asyncio.wait_for(closing, 5)
    page = await gateway.read("me", opened.generation)
    assert (said(page), type(page.end)) == ("whole", Done)


async def test_a_start_in_a_goodbye_that_does_not_wait_is_refused_and_runs_nothing(puppet: Puppet) -> None:
    log = Hesitant()
    gateway = Gateway(log, {"m": puppet})
    starting = asyncio.create_task(gateway.start("me", PROMPT))
    await log.asked.wait()
    await asyncio.wait_for(gateway.close(), 5)
    log.may_create.set()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(starting, 5)
    assert caught.value.code == "shutting_down"
    assert (puppet.asked, gateway.running) == (0, 0)
    assert [one.status for one in await log.list()] == ["failed"]


async def test_a_start_that_waits_for_admission_as_the_goodbye_comes_creates_nothing(puppet: Puppet) -> None:
    class Porter(MemoryQuota):
        def __init__(self) -> None:
            super().__init__()
            self.asked = asyncio.Event()
            self.opens = asyncio.Event()

        async def ask(self, ask: Ask) -> Verdict:
            self.asked.set()
            await self.opens.wait()
            return await super().ask(ask)

    log, porter = MemoryLog(), Porter()
    gateway = Gateway(log, {"m": puppet}, turns=Turns(Allowance(running={"total": 1}), porter, lease=10))
    starting = asyncio.create_task(gateway.start("me", PROMPT))
    await porter.asked.wait()
    await asyncio.wait_for(gateway.close(drain=60), 5)
    porter.opens.set()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(starting, 5)
    assert caught.value.code == "shutting_down"
    assert await log.list() == ()


async def test_the_farewell_is_called_before_anything_is_waited_for(gateway: Gateway, puppet: Puppet) -> None:
    _, play = await begin(gateway, puppet)
    called = asyncio.Event()
    gateway.on_closing(called.set)
    closing = asyncio.create_task(gateway.close(drain=60))
    await asyncio.wait_for(called.wait(), 5)
    assert not closing.done()
    play.finish()
    await asyncio.wait_for(closing, 5)


async def test_who_waits_for_what_runs_elsewhere_is_let_go_at_the_farewell() -> None:
    log = MemoryLog()
    gateway = Gateway(log, {"demo": Scripted()})
    opened = await log.create(Draft("me", Started(generation="e" * 32, model="demo", created=1)))
    head = (await log.read(opened.generation)).head
    waits = asyncio.create_task(gateway.wait("me", opened.generation, head, seconds=3600))
    for_end = asyncio.create_task(gateway.ended("me", opened.generation))
    await asyncio.sleep(0)
    await gateway.close()
    page = await asyncio.wait_for(waits, 5)
    assert (page.records, page.ended) == ((), False)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(for_end, 5)
    assert not (await asyncio.wait_for(gateway.wait("me", opened.generation, head, seconds=3600), 5)).records


async def test_closing_waits_for_upstreams_to_release_what_they_hold() -> None:
    stubborn = Stubborn()
    gateway = gateway_of(stubborn)
    await gateway.start("me", PROMPT)
    await stubborn.begun.wait()
    closing = asyncio.create_task(gateway.close())
    await stubborn.cancelled.wait()
    assert not closing.done()
    stubborn.may_stop.set()
    await asyncio.wait_for(closing, 5)


class Machine(Scripted):
    """An upstream that is opened and closed."""

    def __init__(self, broken: str = "") -> None:
        super().__init__("a")
        self.calls: list[str] = []
        self._broken = broken

    async def open(self) -> None:
        self.calls.append("open")
        if self._broken:
            raise ConfigError(self._broken)

    async def close(self) -> None:
        self.calls.append("close")


async def test_upstreams_are_opened_and_closed_with_the_gateway() -> None:
    machine = Machine()
    gateway = Gateway(MemoryLog(), {"plain": Puppet(), "machine": machine})
    await gateway.open()
    await gateway.close()
    assert machine.calls == ["open", "close"]


async def test_an_upstream_that_cannot_open_says_why() -> None:
    with pytest.raises(ConfigError, match="no weights"):
        await gateway_of(Machine("no weights")).open()


# Everything at once


class Chaos:
    """An upstream that does anything, by its dice."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        for _ in range(self._dice.randrange(12)):
            self._say(sink)
            if self._dice.random() < 0.6:
                await self._pause()
        if self._dice.random() < 0.3:
            raise self._dice.choice([UpstreamError("truncated", "x"), ValueError("x"), asyncio.CancelledError()])
        return Finish(self._dice.choice(["stop", "length"]))

    def _say(self, sink: Sink) -> None:
        piece = self._dice.choice(["a", "好", "😀", "\ud83d", "\ude00", "b" * 5000])
        match self._dice.randrange(4):
            case 0:
                sink.reasoning(piece)
            case 1:
                sink.tool_call(0, arguments=piece)
            case _:
                sink.text(piece)

    async def _pause(self) -> None:
        try:
            await asyncio.sleep(self._dice.choice([0, 0, 0.001]))
        except asyncio.CancelledError:
            if self._dice.random() < 0.5:
                raise


@LOGS
@pytest.mark.parametrize("seed", range(10))
async def test_every_generation_ends_once_whatever_happens(seed: int, log: type[MemoryLog]) -> None:
    dice = random.Random(seed)
    gateway = gateway_of(Chaos(dice), log, seconds=dice.choice([0.005, 60]), characters=dice.choice([8000, 10**6]))
    seen: dict[str, list[Record]] = {}

    async def live(number: int) -> None:
        key = f"k{number}" if dice.random() < 0.5 else None
        if key and dice.random() < 0.2:
            await gateway.abort_key("me", key)
        try:
            opened = await gateway.start("me", PROMPT, key=key, fingerprint="f")
        except Unavailable:
            return
        records = seen[opened.generation] = []
        gateway.observe(opened.generation, records.append)
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(dice.choice([0, 0.001]))
            if dice.random() < 0.15:
                await gateway.abort("me", opened.generation)
            if dice.random() < 0.1:
                gateway.abandon(opened.generation, grace=0)

    lives = [asyncio.create_task(live(number)) for number in range(60)]
    if dice.random() < 0.6:
        await asyncio.sleep(dice.choice([0, 0.002]))
        await gateway.close(drain=dice.choice([0, 0.002]))
    await asyncio.gather(*lives)
    await gateway.close()
    assert gateway.running == 0
    for generation, records in seen.items():
        page = await gateway.read("me", generation)
        assert [record.event.ends for record in page.records].count(True) == 1
        assert page.records[-1].event == page.end
        assert covers_all(page.records, after=0, head=page.head.position)
        if records:  # it had not ended before it could be observed
            assert covers_all(records, after=records[0].previous, head=page.head.position)
            assert records[-1] == page.records[-1]
