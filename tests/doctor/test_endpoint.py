"""The doctor before an endpoint that is no gateway of Dazi's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conftest import listening

from dazi.doctor import Finding, Patient, examine

Asgi = Callable[..., Any]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def endpoint(
    *, pause: float, ids: bool = False, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Asgi:
    """Answer any request with ten events, `pause` seconds apart; all at the end where it is negative."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] != "/chat":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})
            return
        kind = [(b"content-type", b"text/event-stream"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        held = b""
        for number in range(10):
            await asyncio.sleep(abs(pause))
            held += (f"id: {number}\n" if ids else "").encode() + b'data: {"piece": "\xe4\xbd\xa0"}\n\n'
            if pause > 0:
                await send({"type": "http.response.body", "body": held, "more_body": True})
                held = b""
        await send({"type": "http.response.body", "body": held})

    return app


async def examined(stack: AsyncExitStack, app: Asgi, **options: Any) -> dict[str, Finding]:
    port = await stack.enter_async_context(listening(app))
    patient = Patient(url=f"http://127.0.0.1:{port}/chat", **options)
    return {finding.check: finding async for finding in examine(patient)}


async def test_one_that_streams_with_ids_and_the_header_has_nothing_to_mend(stack: AsyncExitStack) -> None:
    app = endpoint(pause=0.05, ids=True, headers=((b"x-accel-buffering", b"no"),))
    found = await examined(stack, app, data='{"stream": true}')
    assert not [finding for finding in found.values() if finding.is_trouble]
    assert found["gateway"].verdict == "note"


async def test_one_that_answers_all_at_once_is_named(stack: AsyncExitStack) -> None:
    found = await examined(stack, endpoint(pause=-0.05))
    assert found["buffering"].verdict == "fault"
    assert found["accel_buffering"].verdict == "warning"


async def test_one_without_ids_is_said_to_lose_what_follows_a_break(stack: AsyncExitStack) -> None:
    found = await examined(stack, endpoint(pause=0.05))
    assert found["resume"].verdict == "warning"
    assert "dazi serve --upstream" in found["resume"].fix


@pytest.mark.parametrize(("status", "words"), [(401, "refuses us"), (502, "cannot reach"), (500, "answers 500")])
async def test_a_refusal_is_told_by_its_status(stack: AsyncExitStack, status: int, words: str) -> None:
    found = await examined(stack, endpoint(pause=0.01, status=status))
    assert words in found["status"].words


async def test_a_compressed_one_is_named(stack: AsyncExitStack) -> None:
    found = await examined(stack, endpoint(pause=0.01, headers=((b"content-encoding", b"gzip"),)))
    assert found["compression"].verdict == "fault"
