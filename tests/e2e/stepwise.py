"""A model that says its next piece when it is told to, and what its readers receive meanwhile, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from tests.e2e.client import FORMATS, Format, Held, Question, Reception, chunks

from dazi.events import Reasoning, ToolCall
from dazi.upstream import Prompt
from dazi.upstream.custom import Yielded, from_generator

# What is pushed in one step, and becomes one position. A tuple holds halves that the gateway joins.
Step = str | tuple[str, ...] | Reasoning | ToolCall


class Stepwise:
    """A model that says its next piece when it is told to; `asked` counts the generations."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self._told = asyncio.Semaphore(0)
        self.asked = 0
        self.upstream = from_generator(self.answer)

    def step(self) -> None:
        self._told.release()

    async def answer(self, _prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        self.asked += 1
        for step in self.steps:
            await self._told.acquire()
            for piece in step if isinstance(step, tuple) else (step,):
                yield piece
        await self._told.acquire()


@dataclass(slots=True)
class Capture:
    """A response as it came, byte for byte, and how far it has got."""

    chosen: Format
    raw: bytes = b""
    held: Held = field(default_factory=Held)


async def capture_all(question: Question, model: Stepwise, formats: Sequence[Format] = FORMATS) -> list[Capture]:
    """Read one generation in these formats at once; it makes a step only when everybody has the one before."""
    captures = [Capture(chosen) for chosen in formats]
    grown = asyncio.Condition()

    async def read(capture: Capture) -> None:
        async for chunk in chunks(question.port, question.request(Held(), capture.chosen)):
            async with grown:
                capture.raw += chunk
                capture.held = held_after(capture.raw, capture.chosen)
                grown.notify_all()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for capture in captures:
            group.create_task(read(capture))
        for position in range(1, len(model.steps) + 2):
            async with grown:
                await grown.wait_for(lambda at=position: all(capture.held.position == at for capture in captures))  # type: ignore[misc]
            model.step()
    return captures


def held_after(raw: bytes, chosen: Format, before: Held | None = None) -> Held:
    """What a client holds when the line ends after these bytes."""
    held = Held() if before is None else copy_of(before)
    held.apply(chosen.events(Reception(raw).body))
    return held


def copy_of(held: Held) -> Held:
    return Held(held.id, held.generation, held.text, held.reasoning, held.arguments, list(held.ends))
