"""Whose turn it is: refusals, the line, and what gives a place up, over a gateway in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from tests.puppet import Puppet, Scripted
from tests.waiting import until

from dazi.errors import StoreUnavailable, TooMany, Unavailable
from dazi.events import Aborted, Done, End, Failed, Queued, Usage
from dazi.log.memory import MemoryLog
from dazi.quota import Ask, Verdict
from dazi.quota.memory import MemoryQuota
from dazi.service import Gateway, Limits
from dazi.service.allowance import Allowance
from dazi.service.attention import Attention
from dazi.service.turns import Turns
from dazi.upstream import NOBODY, Asker, Prompt, Upstream

PROMPT = Prompt("m", [{"role": "user", "content": "12345678"}])


def asking(key: str = "", ip: str = "") -> Prompt:
    return Prompt("m", PROMPT.messages, asker=Asker("anna", key=key, ip=ip))


@asynccontextmanager
async def opened(
    upstream: Upstream,
    allowance: Allowance,
    *,
    limits: Limits | None = None,
    quota: MemoryQuota | None = None,
    lenient: bool = False,
) -> AsyncIterator[Gateway]:
    turns = Turns(allowance, quota or MemoryQuota(), lease=10, is_lenient=lenient)
    gateway = Gateway(MemoryLog(), {"m": upstream}, limits=limits, turns=turns)
    await gateway.open()
    yield gateway
    await gateway.close()


async def end_of(gateway: Gateway, owner: str, generation: str) -> End:
    await asyncio.wait_for(gateway.ended(owner, generation), 5)
    end = (await gateway.read(owner, generation)).end
    assert end is not None
    return end


async def places(gateway: Gateway, owner: str, generation: str) -> list[int]:
    page = await gateway.read(owner, generation)
    return [record.event.place for record in page.records if isinstance(record.event, Queued)]


async def test_who_may_run_no_more_is_told_whose_limit_it_is_its_value_and_when_to_come_back(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"owner": 1})) as gateway:
        await gateway.start("anna", PROMPT)
        with pytest.raises(TooMany, match="No more than 1 answers may run at once for one owner") as caught:
            await gateway.start("anna", PROMPT)
        error = caught.value
        assert (error.status, error.code, error.param, error.quota) == (429, "too_many_running", "running", 1)
        assert error.retry_after == 5
        await gateway.start("bert", PROMPT)


@pytest.mark.parametrize(("scope", "name"), [("key", "running-key"), ("ip", "running-ip"), ("total", "running-total")])
async def test_each_scope_has_a_limit_of_its_own(puppet: Puppet, scope: str, name: str) -> None:
    allowance = Allowance(running={scope: 1})  # type: ignore[dict-item]  # one of the scopes
    async with opened(puppet, allowance) as gateway:
        await gateway.start("anna", asking(key="k", ip="10.0.0.1"))
        with pytest.raises(TooMany) as caught:
            await gateway.start("bert", asking(key="k", ip="10.0.0.1"))
        assert caught.value.param == name
        if scope != "total":
            await gateway.start("bert", asking(key="another", ip="10.0.0.2"))
            # Where it is not known, there is nothing to count under.
            for _ in range(3):
                await gateway.start("bert", PROMPT)


async def test_who_has_heard_the_end_may_ask_again_at_once() -> None:
    async with opened(Scripted("a"), Allowance(running={"owner": 1})) as gateway:
        for _ in range(20):
            started = await gateway.start("anna", PROMPT)
            assert isinstance(await end_of(gateway, "anna", started.generation), Done)


async def test_who_has_aborted_may_ask_again_at_once(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"owner": 1})) as gateway:
        for _ in range(5):
            started = await gateway.start("anna", PROMPT)
            await puppet.play()
            await gateway.abort("anna", started.generation)


async def test_a_start_that_is_sent_twice_at_once_runs_once_and_attaches(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"owner": 1})) as gateway:
        starts = await asyncio.gather(*(gateway.start("anna", PROMPT, key="k") for _ in range(5)))
        assert len({one.generation for one in starts}) == 1
        assert (await puppet.play(), puppet.asked)[1] == 1


async def test_who_waits_hears_its_place_and_then_its_turn(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"total": 1}, line=5)) as gateway:
        await gateway.start("anna", PROMPT)
        first = await puppet.play()
        second, third = [(await gateway.start("anna", PROMPT)).generation for _ in range(2)]
        await asyncio.sleep(0)
        assert puppet.asked == 1
        first.finish()
        play = await puppet.play()
        assert await places(gateway, "anna", second) == [1, 0]
        await until(lambda: gateway._running[third]._turn.place == 1)
        play.say("a")
        play.finish()
        assert isinstance(await end_of(gateway, "anna", second), Done)
        (await puppet.play()).finish()
        assert isinstance(await end_of(gateway, "anna", third), Done)
        assert await places(gateway, "anna", third) == [2, 1, 0]
        assert (await gateway.answer("anna", second))[0].text == "a"


async def test_the_line_is_bounded_and_says_so(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"total": 1}, line=2, line_of_owner=1)) as gateway:
        for owner in ("anna", "anna", "bert"):
            await gateway.start(owner, PROMPT)
        for owner in ("anna", "carl"):
            with pytest.raises(TooMany, match=r"as many wait as may \(2, or 1 of one owner\)") as caught:
                await gateway.start(owner, PROMPT)
            assert caught.value.code == "queue_full"


async def test_who_has_waited_too_long_is_told_so_and_asks_no_model(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"total": 1}, line=2, patience=0.05)) as gateway:
        await gateway.start("anna", PROMPT)
        waits = await gateway.start("anna", PROMPT)
        end = await end_of(gateway, "anna", waits.generation)
        assert isinstance(end, Failed)
        assert (end.code, end.retryable) == ("queue_timeout", True)
        assert puppet.asked == 1
        assert gateway._turns.waiting == 0
        await gateway.start("anna", PROMPT)


async def test_who_waits_can_be_aborted_and_the_next_moves_up(puppet: Puppet) -> None:
    async with opened(puppet, Allowance(running={"total": 1}, line=2)) as gateway:
        await gateway.start("anna", PROMPT)
        waits, behind = [(await gateway.start("anna", PROMPT)).generation for _ in range(2)]
        await gateway.abort("anna", waits)
        assert isinstance(await end_of(gateway, "anna", waits), Aborted)
        await until(lambda: gateway._running[behind]._turn.place == 1)
        (await puppet.play()).finish()
        await puppet.play()
        assert puppet.asked == 2


async def test_what_nobody_reads_any_more_gives_up_its_place_in_the_line(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dazi.service.attention._WAITING", 0.1)
    monkeypatch.setattr("dazi.service.attention._ROUND", 0.05)
    async with opened(puppet, Allowance(running={"total": 1}, line=2)) as gateway:
        runs = await gateway.start("anna", PROMPT)
        read, unread = [(await gateway.start("anna", PROMPT)).generation for _ in range(2)]
        stop = gateway.observe(read, lambda _: None)
        end = await end_of_unread(gateway, unread)
        assert isinstance(end, Failed)
        assert end.code == "abandoned"
        assert gateway._running[read].is_waiting
        # What runs is kept: that is the policy.
        assert runs.generation in gateway._running
        stop()


async def end_of_unread(gateway: Gateway, generation: str) -> End:
    """Wait for an end without reading."""
    await until(lambda: generation not in gateway._running)
    end = (await gateway.read("anna", generation)).end
    assert end is not None
    return end


async def test_an_answer_that_nobody_reads_is_stopped_and_one_that_is_read_or_polled_is_not(
    puppet: Puppet,
) -> None:
    async with opened(puppet, Allowance(), limits=Limits(unread=0.3)) as gateway:
        read, polled, unread = [(await gateway.start("anna", PROMPT)).generation for _ in range(3)]
        stop = gateway.observe(read, lambda _: None)
        plays = [await puppet.play() for _ in range(3)]
        plays[2].say("said")
        while unread in gateway._running:
            await gateway.read("anna", polled)
            await asyncio.sleep(0.02)
        answer, _ = await gateway.answer("anna", unread)
        assert isinstance(answer.end, Failed)
        assert (answer.end.code, answer.end.retryable, answer.text) == ("abandoned", True, "said")
        assert {read, polled} <= gateway._running.keys()
        await plays[2].wait_released()
        stop()


async def test_tokens_of_the_day_are_used_up_as_the_upstream_counts_them_until_midnight_of_the_zone() -> None:
    now = datetime(2026, 11, 27, 15, 59, 30, tzinfo=UTC)  # half a minute before midnight in Shanghai

    def clock() -> datetime:
        return now

    allowance = Allowance(tokens={"owner": 10}, zone=ZoneInfo("Asia/Shanghai"), clock=clock)
    async with opened(Scripted("a", usage=Usage(4, 2, 6)), allowance) as gateway:
        for _ in range(2):
            await end_of(gateway, "anna", (await gateway.start("anna", PROMPT)).generation)
        with pytest.raises(TooMany, match="10 tokens a day for one owner are used up") as caught:
            await gateway.start("anna", PROMPT)
        assert (caught.value.code, caught.value.param, caught.value.retry_after) == ("tokens_used_up", "tokens", 30)
        await gateway.start("bert", PROMPT)
        now = datetime(2026, 11, 27, 16, 0, 0, tzinfo=UTC)
        await gateway.start("anna", PROMPT)


async def test_tokens_that_no_upstream_counted_are_guessed() -> None:
    quota = MemoryQuota()
    async with opened(Scripted("abcd" * 10, "e", "f"), Allowance(tokens={"owner": 10}), quota=quota) as gateway:
        await end_of(gateway, "anna", (await gateway.start("anna", PROMPT)).generation)
    # Eight characters of the prompt, and 42 of the answer.
    assert [spent for spent, _ in quota._spent.values()] == [2 + 10]


class Lost(MemoryQuota):
    """A store that is away."""

    async def ask(self, ask: Ask) -> Verdict:  # noqa: ARG002  # as a quota has it
        raise StoreUnavailable("It is away.")


async def test_while_the_store_is_away_starts_are_refused_or_where_that_is_chosen_counted_here(puppet: Puppet) -> None:
    allowance = Allowance(running={"owner": 1})
    async with opened(puppet, allowance, quota=Lost()) as gateway:
        with pytest.raises(Unavailable) as caught:
            await gateway.start("anna", PROMPT)
        assert caught.value.code == "store_unavailable"
    async with opened(puppet, allowance, quota=Lost(), lenient=True) as gateway:
        await gateway.start("anna", PROMPT)
        with pytest.raises(TooMany):
            await gateway.start("anna", PROMPT)


class Slow(MemoryQuota):
    """A store that takes back nothing until it is let."""

    def __init__(self) -> None:
        super().__init__(lease=math.inf)
        self.goes_on = asyncio.Event()

    async def leave(self, ask: Ask, *, tokens: int = 0) -> None:
        await self.goes_on.wait()
        await super().leave(ask, tokens=tokens)


class Nowhere:
    """Marks that nobody reads."""

    async def mark(self, generations: Collection[str], *, seconds: float) -> None:
        pass

    async def marked(self, generations: Collection[str]) -> frozenset[str]:  # noqa: ARG002  # as marks have it
        return frozenset()


@pytest.mark.parametrize("steps", range(4))
async def test_a_start_that_is_cancelled_on_its_way_loses_nobodys_place(steps: int) -> None:
    quota = Slow()
    turns = Turns(Allowance(running={"owner": 1}, tokens={"owner": 100}), quota)
    turn = await turns.enter("anna", NOBODY)
    turn.leave(tokens=7)
    cancelled = asyncio.create_task(turns.enter("anna", NOBODY))
    for _ in range(steps):
        await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    quota.goes_on.set()
    await turn.left()
    assert (await turns.enter("anna", NOBODY)).place == 0
    assert [spent for spent, _ in quota._spent.values()] == [7]
    await turns.close()


@pytest.mark.parametrize("steps", range(6))
async def test_a_goodbye_that_comes_with_news_is_heard(steps: int) -> None:
    """Whatever wakes their keepers at that moment, they stop."""
    turns = Turns(Allowance(running={"owner": 9}, line=1), MemoryQuota())
    await turns.enter("anna", NOBODY)
    attention = Attention({}, Nowhere(), unread=5, has_line=False)
    attention.open()
    await asyncio.sleep(0.01)
    await turns.enter("anna", NOBODY)
    attention.saw("a generation of another node's")
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await turns.close()
        await attention.close()


@pytest.mark.parametrize(
    ("pieces", "least", "most"),
    [(["a"] * 1000, 90, 101), (["abcd"] * 1000, 360, 410), (["好" * 3] * 1000, 200, 310)],
)
async def test_an_answer_ends_at_its_limit_of_tokens_and_keeps_its_text(
    pieces: list[str], least: int, most: int
) -> None:
    async with opened(Scripted(*pieces), Allowance(), limits=Limits(tokens=100)) as gateway:
        started = await gateway.start("anna", PROMPT)
        end = await end_of(gateway, "anna", started.generation)
        assert isinstance(end, Failed)
        assert (end.code, end.retryable) == ("token_limit", False)
        answer, _ = await gateway.answer("anna", started.generation)
        assert least <= answer.n <= most
    async with opened(Scripted(*pieces[:90]), Allowance(), limits=Limits(tokens=100)) as gateway:
        started = await gateway.start("anna", PROMPT)
        assert isinstance(await end_of(gateway, "anna", started.generation), Done)


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()
