"""A client that sees the bytes: one connection, read as fast or as slowly as the test wants."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from dazi.sse import Parser

PATIENCE = 10.0
# What the tests' fixture closes, where the test did not.
OPEN: set[Line] = set()
HELLO = {"messages": [{"role": "user", "content": "hi"}]}
Event = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it came. `id` is the frame's, wherever the profile puts it."""

    id: str
    event: Event

    @property
    def type(self) -> str:
        return str(self.event["type"])


class Line:
    """One HTTP/1.1 exchange on a socket of its own. `body` is everything that came, without its chunks' frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = Parser()
        self._frames: list[Frame] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        # Whether the server ended the body as it should, and did not just break off.
        self.is_complete = False

    async def begin(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        async with asyncio.timeout(PATIENCE):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}

    async def frame(self) -> Frame:
        """Wait for the next event."""
        while not self._frames:
            if not await self._more():
                raise EOFError
        return self._frames.pop(0)

    async def frames(self, count: int) -> list[Frame]:
        return [await self.frame() for _ in range(count)]

    async def rest(self) -> list[Frame]:
        """Wait for the end of the body; returns the events that had not been taken."""
        while await self._more():
            pass
        frames, self._frames = self._frames, []
        return frames

    async def wait_bytes(self, piece: bytes) -> None:
        """Wait until the body has this piece in it."""
        while piece not in self.body:
            assert await self._more(), "the stream ended"

    async def close(self) -> None:
        OPEN.discard(self)
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def _more(self) -> bool:
        if self.is_complete:
            return False
        try:
            async with asyncio.timeout(PATIENCE):
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                piece = (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.is_complete = size == 0
        self.body += piece
        for event in self._parser.feed(piece):
            data = json.loads(unquote(event.data) if event.data.startswith("%") else event.data)
            self._frames.append(Frame(event.id or data.get("id", ""), data))
        return not self.is_complete


async def call(
    port: int,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    receive_buffer: int | None = None,
) -> Line:
    """Begin an exchange; returns when the head of the answer is there. A small `receive_buffer` makes a slow reader."""
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)  # the socket's own
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 2**16)
    line = Line(reader, writer)
    OPEN.add(line)
    await line.begin(method, path, headers or {}, body)
    return line


async def start(port: int, query: str = "", *, key: str | None = None, **options: Any) -> Line:  # Any: those of `call`
    """Start a generation and stream it."""
    headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
    headers |= options.pop("headers", {})
    body = json.dumps(HELLO).encode()
    return await call(port, "POST", f"/v1/generations?{query}", headers=headers, body=body, **options)


async def attach(port: int, generation: str, query: str = "", **options: Any) -> Line:  # Any: those of `call`
    return await call(port, "GET", f"/v1/generations/{generation}/events?{query}", **options)


def text_of(frames: list[Frame]) -> str:
    """Fold the frames of one or several streams, proving each `n`."""
    text = ""
    for frame in frames:
        match frame.type:
            case "text":
                text += frame.event["text"]
            case "snapshot" | "retract":
                text = frame.event["text"]
        if "n" in frame.event and frame.type != "reasoning":
            assert frame.event["n"] == len(text.encode("utf-16-le")) // 2, frame
    return text
