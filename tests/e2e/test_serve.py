"""`dazi serve`, the process: what it serves, what it refuses, and how it goes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import psutil
import pytest
from tests.e2e.client import Format, Held, Question, Reception, chunks, receive
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.e2e.process import Dazi
from tests.waiting import until as until_true

KEY = "the-key-of-the-model-s-server"
OWN_KEY = "a-key-of-this-gateway-1"
QUESTION = b'{"messages":[{"role":"user","content":"Say a word."}],"max_tokens":8}'
Serve = Callable[..., Awaitable[Dazi]]


@pytest.fixture
async def dazi(tmp_path: Path, stack: AsyncExitStack) -> Serve:
    """Run `dazi serve` in an empty folder: `await dazi("--drain", "0", OPENAI_API_KEY="…")`."""

    async def run(*arguments: str, **environ: str) -> Dazi:
        served = await Dazi.run(*arguments, folder=tmp_path, environ=environ)
        stack.push_async_callback(served.end)
        return served

    return run


def pointed_at(model: MockModel) -> dict[str, str]:
    return {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": KEY, "OPENAI_MODEL": "mock-1"}


async def answer(served: Dazi, key: str = "k") -> Held:
    held = await Question(served.port, key, QUESTION).follow(iter([Format()]))
    held.prove()
    return held


# What it serves


async def test_without_any_setting_the_embedded_model_answers_and_nobody_else_is_asked(dazi: Serve) -> None:
    served = await (await dazi()).ready()
    models = (await served.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["smollm2", "demo"]
    talking = asyncio.create_task(answer(served))
    addresses: set[str] = set()
    while not talking.done():
        addresses |= set(addresses_of(served.pid))
        await asyncio.sleep(0.05)  # between two looks, while the model thinks
    held = await talking
    assert held.text.strip()
    assert held.ends[0]["finish_reason"] in {"stop", "length"}
    assert 0 < held.ends[0]["usage"]["completion_tokens"] <= 8
    assert addresses == {"127.0.0.1"}
    assert "smollm2" in served.said
    served.signal(signal.SIGTERM)
    children = psutil.Process(served.pid).children(recursive=True)
    assert children
    assert await served.gone() == 0
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 5)
    assert not alive


def addresses_of(pid: int) -> Iterator[str]:
    """The addresses that a process and its children listen at or talk to."""
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        for connection in one.net_connections("inet"):
            yield from (address.ip for address in (connection.laddr, connection.raddr) if address)


async def test_a_server_named_in_the_environment_is_asked_with_its_key_and_the_key_is_never_told(
    dazi: Serve, mock: Mock
) -> None:
    model = await mock(["你好", "！"])
    served = await (await dazi(**pointed_at(model))).ready()
    assert [one["id"] for one in (await served.client.get("/v1/models")).json()["data"]] == ["mock-1"]
    assert (await answer(served)).text == "你好！"
    ((head, body),) = model.requests
    assert f"Authorization: Bearer {KEY}\r\n" in head
    assert (body["model"], body["max_tokens"]) == ("mock-1", 8)
    for path in ("/", "/v1/models", "/health/ready", "/openapi.json"):
        assert KEY not in (await served.client.get(path)).text
    served.signal(signal.SIGTERM)
    assert await served.gone() == 0
    assert KEY not in served.said


async def test_a_model_that_is_out_of_reach_is_a_failed_answer_and_the_gateway_lives_on(dazi: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    served = await (await dazi("--model", "m", "--upstream", f"http://127.0.0.1:{port}/v1")).ready()
    held = await answer(served)
    assert (held.ends[0]["code"], held.ends[0]["retryable"]) == ("upstream_unreachable", True)
    assert (await served.client.get("/health/ready")).json()["running"] == 0


async def test_with_keys_it_listens_to_the_network_and_lets_in_who_has_one(dazi: Serve) -> None:
    served = await (await dazi("--host", "0.0.0.0", "--model", "demo", DAZI_API_KEYS=f"{OWN_KEY}, {KEY}")).ready()
    assert (await served.client.get("/v1/models")).status_code == 401
    for key in (OWN_KEY, KEY):
        headers = {"Authorization": f"Bearer {key}"}
        assert (await served.client.get("/v1/models", headers=headers)).status_code == 200
    assert OWN_KEY not in served.said


# What it refuses

REFUSALS = {
    "the network without keys": (["--host", "0.0.0.0"], {}, ["host='0.0.0.0'", "DAZI_API_KEYS", "127.0.0.1"]),
    "several workers": (["--workers", "2"], {}, ["workers=2", "1 worker"]),
    "an unknown log": ([], {"DAZI_LOG": "paper://"}, ["log='paper://'", "memory://"]),
    "an unknown variable": ([], {"DAZI_PROT": "80"}, ["DAZI_PROT", "DAZI_PORT"]),
    "a port that is none": (["--log", "memory://"], {"DAZI_DRAIN": "soon"}, ["drain='soon'", "DAZI_DRAIN"]),
    "a short key": ([], {"DAZI_API_KEYS": "s3cr3t-ab"}, ["DAZI_API_KEYS", "too short", "dazi keys new"]),
    "a server without a model": ([], {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ["DAZI_MODEL", "--model"]),
    "an unknown model": (["--model", "gpt-9"], {}, ["gpt-9", "--upstream", "smollm2 or demo"]),
    "an address with a password": (
        ["--model", "m", "--upstream", "http://me:s3cr3t-ab@127.0.0.1/v1"], {}, ["password"]
    ),
    "a file that is not there": (["--config", "none.toml"], {}, ["none.toml", "--config"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "environ", "words"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_wrong_setting_stops_the_start_with_a_sentence(
    dazi: Serve, arguments: list[str], environ: dict[str, str], words: list[str]
) -> None:
    await refuses(await dazi(*arguments, **environ), words)


async def refuses(served: Dazi, words: list[str]) -> None:
    assert await served.gone(30) == 2
    assert served.said.startswith("dazi: ")
    for word in words:
        assert word in served.said
    assert "Traceback" not in served.said
    assert "s3cr3t" not in served.said


FILES = {
    "no TOML": ("port = ", ["dazi.toml cannot be read", "Invalid value"]),
    "an unknown setting": ("prot = 80\n", ["dazi.toml", "prot", "port"]),
    "a wrong value": ('port = "many"\n', ["port='many'", "dazi.toml"]),
}


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES.keys())
async def test_a_wrong_file_stops_the_start_with_a_sentence(
    dazi: Serve, tmp_path: Path, content: str, words: list[str]
) -> None:
    (tmp_path / "dazi.toml").write_text(content, "utf-8")
    await refuses(await dazi(), words)


async def test_a_port_that_is_taken_stops_the_start_with_a_sentence(dazi: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        await refuses(await dazi("--port", port, "--model", "demo"), [f"127.0.0.1:{port}", "--port"])


# How it goes


async def events(served: Dazi, question: Question, held: Held) -> AsyncIterator[str]:
    """Yield the type of each event as it comes, with `held` keeping count of them."""
    received, seen = Reception(), 0
    async with aclosing(chunks(served.port, question.request(held, Format()))) as arriving:
        async for chunk in arriving:
            received.feed(chunk)
            frames = list(Format().events(received.body))[seen:]
            seen += len(frames)
            for frame in frames:
                held.apply([frame])
                yield frame[1]["type"]


async def until(kind: str, arriving: AsyncIterator[str], seconds: float = 2) -> None:
    async with asyncio.timeout(seconds):
        while await anext(arriving) != kind:
            pass


async def test_a_goodbye_moves_the_readers_and_lets_the_answer_finish(dazi: Serve, mock: Mock) -> None:
    model = await mock(["你", "", "好"])
    served = await (await dazi(**pointed_at(model))).ready()
    question, held = Question(served.port, "k", QUESTION), Held()
    arriving = events(served, question, held)
    await until("text", arriving)
    served.signal(signal.SIGTERM)
    await until("reconnect", arriving)
    assert [kind async for kind in arriving] == []
    refused = await served.client.post(
        "/v1/generations", content=QUESTION, headers={"Content-Type": "application/json"}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert (await served.client.get("/health/ready")).status_code == 503
    assert (await served.client.get("/health/live")).status_code == 200
    again = events(served, question, held)
    resumed = asyncio.create_task(until("done", again, seconds=5))
    posted = asyncio.create_task(answer(served))  # the same start, once more: it is no new one
    model.release()
    await resumed
    held.prove()
    assert facts(held) == facts(await posted)
    assert held.text == "你好"
    assert await served.gone() == 0
    assert len(model.requests) == 1
    assert_went_quietly(served)


def facts(held: Held) -> tuple[str, str, str]:
    return held.generation, held.text, held.id


def assert_went_quietly(served: Dazi) -> None:
    for word in ("Traceback", "Error", "error", "Exception", "never retrieved", "Aborted!"):
        assert word not in served.said, served.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_with_nothing_to_do_it_goes_at_once(dazi: Serve, number: int) -> None:
    served = await (await dazi("--model", "demo")).ready()
    served.signal(number)
    assert await served.gone(3) == 0
    assert_went_quietly(served)


async def test_an_answer_that_outlasts_the_drain_fails_in_words(dazi: Serve, mock: Mock) -> None:
    model = await mock(["你", ""])
    served = await (await dazi("--drain", "1", **pointed_at(model))).ready()
    question, held = Question(served.port, "k", QUESTION), Held()
    arriving = events(served, question, held)
    await until("text", arriving)
    served.signal(signal.SIGTERM)
    await until("reconnect", arriving)
    await until("failed", events(served, question, held), seconds=5)
    held.prove()
    assert (held.text, held.ends[0]["code"], held.ends[0]["retryable"]) == ("你", "producer_lost", True)
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1))
    assert await served.gone() == 0
    assert_went_quietly(served)


async def test_without_a_drain_the_readers_are_told_the_end_at_once(dazi: Serve, mock: Mock) -> None:
    model = await mock(["你", ""])
    served = await (await dazi("--drain", "0", **pointed_at(model))).ready()
    held = Held()
    arriving = events(served, Question(served.port, "k", QUESTION), held)
    await until("text", arriving)
    served.signal(signal.SIGTERM)
    await until("failed", arriving)
    held.prove()
    assert (held.text, held.ends[0]["code"], held.ends[0]["retryable"]) == ("你", "producer_lost", True)
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1))
    assert await served.gone(3) == 0
    assert_went_quietly(served)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_now(dazi: Serve, mock: Mock, number: int) -> None:
    model = await mock(["你", ""])
    served = await (await dazi(**pointed_at(model))).ready()
    question, held = Question(served.port, "k", QUESTION), Held()
    arriving = events(served, question, held)
    await until("text", arriving)
    served.signal(number)
    await until("reconnect", arriving)
    again = events(served, question, held)
    reading = asyncio.create_task(until("failed", again, seconds=5))
    await until_connected(served, 1)
    served.signal(number)
    await reading
    held.prove()
    assert (held.text, held.ends[0]["code"]) == ("你", "producer_lost")
    assert await served.gone(3) == 0
    assert_went_quietly(served)


async def until_connected(served: Dazi, count: int) -> None:
    """While it says goodbye, /health/ready tells no numbers: ask the kernel."""
    await until_true(lambda: len(established(served)) >= count)


def established(served: Dazi) -> list[object]:
    lines = psutil.Process(served.pid).net_connections("tcp")
    return [line for line in lines if line.status == "ESTABLISHED" and line.laddr.port == served.port]


async def test_after_a_crash_an_old_answer_is_gone_in_one_shape(dazi: Serve, mock: Mock) -> None:
    model = await mock(["你", ""])
    served = await (await dazi(**pointed_at(model))).ready()
    question, held = Question(served.port, "k", QUESTION), Held()
    arriving = events(served, question, held)
    await until("text", arriving)
    served.signal(signal.SIGKILL)
    assert [kind async for kind in arriving] == []
    assert await served.gone() == -signal.SIGKILL
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1))
    after = await (await dazi("--port", str(served.port), **pointed_at(model))).ready()
    tried = await receive(after.port, question.request(held, Format()))
    never = await receive(after.port, question.request(Held("1-1", "never"), Format()))
    old, new = (told(raw, generation) for raw, generation in ((tried, held.generation), (never, "never")))
    assert old == new
    assert old["code"] == "not_found"
    assert [Reception(raw).status for raw in (tried, never)] == [404, 404]
    # One tap asks again, under a fresh key or the old one.
    model.release()
    assert (await answer(after)).text == "你"


def told(raw: bytes, generation: str) -> dict[str, object]:
    problem = json.loads(Reception(raw).body.replace(generation.encode(), b"ID"))
    return dict(problem["error"])
