"""A scripted HTTP server on a real socket, a sink that records, and the bytes that servers send."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from dazi.errors import Closed

# The most that anything here may take to be noticed.
SOON = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    head: str
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split("\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.head.split("\r\n")[1:] if line)

    @property
    def json(self) -> Any:  # Any: JSON
        return json.loads(self.body)


@dataclass(slots=True)
class Line:
    """One connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request] = field(default_factory=list)

    async def request(self) -> Request:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        headers = {name.lower(): value for name, value in Request(head, b"").headers.items()}
        request = Request(head, await self.reader.readexactly(int(headers["content-length"])))
        self.requests.append(request)
        return request

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.writer.transport.is_closing():  # uvloop would call it a RuntimeError
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()

    async def wait_gone(self) -> None:
        """Wait until the client has closed. Raises `TimeoutError` when it does not do so soon."""
        try:
            async with asyncio.timeout(SOON):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        line = self.writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


def answers(*pieces: bytes, times: int = 1) -> Script:
    """Read a request and send these bytes, as many times; then close."""

    async def script(line: Line) -> None:
        for _ in range(times):
            await line.request()
            await line.send(*pieces)

    return script


class MockServer:
    """Runs the script for each connection, then closes it."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.lines: list[Line] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/v1" if self._tls else f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        return [request for line in self.lines for request in line.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        # Also of lines whose task was cancelled before its first step: a transport left open outlives the loop.
        for line in self.lines:
            line.writer.transport.abort()
        await asyncio.gather(*(line.writer.wait_closed() for line in self.lines), return_exceptions=True)
        faults = [fault for fault in results if isinstance(fault, Exception)]
        if faults:
            raise ExceptionGroup("the mock's script failed", faults)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        self._tasks.add(asyncio.ensure_future(self._run(line)))

    async def _run(self, line: Line) -> None:
        try:
            await self._script(line)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            line.writer.close()


class Recorder:
    """A sink that keeps what it is given. `ends_after`: pieces after which the generation has ended."""

    def __init__(self, ends_after: int | None = None) -> None:
        self.pieces: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[tuple[int, str | None, str | None, str]] = []
        self.spoke = asyncio.Event()
        self._ends_after = ends_after

    @property
    def said(self) -> str:
        """The answer, with split surrogate pairs joined."""
        return "".join(self.pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def text(self, piece: str) -> None:
        if self._ends_after is not None and len(self.pieces) >= self._ends_after:
            raise Closed("g")
        self.pieces.append(piece)
        self.spoke.set()

    def reasoning(self, piece: str) -> None:
        self.thoughts.append(piece)
        self.spoke.set()

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        self.calls.append((index, call_id, name, arguments))
        self.spoke.set()


# Bytes

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def event(data: Any) -> bytes:  # Any: JSON, or text as it stands
    text = data if isinstance(data, str) else json.dumps(data)
    return chunk(f"data: {text}\n\n".encode())


def delta(finish: str | None = None, **message: Any) -> dict[str, Any]:  # Any: JSON
    return {"id": "c", "choices": [{"index": 0, "delta": message, "finish_reason": finish}]}


def stream(*data: Any) -> bytes:  # Any: JSON, or text as it stands
    return STREAM_HEAD + b"".join(event(each) for each in data) + LAST_CHUNK


def plain(status: int, body: bytes = b"", media_type: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body
