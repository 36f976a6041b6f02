"""A reader after PROTOCOL.md, section 8, from the socket up: what arrived before a cut, and how it goes on.

It trusts nothing it could prove: every `n`, the order of ids and the checksum are asserted as it reads.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import unquote

import httptools

from dazi.sse import Parser

TERMINAL = {"done", "failed", "aborted"}
Event = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Format:
    """How a reader asks for its frames, and so how it takes them apart."""

    mode: str = "append"
    encoding: str = "ascii"
    profile: str = "full"

    @property
    def query(self) -> str:
        return f"mode={self.mode}&encoding={self.encoding}&profile={self.profile}"

    def events(self, body: bytes) -> Iterator[tuple[str, Event]]:
        """Yield each complete frame's id ("" for none) and event; the body may be cut anywhere."""
        for frame in Parser().feed(body):
            event = _decoded(frame.data, is_quoted=self.encoding == "url")
            yield (event.get("id", "") if self.profile == "plain" else frame.id), event


@cache  # the same frames are read again for every cut behind them
def _decoded(data: str, *, is_quoted: bool) -> Event:
    event: Event = json.loads(unquote(data, errors="strict") if is_quoted else data)
    return event


FORMATS = [Format(*words) for words in product(("append", "replace"), ("ascii", "utf8", "url"), ("full", "plain"))]


@dataclass(slots=True)
class Held:
    """What a client holds of an answer. `id` is that of the last frame with one, "" before the first."""

    id: str = ""
    generation: str = ""
    text: str = ""
    reasoning: str = ""
    arguments: str = ""
    ends: list[Event] = field(default_factory=list)

    @property
    def position(self) -> int:
        return int(self.id.partition("-")[2] or 0)

    def apply(self, frames: Iterable[tuple[str, Event]]) -> None:
        for frame_id, event in frames:
            assert not self.ends, f"{event['type']} came after the end"
            self._fold(event)
            if event["type"] not in {"reconnect", "error"}:
                before, self.id = self.position, frame_id
                # A snapshot may come twice; anything else twice would be doubled text.
                expected = before if event["type"] == "snapshot" else before + 1
                assert self.position >= expected, f"{frame_id} came after position {before}"

    def _fold(self, event: Event) -> None:
        match event["type"]:
            case "started":
                self.generation = event["generation"]
            case "text":
                self.text += event["text"]
                assert event["n"] == utf16_length(self.text), "something is missing, or there twice"
            case "retract":
                self.text = event["text"]
                assert event["n"] == utf16_length(self.text)
            case "reasoning":
                self.reasoning += event["text"]
                assert event["n"] == utf16_length(self.reasoning)
            case "tool_call":
                self.arguments += event.get("arguments", "")
            case "snapshot":
                self.text, self.reasoning = event["text"], event.get("reasoning", "")
                self.arguments = "".join(call.get("arguments", "") for call in event.get("tool_calls", ()))
                assert event["n"] == utf16_length(self.text)
            case kind if kind in TERMINAL:
                self.ends.append(event)

    def prove(self) -> None:
        """Check the answer against the proof that its one end carries."""
        assert len(self.ends) == 1, self.ends
        assert self.ends[0]["n"] == utf16_length(self.text)
        assert self.ends[0]["crc32"] == zlib.crc32(self.text.encode())


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class Reception:
    """An HTTP response as far as it has come. The `on_` names are httptools'."""

    def __init__(self, received: bytes = b"") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)
        self.feed(received)

    def feed(self, received: bytes) -> None:
        self._parser.feed_data(received)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def request_of(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Write a request after which the server closes."""
    fields = {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}
    if method == "POST":
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def receive(port: int, request: bytes) -> bytes:
    """Send a request and return what comes until the line ends, however it does."""
    received = bytearray()
    async for chunk in chunks(port, request):
        received += chunk
    return bytes(received)


async def chunks(port: int, request: bytes) -> AsyncGenerator[bytes, None]:
    """Send a request and yield what comes until the line ends, however it does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError):
            writer.write(request)
            while chunk := await reader.read(65536):
                yield chunk
    finally:
        writer.transport.abort()


@dataclass(slots=True)
class Question:
    """A question, asked under one key wherever the line breaks."""

    port: int
    key: str
    body: bytes = b'{"messages":[{"role":"user","content":"?"}]}'

    def request(self, held: Held, chosen: Format) -> bytes:
        """Write what a client that holds this much sends to go on: the start again, or an attach."""
        if not held.id:
            headers = {"Accept": "text/event-stream", "Idempotency-Key": self.key}
            return request_of(self.port, "POST", f"/v1/generations?{chosen.query}", headers, self.body)
        path = f"/v1/generations/{held.generation}/events?{chosen.query}"
        return request_of(self.port, "GET", path, {"Accept": "text/event-stream", "Last-Event-ID": held.id})

    async def follow(self, formats: Iterator[Format], refused: Counter[int] | None = None) -> Held:
        """Go on, in the next format each time, until the end; returns what is held then.

        `refused` counts by status what a node that is leaving, or nginx before it, refused, and was asked again, as the clients do;
        without it nothing may be.
        """
        held = Held()
        while not held.ends:
            chosen = next(formats)
            received = Reception(await receive(self.port, self.request(held, chosen)))
            if refused is not None and received.status in {502, 503}:
                refused[received.status] += 1
                await asyncio.sleep(0.1)  # it says 1 s, which a test need not take
                continue
            assert received.status in {0, 200}, received.body
            held.apply(chosen.events(received.body))
        return held
