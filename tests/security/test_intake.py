"""Whatever bytes come, they are understood or refused with a 4xx that says why: nothing that a client sends is a fault of the server's."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import listening
from tests.puppet import Scripted
from tests.security.raw import HELLO, Answer, ask, exchange, parsed, request

from dazi.cli.connections import Connection
from dazi.settings import Settings
from dazi.web import requests
from dazi.web.app import MAX_BODY, create_app
from dazi.web.requests import ChatRequest

JSON = ("Content-Type", "application/json")
STARTS = ("/v1/generations", "/v1/generations?inband=1&profile=plain", "/v1/chat/completions")
POSTS = ("/v1/generations", "/v1/chat/completions", "/login", "/v1/wechat/sessions", "/admin/log-level")
REFUSED = {400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 501}

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def port(caplog: pytest.LogCaptureFixture) -> AsyncIterator[int]:
    async with listening(create_app({"m": Scripted("ok")}, settings=Settings()), Connection) as port:
        yield port
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text


def see(answer: Answer) -> None:
    assert answer.status in {200, 202, 204, *REFUSED}, answer
    kind = (answer.named("content-type") or [""])[0]
    if answer.status in REFUSED and kind == "application/json":
        error = answer.json["error"]
        assert error["code"]
        assert error["message"]
        assert len(answer.body) < 8000


# Bodies

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["user", "\x00", "\ud83d", "\udc00\ud800", "😀", "\u2028", "a" * 300])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*ChatRequest.__struct_fields__, "role", "content", "frobnicate"])
MESSAGES = st.lists(st.fixed_dictionaries({"role": SCALARS, "content": VALUES}) | VALUES, max_size=3)
BODIES = st.fixed_dictionaries({}, optional={"messages": MESSAGES}).flatmap(
    lambda begun: st.dictionaries(NAMES, VALUES, max_size=4).map(lambda more: {**begun, **more})
)


@few
@given(body=BODIES | VALUES, path=st.sampled_from(STARTS))
async def test_any_json_is_a_start_or_a_refusal(port: int, body: Any, path: str) -> None:  # Any: JSON
    see(await ask(port, request("POST", path, [JSON], json.dumps(body).encode())))


@few
@given(data=st.data(), path=st.sampled_from(POSTS))
async def test_any_bytes_are_a_body_or_a_refusal(port: int, data: st.DataObject, path: str) -> None:
    """Good bodies with a few bytes changed, left out or put in, and bytes that were never good."""
    whole = bytearray(HELLO if "generations" in path or "chat" in path else b'{"key":"x"}')
    for _ in range(data.draw(st.integers(0, 4))):
        at, new = data.draw(st.integers(0, max(0, len(whole) - 1))), data.draw(st.binary(max_size=3))
        whole[at : at + data.draw(st.integers(0, 3))] = new
    body = data.draw(st.just(bytes(whole)) | st.binary(max_size=40))
    see(await ask(port, request("POST", path, [JSON], body)))


GOOD = b'{"messages":[{"role":"user","content":"hi"}],%b}'
ODD = [
    *(
        GOOD % (b'"temperature":' + number)
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 5000, b"-0", b"01", b".5", b"1.", b"+1")
    ),
    *(GOOD % (b'"seed":' + number) for number in (b"9" * 5000, b"1e400", b"-" + b"9" * 30, b"0.0")),
    *(
        GOOD % (b'"metadata":{"a":' + value + b"}")
        for value in (
            b"NaN",
            b"1e999",
            b"9" * 400,
            b'"\\ud83d"',
            b'"\\udc00\\ud83d"',
            b'"\\u0000"',
            b'"\x00"',
            b'"\x1f"',
        )
    ),
    *(
        GOOD % (b'"user":"' + text + b'"')
        for text in (
            b"\xff",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe4\xbd",
            b"\\x",
            b"\\u12",
            b"\n",
            b"\\ud83d\\u0041",
        )
    ),
    *(
        GOOD % (b'"metadata":' + opening * depth + b"1" + closing * depth)
        for opening, closing in ((b'{"a":', b"}"), (b"[", b"]"))
        for depth in (100, 900, 990, 1000, 2000, 100_000)
    ),
    *(
        b'{"messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"
        for depth in (100, 950, 990, 100_000)
    ),
    *(b"[" * depth for depth in (10, 1000, 1_000_000)),
    GOOD % b'"user":"a","user":"b"',
    GOOD % b'"messages":[]',
    b'{"messages":[' + b"1," * 100_000 + b"1]}",
    b'{"messages":[' + b'{"role":"user"},' * 10_001 + b'{"role":"user"}]}',
    b'{"messages":[{"role":"' + b"x" * 65 + b'"}]}',
    b'{"messages":{"role":"user"}}',
    b"\xef\xbb\xbf" + HELLO,
    HELLO.decode().encode("utf-16"),
    HELLO.decode().encode("utf-32-le"),
    HELLO + b"\x00",
    HELLO + b" {}",
    HELLO + b"//",
    b"",
    b" ",
    b"null",
    b'"messages"',
]


async def test_odd_json_is_refused_and_never_breaks_anything(port: int) -> None:
    for path in STARTS:
        answers = await asyncio.gather(*(ask(port, request("POST", path, [JSON], body)) for body in ODD))
        for body, answer in zip(ODD, answers, strict=True):
            see(answer)
            assert answer.status != 401, body[:80]


# Headers and queries


def header_bytes(data: bytes) -> bytes:
    return data.translate(None, b"\r\n\0")


@few
@given(
    name=st.sampled_from(
        [
            "Accept",
            "Content-Type",
            "Idempotency-Key",
            "Last-Event-ID",
            "Cookie",
            "Origin",
            "Host",
            "Referer",
            "Content-Encoding",
            "Expect",
            "TE",
            "Upgrade",
            "Range",
            "Access-Control-Request-Headers",
            "X-Forwarded-Proto",
        ]
    ),
    value=st.binary(max_size=40).map(header_bytes)
    | st.sampled_from([b"", b" ", b"gzip", b"100-continue", b"bytes=0-" + b",0-" * 2000, b"a" * 8000, "键".encode()]),
    method=st.sampled_from(
        ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND"]
    ),
    path=st.sampled_from(
        [
            "/v1/generations",
            "/v1/generations/x/events",
            "/v1/models",
            "/",
            "/health/ready",
            "/page/page.js",
            "/login",
            "/nothing",
        ]
    ),
)
async def test_any_header_is_taken_or_refused(port: int, name: str, value: bytes, method: str, path: str) -> None:
    """Also a `Range` of thousands (Starlette CVE-2025-62727): there is none here, so it costs nothing."""
    fields: list[tuple[str | bytes, str | bytes]] = [(name, value), *([] if name == "Content-Type" else [JSON])]
    got = await exchange(port, request(method, path, fields, HELLO if method == "POST" else b""), seconds=5)
    if method == "HEAD":  # a head that tells of a body, and none
        assert re.match(rb"HTTP/1.1 [24]\d\d ", got), got
    else:
        for answer in parsed(got):
            see(answer)


@few
@given(
    query=st.binary(max_size=60).map(lambda data: data.translate(None, b" \r\n\0#\t\x0b\x0c"))
    | st.lists(
        st.tuples(
            st.sampled_from(
                ["mode", "after", "wait", "encoding", "heartbeat", "max", "inband", "coalesce", "format", "profile"]
            ),
            st.sampled_from(
                [
                    "0",
                    "1",
                    "-1",
                    "1e9",
                    "NaN",
                    "append",
                    "replace",
                    "%00",
                    "%ff",
                    "%ED%A0%80",
                    "1-1",
                    "0-0",
                    "9" * 300,
                    "",
                ]
            ),
        ),
        max_size=4,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode())
)
async def test_any_query_is_taken_or_refused(port: int, query: bytes) -> None:
    for path in (b"/v1/generations?", b"/v1/generations/x/events?", b"/v1/probe/x?"):
        method, body = ("POST", HELLO) if path == b"/v1/generations?" else ("GET", b"")
        answer = await ask(port, request(method, path + query, [JSON, ("Accept", "application/json")], body))
        see(answer)


# Too much, and too slow


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_that_is_too_large_is_refused_before_it_is_there(port: int, path: str) -> None:
    limit = MAX_BODY if path in STARTS else 4096
    before = psutil.Process().memory_info().rss
    head = request("POST", path, [JSON, ("Content-Length", str(10**12))])
    chunked = request("POST", path, [JSON, ("Transfer-Encoding", "chunked")])
    piece = b"x" * 65536
    for first, each in ((head, piece), (chunked, b"%x\r\n%b\r\n" % (len(piece), piece))):
        answer = await pour(port, first, each)
        assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")
        assert str(limit) in answer.json["error"]["message"]
    assert psutil.Process().memory_info().rss - before < 8 * MAX_BODY


async def pour(port: int, first: bytes, piece: bytes) -> Answer:
    """Send a body without end; returns what comes, which comes before there is one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    reading = asyncio.create_task(reader.readuntil(b"}}"))
    try:
        async with asyncio.timeout(20):
            while not reading.done():
                writer.write(piece)
                await asyncio.wait([reading], timeout=0.001)
                if writer.transport.get_write_buffer_size() > 2**20:
                    await asyncio.wait([reading], timeout=0.05)
            got = await reading
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return parsed(got)[0]


async def test_a_body_that_does_not_come_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.2)
    whole = request("POST", "/v1/generations", [JSON], HELLO)
    answers = parsed(await exchange(port, whole[:-5], seconds=5))
    assert [(answer.status, answer.json["error"]["code"]) for answer in answers[:1]] == [(400, "bad_json")]
