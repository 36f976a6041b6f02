"""A TCP proxy that cuts: each connection after as many bytes as the test says."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from typing import Self


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of each direction passes (None: all), and whether the line then ends in a reset."""

    asked: int | None = None
    answered: int | None = None
    resets: bool = False


@dataclass(slots=True)
class Conversation:
    """What one connection carried."""

    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


class CuttingProxy:
    """Stands before a gateway, and lets one request through a connection.

    `cuts` says what happens to each in turn whose request has `where` in it; the others pass. `conversations` are these
    so far, as they passed.
    """

    def __init__(self, port: int, cuts: Iterator[Cut] | None = None, *, where: str = "") -> None:
        self._target = port
        self._cuts = repeat(Cut()) if cuts is None else cuts
        self._where = where.encode()
        self._tasks: set[asyncio.Task[None]] = set()
        self.conversations: list[Conversation] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.ensure_future(self._pass_on(reader, writer)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation()
        # A browser would send its next request on the same line, where no test can tell the two apart.
        request = (await reader.read(65536)).replace(b"Connection: keep-alive", b"Connection: close")
        cut = Cut()
        if self._where in request:
            cut = next(self._cuts)
            self.conversations.append(conversation)
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        conversation.asked += request[: cut.asked]
        forth.write(conversation.asked)
        ways = {
            asyncio.create_task(_pump(reader, forth, cut.asked, conversation.asked)),
            asyncio.create_task(_pump(back, writer, cut.answered, conversation.answered)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            with suppress(OSError):
                await writer.drain()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            forth.close()
            _end(writer, resets=cut.resets)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None, seen: bytearray) -> None:
    """Pass bytes on until the source ends or the limit is reached."""
    with suppress(ConnectionError):
        while limit is None or len(seen) < limit:
            chunk = await source.read(65536 if limit is None else limit - len(seen))
            if not chunk:
                return
            seen += chunk
            sink.write(chunk)
            await sink.drain()


def _end(writer: asyncio.StreamWriter, *, resets: bool) -> None:
    if resets:
        line = writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
