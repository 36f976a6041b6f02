"""A disk that takes nothing any more, and later takes something again, under a gateway on a SQLite file."""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import AsyncExitStack
from pathlib import Path

from tests.e2e.client import Format, Held, Question, Reception, receive, request_of
from tests.e2e.conftest import Mock
from tests.e2e.process import Dazi

# Seconds that a busy machine may take for anything here.
PATIENCE = 20.0
ASK = {"messages": [{"role": "user", "content": "?"}]}
SETTINGS = {"DAZI_LOG": "sqlite:///log.db", "DAZI_PATIENCE": "1", "DAZI_LEASE": "1.5"}


def limit_files(served: Dazi, size: int) -> None:
    """Let the process write no file beyond so many bytes: to SQLite, a disk that fails."""
    _, hard = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (size, hard))


async def test_a_full_disk_is_told_to_everybody_and_what_was_shown_stays(
    mock: Mock, tmp_path: Path, stack: AsyncExitStack
) -> None:
    model = await mock(["你", "好", "", "!"])
    environ = {"OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "m", **SETTINGS}
    served = await Dazi.run(folder=tmp_path, environ=environ)
    stack.push_async_callback(served.end)
    await served.ready()
    question, held = Question(served.port, "k"), Held()
    reading = asyncio.create_task(receive(served.port, question.request(held, Format())))
    body = json.dumps({**ASK, "model": "m", "stream": True}).encode()
    chatting = asyncio.create_task(
        receive(served.port, request_of(served.port, "POST", "/v1/chat/completions", {}, body))
    )
    await model.wait_until(lambda model: model.waiting == 2, seconds=PATIENCE)
    await until_stored(served, "你好")
    limit_files(served, 1000)
    model.release()
    # Who asks now is refused, with the reason; so is who asks whether to ask.
    refused = await served.client.post("/v1/generations", json=ASK)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert "log.db" in refused.json()["error"]["message"]
    ready = await served.client.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "store_unavailable")
    # Who reads is let go when the gateway has lost its patience, and told why on coming back.
    held.apply(Format().events(Reception(await asyncio.wait_for(reading, PATIENCE)).body))
    assert (held.text, held.ends) == ("你好", [])
    # OpenAI's dialect has no word for that: a cut line, which no client takes for an end.
    assert not Reception(await asyncio.wait_for(chatting, PATIENCE)).is_whole
    attached = Reception(await receive(served.port, question.request(held, Format())))
    assert (attached.status, b"store_unavailable" in attached.body) == (503, True)
    # What stands is shown all the same.
    told = (await served.client.get(f"/v1/generations/{held.generation}")).json()
    assert (told["status"], told["text"]) == ("running", "你好")
    assert (await served.client.get("/health/ready")).status_code == 503
    limit_files(served, resource.RLIM_INFINITY)
    async with asyncio.timeout(PATIENCE):
        while not held.ends:
            again = Reception(await receive(served.port, question.request(held, Format())))
            held.apply(Format().events(again.body) if again.status == 200 else ())
            await asyncio.sleep(0.05)
    held.prove()
    assert (held.text, held.ends[0]["type"], held.ends[0]["retryable"]) == ("你好", "failed", True)
    assert (await served.client.get("/health/ready")).status_code == 200
    whole = Reception(await receive(served.port, Question(served.port, "other").request(Held(), Format())))
    assert b'"done"' in whole.body
    assert len(model.requests) == 3


async def until_stored(served: Dazi, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            headers = {"Idempotency-Key": "k", "Accept": "application/json"}
            found = await served.client.post("/v1/generations", json=ASK, headers=headers)
            told = await served.client.get(f"/v1/generations/{found.json()['generation']}")
            if told.json()["text"] == text:
                return
            await asyncio.sleep(0.05)
