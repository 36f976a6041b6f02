"""A request ends where everybody on the way thinks that it ends.

h11 CVE-2025-43859, gunicorn GHSA-w3h3-4rj7-4ph4: two servers that disagree about a body's length take one client's bytes for another client's
request. Cases on a raw socket, at the gateway alone and behind a real nginx with the documented configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from tests.conftest import listening
from tests.nginx import RIGHT, nginx
from tests.puppet import Scripted
from tests.security.conftest import ALICE, BOB
from tests.security.raw import HELLO, exchange, parsed, request

from dazi.cli.connections import Connection
from dazi.settings import Settings
from dazi.web.app import create_app

# What would be smuggled: it would stop Alice's generation, or read as an answer that nobody asked for.
SMUGGLED = request("GET", "/smuggled", [("Authorization", f"Bearer {ALICE}")])
HOST = b"Host: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer " + BOB.encode() + b"\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def post(fields: bytes, body: bytes) -> bytes:
    return b"POST /v1/generations HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


CASES = {
    "length, then chunked": post(LENGTH % len(b"0\r\n\r\n" + SMUGGLED) + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "chunked, then length": post(CHUNKED + LENGTH % 4, b"5c\r\n" + HELLO + SMUGGLED + b"\r\n0\r\n\r\n"),
    "two lengths": post(LENGTH % len(HELLO) + LENGTH % (len(HELLO) + len(SMUGGLED)), HELLO + SMUGGLED),
    "two lengths in one": post(
        b"Content-Length: %d, %d\r\n" % (len(HELLO), len(HELLO) + len(SMUGGLED)), HELLO + SMUGGLED
    ),
    "a length with a sign": post(b"Content-Length: +%d\r\n" % len(HELLO), HELLO + SMUGGLED),
    "a negative length": post(b"Content-Length: -1\r\n", HELLO + SMUGGLED),
    "a length in hexadecimal": post(b"Content-Length: 0x2\r\n", HELLO + SMUGGLED),
    "a length with a space": post(b"Content-Length: 1 0\r\n", HELLO + SMUGGLED),
    "a length beyond all": post(b"Content-Length: 99999999999999999999999\r\n", HELLO + SMUGGLED),
    "chunked, misspelt": post(b"Transfer-Encoding: xchunked\r\n" + LENGTH % 0, b"0\r\n\r\n" + SMUGGLED),
    "chunked, with a vertical tab": post(b"Transfer-Encoding:\x0bchunked\r\n" + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "chunked, twice": post(CHUNKED + CHUNKED + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "chunked, not last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\n" + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "a folded field": post(b"Transfer-Encoding:\r\n chunked\r\n" + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "a field begun by a space": post(b" " + CHUNKED + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "a bare LF in a field": post(b"X: a\n" + CHUNKED + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "a bare CR in a field": post(b"X: a\r" + CHUNKED + LENGTH % 5, b"0\r\n\r\n" + SMUGGLED),
    "a NUL in a field": post(b"X: a\x00b\r\n" + LENGTH % len(HELLO), HELLO + SMUGGLED),
    "a size with a sign": post(CHUNKED, b"+2d\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a size beyond all": post(CHUNKED, b"fffffffffffffffff\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a size in 0x": post(CHUNKED, b"0x2d\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a size with an underscore": post(CHUNKED, b"2_d\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk longer than its size": post(CHUNKED, b"2\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk ended by a bare LF": post(CHUNKED, b"2d\n" + HELLO + b"\n0\n\n" + SMUGGLED),
    "an extension with a bare LF": post(CHUNKED, b"2d;a\nb\r\n" + HELLO + b"\r\n0\r\n\r\n" + SMUGGLED),
    "HTTP/1.0 with chunks": post(CHUNKED, b"0\r\n\r\n" + SMUGGLED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}
# Where both readings come to the same, a second request is one that the client itself pipelined: that may be answered.
PLAIN = {
    "a whole request, and another": post(LENGTH % len(HELLO), HELLO + SMUGGLED),
    "a GET with a body, and another": b"GET /v1/models HTTP/1.1\r\n"
    + HOST
    + LENGTH % len(HELLO)
    + b"\r\n"
    + HELLO
    + SMUGGLED,
}


@dataclass
class Gateway:
    """A gateway, and what it saw: each request's method and target, and the marks that came with it."""

    port: int
    seen: list[tuple[str, list[str]]]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    app = create_app({"m": Scripted("hello")}, settings=Settings(api_keys=(ALICE, BOB), hosts=("localhost",)))
    seen: list[tuple[str, list[str]]] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
            seen.append(
                (f"{scope['method']} {scope['raw_path'].decode()}{query}", Headers(scope=scope).getlist("x-mark"))
            )
        await app(scope, receive, send)

    async with listening(noting, Connection) as port:
        yield Gateway(port, seen)


async def send_all(port: int, cases: dict[str, bytes]) -> dict[str, bytes]:
    """Send each on a line of its own, and wait for the end of the line or for silence."""
    got = await asyncio.gather(*(exchange(port, data, seconds=3) for data in cases.values()))
    return dict(zip(cases, got, strict=True))


def see_no_smuggled(got: bytes, what: str) -> None:
    assert b"/smuggled" not in got, (what, got)
    statuses = [answer.status for answer in parsed(got)] if got else []
    assert len(statuses) <= 1, (what, got)
    assert set(statuses) <= {200, 400, 411, 413, 422, 501, 505}, (what, got)


async def test_at_the_gateway_no_body_becomes_a_request(gateway: Gateway) -> None:
    for what, got in (await send_all(gateway.port, CASES)).items():
        see_no_smuggled(got, what)
    for what, got in (await send_all(gateway.port, PLAIN)).items():
        assert b"/smuggled" in got, what


async def test_behind_nginx_the_gateway_sees_the_requests_that_nginx_sees(gateway: Gateway, tmp_path: Path) -> None:
    """nginx marks each request that it passes on: one without the mark was a body to it. And its lines stay good for the next client."""
    mark = f'{RIGHT} proxy_set_header X-Mark "$request_method $request_uri";'
    async with nginx(tmp_path, behind=gateway.port, location=mark) as port:
        await send_all(port, CASES)
        assert gateway.seen
        for line, marks in gateway.seen:
            assert marks == [line], gateway.seen
        plain = {str(at): request("GET", "/v1/models", [("Authorization", f"Bearer {BOB}")]) for at in range(20)}
        for got in (await send_all(port, plain)).values():
            (after,) = parsed(got)
            assert (after.status, after.json["object"]) == (200, "list")
