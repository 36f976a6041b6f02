"""Small calls to others' servers: bounded, silent about what they hold, and gone without a trace when they are given up."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.conftest import listening

from dazi import outside
from dazi.errors import NoAnswer
from dazi.outside import Outside


class Server:
    """Answers after `pause` seconds with `body`."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.status = 200
        self.body = b"{}"
        self.asked = self.open = self.most = 0
        self.peers: set[object] = set()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.asked += 1
        self.peers.add(scope["client"])
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.pause)
        finally:
            self.open -= 1
        headers = [(b"location", b"/elsewhere?key=secret")] if 300 <= self.status < 400 else []
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Outside]]:
    server = Server()
    async with listening(server) as port:
        there = Outside(base=f"http://127.0.0.1:{port}", timeout=5, most_bytes=1000, uses_proxies=False)
        yield server, there
        await there.close()


async def ask(there: Outside, *, seconds: float = 5, **fields: Any) -> tuple[int, bytes]:
    return await there.call("GET", "/", seconds=seconds, **fields)


async def test_it_tells_the_status_and_the_body_and_follows_no_redirect(server: tuple[Server, Outside]) -> None:
    asked, there = server
    for asked.status in (200, 302, 404, 503):
        assert await ask(there) == (asked.status, b"{}")
    assert asked.asked == 4


async def test_no_answer_says_why_and_holds_nothing_of_the_call(
    server: tuple[Server, Outside], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked, there = server
    secret: dict[str, Any] = {"params": {"key": "a-secret"}}
    await ask(there, **secret)
    asked.body = b"x" * 1001
    told = []
    for seconds in (5, 0.05):
        with pytest.raises(NoAnswer) as caught:
            await ask(there, seconds=seconds, **secret)
        told.append((str(caught.value), caught.value.again))
        asked.pause = 1
    gone = Outside(timeout=1, most_bytes=9, uses_proxies=False)
    with pytest.raises(NoAnswer) as caught:
        await gone.call("GET", "http://127.0.0.1:9/?key=a-secret", seconds=5)
    await gone.close()
    told.append((str(caught.value), caught.value.again))
    assert told == [("more than 1000 bytes", False), ("TimeoutError", True), ("ConnectError", True)]
    assert caught.value.__cause__ is None
    heard = [record.getMessage() for record in caplog.records if record.name.startswith("http")]
    assert any("HTTP Request: GET" in line for line in heard)
    assert not [line for line in heard if "a-secret" in line]


@pytest.mark.parametrize("seed", range(3))
async def test_calls_that_are_given_up_leave_nothing_behind(
    server: tuple[Server, Outside], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """However many, whenever: httpx's own pool keeps a connection for ever that it gave to one that was cancelled while it waited."""
    monkeypatch.setattr(outside, "AT_ONCE", 3)
    asked, other = server
    there = Outside(base=other._options["base_url"], timeout=5, most_bytes=1000, uses_proxies=False)
    rng = random.Random(seed)
    asked.pause = 0.005

    async def one() -> None:
        calling = asyncio.create_task(ask(there))
        await asyncio.wait((calling,), timeout=rng.choice([0, 0.001, 0.004, 0.006, 0.02, 5]))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    for _ in range(5):
        await asyncio.gather(*(one() for _ in range(40)))
    assert asked.most <= 2 * 3  # those that were given up end at the server a moment later
    assert await asyncio.gather(*(ask(there) for _ in range(10))) == [(200, b"{}")] * 10
    connections = [one for client in there._idle for one in client._transport._pool.connections]  # type: ignore[attr-defined]  # httpx's own
    assert len(there._idle) <= 3
    assert [repr(one) for one in connections if not one.is_idle()] == []
    await there.close()


async def test_connections_are_kept(server: tuple[Server, Outside]) -> None:
    asked, there = server
    for _ in range(20):
        await ask(there)
    assert (asked.asked, len(there._idle), len(asked.peers)) == (20, 1, 1)
    await there.close()
    await ask(there)
    assert there._idle == []
