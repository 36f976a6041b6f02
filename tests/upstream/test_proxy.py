from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from tests.upstream.mock_server import MockServer, Recorder, answers, delta, stream

from dazi.errors import ConfigError, UpstreamError
from dazi.upstream.http import Client, Timeouts
from dazi.upstream.openai import OpenAIUpstream, _Answer
from dazi.upstream.proxy import Proxy, proxy_for

Mock = Callable[..., Awaitable[MockServer]]
ANSWER = stream(delta(content="hi"), delta("stop"), "[DONE]")


class Gate:
    """A proxy that tunnels, or answers what it is told to."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n", *, silent: bool = False) -> None:
        self._answer = answer
        self._silent = silent
        self.asked: list[str] = []
        self.open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Gate:  # noqa: PYI034  # a test's
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.asked.append(head)
                if self._silent:
                    await reader.read()
                writer.write(self._answer)
                await writer.drain()
                if b" 200 " in self._answer and self._answer.endswith(b"\r\n\r\n"):
                    await self._tunnel(head, reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _tunnel(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = head.split(" ")[1].rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            await asyncio.gather(pump(reader, back), pump(there, writer))
        finally:
            back.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as gate:
        yield gate


async def post(client: Client, sink: Recorder) -> None:
    answer = _Answer(sink, 10_000)
    await client.post(b"{}", answer)
    answer.finish()


async def test_an_answer_comes_through_a_proxy_which_hears_the_servers_name_alone(
    gate: Gate, mock: Mock, server_tls: ssl.SSLContext, trusting_tls: ssl.SSLContext
) -> None:
    server = await mock(answers(ANSWER, times=2), server_tls)
    proxy = Proxy("127.0.0.1", gate.port, "Basic dTpw")
    client = Client(server.url, headers={"Authorization": "Bearer k"}, tls=trusting_tls, proxy=proxy)
    sink = Recorder()
    await post(client, sink)
    await post(client, sink)
    client.close()
    assert sink.said == "hihi"
    assert gate.asked == [
        f"CONNECT localhost:{server.port} HTTP/1.1\r\nHost: localhost:{server.port}\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    ]
    assert server.requests[0].headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "answered 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "before it was asked"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, "no end"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_unreachable(
    answer: bytes, told: str, trusting_tls: ssl.SSLContext
) -> None:
    async with Gate(answer) as gate:
        client = Client("https://localhost:1/v1", headers={}, tls=trusting_tls, proxy=Proxy("127.0.0.1", gate.port))
        with pytest.raises(UpstreamError, match=told) as raised:
            await post(client, Recorder())
        assert raised.value.code == "upstream_unreachable"


async def test_a_proxy_that_says_nothing_is_given_up(trusting_tls: ssl.SSLContext) -> None:
    async with Gate(silent=True) as gate:
        proxy, waits = Proxy("127.0.0.1", gate.port), Timeouts(connect=0.2)
        client = Client("https://localhost:1/v1", headers={}, tls=trusting_tls, proxy=proxy, timeouts=waits)
        with pytest.raises(UpstreamError, match="took no connection"):
            await post(client, Recorder())
        async with asyncio.timeout(5):
            while gate.open:  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.01)


async def test_a_certificate_is_checked_through_a_proxy(gate: Gate, mock: Mock, server_tls: ssl.SSLContext) -> None:
    server = await mock(answers(ANSWER), server_tls)
    client = Client(server.url, headers={}, proxy=Proxy("127.0.0.1", gate.port))
    with pytest.raises(UpstreamError, match="No secure connection"):
        await post(client, Recorder())


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, Proxy("proxy", 3128)),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://proxy:3128"}, Proxy("small", 1)),
        ({"HTTPS_PROXY": "proxy:3128"}, Proxy("proxy", 3128)),
        ({"HTTPS_PROXY": "http://u%40:p@proxy"}, Proxy("proxy", 80, f"Basic {base64.b64encode(b'u@:p').decode()}")),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "other, .example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "api.example.com:443"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "ample.com,api.example.com:444"}, Proxy("proxy", 1)),
        ({"HTTP_PROXY": "http://proxy:1"}, None),
    ],
)
def test_the_environment_names_the_proxy(environment: dict[str, str], found: Proxy | None) -> None:
    assert proxy_for("api.example.com", 443, environment) == found


def test_loopback_needs_no_proxy() -> None:
    assert proxy_for("localhost", 443, {"HTTPS_PROXY": "http://proxy:1"}) is None


@pytest.mark.parametrize("url", ["socks5://u:secret@proxy:1", "http://", "http://proxy:secret"])
def test_a_proxy_that_is_none_is_refused_and_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", url)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as raised:
        OpenAIUpstream("https://api.example.com/v1")
    assert "secret" not in str(raised.value)
