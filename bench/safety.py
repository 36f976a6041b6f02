"""What content safety costs: added latency of text, first text, end and retraction, and CPU, by checker and mode, in one run.

usage: safety.py [--streams N] [--characters N] [--rate N] [--rounds N] [--json]

One gateway for each way (without safety; a word list, an HTTP server that thinks for 50 ms, and msgSecCheck at `dazi dev wechat-fake`'s
server, each in `hold` and in `show`) stands in front of the same upstream, which writes Chinese sentences, some characters
every now and then, and knows when it wrote each. Of each figure the best round counts: noise only ever adds. Every character
must arrive, or the run fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
import uvloop

from dazi.sse import Parser
from dazi.wechat import FakeWeChat

DAZI = str(Path(sys.executable).with_name("dazi"))
APP, SECRET, SIGNING = "wx8f3a61c2d97b40e5", "c81f6b2e94d7035a8e6b1f92d4a7c350", "Qm7vX2pL9tB4nR6yZ1cW8dF3gH5jK0sA"
KEY = "b8Zt4Qw9Lr2Xv7Np"
WORD = "违禁词"
SENTENCES = "春天来了，公园里的花都开了。孩子们在草地上跑来跑去，老人坐在长椅上晒太阳。远处传来一阵歌声，大家都停下来听！你知道那是什么歌吗？"
# Seconds until a gateway answers.
PATIENCE = 60.0
FIGURES = ("text_ms_p50", "text_ms_p99", "first_ms_p50", "end_ms_p50", "retract_ms_p50", "cpu_us_per_piece")
Scope = MutableMapping[str, Any]  # Any: ASGI
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for. `rate`: characters a second of a stream, in pieces of two."""

    streams: int = 20
    characters: int = 300
    rate: int = 40
    rounds: int = 2


@dataclass(frozen=True, slots=True)
class Way:
    """A gateway: its `safety` setting, and whether its users come by a mini program."""

    name: str
    safety: dict[str, object]
    by_wechat: bool = False


def ways(words: str, checker: str) -> list[Way]:
    """List the ways, the one without safety first."""
    asked: dict[str, dict[str, object]] = {
        "word list": {"words": [words]},
        "word list, window = 1": {"words": [words], "window": 1},
        "HTTP server, 50 ms": {"urls": [checker]},
        "msgSecCheck (fake)": {"wechat": "users"},
    }
    return [
        Way("no safety", {}),
        *(
            Way(f"{name}, {mode}", {**settings, "mode": mode, "timeout": 30}, "wechat" in settings)
            for mode in ("hold", "show")
            for name, settings in asked.items()
        ),
    ]


class Upstream:
    """An OpenAI-compatible server that writes at a pace. By question: when each piece was written, and the end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.written: dict[str, list[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a question: its first word is its name; behind `second` the answer is risky."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        name, _, kind = json.loads(body)["messages"][0]["content"].partition(" ")
        times = self.written.setdefault(name, [])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        start, gone = time.perf_counter(), asyncio.ensure_future(receive())
        for number, piece in enumerate(pieces_of(self._load, is_risky=kind == "second")):
            await asyncio.sleep(max(0.0, start + 2 * number / self._load.rate - time.perf_counter()))
            if gone.done():
                return
            times.append(time.perf_counter())
            await send({"type": "http.response.body", "body": chunk({"content": piece}), "more_body": True})
        gone.cancel()
        times.append(time.perf_counter())
        await send({"type": "http.response.body", "body": chunk({}, "stop") + b"data: [DONE]\n\n"})


def pieces_of(load: Load, *, is_risky: bool) -> list[str]:
    """Make the pieces of an answer, two characters each; a risky one has the word in its middle."""
    text = (SENTENCES * (load.characters // len(SENTENCES) + 1))[: load.characters]
    if is_risky:
        text = f"{text[: load.characters // 2]}{WORD}！{text[load.characters // 2 :]}"
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    """Write one chunk of an OpenAI-compatible stream."""
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'model': 'm', 'choices': choices})}\n\n".encode()


async def slow_checker(scope: Scope, receive: Receive, send: Send) -> None:
    """Judge as docs/safety.md says, after 50 ms."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await asyncio.sleep(0.05)
    verdict = "risky" if WORD in json.loads(body)["text"] else "pass"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"verdict": "%s"}' % verdict.encode()})


@dataclass(slots=True)
class Heard:
    """What a reader heard: the text it has, and when each character of it came for the first time; the retraction; the end."""

    came: list[float] = field(default_factory=list)
    text: str = ""
    retracted: float | None = None
    ended: float = 0.0
    reason: str = ""

    def take(self, event: dict[str, Any]) -> None:
        """Take an event in."""
        now = time.perf_counter()
        match event["type"]:
            case "text":
                self.text += event["text"]
                self.came += [now] * (len(self.text) - len(self.came))
            case "retract":
                self.retracted = now
                self.text = event["text"]
            case "done":
                self.ended, self.reason = now, event["finish_reason"]
            case "failed":
                raise RuntimeError(event["code"])


async def follow(client: httpx.AsyncClient, name: str, kind: str, headers: dict[str, str]) -> Heard:
    """Ask, and read to the end."""
    heard, parser = Heard(), Parser()
    body = {"model": "m", "messages": [{"role": "user", "content": f"{name} {kind}"}]}
    async with client.stream("POST", "/v1/generations", json=body, headers=headers) as response:
        response.raise_for_status()
        async for part in response.aiter_raw():
            for event in parser.feed(part):
                heard.take(json.loads(event.data))
    return heard


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[int]:
    """Serve an ASGI app here; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server._serve(sockets=[listener]))  # noqa: SLF001  # `serve` would take the signals
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def gateway(way: Way, upstream: int, wechat: int) -> AsyncIterator[tuple[httpx.AsyncClient, psutil.Process]]:
    """Run the gateway of a way."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DAZI_", "OPENAI_"))},
        "DAZI_API_KEYS": KEY,
        "DAZI_SAFETY": json.dumps(way.safety),
        "DAZI_WECHAT_APPS": f"{APP}:{SECRET}",
        "DAZI_WECHAT_URL": f"http://127.0.0.1:{wechat}",
        "DAZI_SESSION_SECRETS": SIGNING,
    }
    words = [DAZI, "serve", "--model", "m", "--upstream", f"http://127.0.0.1:{upstream}/v1", "--port", str(port)]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, limits=httpx.Limits(max_connections=None), trust_env=False
        ) as client:
            await answers(client)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


async def answers(client: httpx.AsyncClient) -> None:
    """Wait until a gateway answers. Raises `TimeoutError`."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                (await client.get("/health/ready")).raise_for_status()
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
            else:
                return


async def log_in(client: httpx.AsyncClient, fake: FakeWeChat, user: str) -> dict[str, str]:
    """Log a user of the mini program in."""
    response = await client.post("/v1/wechat/sessions", json={"code": fake.mint(user)})
    return {"Authorization": f"Bearer {response.json()['token']}"}


async def measure(
    way: Way, upstream: tuple[Upstream, int], wechat: tuple[FakeWeChat, int], load: Load
) -> dict[str, float]:
    """Measure a way once: safe answers first, then risky ones."""
    source, port = upstream
    fake, fake_port = wechat
    async with gateway(way, port, fake_port) as (client, process):
        users = [
            await log_in(client, fake, str(number)) if way.by_wechat else {"Authorization": f"Bearer {KEY}"}
            for number in range(load.streams)
        ]
        source.written.clear()
        before = sum(process.cpu_times()[:2])
        safe = await asyncio.gather(*(follow(client, f"s{one}", "first", user) for one, user in enumerate(users)))
        spent = sum(process.cpu_times()[:2]) - before
        figures = {
            **latencies(source, safe, load),
            "cpu_us_per_piece": spent / (load.streams * load.characters / 2) * 1e6,
        }
        if way.safety:
            risky = await asyncio.gather(*(follow(client, f"r{one}", "second", user) for one, user in enumerate(users)))
            figures["retract_ms_p50"] = stopping(source, risky, load)
        return figures


def latencies(source: Upstream, heard: list[Heard], load: Load) -> dict[str, float]:
    """Tell how much later characters came than they were written. Raises `RuntimeError` if any did not."""
    late, first, end = [], [], []
    for number, one in enumerate(heard):
        written = source.written[f"s{number}"]
        if len(one.text) != load.characters or one.reason != "stop":
            raise RuntimeError(f"{len(one.text)} of {load.characters} characters, then {one.reason}")
        late += [came - written[at // 2] for at, came in enumerate(one.came)]
        first.append(one.came[0] - written[0])
        end.append(one.ended - written[-1])
    late.sort()
    return {
        "text_ms_p50": 1000 * statistics.median(late),
        "text_ms_p99": 1000 * late[int(0.99 * len(late))],
        "first_ms_p50": 1000 * statistics.median(first),
        "end_ms_p50": 1000 * statistics.median(end),
    }


def stopping(source: Upstream, heard: list[Heard], load: Load) -> float:
    """Tell how long after the risky word was written the answer was stopped. Raises `RuntimeError` if one was not."""
    whole = (load.characters // 2 + len(WORD) - 1) // 2
    if any(one.reason != "content_filter" or WORD[0] in one.text for one in heard):
        raise RuntimeError("A risky answer was not stopped.")
    return 1000 * statistics.median(
        (one.retracted or one.ended) - source.written[f"r{number}"][whole] for number, one in enumerate(heard)
    )


async def run(load: Load) -> dict[str, dict[str, float]]:
    """Run the rounds; returns the best of each figure, by way."""
    fake, source = FakeWeChat({APP: SECRET}, checks=10**9), Upstream(load)
    with tempfile.TemporaryDirectory(prefix="dazi-bench-") as folder:
        words = Path(folder) / "words.txt"
        words.write_text("\n".join([WORD, *(f"生僻词{number}号" for number in range(5000))]), encoding="utf-8")
        async with serving(source) as upstream, serving(slow_checker) as checker, serving(fake) as wechat:
            rows: dict[str, list[dict[str, float]]] = {}
            for _ in range(load.rounds):
                for way in ways(str(words), f"http://127.0.0.1:{checker}/judge"):
                    rows.setdefault(way.name, []).append(await measure(way, (source, upstream), (fake, wechat), load))
    return {
        name: {figure: round(min(row[figure] for row in measured), 1) for figure in FIGURES if figure in measured[0]}
        for name, measured in rows.items()
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """Write the results as a table of Markdown."""
    heads = ("text p50, ms", "text p99, ms", "first text, ms", "end, ms", "stopped after, ms", "CPU µs a piece")
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, figures in results.items():
        lines.append(
            f"| {name} | " + " | ".join(f"{figures[one]:.0f}" if one in figures else "" for one in FIGURES) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in Load.__dataclass_fields__:
        words.add_argument(f"--{name}", type=int, default=getattr(Load(), name))
    words.add_argument("--json", action="store_true")
    given = vars(words.parse_args())
    as_json = given.pop("json")
    results = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(run(Load(**given)))
    print(json.dumps(results, indent=2) if as_json else table(results))


if __name__ == "__main__":
    main()
