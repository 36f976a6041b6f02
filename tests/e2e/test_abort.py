"""An abort stops the model, whatever it is doing, within a second; a disconnect stops nothing."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from tests.conftest import Serve, Served
from tests.e2e.client import Format, Held, Question, Reception, chunks, receive
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.waiting import A_SECOND, until

from dazi.upstream.openai import OpenAIUpstream

QUESTION = {"messages": [{"role": "user", "content": "?"}]}
JSON = {"Accept": "application/json"}

# Where the model is when the abort comes, by the pieces that it has said and has yet to say.
STAGES: dict[str, dict[str, Any]] = {  # Any: MockModel's options
    "before the head": {"pieces": ["a"], "holds_head": True},
    "before the first token": {"pieces": ["", "a"]},
    "in mid-stream": {"pieces": ["你", "好", "", "！"]},
    "before the finish": {"pieces": ["你", "好", "！", ""]},
}
# What is promised is measured: within a second.
pytestmark = pytest.mark.alone
stages = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
Abort = Callable[[Served, str, str], Awaitable[dict[str, Any]]]  # Any: JSON


async def by_id(served: Served, generation: str, _key: str) -> dict[str, Any]:  # Any: JSON
    answer = await served.client.post(f"/v1/generations/{generation}/abort")
    assert answer.status_code == 200
    assert answer.json()["generation"] == generation
    return dict(answer.json())


async def by_key(served: Served, _generation: str, key: str) -> dict[str, Any]:  # Any: JSON
    answer = await served.client.post("/v1/generations/abort", headers={"Idempotency-Key": key})
    assert answer.status_code == 200
    return dict(answer.json())


aborts = pytest.mark.parametrize("abort", [by_id, by_key])


async def start(served: Served, key: str, model: str = "m") -> str:
    body = {"model": model, **QUESTION}
    answer = await served.client.post("/v1/generations", json=body, headers={"Idempotency-Key": key, **JSON})
    assert answer.status_code == 202
    return str(answer.json()["generation"])


def said_before_the_hold(stage: dict[str, Any]) -> str:  # Any: MockModel's options
    pieces = [""] if stage.get("holds_head") else stage["pieces"]
    return "".join(pieces[: pieces.index("")])


@stages
@aborts
async def test_an_abort_releases_the_models_server(
    serve: Serve, mock: Mock, stage: dict[str, Any], abort: Abort
) -> None:
    model = await mock(**stage)
    served = await serve({"m": OpenAIUpstream(model.url)})
    generation = await start(served, "k")
    await model.wait_until(lambda model: model.waiting == 1)
    told = await abort(served, generation, "k")
    await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 1, 0))
    assert (told["status"], told["end"]["type"]) == ("aborted", "aborted")
    assert await abort(served, generation, "k") == told
    stands = (await served.client.get(f"/v1/generations/{generation}")).json()
    assert (stands["status"], stands["text"]) == ("aborted", said_before_the_hold(stage))
    assert (stands["n"], stands["crc32"]) == (told["end"]["n"], told["end"]["crc32"])


@aborts
async def test_an_abort_releases_a_connection_that_was_used_before(serve: Serve, mock: Mock, abort: Abort) -> None:
    model = await mock(["a", "b"])
    served = await serve({"m": OpenAIUpstream(model.url)})
    held = await Question(served.port, "first").follow(iter([Format()]))
    assert (held.text, held.ends[0]["type"]) == ("ab", "done")
    model.pieces = ["a", ""]
    generation = await start(served, "second")
    await model.wait_until(lambda model: model.waiting == 1)
    assert model.connections == 1
    await abort(served, generation, "second")
    await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 1, 1))


@aborts
async def test_an_abort_after_the_end_tells_the_end_that_was(serve: Serve, mock: Mock, abort: Abort) -> None:
    model = await mock(["a", "b"])
    served = await serve({"m": OpenAIUpstream(model.url)})
    held = await Question(served.port, "k").follow(iter([Format()]))
    await model.wait_until(lambda model: (model.open, model.done) == (0, 1))
    assert await abort(served, held.generation, "k") == {
        "generation": held.generation,
        "status": "done",
        "end": held.ends[0],
    }


async def test_an_abort_by_key_that_overtakes_its_start_keeps_the_model_from_being_asked(
    serve: Serve, mock: Mock
) -> None:
    model = await mock(["a"])
    served = await serve({"m": OpenAIUpstream(model.url)})
    told = await by_key(served, "", "k")
    held = await Question(served.port, "k").follow(iter([Format()]))
    held.prove()
    assert (held.generation, held.text, held.ends) == (told["generation"], "", [told["end"]])
    assert await start(served, "k") == told["generation"]
    assert (await served.client.get("/health/ready")).json()["running"] == 0
    assert model.requests == []


async def test_the_readers_are_told_at_once(serve: Serve, mock: Mock) -> None:
    model = await mock(["你", "好", ""])
    served = await serve({"m": OpenAIUpstream(model.url)})
    question = Question(served.port, "k")
    formats = [Format(), Format("replace"), Format("replace", "url", "plain")]
    reading = [asyncio.create_task(receive(served.port, question.request(Held(), chosen))) for chosen in formats]
    await until_said(served, model, readers=3)
    await by_key(served, "", "k")
    async with asyncio.timeout(1):
        raws = await asyncio.gather(*reading)
    for raw, chosen in zip(raws, formats, strict=True):
        held = Held()
        held.apply(chosen.events(Reception(raw).body))
        held.prove()
        assert (held.text, held.ends[0]["type"]) == ("你好", "aborted")


async def until_said(served: Served, model: MockModel, *, readers: int) -> None:
    await model.wait_until(lambda model: model.waiting == 1)
    await until_readers(served, readers)


async def until_readers(served: Served, count: int) -> None:
    async with asyncio.timeout(5):
        while (await served.client.get("/health/ready")).json()["readers"] != count:
            pass


async def test_a_disconnect_alone_aborts_nothing(serve: Serve, mock: Mock) -> None:
    model = await mock(["你", "", "好"])
    served = await serve({"m": OpenAIUpstream(model.url)})
    question, held = Question(served.port, "k"), Held()
    received = Reception()
    async with aclosing(chunks(served.port, question.request(held, Format()))) as arriving:
        while "4f60" not in received.body.decode():
            received.feed(await anext(arriving))
    held.apply(Format().events(received.body))
    await until_said(served, model, readers=0)
    assert (model.open, model.aborted) == (1, 0)
    model.release()
    await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 0, 1))
    held.apply(Format().events(Reception(await receive(served.port, question.request(held, Format()))).body))
    held.prove()
    assert (held.text, held.ends[0]["type"], len(model.requests)) == ("你好", "done", 1)


async def test_an_abort_is_not_held_up_by_a_reader_that_takes_nothing(
    serve: Serve, mock: Mock, stack: AsyncExitStack
) -> None:
    model = await mock([*["龘" * 20_000] * 40, ""])
    served = await serve({"m": OpenAIUpstream(model.url)})
    line = stack.enter_context(socket.socket())
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", served.port))
    line.sendall(Question(served.port, "k").request(Held(), Format()))
    await until_said(served, model, readers=1)
    await by_key(served, "", "k")
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1))
    # What it takes at last is the answer to the end, all the same.
    reader, writer = await asyncio.open_connection(sock=line)
    received = Reception(await reader.read())
    writer.close()
    held = Held()
    held.apply(Format().events(received.body))
    held.prove()
    assert (held.text, held.ends[0]["type"]) == ("龘" * 800_000, "aborted")


async def test_a_hundred_aborts_at_once_leave_nothing_open(serve: Serve, mock: Mock) -> None:
    models = {name: await mock(**stage) for name, stage in STAGES.items()}
    served = await serve({name: OpenAIUpstream(model.url) for name, model in models.items()})
    starts = {f"{name} {number}".replace(" ", "-"): name for name in models for number in range(25)}
    generations = await asyncio.gather(*(start(served, key, name) for key, name in starts.items()))
    for model in models.values():
        await model.wait_until(lambda model: model.waiting == 25, seconds=5)
    calls = [
        (by_id if number % 2 else by_key)(served, generation, key)
        for number, (generation, key) in enumerate(zip(generations, starts, strict=True))
    ]
    random.Random(4).shuffle(calls)
    told = await asyncio.gather(*calls)
    assert {one["status"] for one in told} == {"aborted"}
    for model in models.values():
        await model.wait_until(lambda model: (model.open, model.aborted, model.done) == (0, 25, 0))
    assert (await served.client.get("/health/ready")).json()["running"] == 0


async def test_a_start_and_its_abort_may_race_and_leave_nothing_open(serve: Serve, mock: Mock) -> None:
    model = await mock(["a", ""])
    served = await serve({"m": OpenAIUpstream(model.url)})
    keys = [f"race-{number}" for number in range(60)]
    rng = random.Random(5)

    async def later(call: Awaitable[Any]) -> Any:  # Any: what it answers
        await asyncio.sleep(rng.random() * 0.05)
        return await call

    calls = [later(call) for key in keys for call in (start(served, key), by_key(served, "", key))]
    answers = await asyncio.gather(*calls)
    for generation, told in zip(answers[::2], answers[1::2], strict=True):
        assert (told["generation"], told["status"]) == (generation, "aborted")
    await model.wait_until(lambda model: model.open == 0)
    await until(lambda: served.app.gateway.running == 0, seconds=A_SECOND)
    assert model.aborted == len(model.requests)
