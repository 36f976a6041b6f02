"""Several workers on one file: any of them serves any answer, and the death of one is told by the others."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
from tests.e2e.client import Format, Held, Question, Reception, receive
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.e2e.process import Dazi
from tests.waiting import A_SECOND, until

LEASE = 2.0
Serve = Callable[..., Awaitable[Dazi]]


@pytest.fixture
async def dazi(tmp_path: Path, stack: AsyncExitStack) -> Serve:
    """Run two workers on a file, in front of a mock: `await dazi(model, "--drain", "0")`."""

    async def run(model: MockModel, *arguments: str) -> Dazi:
        environ = {"OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "m", "DAZI_LEASE": str(LEASE)}
        command = ("--workers", "2", "--log", "sqlite:///log.db", *arguments)
        served = await Dazi.run(*command, folder=tmp_path, environ=environ)
        stack.push_async_callback(served.end)
        await served.ready()
        await until(lambda: len(workers_of(served)) == 2)
        return served

    return run


def workers_of(served: Dazi) -> list[psutil.Process]:
    return list(psutil.Process(served.pid).children())


def asks(model: MockModel, worker: psutil.Process) -> bool:
    """Whether this worker holds a connection to the model."""
    return any(line.raddr and line.raddr.port == model.port for line in worker.net_connections())


async def start(served: Dazi, key: str) -> str:
    answer = await served.client.post(
        "/v1/generations",
        json={"messages": [{"role": "user", "content": "?"}]},
        headers={"Idempotency-Key": key, "Accept": "application/json"},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["generation"])


async def stands(served: Dazi, generation: str) -> dict[str, Any]:  # Any: JSON
    return dict((await served.client.get(f"/v1/generations/{generation}")).json())


async def test_a_killed_workers_answer_is_ended_by_the_others_within_the_lease(dazi: Serve, mock: Mock) -> None:
    model = await mock(["你", "好", "👩🏽‍🚀", ""])
    served = await dazi(model)
    generation = await start(served, "k")
    await model.wait_until(lambda model: model.waiting == 1, seconds=5)
    async with asyncio.timeout(5):
        while (await stands(served, generation))["text"] != "你好👩🏽‍🚀":  # noqa: ASYNC110  # nothing else tells
            await asyncio.sleep(0.01)  # between two looks
    following = asyncio.create_task(follow(served, "k"))
    dead = next(worker for worker in workers_of(served) if asks(model, worker))
    dead.kill()
    killed = monotonic()
    held = await asyncio.wait_for(following, 3 * LEASE)
    took = monotonic() - killed
    held.prove()
    assert (held.text, held.ends[0]["type"], held.ends[0]["code"]) == ("你好👩🏽‍🚀", "failed", "producer_lost")
    assert held.ends[0]["retryable"]
    assert took < LEASE + 1
    assert (await stands(served, generation))["text"] == "你好👩🏽‍🚀"
    await until(lambda: len(workers_of(served)) == 2, seconds=10)
    assert f"Worker {dead.pid} ended" in " ".join(served.said.split())


async def follow(served: Dazi, key: str) -> Held:
    """Follow as a client does that attaches again whenever its line breaks, to whichever worker it gets."""
    question, held = Question(served.port, key, b'{"messages":[{"role":"user","content":"?"}]}'), Held()
    while not held.ends:
        try:
            raw = await receive(served.port, question.request(held, Format()))
        except OSError:
            continue
        received = Reception(raw)
        assert received.status in {0, 200}, received.body
        held.apply(Format().events(received.body))
    return held


@pytest.mark.alone
async def test_an_abort_at_any_worker_reaches_the_model_within_a_second(dazi: Serve, mock: Mock) -> None:
    model = await mock(["a", ""])
    served = await dazi(model)
    generations = [await start(served, f"k{number}") for number in range(12)]
    await model.wait_until(lambda model: model.waiting == 12, seconds=5)
    answers = await asyncio.gather(
        *(served.client.post(f"/v1/generations/{generation}/abort") for generation in generations)
    )
    assert {answer.json()["status"] for answer in answers} == {"aborted"}
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 12), seconds=A_SECOND)


async def test_readers_at_every_worker_get_everything_as_it_comes(dazi: Serve, mock: Mock) -> None:
    pieces = [f"{number} 字 " for number in range(40)]
    model = await mock(pieces, pace=0.02)
    served = await dazi(model)
    await start(served, "k")
    followed = await asyncio.wait_for(asyncio.gather(*(follow(served, "k") for _ in range(16))), 20)
    for held in followed:
        held.prove()
        assert (held.text, held.ends[0]["type"]) == ("".join(pieces), "done")
    assert len(model.requests) == 1


async def test_a_goodbye_lets_the_answers_finish_and_leaves_nobody_behind(dazi: Serve, mock: Mock) -> None:
    model = await mock(["a", "", "b"])
    served = await dazi(model, "--drain", "20")
    generations = [await start(served, f"k{number}") for number in range(6)]
    await model.wait_until(lambda model: model.waiting == 6, seconds=5)
    workers = workers_of(served)
    served.signal(signal.SIGTERM)
    await until(lambda: "may finish" in served.said)
    model.release()
    assert await served.gone(15) == 0
    assert not any(worker.is_running() for worker in workers)
    again = await dazi(model)
    for generation in generations:
        answer = await stands(again, generation)
        assert (answer["status"], answer["text"]) == ("done", "ab")


async def test_workers_do_not_outlive_their_supervisor(dazi: Serve, mock: Mock) -> None:
    served = await dazi(await mock(["a"]), "--drain", "0")
    workers = workers_of(served)
    served.signal(signal.SIGKILL)
    await until(lambda: not any(worker.is_running() for worker in workers), seconds=10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log", "memory://", "--model", "demo"], ["workers=2", "1 worker", "sqlite:///"]),
        (["--log", "sqlite:///log.db"], ["workers=2", "embedded model", "--upstream"]),
        (["--log", "sqlite:///missing/log.db", "--model", "demo"], ["missing/log.db", "No such file", "--log"]),
        (["--log", "sqlite://log.db", "--model", "demo"], ["log='sqlite://'", "sqlite:///file.db"]),
    ],
)
async def test_what_workers_cannot_share_is_refused_in_words(
    stack: AsyncExitStack, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    served = await Dazi.run("--workers", "2", *arguments, folder=tmp_path, environ={})
    stack.push_async_callback(served.end)
    assert await served.gone(20) == 2
    for word in words:
        assert word in served.said
