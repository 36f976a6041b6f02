"""A client without manners: bytes on a socket, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PATIENCE = 10.0
HELLO = b'{"messages":[{"role":"user","content":"hi"}]}'


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, or what there was of it: `status` 0 where none came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:  # Any: JSON
        return json.loads(self.body)

    def named(self, name: str) -> list[str]:
        """Return the values of all headers of this name."""
        return [value for each, value in self.headers if each == name]


async def exchange(port: int, *pieces: bytes, ends: bool = False, seconds: float = PATIENCE) -> bytes:
    """Send these, and return all that comes until the server closes, or is silent for `seconds`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if ends:
                writer.write_eof()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while piece := await reader.read(65536):
                    got += piece
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return got


async def ask(port: int, request: bytes) -> Answer:
    """Send one request that asks for `Connection: close`; returns its answer."""
    answers = parsed(await exchange(port, request))
    assert len(answers) <= 1, answers
    return answers[0] if answers else Answer(0, (), b"")


def request(
    method: str, path: str | bytes, headers: Iterable[tuple[str | bytes, str | bytes]] = (), body: bytes = b""
) -> bytes:
    """Make a request; a `Host` and a length come first, unless they are among the headers."""
    fields = [(_bytes(name), _bytes(value)) for name, value in headers]
    names = {name.lower() for name, _ in fields}
    if b"host" not in names:
        fields.insert(0, (b"Host", b"localhost"))
    if b"content-length" not in names and b"transfer-encoding" not in names:
        fields.append((b"Content-Length", b"%d" % len(body)))
    lines = [b"%b %b HTTP/1.1" % (method.encode(), _bytes(path)), *(b"%b: %b" % field for field in fields)]
    return b"\r\n".join((*lines, b"Connection: close", b"", body))


def start(
    *headers: tuple[str | bytes, str | bytes], body: bytes = HELLO, query: str = "", accept: str = "application/json"
) -> bytes:
    """Make a request that starts a generation."""
    kinds = [("Content-Type", "application/json"), ("Accept", accept)]
    return request("POST", f"/v1/generations{query}", [*kinds, *headers], body)


def parsed(data: bytes) -> list[Answer]:
    """Take responses apart, by their lengths or chunks."""
    answers = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        assert blank, f"no end of a head: {head[:200]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        status = int(first.split()[1])
        if status == 100:
            continue
        body, data = _body(dict(fields), data)
        answers.append(Answer(status, fields, body))
    return answers


def _body(fields: dict[str, str], data: bytes) -> tuple[bytes, bytes]:
    if "chunked" not in fields.get("transfer-encoding", ""):
        length = int(fields.get("content-length", "0"))
        return data[:length], data[length:]
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not (count := int(size or b"0", 16)):
            return body, data.removeprefix(b"\r\n")
        body, data = body + data[:count], data[count + 2 :]


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
