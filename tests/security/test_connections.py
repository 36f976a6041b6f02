"""Every buffer has a limit and every wait a timeout, before a word of a request was understood.

aiohttp CVE-2026-22815 (unlimited trailers) and what is like it: uvicorn has no limit for a head, and no clock for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
import uvicorn
from tests.conftest import listening
from tests.puppet import Scripted
from tests.security.raw import HELLO, exchange, parsed, request, start

from dazi.cli import connections
from dazi.cli.connections import HEAD_BYTES, Connection
from dazi.settings import Settings
from dazi.web.app import App, create_app

HOST = b"Host: localhost\r\n"
POST = (
    b"POST /v1/generations HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FLOODS = {
    "the address": (b"GET /", b"a" * 4096),
    "a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: ", b"b" * 4096),
    "headers": (b"GET / HTTP/1.1\r\n" + HOST, b"X: y\r\n" * 512),
    "the name of a header": (b"GET / HTTP/1.1\r\n" + HOST, b"n" * 4096),
    "an extension of a chunk": (POST + b"1;", b"c" * 4096),
    "trailers": (POST + b"0\r\n", b"X: y\r\n" * 512),
    "the head of a second request": (
        request("GET", "/health/live").replace(b"Connection: close\r\n", b""),
        b"x" * 4096,
    ),
}
ENOUGH = 64 * 1024 * 1024


@asynccontextmanager
async def gateway() -> AsyncIterator[int]:
    """As `dazi serve` serves it; gives its port."""
    app: App = create_app({"m": Scripted("hello")}, settings=Settings())
    async with listening(app, Connection) as port:
        yield port


async def flood(port: int, first: bytes, piece: bytes) -> tuple[bytes, int]:
    """Send without end; returns what was answered, and how many bytes were taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    sent = 0
    try:
        async with asyncio.timeout(20):
            while sent < ENOUGH:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
    except ConnectionError:
        pass
    try:
        got = await reader.read()
    except ConnectionError:
        got = b""
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return got, sent


@pytest.mark.parametrize("what", FLOODS)
async def test_what_stands_around_a_body_cannot_grow_without_end(what: str) -> None:
    async with gateway() as port:
        before = psutil.Process().memory_info().rss
        got, sent = await flood(port, *FLOODS[what])
        # What the kernel's buffers hold was sent, too, but not taken.
        assert sent < ENOUGH
        assert psutil.Process().memory_info().rss - before < ENOUGH // 2
        assert all(answer.status in {200, 400, 431} for answer in parsed(got))
        assert parsed(await exchange(port, request("GET", "/health/live")))[0].status == 200


async def test_a_head_that_is_just_large_is_read() -> None:
    async with gateway() as port:
        large = request("GET", "/health/live", [("X", "x" * (HEAD_BYTES - 1000))])
        assert parsed(await exchange(port, large))[0].status == 200
        larger = request("GET", "/health/live", [("X", "x" * 8 * HEAD_BYTES)])  # one read of the loop's may be four
        (answer,) = parsed(await exchange(port, larger))
        assert (answer.status, answer.named("connection")) == (431, ["close"])


async def test_a_body_in_tiny_chunks_is_no_flood() -> None:
    async with gateway() as port:
        long = HELLO.replace(b"hi", b"h" * 30_000)
        pieces = b"".join(b"1;ext=1\r\n%b\r\n" % long[at : at + 1] for at in range(len(long)))
        assert len(pieces) > 4 * HEAD_BYTES
        accept = POST.replace(b"chunked\r\n", b"chunked\r\nAccept: application/json\r\nConnection: close\r\n")
        (answer,) = parsed(await exchange(port, accept, pieces + b"0\r\n\r\n"))
        assert answer.status == 202, answer


SILENCES = {
    "nothing at all": (),
    "half a head": (b"GET / HTTP/1.1\r\nHo",),
    "empty lines": (b"\r\n",),
    "a request, and half of another": (request("GET", "/health/live").replace(b"Connection: close\r\n", b""), b"GET /"),
    "half a body that nobody reads": (b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 99\r\n\r\nabc", b"def"),
}


@pytest.mark.parametrize("what", SILENCES)
async def test_who_says_nothing_is_let_go(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: a connection that costs its owner nothing must not cost us one for ever."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(uvicorn.Config, "__init__", _impatient(uvicorn.Config.__init__))
    async with gateway() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(10):
                for piece in SILENCES[what]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.05)
                while True:  # a byte now and then does not buy time
                    if what == "empty lines":
                        writer.write(b"\r\n")
                    try:
                        if not await asyncio.wait_for(reader.read(4096), 0.1):
                            break
                    except TimeoutError:
                        continue
        except ConnectionError:
            pass
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def _impatient(make: object) -> object:
    """Let uvicorn's own clock, which stops at any byte, not be what ends these."""

    def init(self: uvicorn.Config, *args: object, **options: object) -> None:
        make(self, *args, **{**options, "timeout_keep_alive": 60})  # type: ignore[operator]

    return init


async def test_a_stream_is_not_cut_by_the_clock_of_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    app = create_app({"m": Scripted()}, settings=Settings())
    async with listening(app, Connection) as port:
        probe = request("GET", "/v1/probe?ticks=5&interval=0.2")
        (answer,) = parsed(await exchange(port, probe))
        assert answer.body.count(b'"tick"') == 2 * 5
        again = await exchange(port, start(("Idempotency-Key", "k")))
        assert parsed(again)[0].status == 202
