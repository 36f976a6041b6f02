"""Any Python async generator as an upstream.

    async def answer(prompt):
        yield "Hello, "
        yield "world."

    app = create_app({"mine": from_generator(answer)})

Laws: what it yields is pushed at once, in order; when the generation ends, for whatever reason, the generator is closed
before `generate` returns, so its `finally` blocks and `async with` blocks have run; what it raises goes on unchanged.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from dazi.events import Reasoning, Text, ToolCall
from dazi.upstream import Finish, Prompt, Sink, Upstream

# A `str` is a piece of the answer; a `Finish` says how it ended, and that it did.
Yielded = str | Text | Reasoning | ToolCall | Finish
Answerer = Callable[[Prompt], AsyncIterator[Yielded]]


def from_generator(answer: Answerer) -> Upstream:
    """Make an upstream of an async generator function that takes the `Prompt`.

    It may yield `str`, the events `Text`, `Reasoning` and `ToolCall`, and at its end a `Finish`; without one, the
    reason is `stop`. Raises `TypeError` for other functions.
    """
    if not callable(answer) or inspect.isgeneratorfunction(answer) or inspect.iscoroutinefunction(answer):
        raise TypeError(_complaint(answer))
    return _Custom(answer)


@dataclass(frozen=True, slots=True)
class _Custom:
    answer: Answerer

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        generator = self.answer(prompt)
        if not isinstance(generator, AsyncGenerator):
            raise TypeError(_complaint(self.answer))
        async with aclosing(generator) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    return piece
                _push(piece, sink)
        return Finish()


def _push(piece: Yielded, sink: Sink) -> None:
    match piece:
        case str():
            sink.text(piece)
        case Text():
            sink.text(piece.text)
        case Reasoning():
            sink.reasoning(piece.text)
        case ToolCall():
            sink.tool_call(piece.index, call_id=piece.call_id, name=piece.name, arguments=piece.arguments)
        case _:
            raise TypeError(
                f"A custom upstream yielded a {type(piece).__name__}. "
                "Yield str, Text, Reasoning, ToolCall or, at the end, Finish."
            )


def _complaint(answer: object) -> str:
    name = getattr(answer, "__qualname__", type(answer).__name__)
    return (
        f"{name} is no async generator function. Write `async def` with `yield` in it; "
        "a blocking one can run in a thread: `async for` over a queue that it fills."
    )
