from __future__ import annotations

import asyncio
import math
import unicodedata
from typing import Any

import pytest
from tests.upstream.mock_server import Recorder

from dazi.errors import ConfigError
from dazi.upstream import Finish, Prompt
from dazi.upstream.demo import DemoUpstream

AT_ONCE = DemoUpstream(pace=math.inf)


def asking(content: Any, model: str = "demo", **options: Any) -> Prompt:  # Any: the dialect's
    return Prompt(model, [{"role": "system", "content": "s"}, {"role": "user", "content": content}], options)


async def answer(prompt: Prompt, demo: DemoUpstream = AT_ONCE) -> tuple[Recorder, Finish]:
    sink = Recorder()
    return sink, await demo.generate(prompt, sink)


async def test_the_same_question_has_the_same_pieces() -> None:
    first, _ = await answer(asking("为什么天是蓝的？"))
    second, _ = await answer(asking("为什么天是蓝的？"))
    other, _ = await answer(asking("Why?"))
    assert first.pieces == second.pieces != other.pieces
    assert "「为什么天是蓝的？」" in first.said


async def test_the_text_has_what_breaks_typewriters() -> None:
    sink, finish = await answer(asking("x"))
    said = sink.said
    assert finish.reason == "stop"
    for part in ("𠮷", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "🇨🇳", "👍🏿", "\u0323", "```", "| ", "1. ", "מ"):
        assert part in said
    assert any(unicodedata.combining(character) for character in said)
    assert all(1 <= len(piece) <= 4 for piece in sink.pieces)


async def test_pieces_are_cut_inside_of_what_belongs_together() -> None:
    sink, _ = await answer(asking("x"))
    assert any(piece.startswith("\u200d") or unicodedata.combining(piece[0]) for piece in sink.pieces)


async def test_any_text_can_be_typed() -> None:
    sink, finish = await answer(asking("x"), DemoUpstream(pace=math.inf, text="汉字 {topic} 👩‍🚀"))
    assert sink.said == "汉字 {topic} 👩‍🚀"
    assert finish.usage is not None
    assert finish.usage.completion_tokens == len(sink.pieces)


async def test_no_text_is_an_empty_answer() -> None:
    sink, finish = await answer(asking("x"), DemoUpstream(text=""))
    assert (sink.pieces, finish.reason) == ([], "stop")


@pytest.mark.parametrize("option", ["max_tokens", "max_completion_tokens"])
async def test_the_length_can_be_limited(option: str) -> None:
    sink, finish = await answer(asking("x", "demo", **{option: 5}))
    assert (len(sink.pieces), finish.reason) == (5, "length")


async def test_it_thinks_only_when_asked_to() -> None:
    plain, _ = await answer(asking("x"))
    effortless, _ = await answer(asking("x", reasoning_effort="none"))
    by_name, finish = await answer(asking("x", model="demo-thinking"))
    by_option, _ = await answer(asking("x", reasoning_effort="low"))
    assert plain.thoughts == effortless.thoughts == []
    assert by_name.thoughts == by_option.thoughts
    assert "".join(by_name.thoughts).startswith("The question is about “x”.")
    assert by_name.said == plain.said
    assert finish.usage is not None
    assert finish.usage.reasoning_tokens == len(by_name.thoughts)


async def test_thoughts_count_towards_the_limit() -> None:
    sink, finish = await answer(asking("x", model="demo-thinking", max_tokens=3))
    assert (len(sink.thoughts), sink.pieces, finish.reason) == (3, [], "length")


@pytest.mark.parametrize(
    ("content", "topic"),
    [
        ("a\n b", "a b"),
        ([{"type": "text", "text": "see"}, {"type": "image_url"}, {"type": "text", "text": "this"}], "see this"),
        (None, ""),
        ("很" * 100, "很" * 24),
    ],
)
async def test_the_topic_is_the_start_of_the_last_question(content: Any, topic: str) -> None:
    sink, _ = await answer(asking(content))
    assert f"「{topic}」" in sink.said.replace(" 」", "」")


async def test_a_prompt_without_a_question_is_answered_too() -> None:
    sink, _ = await answer(Prompt("demo", []))
    assert "「」" in sink.said


async def test_the_pace_is_kept_without_drift() -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    sink, _ = await answer(asking("x"), DemoUpstream(pace=200, text="x" * 140))
    assert (loop.time() - begin) == pytest.approx(len(sink.pieces) / 200, abs=0.1)


@pytest.mark.parametrize("pace", [0, -1, math.nan])
def test_a_pace_must_be_positive(pace: float) -> None:
    with pytest.raises(ConfigError, match=str(pace)):
        DemoUpstream(pace=pace)


async def test_it_can_be_cancelled_between_two_pieces() -> None:
    sink = Recorder()
    task = asyncio.create_task(DemoUpstream(pace=1000).generate(asking("x"), sink))
    await asyncio.wait_for(sink.spoke.wait(), 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
