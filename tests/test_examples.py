"""The examples run, as they stand, under the servers that people use."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from tests.conftest import Serve, listening
from tests.servers import free_port

from dazi import Finish, Prompt, create_app
from dazi.sse import Parser
from dazi.upstream import Sink
from dazi.upstream.demo import DemoUpstream

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
QUESTION = {"messages": [{"role": "user", "content": "why so 早 👋🏽"}]}


@contextmanager
def running(folder: Path, *command: str, port: int) -> Iterator[str]:
    """Run a server as its README says, in the example's own folder."""
    with subprocess.Popen([sys.executable, "-m", *command], cwd=folder, stderr=subprocess.PIPE) as process:
        try:
            wait_listening(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    stderr = process.stderr.read().decode() if process.stderr else ""
    pytest.fail(f"The example does not listen: {stderr}")


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) for event in Parser().feed(body)]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "text")


async def everything_works(url: str, text: str) -> None:
    """Stream, replace, attach anew, poll, abort by key: what a team gets for its generator."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        response = await client.post("/v1/generations", json=QUESTION)
        events = events_of(response.content)
        assert text_of(events) == text
        assert events[-1]["type"] == "done"
        path = f"/v1/generations/{response.headers['dazi-generation']}"

        again = await client.get(f"{path}/events", headers={"Last-Event-ID": "1-1"})
        assert text_of(events_of(again.content)) == text
        replaced = await client.post("/v1/generations?mode=replace", json=QUESTION)
        snapshots = [event for event in events_of(replaced.content) if event["type"] == "snapshot"]
        assert snapshots[-1]["text"] == text
        poll = await client.get(f"{path}/events?wait=5", headers={"Accept": "application/json"})
        assert poll.json()["status"] == "done"
        aborted = await client.post("/v1/generations/abort", headers={"Idempotency-Key": "k"})
        assert aborted.json()["status"] == "aborted"
        late = await client.post("/v1/generations", json=QUESTION, headers={"Idempotency-Key": "k"})
        assert [event["type"] for event in events_of(late.content)] == ["started", "aborted"]


@pytest.mark.parametrize("server", [("uvicorn", "--port", "{port}"), ("hypercorn", "--bind", "127.0.0.1:{port}")])
async def test_a_generator_is_all_it_takes(server: tuple[str, ...]) -> None:
    port = free_port()
    command = [server[0], "custom_upstream:app", *(part.format(port=port) for part in server[1:])]
    with running(EXAMPLES, *command, port=port) as url:
        await everything_works(url, "WHY SO 早 👋🏽 ")


async def test_readers_of_a_stopping_uvicorn_are_asked_to_reconnect() -> None:
    port, words = free_port(), {"messages": [{"role": "user", "content": "so " * 600}]}
    command = ("uvicorn", "custom_upstream:app", "--port", str(port))
    with subprocess.Popen([sys.executable, "-m", *command], cwd=EXAMPLES, stderr=subprocess.DEVNULL) as process:  # noqa: ASYNC220  # it starts at once
        wait_listening(process, port)
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
            client.stream("POST", "/v1/generations?profile=plain", json=words) as stream,
        ):
            lines = stream.aiter_lines()
            await anext(lines)
            process.terminate()
            said = [line async for line in lines if line]
        assert said[-1] == 'data: {"type":"reconnect"}'
        await asyncio.to_thread(process.wait, 10)


async def test_dazi_mounts_in_fastapi() -> None:
    port = free_port()
    with running(EXAMPLES / "fastapi", "uvicorn", "app:app", "--port", str(port), port=port) as url:
        await everything_works(f"{url}/ai", "你好，你问的是：why so 早 👋🏽 👨‍👩‍👧‍👦")
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/hello")).json() == {"hello": "world"}
            assert "<title>" in (await client.get("/ai/")).text


async def test_dazi_stands_beside_django() -> None:
    port = free_port()
    with running(EXAMPLES / "django", "uvicorn", "asgi:application", "--port", str(port), port=port) as url:
        await everything_works(f"{url}/ai", "Django says: why so 早 👋🏽")
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/hello")).text == "hello from Django"


async def count(prompt: Prompt) -> AsyncIterator[str]:
    for number in range(len(str(prompt.messages))):
        yield f"{number} "
        await asyncio.sleep(0)


async def pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@asynccontextmanager
async def behind(middleware: Any, **options: Any) -> AsyncIterator[str]:
    outer = FastAPI()
    outer.mount("/ai", create_app({"count": count}))
    outer.add_middleware(middleware, **options)
    async with listening(outer) as port:
        yield f"http://127.0.0.1:{port}/ai"


@pytest.mark.parametrize(
    ("middleware", "options"), [(BaseHTTPMiddleware, {"dispatch": pass_on}), (GZipMiddleware, {"minimum_size": 1})]
)
async def test_behind_a_middleware_it_is_slower_but_never_wrong(middleware: type, options: dict[str, Any]) -> None:
    text = "".join(f"{number} " for number in range(len(str(QUESTION["messages"]))))
    async with behind(middleware, **options) as url:
        await everything_works(url, text)


def blocks_of(page: str, language: str) -> list[str]:
    """Return the code blocks of a document, of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


async def test_the_readmes_own_model_runs() -> None:
    module: dict[str, Any] = {}
    exec(next(block for block in blocks_of("README.md", "python") if "create_app" in block), module)  # noqa: S102  # our own README
    async with listening(module["app"]) as port:
        await everything_works(f"http://127.0.0.1:{port}", "WHY SO 早 👋🏽 ")


async def test_the_readmes_client_types(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    served = await serve({"demo": DemoUpstream(pace=math.inf, text="你好 👋🏽")})
    block = next(block for block in blocks_of("README.md", "python") if "dazi.client" in block)
    await asyncio.to_thread(exec, block.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}"), {})
    assert capsys.readouterr().out == "你好 👋🏽"


async def test_the_readmes_commands_run(serve: Serve) -> None:
    served = await serve({"demo": DemoUpstream(pace=math.inf)})
    start, follow = (block for block in blocks_of("README.md", "sh") if "curl" in block)
    answer = await shell(start, served.port)
    generation = json.loads(answer.partition("data: ")[2].partition("\n")[0])["generation"]
    attached, polled, aborted = [await shell(line, served.port, generation) for line in follow.splitlines()]
    said, rest = (events_of(stream.encode()) for stream in (answer, attached))
    assert said[-1] == rest[-1]
    missing = said[6]["n"]  # of the frame with the id 1-7, in UTF-16 units
    assert text_of(rest) == text_of(said).encode("utf-16-le")[2 * missing :].decode("utf-16-le")
    assert (json.loads(polled)["status"], json.loads(aborted)["status"]) == ("done", "done")


async def shell(command: str, port: int, generation: str = "") -> str:
    """Run a line of the README against the gateway of the test."""
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("$ID", generation)
    process = await asyncio.create_subprocess_shell(
        here.replace("curl ", "curl -sS "), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, errors.decode()
    return output.decode()


class Held:
    """An upstream that has to be opened before it is asked."""

    opened = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.opened -= 1

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        sink.text("open" if self.opened == 1 else "closed")
        return Finish()


async def test_a_mounted_app_is_opened_by_its_first_request() -> None:
    outer, held = FastAPI(), Held()
    outer.mount("/ai", create_app({"held": held}))
    async with listening(outer) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/ai") as client:
        posts = await asyncio.gather(*(client.post("/v1/generations", json=QUESTION) for _ in range(5)))
    assert [text_of(events_of(post.content)) for post in posts] == ["open"] * 5
