"""Clients that others wrote work unchanged. Their versions are in docs/clients.md and pinned where they are installed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any

import openai
import pytest
from httpx_sse import aconnect_sse
from openai import AsyncOpenAI
from tests.conftest import Serve, Served

from dazi import Prompt, Reasoning
from dazi.errors import UpstreamError
from dazi.events import ToolCall, Usage
from dazi.settings import Settings
from dazi.upstream import Finish

PIECES = ["Hello, ", "你好", "，", "👨‍👩‍👧", "‍👦 ", "🇨🇳", " 👋🏽", " é ", "𠮷", "\u2028", "done."]
TEXT = "".join(PIECES)
FOREIGN = Path(__file__).parent / "foreign"


async def mixed(_prompt: Prompt) -> AsyncIterator[str | Reasoning]:
    yield Reasoning("Hm, 想一想。")
    for piece in PIECES:
        yield piece
        await asyncio.sleep(0.01)


async def slow(_prompt: Prompt) -> AsyncIterator[str]:
    for piece in PIECES:
        yield piece
        await asyncio.sleep(0.3)


async def limited(_prompt: Prompt) -> AsyncIterator[str]:
    raise UpstreamError("upstream_rate_limited", "The model's server takes no more requests now.", retryable=True)
    yield ""


async def broken(_prompt: Prompt) -> AsyncIterator[str]:
    yield "half an "
    raise UpstreamError("truncated", "The model's server broke off.", retryable=True)


class Endless:
    """Types until it is stopped, and tells when it was."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def answer(self, _prompt: Prompt) -> AsyncIterator[str]:
        try:
            while True:
                yield "and "
                await asyncio.sleep(0.01)
        finally:
            self.stopped.set()


@pytest.fixture
def endless() -> Endless:
    return Endless()


@pytest.fixture
async def served(serve: Serve, endless: Endless) -> Served:
    models: dict[str, Any] = {
        "mixed": mixed,
        "slow": slow,
        "limited": limited,
        "broken": broken,
        "endless": endless.answer,
    }
    return await serve(models)


@pytest.fixture
async def client(served: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


async def collect(stream: AsyncIterator[Any]) -> str:
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def ask(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "go"}]}


class TestOpenAI:
    async def test_streams(self, client: AsyncOpenAI) -> None:
        text = reasoning = ""
        async for chunk in await client.chat.completions.create(**ask("mixed"), stream=True):
            text += chunk.choices[0].delta.content or ""
            reasoning += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        assert (text, reasoning) == (TEXT, "Hm, 想一想。")
        assert chunk.choices[0].finish_reason == "stop"

    async def test_answers_whole(self, client: AsyncOpenAI) -> None:
        answer = await client.chat.completions.create(**ask("mixed"))
        assert answer.choices[0].message.content == TEXT
        assert answer.choices[0].finish_reason == "stop"

    async def test_lists_and_retrieves_models(self, client: AsyncOpenAI) -> None:
        assert "mixed" in [model.id for model in (await client.models.list()).data]
        assert (await client.models.retrieve("slow")).id == "slow"

    async def test_stops_the_model_by_closing(self, serve: Serve, endless: Endless) -> None:
        served = await serve({"endless": endless.answer}, settings=Settings(grace=0.1))
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused") as client:
            stream = await client.chat.completions.create(**ask("endless"), stream=True)
            await anext(aiter(stream))
            await stream.close()
        await asyncio.wait_for(endless.stopped.wait(), 2)

    async def test_keeps_the_model_running_where_that_is_set(self, serve: Serve) -> None:
        served = await serve({"slow": slow}, settings=Settings(grace="keep"))
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused") as client:
            response = await client.chat.completions.with_raw_response.create(**ask("slow"), stream=True)
            generation = response.headers["dazi-generation"]
            await anext(aiter(response.parse()))
        poll = await served.client.get(f"/v1/generations/{generation}")
        while poll.json()["status"] == "running":
            after = f"/v1/generations/{generation}/events?wait=5&after={poll.json()['next']}"
            await served.client.get(after, headers={"Accept": "application/json"})
            poll = await served.client.get(f"/v1/generations/{generation}")
        assert poll.json()["text"] == TEXT

    async def test_a_reader_that_attached_saves_the_answer(self, serve: Serve) -> None:
        served = await serve({"slow": slow}, settings=Settings(grace=0.2))
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="unused") as client:
            response = await client.chat.completions.with_raw_response.create(**ask("slow"), stream=True)
            path = f"/v1/generations/{response.headers['dazi-generation']}/events"
            reading = asyncio.create_task(served.client.get(path))
            await anext(aiter(response.parse()))
        assert '"type":"done"' in (await reading).text

    @pytest.mark.parametrize(
        ("model", "error", "code"),
        [
            ("nowhere", openai.NotFoundError, "unknown_model"),
            ("limited", openai.RateLimitError, "upstream_rate_limited"),
        ],
    )
    @pytest.mark.parametrize("stream", [True, False])
    async def test_raises_its_own_errors(
        self, client: AsyncOpenAI, model: str, error: type[openai.APIStatusError], code: str, *, stream: bool
    ) -> None:
        with pytest.raises(error) as caught:
            await client.chat.completions.create(**ask(model), stream=stream)
        assert caught.value.code == code

    async def test_hears_of_an_answer_that_broke(self, client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(**ask("broken"), stream=True)
        with pytest.raises(openai.APIError) as caught:
            await collect(stream)
        assert caught.value.code == "truncated"

    async def test_names_an_unknown_field(self, client: AsyncOpenAI) -> None:
        with pytest.raises(openai.UnprocessableEntityError, match="'zzz'"):
            await client.chat.completions.create(**ask("mixed"), extra_body={"zzz": 1})


async def test_httpx_sse_reads_the_native_stream(served: Served) -> None:
    text = ""
    async with aconnect_sse(served.client, "POST", "/v1/generations", json=ask("mixed")) as source:
        async for event in source.aiter_sse():
            data = event.json() if event.data else {}
            text += data["text"] if data.get("type") == "text" else ""
    assert text == TEXT


async def test_curl_types_the_answer(served: Served) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed: apt-get install curl"
    body = json.dumps(ask("mixed"))
    command = [
        curl,
        "-sN",
        f"{served.url}/v1/generations?profile=plain",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    events = [json.loads(line.removeprefix("data: ")) for line in output.decode("ascii").splitlines() if line]
    assert "".join(event["text"] for event in events if event["type"] == "text") == TEXT


@pytest.fixture(scope="session")
def node_clients() -> Path:
    """Install the pinned clients from npm."""
    npm = shutil.which("npm")
    assert npm, "npm is not installed; install Node.js 20 or newer"
    subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOREIGN, check=True, timeout=300, capture_output=True)
    return FOREIGN / "clients.mjs"


async def run_node(script: Path, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        "node", str(script), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(output))


@pytest.mark.full
class TestNode:
    @pytest.mark.parametrize("which", ["openai-stream", "openai-whole", "ai-stream", "ai-whole"])
    async def test_chat_clients_get_the_text(self, served: Served, node_clients: Path, which: str) -> None:
        assert (await run_node(node_clients, which, served.url))["text"] == TEXT

    async def test_the_ai_sdk_gets_the_reasoning(self, served: Served, node_clients: Path) -> None:
        told = await run_node(node_clients, "ai-stream", served.url)
        assert (told["reason"], told["reasoning"]) == ("stop", "Hm, 想一想。")

    async def test_openai_aborts(self, served: Served, node_clients: Path, endless: Endless) -> None:
        assert (await run_node(node_clients, "openai-abort", served.url))["aborted"]
        await asyncio.wait_for(endless.stopped.wait(), 10)

    async def test_openai_maps_errors(self, served: Served, node_clients: Path) -> None:
        assert (await run_node(node_clients, "openai-errors", served.url))["caught"] == [
            ["NotFoundError", 404, "unknown_model"],
            ["RateLimitError", 429, "upstream_rate_limited"],
            ["APIError", None, "truncated"],
        ]

    @pytest.mark.parametrize("which", ["eventsource", "eventsource-client"])
    async def test_event_sources_reconnect_after_rotation(self, served: Served, node_clients: Path, which: str) -> None:
        start = await served.client.post("/v1/generations", json=ask("slow"), headers={"Accept": "application/json"})
        told = await run_node(node_clients, which, served.url, start.json()["generation"])
        assert told["text"] == TEXT
        assert told.get("closed", True)


@pytest.fixture(scope="session")
def python_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the pinned clients from PyPI, apart from our own packages; gives the folder of their programs."""
    home = tmp_path_factory.mktemp("clients")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=300)
    install = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "-r", str(FOREIGN / "requirements.txt")], check=True, timeout=600, capture_output=True)
    return home / "bin"


async def run(*command: str | Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    output, errors = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def tool_user(prompt: Prompt) -> AsyncIterator[str | ToolCall | Finish]:
    """Calls a tool once, if it sees the picture and the tool, then answers with its result."""
    first, last = prompt.messages[0], prompt.messages[-1]
    assert [part["type"] for part in first["content"]] == ["text", "image_url"]
    assert prompt.options["tools"][0]["function"]["name"] == "weather"
    if last["role"] == "tool":
        yield f"It is {last['content']}."
        return
    yield ToolCall(0, call_id="call_1", name="weather")
    yield ToolCall(0, arguments='{"city": ')
    yield ToolCall(0, arguments='"北京"}')
    yield Finish("tool_calls", Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7))


@pytest.mark.full
@pytest.mark.timeout(900)
class TestPython:
    @pytest.mark.parametrize("which", ["stream", "whole"])
    async def test_langchain_gets_the_text(self, served: Served, python_clients: Path, which: str) -> None:
        told = json.loads(await run(python_clients / "python", FOREIGN / "clients.py", which, served.url))
        assert told["text"] == TEXT
        if which == "stream":
            assert told["chunks"] >= len(PIECES)
            assert told["reason"] == "stop"

    async def test_langchain_uses_tools_and_sends_pictures(self, serve: Serve, python_clients: Path) -> None:
        served = await serve({"tools": tool_user})
        told = json.loads(await run(python_clients / "python", FOREIGN / "clients.py", "tools", served.url))
        assert (told["call"]["name"], told["call"]["args"]) == ("weather", {"city": "北京"})
        assert (told["usage"], told["text"]) == (7, "It is 22°C.")

    async def test_langchain_hears_of_errors(self, served: Served, python_clients: Path) -> None:
        told = json.loads(await run(python_clients / "python", FOREIGN / "clients.py", "errors", served.url))
        assert [code for _, code in told] == ["unknown_model", "upstream_rate_limited", "truncated"]

    @pytest.mark.parametrize("arguments", [[], ["--no-stream"]])
    async def test_llm_gets_the_text(
        self, served: Served, python_clients: Path, tmp_path: Path, arguments: list[str]
    ) -> None:
        model = {"model_id": "dazi", "model_name": "mixed", "api_base": f"{served.url}/v1", "api_key_name": "none"}
        (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model]), "utf-8")
        home = {"LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}
        text = await run(python_clients / "llm", "-m", "dazi", *arguments, "go", "--key", "unused", **home)
        assert text.removesuffix("\n") == TEXT


def test_the_versions_in_the_docs_are_those_that_run() -> None:
    table = (FOREIGN.parent.parent / "docs" / "clients.md").read_text("utf-8")
    pinned = json.loads((FOREIGN / "package.json").read_text("utf-8"))["dependencies"]
    installed = {name: metadata.version(name) for name in ("openai", "httpx-sse")}
    lines = (FOREIGN / "requirements.txt").read_text("utf-8").split()
    installed |= dict(line.split("==") for line in lines if line.startswith(("langchain-openai=", "llm=")))
    for name, version in [*pinned.items(), *installed.items()]:
        row = next(line for line in table.splitlines() if f"`{name}`" in line and version in line)
        assert row
