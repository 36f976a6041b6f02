from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.upstream.mock_server import MockServer, answers, delta, stream

from dazi.errors import Closed
from dazi.upstream import Finish, Prompt, Sink, Upstream
from dazi.upstream.balance import Seat
from dazi.upstream.build import build
from dazi.upstream.contract import LAWS, check
from dazi.upstream.custom import from_generator
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.member import Member
from dazi.upstream.plan import Plan
from dazi.upstream.pool import Pool

Mock = Callable[..., Awaitable[MockServer]]


async def typed(_prompt: Prompt) -> AsyncIterator[str]:
    for piece in ("one ", "two ", "three"):
        yield piece
        await asyncio.sleep(0.001)


def pooled() -> Upstream:
    return Pool([Seat(Member("a", DemoUpstream(pace=2000)), "m", "m")])


OURS: dict[str, Callable[[], Upstream]] = {
    "demo": lambda: DemoUpstream(pace=2000),
    "generator": lambda: from_generator(typed),
    "pool": pooled,
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", OURS)
async def test_ours_keep(name: str, law: str) -> None:
    await LAWS[law](OURS[name])


STREAMS: dict[str, list[Any]] = {
    "vllm": [delta(content="a"), delta(content="b"), delta(content="c"), delta("stop"), "[DONE]"],
    "anthropic": [
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}} for t in "abc"),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ],
    "responses": [
        *({"type": "response.output_text.delta", "delta": text} for text in "abc"),
        {"type": "response.completed", "response": {}},
    ],
    "dify": [*({"event": "message", "answer": text} for text in "abc"), {"event": "message_end"}],
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("preset", STREAMS)
async def test_the_dialects_keep(preset: str, law: str, mock: Mock) -> None:
    server = await mock(answers(stream(*STREAMS[preset]), times=10))

    def make() -> Upstream:
        return (
            build([Plan(name="a", preset=preset, url=server.url, models=("m",))], environment={})["m"]
            .seats[0]
            .member.upstream
        )

    await LAWS[law](make)


# What breaks a law is found


class Bad:
    """Keeps the laws, but for what a test breaks."""

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        for piece in "abc":
            sink.text(piece)
            await asyncio.sleep(0.001)
        return Finish()


class ReturnsNothing(Bad):
    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        await super().generate(prompt, sink)
        return None  # type: ignore[return-value]  # what is to be found


class SaysNothing(Bad):
    async def generate(self, _prompt: Prompt, _sink: Sink) -> Finish:
        return Finish()


class PushesBytes(Bad):
    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        sink.text(b"abc")  # type: ignore[arg-type]  # what is to be found
        return Finish()


class GoesOn(Bad):
    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.task = asyncio.create_task(self._late(prompt, sink))
        await asyncio.sleep(0.002)
        return Finish()

    async def _late(self, prompt: Prompt, sink: Sink) -> None:
        with suppress(Closed):
            await super().generate(prompt, sink)


class LeavesTasks(Bad):
    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.task = asyncio.create_task(asyncio.sleep(0.5))
        return await super().generate(prompt, sink)


class SwallowsCancellation(Bad):
    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        finish = Finish()
        with suppress(asyncio.CancelledError):
            finish = await super().generate(prompt, sink)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1.5 if finish.reason == "stop" else 0)
        return finish


class SwallowsClosed(Bad):
    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        with suppress(Closed):
            return await super().generate(prompt, sink)
        return Finish()


class ClosesOnce(Bad):
    is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        if not self.is_open:
            raise AssertionError("closed twice")
        self.is_open = False


class OnlySaysItCan(Bad):
    def can_continue(self, _prompt: Prompt) -> bool:
        return True

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        return Finish() if prompt.said else await super().generate(prompt, sink)


class OneAtATime(Bad):
    is_busy = False

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        if self.is_busy:
            return Finish()
        self.is_busy = True
        try:
            return await super().generate(prompt, sink)
        finally:
            self.is_busy = False


BROKEN: list[tuple[type[Bad], str]] = [
    (ReturnsNothing, "answers"),
    (SaysNothing, "answers"),
    (PushesBytes, "answers"),
    (GoesOn, "is_silent_afterwards"),
    (LeavesTasks, "is_silent_afterwards"),
    (LeavesTasks, "lets_go_when_cancelled"),
    (SwallowsCancellation, "lets_go_when_cancelled"),
    (SwallowsClosed, "ends_with_its_log"),
    (OneAtATime, "answers_several_at_once"),
    (ClosesOnce, "may_be_closed_twice"),
    (OnlySaysItCan, "goes_on_if_it_says_so"),
]


@pytest.mark.parametrize(("bad", "law"), BROKEN)
async def test_what_breaks_a_law_is_found(bad: type[Bad], law: str) -> None:
    with pytest.raises(AssertionError):
        await LAWS[law](bad)


async def test_all_laws_can_be_checked_at_once() -> None:
    await check(Bad)
    with pytest.raises(AssertionError, match="swallowed"):
        await check(SwallowsClosed)


def test_every_law_is_broken_by_something() -> None:
    assert {law for _, law in BROKEN} == set(LAWS)
