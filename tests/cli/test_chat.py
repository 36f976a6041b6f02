from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.cli.conftest import CTRL_C, CTRL_D, PATIENCE, PROGRAM, Run, Sit, environment
from tests.conftest import Serve
from tests.faultproxy import FaultProxy, LimitData, Timeout, Toxics
from tests.puppet import Acting, Puppet, Scripted
from tests.waiting import until

from dazi.errors import UpstreamError
from dazi.settings import Settings
from dazi.upstream import Prompt, Sink
from dazi.upstream.custom import Yielded, from_generator

PIECES = ("你好，", "𠮷野家 ", "👨‍👩‍👧‍👦\x1b[31m", "\n完。")
TEXT = "".join(PIECES)
KEY = "a-key-of-a-team-9876"


def think(sink: Sink) -> None:
    sink.reasoning("想一想")
    sink.text("Well.")


# On pipes


async def test_a_pipe_gets_the_text_exactly_and_nothing_else(serve: Serve, run: Run) -> None:
    url = (await serve({"m": Scripted(*PIECES)})).url
    ran = await run("chat", "--url", url, "Hi")
    assert (ran.out, ran.err, ran.status) == (TEXT, "", 0)


async def test_reasoning_goes_to_standard_error(serve: Serve, run: Run) -> None:
    ran = await run("chat", "--url", (await serve({"m": Acting(think)})).url, "Hi")
    assert (ran.out, ran.err) == ("Well.", "想一想\n")


async def test_the_question_may_come_through_the_pipe(serve: Serve, run: Run) -> None:
    async def repeat(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield f"{prompt.model}: {prompt.messages[0]['content']}"

    url = (await serve({"m": Scripted(), "n": from_generator(repeat)})).url
    ran = await run("chat", "--url", url, "--model", "n", said="春天\n几月？".encode())
    assert ran.out == "n: 春天\n几月？"


async def test_a_failed_answer_is_told(serve: Serve, run: Run) -> None:
    async def fail(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield "So far"
        raise UpstreamError("truncated", "The model broke off.", retryable=True)

    ran = await run("chat", "--url", (await serve({"m": from_generator(fail)})).url, "Hi")
    assert (ran.out, ran.err, ran.status) == ("So far", "dazi: The model broke off.\n", 1)


async def test_a_reader_that_leaves_stops_the_model(serve: Serve, tmp_path: Path) -> None:
    puppet = Puppet()
    url = (await serve({"m": puppet})).url
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "chat", "--url", url, "Hi", env=environment(tmp_path, {}), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    play = await asyncio.wait_for(puppet.play(), PATIENCE)
    play.say("One")
    assert await process.stdout.readexactly(3) == b"One"
    process.stdout._transport.close()  # type: ignore[attr-defined]  # as `head` does
    while not play.released.is_set():
        play.say("more")
        await asyncio.sleep(0.01)
    assert b"Traceback" not in await process.stderr.read()
    assert await process.wait() == 1


# On a terminal


async def test_the_answer_is_typed_as_it_is_said(serve: Serve, sit: Sit) -> None:
    puppet = Puppet()
    screen = await sit("chat", "--url", (await serve({"m": puppet})).url, "Hi")
    play = await asyncio.wait_for(puppet.play(), PATIENCE)
    for piece in ("春天", "到了", "。"):
        play.say(piece)
        await screen.shows(piece)
    play.finish()
    assert await screen.gone() == 0
    await until(lambda: screen.shown == "春天到了。\n")


async def test_a_terminal_gets_no_control_characters_of_the_model(serve: Serve, sit: Sit) -> None:
    screen = await sit("chat", "--url", (await serve({"m": Scripted("a\x1b]0;owned\x07\rb\x9b31m\tc")})).url, "Hi")
    assert await screen.gone() == 0
    await screen.shows("a␛]0;owned␇b\ufffd31m")
    assert "\x1b]" not in screen.raw
    assert "\x07" not in screen.raw


async def test_ctrl_c_stops_the_model(serve: Serve, sit: Sit) -> None:
    puppet = Puppet()
    screen = await sit("chat", "--url", (await serve({"m": puppet})).url, "Hi")
    play = await asyncio.wait_for(puppet.play(), PATIENCE)
    play.say("So far")
    await screen.shows("So far")
    screen.type(CTRL_C)
    await play.wait_released()
    assert await screen.gone() == 130
    await screen.shows("[aborted]")


async def test_a_second_ctrl_c_leaves_at_once(serve: Serve, sit: Sit) -> None:
    """The line that the abort takes is dead."""
    puppet = Puppet()
    served = await serve({"m": puppet})

    def plan(number: int) -> Toxics:
        return Toxics(down=[Timeout(0)] if number > 1 else [])

    async with FaultProxy(served.port, plan) as proxy:
        screen = await sit("chat", "--url", proxy.url, "Hi")
        play = await asyncio.wait_for(puppet.play(), PATIENCE)
        play.say("So far")
        await screen.shows("So far")
        screen.type(CTRL_C)
        await until(lambda: proxy.connections == 3)
        screen.type(CTRL_C)
        assert await screen.gone() == 130


async def test_a_cut_line_is_taken_up_again(serve: Serve, sit: Sit) -> None:
    puppet = Puppet()
    served = await serve({"m": puppet})

    def plan(number: int) -> Toxics:
        return Toxics(down=[LimitData(700)] if number == 1 else [])

    async with FaultProxy(served.port, plan) as proxy:
        screen = await sit("chat", "--url", proxy.url, "Hi")
        play = await asyncio.wait_for(puppet.play(), PATIENCE)
        text = "".join(f"{number} " for number in range(100))
        play.say(*(text[start : start + 5] for start in range(0, len(text), 5)))
        await until(lambda: proxy.connections == 3)
        play.finish()
        assert await screen.gone() == 0
        await until(lambda: screen.shown.replace("\n", "") == text)


async def test_a_conversation_remembers_what_was_said(serve: Serve, sit: Sit) -> None:
    puppet = Puppet()
    screen = await sit("chat", "--url", (await serve({"m": puppet})).url)
    await screen.shows("> ")
    screen.type("One?\n")
    play = await asyncio.wait_for(puppet.play(), PATIENCE)
    play.say("One.")
    play.finish()
    await screen.shows("One.\n> ")
    screen.type("Two?\n")
    play = await puppet.play()
    assert [message["content"] for message in play.prompt.messages] == ["One?", "One.", "Two?"]
    play.say("Two")
    await screen.shows("Two")
    screen.type(CTRL_C)
    await play.wait_released()
    await screen.shows("[aborted]\n> ")
    screen.type("Three?\n")
    play = await puppet.play()
    assert [message["content"] for message in play.prompt.messages][-3:] == ["Two?", "Two", "Three?"]
    play.fail(UpstreamError("truncated", "It broke off.", retryable=True))
    await screen.shows("It broke off.\n> ")
    screen.type(CTRL_D)
    assert await screen.gone() == 0


async def test_ctrl_c_at_the_prompt_leaves(serve: Serve, sit: Sit) -> None:
    screen = await sit("chat", "--url", (await serve({"m": Puppet()})).url)
    await screen.shows("> ")
    leaving = asyncio.create_task(screen.gone())
    while not leaving.done():  # CPython does not see a signal between showing the prompt and reading
        screen.type(CTRL_C)
        await asyncio.wait({leaving}, timeout=0.2)
    assert await leaving in {130, -signal.SIGINT}


# Keys


async def test_the_key_comes_from_the_environment(serve: Serve, run: Run) -> None:
    url = (await serve({"m": Scripted("x")}, settings=Settings(api_keys=(KEY,)))).url
    assert (await run("chat", "--url", url, "Hi", env={"DAZI_API_KEY": KEY})).out == "x"
    ran = await run("chat", "--url", url, "Hi")
    assert (ran.out, ran.status) == ("", 2)
    assert ran.err == f"dazi: {url} wants an API key. Set DAZI_API_KEY to one of its keys.\n"
    ran = await run("chat", "--url", url, "Hi", env={"DAZI_API_KEY": "another-key-altogether"})
    assert ran.err == f"dazi: {url} does not know the key in DAZI_API_KEY. Set DAZI_API_KEY to one of its keys.\n"


async def test_on_a_terminal_the_key_is_asked_for_and_not_shown(serve: Serve, sit: Sit) -> None:
    screen = await sit(
        "chat", "--url", (await serve({"m": Scripted("x")}, settings=Settings(api_keys=(KEY,)))).url, "Hi"
    )
    await screen.shows("The gateway's API key: ")
    screen.type(f"{KEY}\n")
    assert await screen.gone() == 0
    await screen.shows("x")
    assert KEY not in screen.raw


# Mistakes, in words


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (
            ["--url", "http://127.0.0.1:9", "Hi"],
            "could not be read: no connection could be made (Connection refused)",
            1,
        ),
        (["--url", "127.0.0.1", "Hi"], "'127.0.0.1' is no http or https URL", 2),
        ([" "], "The question is empty", 2),
        ([b"\xff"], "The question is not UTF-8", 2),
        (["--key", "secret", "Hi"], "No such option: --key", 2),
    ],
)
async def test_a_mistake_is_told_in_a_sentence(arguments: list[str | bytes], said: str, status: int, run: Run) -> None:
    ran = await run("chat", *arguments)
    assert said in ran.err
    assert (ran.out, ran.status) == ("", status)


async def test_a_model_that_is_not_there_is_told(serve: Serve, run: Run) -> None:
    ran = await run("chat", "--url", (await serve({"m": Scripted()})).url, "--model", "n", "Hi")
    assert (ran.err, ran.status) == ("dazi: There is no model 'n' here. Use one of: m.\n", 2)


async def test_a_gateway_that_went_away_is_told(serve: Serve, run: Run) -> None:
    """It answers, breaks off after the first pieces, and is never back."""
    served = await serve({"m": Scripted(*PIECES)})

    def plan(number: int) -> Toxics:
        return Toxics(down=[LimitData(10_000 if number == 0 else 0)])

    async with FaultProxy(served.port, plan) as proxy:
        ran = await run("chat", "--url", proxy.url, "Hi")
    assert "could not be read: the line broke, and trying again did not help" in ran.err
    assert ran.status == 1
