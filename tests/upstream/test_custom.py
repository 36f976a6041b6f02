from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from tests.upstream.mock_server import Recorder

from dazi.errors import Closed
from dazi.events import Reasoning, Retract, Text, ToolCall, Usage
from dazi.upstream import Finish, Prompt
from dazi.upstream.custom import Yielded, from_generator

PROMPT = Prompt("m", [{"role": "user", "content": "Hi"}])


class Journal:
    """A generator that says two pieces, waits between them, and writes down how it ended."""

    def __init__(self) -> None:
        self.ended = ""

    async def answer(self, _prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        try:
            yield "one"
            await asyncio.Event().wait()
            yield "two"
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        finally:
            await asyncio.sleep(0)  # what it cleans up may take a while
            self.ended += ", cleaned up"


async def test_strings_and_events_are_pushed(sink: Recorder) -> None:
    async def answer(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield prompt.messages[0]["content"]
        yield Reasoning("hm")
        yield Text("x")
        yield ToolCall(1, call_id="a", name="f", arguments="{}")

    assert await from_generator(answer).generate(PROMPT, sink) == Finish()
    assert (sink.pieces, sink.thoughts, sink.calls) == (["Hi", "x"], ["hm"], [(1, "a", "f", "{}")])


async def test_a_finish_ends_it_and_closes_the_generator(sink: Recorder) -> None:
    closed = False

    async def answer(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        nonlocal closed
        try:
            yield "x"
            yield Finish("length", Usage(1, 2, 3))
            yield "never"
        finally:
            closed = True

    assert await from_generator(answer).generate(PROMPT, sink) == Finish("length", Usage(1, 2, 3))
    assert sink.pieces == ["x"]
    assert closed


async def test_cancelling_closes_the_generator_first(sink: Recorder) -> None:
    journal = Journal()
    task = asyncio.create_task(from_generator(journal.answer).generate(PROMPT, sink))
    await asyncio.wait_for(sink.spoke.wait(), 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal.ended == "CancelledError, cleaned up"


async def test_a_generation_that_ended_elsewhere_closes_the_generator_first() -> None:
    journal = Journal()
    with pytest.raises(Closed):
        await from_generator(journal.answer).generate(PROMPT, Recorder(ends_after=0))
    assert journal.ended == "GeneratorExit, cleaned up"


async def test_what_it_raises_goes_on_unchanged(sink: Recorder) -> None:
    async def answer(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield "x"
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        await from_generator(answer).generate(PROMPT, sink)
    assert sink.pieces == ["x"]


@pytest.mark.parametrize(("wrong", "name"), [(7, "int"), (None, "NoneType"), (b"x", "bytes"), (["x"], "list")])
async def test_another_type_is_named(wrong: Any, name: str, sink: Recorder) -> None:
    async def answer(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield wrong

    with pytest.raises(TypeError, match=f"yielded a {name}"):
        await from_generator(answer).generate(PROMPT, sink)


async def test_an_event_that_a_sink_cannot_take_is_named(sink: Recorder) -> None:
    async def answer(_prompt: Prompt) -> AsyncGenerator[Any, None]:
        yield Retract("", 0, "why")

    with pytest.raises(TypeError, match="yielded a Retract"):
        await from_generator(answer).generate(PROMPT, sink)


async def test_what_only_makes_async_generators_will_do(sink: Recorder) -> None:
    async def answer(prefix: str, prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield prefix + prompt.model

    class Callable:
        def __call__(self, prompt: Prompt) -> AsyncGenerator[Yielded, None]:
            return answer("b", prompt)

    await from_generator(partial(answer, "a")).generate(PROMPT, sink)
    await from_generator(Callable()).generate(PROMPT, sink)
    assert sink.pieces == ["am", "bm"]


def blocks(_prompt: Prompt) -> Iterator[str]:
    yield "x"


async def returns(_prompt: Prompt) -> str:  # the mistake itself
    return "x"


@pytest.mark.parametrize("wrong", [blocks, returns, "text", None])
def test_other_functions_are_refused_by_name(wrong: Any) -> None:
    name = getattr(wrong, "__name__", type(wrong).__name__)
    with pytest.raises(TypeError, match=f"{name} is no async generator function"):
        from_generator(wrong)


async def test_a_function_that_returns_something_else_is_refused_when_it_is_called(sink: Recorder) -> None:
    class Lines:
        def __aiter__(self) -> AsyncIterator[str]:
            raise AssertionError("what is refused is not read")

    def lines(_prompt: Prompt) -> Any:
        return Lines()

    with pytest.raises(TypeError, match="lines is no async generator function"):
        await from_generator(lines).generate(PROMPT, sink)
