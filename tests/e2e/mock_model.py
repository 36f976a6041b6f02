"""A mock of a model's OpenAI-compatible server, which counts what becomes of the requests it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from tests.waiting import A_SECOND


class MockModel:
    """Serves its pieces as an answer, over and over.

    Args:
        pieces: of the answer, or bytes to send as they are; "" is the place where it waits until `release` is called.
        pace: seconds between two pieces.
        holds_head: whether it waits for `release` before it sends anything at all.
        status: an error to answer instead, with a body that quotes the request, as some servers' do.

    Attributes: `connections`, and `requests` (heads and bodies) that came; of the latter those `open`, `aborted` by the
    client, and `done`.
    """

    def __init__(
        self, pieces: Sequence[str | bytes], *, pace: float = 0.0, holds_head: bool = False, status: int = 200
    ) -> None:
        self.pieces = pieces
        self._pace = pace
        self._holds_head = holds_head
        self.status = status
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[tuple[str, dict[str, Any]]] = []  # Any: JSON
        self.open = 0
        self.aborted = 0
        self.done = 0
        # Requests that have come to the place where the answer waits.
        self.waiting = 0
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def release(self) -> None:
        """Let everybody who waits go on, and nobody wait any more."""
        self._released.set()

    async def wait_until(self, condition: Callable[[MockModel], bool], seconds: float = A_SECOND) -> None:
        """Wait until this holds of the counts. Raises `AssertionError` when it does not in time."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition(self))
        except TimeoutError:
            counts = {name: getattr(self, name) for name in ("open", "waiting", "aborted", "done")}
            raise AssertionError(f"not so within {seconds:g} s: {len(self.requests)} requests, {counts}") from None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first = b""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    self.requests.append(await _request(reader, first))
                    first = await self._watch(reader, writer)
        finally:
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Answer, and see at once if the client goes away meanwhile; returns what came of its next request."""
        await self._count(open=1)
        answering = asyncio.create_task(self._answer(writer))
        reading = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_done = answering.done() and not answering.cancelled() and answering.exception() is None
            answering.cancel()
            reading.cancel()
            _, first = await asyncio.gather(answering, reading, return_exceptions=True)
            await self._count(open=-1, done=int(is_done), aborted=int(not is_done))
        if not is_done:
            raise ConnectionResetError
        return first if isinstance(first, bytes) else b""

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self._holds_head:
            await self._hold()
        if self.status != 200:
            body = json.dumps(
                {"error": {"code": "overloaded", "message": f"what a secret: {self.requests[-1]}"}}
            ).encode()
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n" % (self.status, len(body)) + body)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in self.pieces:
            if isinstance(piece, bytes):
                _send(writer, piece)
            elif piece:
                _say(writer, {"content": piece})
                await asyncio.sleep(self._pace)
            else:
                await self._hold()
            await writer.drain()
        _say(writer, {}, finish="stop")
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()

    async def _hold(self) -> None:
        if not self._released.is_set():
            await self._count(waiting=1)
            try:
                await self._released.wait()
            finally:
                self.waiting -= 1

    async def _count(self, **changes: int) -> None:
        for name, change in changes.items():
            setattr(self, name, getattr(self, name) + change)
        async with self._changed:
            self._changed.notify_all()


def _say(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    _send(writer, b"data: %b\n\n" % json.dumps(chunk).encode())


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def _request(reader: asyncio.StreamReader, first: bytes) -> tuple[str, dict[str, Any]]:  # Any: JSON
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.partition(":")[2]) for line in head.split("\r\n") if line.lower().startswith("content-length")
    )
    return head, json.loads(await reader.readexactly(length))
