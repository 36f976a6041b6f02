"""The client on lines that break: its text is exact, or an error says what happened, and the model is asked once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

import psutil
import pytest
from tests.client.conftest import FACES, HASTE
from tests.conftest import Serve
from tests.faultproxy import (
    Bandwidth,
    Damage,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    Toxics,
)
from tests.waiting import until

from dazi.client import ClientError, Patience
from dazi.errors import RequestError
from dazi.events import Done, Reasoning, Text, ToolCall
from dazi.upstream import Prompt
from dazi.upstream.custom import Yielded, from_generator

# Thousands of connections take their time on a busy machine.
pytestmark = pytest.mark.timeout(300)

# What the runs came to, for `pytest -rA` to show.
log = logging.getLogger(__name__)

PIECES = ("你好", "𠮷 👨‍", "👧", "é\n", "Fin.")
TEXT = "".join(PIECES)
THOUGHT = "想一想。"
CALLS = (ToolCall(0, call_id="a", name="look", arguments='{"a":1}'),)
# As many runs at once as keep two cores busy; each has a proxy of its own.
WIDTH = 16
# A stalled line is left soon, but not before a heartbeat can come.
SHORT = Patience(connect=5, silence=1.2, first_attempts=4, attempts=4, wait=0.002)


@dataclass
class Bench:
    """A gateway whose model counts how often each question was put to it."""

    port: int
    asked: Counter[str]
    length: int

    async def ask(self, client: Any, question: str) -> Any:
        """Ask, and follow to the end: the text is exact, unless this raises, and the model was asked once at most."""
        typed = ""
        try:
            async with client.start(question) as answer:
                async for piece in answer:
                    typed += piece
        finally:
            assert self.asked[question] <= 1
        assert (typed, answer.text) == (TEXT, TEXT)
        assert isinstance(answer.end, Done)
        assert self.asked[question] == 1
        return answer


@pytest.fixture
async def bench(serve: Serve) -> AsyncIterator[Bench]:
    asked: Counter[str] = Counter()

    async def answer(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        asked[prompt.messages[-1]["content"]] += 1
        yield Reasoning("想一想", 0)
        yield Reasoning("。", 0)
        yield ToolCall(0, call_id="a", name="look", arguments='{"a"')
        for piece in PIECES:
            await asyncio.sleep(0)
            yield Text(piece)
        yield ToolCall(0, arguments=":1}")

    served = await serve({"m": from_generator(answer)})
    bench = Bench(served.port, asked, 0)
    async with FaultProxy(served.port, lambda _: Toxics()) as proxy, FACES["async"](proxy.url) as client:
        await bench.ask(client, "unharmed")
        bench.length = proxy.bytes_down
    lines = len(psutil.Process().net_connections())
    yield bench
    await until(lambda: served.app.gateway.running == 0)
    await until(lambda: len(psutil.Process().net_connections()) <= lines)


Plan = Callable[[int], Toxics]


async def run_all(bench: Bench, face: str, plans: Iterable[tuple[str, Plan]], patience: Patience) -> Counter[str]:
    """Ask once behind each plan; returns how often which outcome was seen: `exact`, or an error's name."""
    outcomes: Counter[str] = Counter()
    turn = asyncio.Semaphore(WIDTH)

    async def run(name: str, plan: Plan) -> None:
        async with turn, FaultProxy(bench.port, plan) as proxy, FACES[face](proxy.url, patience=patience) as client:
            try:
                answer = await bench.ask(client, name)
            except (ClientError, RequestError) as error:
                outcomes[type(error).__name__] += 1
            except BaseException as error:
                error.add_note(f"behind {name}")
                raise
            else:
                whole = (answer.reasoning, answer.tool_calls) == (THOUGHT, CALLS)
                outcomes["exact" if whole else "exact text"] += 1

    async with asyncio.TaskGroup() as group:
        for name, plan in plans:
            group.create_task(run(name, plan))
    return outcomes


def once(*toxics: Toxic) -> Plan:
    """Break the first connection only."""
    return lambda number: Toxics(down=toxics if number == 0 else ())


full = pytest.mark.full
both = pytest.mark.parametrize("face", list(FACES))


# One break, at every byte


@pytest.mark.parametrize(
    ("toxic", "face", "step"),
    [
        (LimitData, "async", 1),
        (ResetPeer, "async", 7),
        (LimitData, "sync", 23),
        (ResetPeer, "sync", 31),
        pytest.param(ResetPeer, "async", 1, marks=full),
        pytest.param(LimitData, "sync", 1, marks=full),
        pytest.param(ResetPeer, "sync", 1, marks=full),
    ],
)
async def test_a_break_at_any_byte_loses_and_doubles_nothing(
    toxic: type[LimitData | ResetPeer], face: str, step: int, bench: Bench
) -> None:
    plans = [(f"{toxic.__name__} at {at}", once(toxic(at))) for at in range(0, bench.length + 1, step)]
    assert await run_all(bench, face, plans, HASTE) == {"exact": len(plans)}


@both
async def test_a_request_cut_at_any_byte_asks_once(face: str, bench: Bench) -> None:
    def cut(at: int) -> Plan:
        return lambda number: Toxics(up=[LimitData(at)] if number == 0 else [])

    plans = [(f"request cut at {at}", cut(at)) for at in range(0, 500, 9 if face == "async" else 31)]
    assert await run_all(bench, face, plans, HASTE) == {"exact": len(plans)}


@both
async def test_a_stall_at_any_byte_is_left_and_taken_up_again(face: str, bench: Bench) -> None:
    plans = [(f"stalled at {at}", once(Timeout(at))) for at in range(0, bench.length, 43 if face == "async" else 251)]
    assert await run_all(bench, face, plans, SHORT) == {"exact": len(plans)}


# Every connection breaks


@both
@pytest.mark.parametrize("toxic", [LimitData, ResetPeer])
async def test_lines_that_all_break_give_the_text_or_give_up(
    toxic: type[LimitData | ResetPeer], face: str, bench: Bench
) -> None:
    def always(at: int) -> Plan:
        return lambda _: Toxics(down=[toxic(at)])

    step = 29 if face == "async" else 151
    plans = [(f"{toxic.__name__} always at {at}", always(at)) for at in range(0, bench.length + step, step)]
    outcomes = await run_all(bench, face, plans, HASTE)
    assert set(outcomes) == {"exact", "Unreachable"}


@both
async def test_a_trickle_is_read_to_the_end(face: str, bench: Bench) -> None:
    toxics: dict[str, Callable[[], list[Toxic]]] = {
        "byte by byte": lambda: [Slicer(1)],
        "slowly": lambda: [Slicer(40), Bandwidth(20_000)],
        "late": lambda: [Latency(0.05, 0.05)],
        "slow to close": lambda: [SlowClose(0.5)],
    }

    def always(make: Callable[[], list[Toxic]]) -> Plan:
        return lambda _: Toxics(down=make(), up=make())

    plans = [(name, always(make)) for name, make in toxics.items()]
    assert await run_all(bench, face, plans, HASTE) == {"exact": len(plans)}


# Bytes that are not what was sent


@pytest.mark.parametrize(("face", "step"), [("async", 11), ("sync", 41), pytest.param("async", 1, marks=full)])
@pytest.mark.parametrize("what", ["flipped", "dropped", "doubled"])
async def test_damage_anywhere_is_mended_or_told(what: str, face: str, step: int, bench: Bench) -> None:
    damage: dict[str, Callable[[int], Damage]] = {
        "flipped": lambda at: Damage(at, 1, b"7"),
        "dropped": lambda at: Damage(at, 3),
        "doubled": lambda at: Damage(at, 0, b"\\u4f60"),
    }
    plans = [(f"{what} at {at}", once(damage[what](at))) for at in range(0, bench.length, step)]
    outcomes = await run_all(bench, face, plans, SHORT)
    log.warning("%s, %s at %d of %d bytes: %s", face, what, len(plans), bench.length, dict(outcomes))
    # `crc32` covers the text alone: of reasoning and tool calls, some damage cannot be told.
    told = {"Replaced", "NotAGateway", "NotFound", "InvalidRequest", "Unreachable"}
    assert set(outcomes) <= {"exact", "exact text"} | told
    assert outcomes["exact"] > len(plans) / 2


# Everything at once


def mixture(seed: int) -> Plan:
    """Break some connections or all, each in its own ways."""
    most = Random(seed).choice([1, 2, 3, 1000])

    def plan(number: int) -> Toxics:
        chance = Random(f"{seed} {number}")
        if number >= most:
            return Toxics()
        return Toxics(down=some(chance), up=some(chance) if chance.random() < 0.3 else [])

    return plan


def some(chance: Random) -> list[Toxic]:
    kinds: list[Callable[[], Toxic]] = [
        lambda: LimitData(chance.randrange(1300)),
        lambda: LimitData(chance.randrange(1300)),
        lambda: ResetPeer(chance.randrange(1300)),
        lambda: ResetPeer(chance.randrange(1300)),
        lambda: Timeout(chance.randrange(1300)),
        lambda: Latency(0.001, 0.01, chance),
        lambda: Slicer(chance.randrange(1, 100), chance.randrange(50), 0, chance),
        lambda: Bandwidth(chance.choice([50_000, 500_000])),
        lambda: SlowClose(chance.random() / 10),
    ]
    return [make() for make in chance.sample(kinds, chance.randrange(1, 4))]


@pytest.mark.parametrize(
    ("face", "runs"),
    [("async", 150), ("sync", 40), pytest.param("async", 5000, marks=full), pytest.param("sync", 500, marks=full)],
)
@pytest.mark.timeout(600)
async def test_any_mixture_gives_the_text_or_says_why_not(
    face: str, runs: int, bench: Bench, request: pytest.FixtureRequest
) -> None:
    first = int(request.config.getoption("hypothesis_seed", None) or 0) * runs
    plans = [(f"mixture {seed}", mixture(seed)) for seed in range(first, first + runs)]
    outcomes = await run_all(bench, face, plans, SHORT)
    log.warning("%s, seeds %d to %d: %s", face, first, first + runs - 1, dict(outcomes))
    assert set(outcomes) <= {"exact", "Unreachable"}
    assert outcomes["exact"] > runs / 2
