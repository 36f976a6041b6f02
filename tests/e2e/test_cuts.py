"""A stream that is cut anywhere and gone on with, in any format, gives the same answer; and it was asked for once."""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.conftest import Serve, Served
from tests.e2e.client import FORMATS, Format, Held, Question, Reception, receive
from tests.e2e.proxy import Cut, CuttingProxy
from tests.e2e.stepwise import Capture, Step, Stepwise, capture_all, held_after

from dazi.events import Reasoning, ToolCall
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.custom import Yielded, from_generator
from dazi.upstream.demo import DemoUpstream
from dazi.web.app import App

# Many pieces end where a careless client or gateway would lose or garble something.
ANSWERS: dict[str, list[Step]] = {
    "ascii": ["Hello", ", ", '"w', "orld\\", '"\n\n', "data: x", "\n\nid: 9-9\n", " ", "%E4%BD", "\\u4f60", "\t."],
    "chinese": ["你", "好，", "世界", "。\n\n", "春眠不觉晓，", "處處", "：「", "龘」", "　", "…"],
    "emoji": [
        *("👨", "\u200d", "👩\u200d", "👧\u200d👦", "🇨", "🇳🇯", "🇵", "👍", "🏿", "e", "\u0301", "𠮷"),
        ("\ud842", "\udfb7"),
        *("❤️", "\u200d🔥", "1️", "⃣"),
    ],
    "mixed": [
        *("a你", "b\u2028", "\u2029c", "\u0085", "\x00", "é\ufeff", "\r\n", "\r", "😀{", '"}', "हिन्दी"),
        ("\ud83d", " of"),
    ],
    "thoughtful": [
        *(Reasoning("想"), Reasoning("🤔 "), Reasoning("so"), "好", "的 "),
        *(ToolCall(0, name="find", arguments='{"a":'), ToolCall(0, arguments='"𠮷"'), ToolCall(0, arguments="}")),
        *(Reasoning("还"), "!", "🎉"),
    ],
}


def facts(held: Held) -> tuple[str, ...]:
    return held.text, held.reasoning, held.arguments


class Resumed:
    """What the gateway sends to who goes on from a position in a format. Each is asked once, over a socket."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._answers: dict[tuple[str, Format], bytes] = {}

    async def after(self, held: Held, chosen: Format) -> bytes:
        place = held.id, chosen
        if place not in self._answers:
            self._answers[place] = await receive(self._question.port, self._question.request(held, chosen))
        return self._answers[place]


@pytest.mark.parametrize("steps", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_cut_at_every_byte_and_a_resume_in_every_format_give_the_same_answer(
    serve: Serve, steps: list[Step]
) -> None:
    model = Stepwise(steps)
    served = await serve({"m": model.upstream})
    question = Question(served.port, "every-byte")
    captures = await capture_all(question, model)
    known = states_by_id(captures)
    whole = captures[0].held
    assert set(known) == {"", *(f"1-{position}" for position in range(1, len(steps) + 3))}
    for capture in captures:
        capture.held.prove()
        assert facts(capture.held) == facts(whole)
    resumed = Resumed(question)
    for held in known.values():
        for chosen in FORMATS:
            raw = await resumed.after(held, chosen)
            if held.ends:
                assert Reception(raw).status == 204
                continue
            final = held_after(raw, chosen, held)
            final.prove()
            assert facts(final) == facts(whole), f"after {held.id!r} in {chosen}"
    assert model.asked == 1


def states_by_id(captures: list[Capture]) -> dict[str, Held]:
    """Cut every response at every byte; all clients with the same last id hold the same, whatever the format."""
    known: dict[str, Held] = {}
    for capture in captures:
        for offset in range(len(capture.raw) + 1):
            held = held_after(capture.raw[:offset], capture.chosen)
            assert facts(held) == facts(known.setdefault(held.id, held)), f"{capture.chosen} cut at {offset}"
    return known


async def test_a_resumed_stream_is_cut_at_every_byte_again(serve: Serve) -> None:
    model = Stepwise(ANSWERS["mixed"])
    served = await serve({"m": model.upstream})
    question = Question(served.port, "again")
    captures = await capture_all(question, model)
    whole = captures[0].held
    middle = held_after(captures[0].raw[: len(captures[0].raw) // 2], captures[0].chosen)
    assert 2 < middle.position < whole.position - 1
    resumed = Resumed(question)
    for chosen in FORMATS:
        raw = await resumed.after(middle, chosen)
        for offset in range(len(raw)):
            held = held_after(raw[:offset], chosen, middle)
            if held.ends:
                assert facts(held) == facts(whole)
                continue
            other = FORMATS[offset % len(FORMATS)]
            final = held_after(await resumed.after(held, other), other, held)
            final.prove()
            assert facts(final) == facts(whole)
    assert model.asked == 1


def rough_line(rng: random.Random) -> Iterator[Cut]:
    """A line that breaks all the time: in the request, in the head, in a frame, by an end or by a reset."""
    yield Cut(answered=rng.randrange(1_000))
    while True:
        limit = rng.choice([rng.randrange(320), rng.randrange(2_000), rng.randrange(6_000)])
        cut = Cut(asked=limit) if rng.random() < 0.1 else Cut(answered=limit)
        yield Cut(cut.asked, cut.answered, resets=rng.random() < 0.5)


@pytest.mark.parametrize("seeds", [range(12), range(12, 24)], ids=str)
async def test_a_running_generation_survives_a_line_that_breaks_all_the_time(serve: Serve, seeds: range) -> None:
    await survive_all(serve, seeds)


@pytest.mark.full
async def test_hundreds_of_them_do(serve: Serve, request: pytest.FixtureRequest) -> None:
    first = int(request.config.getoption("hypothesis_seed") or 0) * 1_000
    for batch in range(first, first + 480, 12):
        await survive_all(serve, range(batch, batch + 12))


async def survive_all(serve: Serve, seeds: range) -> None:
    texts = {str(seed): random_text(random.Random(seed)) for seed in seeds}
    models = {name: Counted(DemoUpstream(pace=400, text=text)) for name, text in texts.items()}
    served = await serve(models)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name, text in texts.items():
            group.create_task(survive(served, name, text), name=f"seed {name}")
    assert {model.asked for model in models.values()} == {1}


def random_text(rng: random.Random) -> str:
    return "".join(rng.choices('ab \n你好，龘𠮷😀👩\u200d🇨\u0301\u2028"\\', k=300))


async def survive(served: Served, name: str, text: str) -> None:
    rng = random.Random(name)
    async with CuttingProxy(served.port, rough_line(rng)) as proxy:
        question = Question(proxy.port, name, json.dumps({"model": name, "messages": [{"role": "user"}]}).encode())
        held = await question.follow(rng.choice(FORMATS) for _ in count())
    held.prove()
    assert held.text == text
    assert len(proxy.conversations) > 1
    told = (await served.client.get(f"/v1/generations/{held.generation}")).json()
    assert (told["text"], told["status"], told["crc32"]) == (text, "done", held.ends[0]["crc32"])


@pytest.mark.parametrize("chosen", [Format(), Format("append", "utf8", "plain"), Format("replace")], ids=str)
async def test_a_reader_that_stalls_now_and_then_loses_nothing(serve: Serve, chosen: Format) -> None:
    rng = random.Random(9)
    pieces = ["".join(rng.choices("a你😀\n", k=rng.randrange(1, 800))) for _ in range(300)]

    async def floods(_prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(rng.choice([0, 0.005, 0.01]))

    served = await serve({"m": from_generator(floods)}, wrap=Narrow)
    question, received = Question(served.port, "slow"), Reception()
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    line.connect(("127.0.0.1", served.port))
    reader, writer = await asyncio.open_connection(sock=line, limit=1024)
    writer.write(question.request(Held(), chosen))
    while chunk := await reader.read(rng.randrange(1, 20_000)):
        received.feed(chunk)
        if rng.random() < 0.05:
            await asyncio.sleep(0.1)  # a stall
    writer.close()
    held = Held()
    held.apply(chosen.events(received.body))
    held.prove()
    assert held.text == "".join(pieces)


class Narrow:
    """Gives the kernel hardly any room for what a reader does not take, so that it waits in the gateway."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's own `send`
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            transport.set_write_buffer_limits(8_192)
        await self._app(scope, receive, send)


async def test_a_tool_calls_own_id_does_not_hide_the_frames(serve: Serve) -> None:
    model = Stepwise([ToolCall(0, call_id="call_1", name="find", arguments="{}"), "ok"])
    served = await serve({"m": model.upstream})
    captures = await capture_all(Question(served.port, "tool"), model)
    assert {capture.held.id for capture in captures} == {"1-4"}
    polled = await served.client.get(
        f"/v1/generations/{captures[0].held.generation}/events", headers={"Accept": "application/json"}
    )
    assert [event["id"] for event in polled.json()["events"]] == ["1-1", "1-2", "1-3", "1-4"]


@dataclass(slots=True)
class Counted:
    """An upstream that counts how often it is asked."""

    upstream: Any  # Any: an Upstream
    asked: int = 0

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.asked += 1
        finish: Finish = await self.upstream.generate(prompt, sink)
        return finish


async def test_a_start_cut_before_its_body_was_whole_never_asks_the_model(serve: Serve) -> None:
    upstream = Counted(DemoUpstream(pace=math.inf, text="好"))
    served = await serve({"m": upstream})
    question = Question(served.port, "half")
    request = question.request(Held(), Format())
    for offset in range(len(request)):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request[:offset])
        await writer.drain()
        writer.transport.abort()
    held = await question.follow(Format() for _ in count())
    held.prove()
    assert held.text == "好"
    assert upstream.asked == 1
