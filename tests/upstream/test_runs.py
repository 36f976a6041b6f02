"""Seeded runs: upstreams that fail in every way at every event, with fallback and continuation on.

Laws that each run is held to: what the reader has is a beginning of the truth, nothing doubled, lost or changed; `done` is the whole truth;
every asking ended in the code of what went wrong; an upstream that is to go on is told exactly what the reader has; no place stays taken.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from dazi.events import Answer, Done, Failed
from dazi.log.memory import MemoryLog
from dazi.service import Gateway
from dazi.upstream import Prompt
from dazi.upstream.build import build
from dazi.upstream.plan import Plan, Routing, Waits
from dazi.upstream.pool import Outcome, Pool
from dazi.upstream.seam import LEAST, LEAST_VARIETY

SEED = int(os.environ.get("SEED", "20261127"))
TOGETHER = 60
# Generous, as the machine may be busy; only those that stall wait for it.
PATIENCE = 3.0
WAITS = Waits(connect=10, first_token=PATIENCE, between_tokens=PATIENCE)
OPENAI = ("vllm", "qwen", "deepseek", "moonshot", "llamacpp", "openai", "zhipu")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
# How it goes wrong before anything is said, and the code in which that ends.
REFUSALS: dict[str, tuple[bytes, str]] = {
    "silence": (b"", "upstream_unreachable"),
    "429": (b"HTTP/1.1 429 No\r\nRetry-After: 0.01\r\nContent-Length: 2\r\n\r\n{}", "upstream_rate_limited"),
    "500": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "upstream_unavailable"),
    "529": (b"HTTP/1.1 529 No\r\nContent-Length: 0\r\n\r\n", "upstream_unavailable"),
    "401": (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "upstream_unauthorized"),
    "404": (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "upstream_rejected"),
    "a page": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "upstream_garbage",
    ),
    "a page of an error": (
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "upstream_unavailable",
    ),
    "elsewhere": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        "upstream_redirected",
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00 garbage \r\n\r\n", "upstream_garbage"),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"X-Long: endless\r\n" * 6000, "upstream_garbage"),
    "compressed": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n"
        + gzip.compress(b"data: x\n\n")[:30].ljust(30),
        "upstream_garbage",
    ),
    "compressed, untold": (HEAD + b"14\r\n" + gzip.compress(b"")[:20].ljust(20) + b"\r\n0\r\n\r\n", "truncated"),
}
# How it goes wrong in mid-stream.
BREAKS = {
    "reset": "truncated",
    "closed": "truncated",
    "ended": "truncated",
    "done without a reason": "truncated",
    "stalled": "upstream_timeout",
    "garbage": "upstream_garbage",
    "no chunk": "upstream_garbage",
    "an error": "upstream_error",
}
WORDS = [
    "the",
    "模型",
    "goes",
    "on",
    "𠮷野家",
    "and",
    "👩\u200d🚀",
    "says",
    "你好",
    "more",
    "한국어",
    "of",
    "naïve",
    "it,",
    "。\n\n",
    "|",
    "1.",
    "--",
    "ha",
    "ha",
    "哈哈",
]


@dataclass(frozen=True, slots=True)
class Play:
    """What one request gets: a refusal, or the truth up to the event `at`, where it breaks; `again`: how much of what was said it says again."""

    refusal: str = ""
    breaks: str = ""
    at: int = 0
    again: str = ""

    @property
    def code(self) -> str:
        return REFUSALS[self.refusal][1] if self.refusal else BREAKS.get(self.breaks, "done")


@dataclass(slots=True)
class Stage:
    """One upstream of one run. `plays` are for its requests, one after the other."""

    truth: str
    dialect: str
    plays: list[Play]
    rng: random.Random
    told: list[str] = field(default_factory=list)
    asked: int = 0


class Theatre:
    """One server for the upstreams of all runs, which are told apart by their paths."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.open = 0
        self.most = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
        body = json.loads(await reader.readexactly(length))
        stage = self.stages[head.split(" ")[1].split("/")[1]]
        play = stage.plays[min(stage.asked, len(stage.plays) - 1)]
        stage.asked += 1
        said = said_in(body)
        stage.told.append(said)
        if play.refusal:
            writer.write(REFUSALS[play.refusal][0])
            await writer.drain()
            return False
        return await self._play(writer, reader, stage, play, said)

    async def _play(
        self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, stage: Stage, play: Play, said: str
    ) -> bool:
        writer.write(HEAD)
        text = repeated(said, play.again, stage.rng) + stage.truth[len(said) :]
        events = list(SPEAK[stage.dialect](pieces(text, stage.rng)))
        is_broken = bool(play.breaks)
        for event in events[: min(play.at, len(events) - 2) if is_broken else len(events)]:
            write(writer, event)
            if stage.rng.random() < 0.2:
                await writer.drain()
                await asyncio.sleep(0)
        if is_broken:
            await break_off(writer, reader, play.breaks)
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def said_in(body: Any) -> str:  # Any: JSON
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return ""
    content = last["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def repeated(said: str, again: str, rng: random.Random) -> str:
    """Return the end of what was said that is said again, if it is one that a reader could tell."""
    if again == "all":
        end = said
    elif again == "end" and len(said) > LEAST:
        end = said[rng.randrange(max(0, len(said) - 60), len(said) - LEAST) :]
    else:
        return ""
    return end if len(end) >= LEAST and len(set(end)) >= LEAST_VARIETY else ""


def pieces(text: str, rng: random.Random) -> Iterator[str]:
    """Cut text between any two UTF-16 units."""
    units = text.encode("utf-16-le")
    at = 0
    while at < len(units):
        size = 2 * rng.choice((1, 1, 2, 3, 5, 9, 30))
        yield units[at : at + size].decode("utf-16-le", "surrogatepass")
        at += size


def speak_openai(parts: Iterator[str]) -> Iterator[bytes]:
    yield event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
    for part in parts:
        yield event({"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]})
    yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield b"data: [DONE]\n\n"


def speak_anthropic(parts: Iterator[str]) -> Iterator[bytes]:
    yield event({"type": "message_start", "message": {"usage": {"input_tokens": 1}}})
    for part in parts:
        yield event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}})
    yield event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    yield event({"type": "message_stop"})


SPEAK: dict[str, Callable[[Iterator[str]], Iterator[bytes]]] = {"openai": speak_openai, "anthropic": speak_anthropic}


def event(data: Any) -> bytes:  # Any: JSON
    return f"data: {json.dumps(data)}\n\n".encode()


def write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def break_off(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, how: str) -> None:
    match how:
        case "reset":
            await writer.drain()
            line = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case "closed":
            writer.write(b'20\r\ndata: {"choices"')
        case "ended":
            writer.write(b"0\r\n\r\n")
        case "done without a reason":
            write(writer, b"data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
        case "stalled":
            await writer.drain()
            await reader.read()
        case "garbage":
            write(writer, b'data: {"choices": [{"delta"\n\n')
        case "no chunk":
            writer.write(b"not a chunk's size\r\n")
        case "an error":
            write(writer, event({"type": "error", "error": {"type": "overloaded_error", "message": "secret"}}))
    await writer.drain()


# A run


def a_truth(rng: random.Random) -> str:
    # Not blank at its ends, so that the dialects that may not be told white space can be held to every character, too.
    return (
        "x"
        + "".join(rng.choice(WORDS) + rng.choice(("", " ")) for _ in range(rng.randrange(3, 60)))
        + f"{rng.random()}"
    )


def a_play(rng: random.Random) -> Play:
    dice = rng.random()
    again = rng.choice(("", "", "end", "all"))
    if dice < 0.25:
        return Play(refusal=rng.choice(list(REFUSALS)))
    if dice < 0.7:
        # A stall takes its time, so it is rarer.
        how = rng.choice([*BREAKS] * 3 + ["stalled"]) if rng.random() < 0.3 else rng.choice([*BREAKS][:4])
        return Play(breaks=how, at=rng.choice((0, 1, 2, rng.randrange(60), rng.randrange(60))), again=again)
    return Play(again=again)


class Run:
    """One answer from up to four upstreams."""

    def __init__(self, number: int, theatre: Theatre, closed_port: int) -> None:
        self.rng = rng = random.Random(f"{SEED}-{number}")
        self.truth = a_truth(rng)
        self.outcomes: list[Outcome] = []
        self.stages: dict[str, Stage] = {}
        plans = []
        for index in range(rng.randrange(1, 5)):
            name = f"r{number}u{index}"
            preset = rng.choice((*OPENAI, "anthropic"))
            dialect = "anthropic" if preset == "anthropic" else "openai"
            refuses = rng.random() < 0.05
            stage = Stage(self.truth, dialect, [a_play(rng) for _ in range(3)], random.Random(rng.random()))
            if not refuses:
                self.stages[name] = theatre.stages[name] = stage
            port = closed_port if refuses else theatre.port
            plans.append(
                Plan(
                    name=name,
                    preset=preset,
                    url=f"http://127.0.0.1:{port}/{name}/v1",
                    models=("m",),
                    timeouts=WAITS,
                    failures=rng.choice((0, 1, 5)),
                    cooldown=0.01,
                )
            )
        routing = Routing(attempts=rng.randrange(1, 7), backoff=0.001, continuation=rng.random() < 0.8)
        self.pool: Pool = build(plans, routing, environment={}, observer=self.outcomes.append)["m"]

    async def play(self) -> Answer:
        gateway = Gateway(MemoryLog(), {"m": self.pool})
        opened = await gateway.start("owner", Prompt("m", [{"role": "user", "content": "?"}]))
        async with asyncio.timeout(60):
            await gateway.ended("owner", opened.generation)
        answer, _ = await gateway.answer("owner", opened.generation)
        await gateway.close()
        return answer

    def judge(self, answer: Answer) -> str:
        """Hold it to the laws; returns how it ended."""
        assert self.truth.startswith(answer.text), "doubled, lost or changed"
        assert all(seat.member.outstanding == 0 for seat in self.pool.seats), "a place stays taken"
        for name, stage in self.stages.items():
            codes = [outcome.code for outcome in self.outcomes if outcome.upstream == name]
            assert codes == [stage.plays[min(n, 2)].code for n in range(stage.asked)], "another code"
            for said in stage.told:
                assert answer.text.startswith(said), "told something else than the reader has"
        for outcome in self.outcomes:
            if outcome.upstream not in self.stages:
                assert outcome.code == "upstream_unreachable"
        if isinstance(answer.end, Done):
            assert answer.text == self.truth, "a clean end of half an answer"
            assert self.outcomes[-1].code == "done"
            return "done"
        assert isinstance(answer.end, Failed)
        assert answer.end.code in {outcome.code for outcome in self.outcomes} - {"done"}
        return answer.end.code


async def runs(numbers: range) -> Counter[str]:
    counts: Counter[str] = Counter()
    async with Theatre() as theatre:
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))

            async def worker(mine: Iterator[int]) -> None:
                for number in mine:
                    run = Run(number, theatre, unheard.getsockname()[1])
                    answer = await run.play()
                    try:
                        counts[run.judge(answer)] += 1
                    except AssertionError as error:
                        story = [(one.upstream, one.code, one.is_continuation) for one in run.outcomes]
                        plays = {name: (stage.dialect, stage.plays, stage.told) for name, stage in run.stages.items()}
                        raise AssertionError(
                            f"seed {SEED}, run {number}: {error}\n{story}\n{plays}\n{answer.end}\nheld  {answer.text!r}\ntruth {run.truth!r}"
                        ) from None
                    counts["askings"] += len(run.outcomes)
                    counts["fallbacks"] += sum(not one.is_continuation for one in run.outcomes[1:])
                    counts["continuations"] += sum(one.is_continuation for one in run.outcomes)
                    for name in run.stages:
                        del theatre.stages[name]

            mine = iter(numbers)
            await gather([worker(mine) for _ in range(TOGETHER)])
            async with asyncio.timeout(5):
                while theatre.open:  # noqa: ASYNC110  # what nobody announces
                    await asyncio.sleep(0.01)
    return counts


async def gather(workers: list[Awaitable[None]]) -> None:
    await asyncio.gather(*workers)


def test_whatever_fails_the_reader_has_a_beginning_of_the_truth(record_property: Callable[[str, object], None]) -> None:
    counts = asyncio.run(runs(range(400)))
    assert min(counts["done"], counts["continuations"], counts["fallbacks"]) > 50
    record_property("counts", f"seed {SEED}: {dict(counts)}")


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_ten_thousand_runs(record_property: Callable[[str, object], None]) -> None:
    counts = asyncio.run(runs(range(10_000)))
    assert set(BREAKS.values()) | {"done"} <= set(counts)
    record_property("counts", f"seed {SEED}: {dict(counts)}")
