"""A TCP proxy that breaks lines on purpose, in toxiproxy's words.

    async with FaultProxy(port, lambda number: Toxics(down=[LimitData(100)])) as proxy:
        ...  # talk to 127.0.0.1:{proxy.port}: each connection is cut after 100 bytes of answers

Laws: a connection's toxics stand one behind the other, in the given order, each working on what the one before it lets
through; what they draw by chance comes from the `random` they are given, so the same seed breaks the same bytes; when the
context is left, every connection is closed and every task has ended.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Self

Onward = Callable[[bytes], Awaitable[None]]


class Close(Exception):
    """Close the connection now: FIN."""


class Reset(Exception):
    """Break the connection now: RST."""


class Toxic:
    """Lets everything through. One instance serves one direction of one connection."""

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        """Send `data` onward, or what becomes of it."""
        await onward(data)

    async def before_close(self) -> None:
        """Delay the end."""


@dataclass
class Latency(Toxic):
    """Delays each chunk by `seconds`, and up to `jitter` more."""

    seconds: float
    jitter: float = 0.0
    random: Random = field(default_factory=Random)

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        await asyncio.sleep(self.seconds + self.random.uniform(0, self.jitter))
        await onward(data)


@dataclass
class Bandwidth(Toxic):
    """Lets `rate` bytes a second through."""

    rate: float

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        await asyncio.sleep(len(data) / self.rate)
        await onward(data)


@dataclass
class Slicer(Toxic):
    """Cuts what comes into slices of `size` bytes, give or take up to `variation`, `delay` seconds apart: a trickle."""

    size: int
    variation: int = 0
    delay: float = 0.0
    random: Random = field(default_factory=Random)

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        while data:
            size = max(1, self.size + self.random.randint(-self.variation, self.variation))
            await onward(data[:size])
            data = data[size:]
            await asyncio.sleep(self.delay)


@dataclass
class _After(Toxic, ABC):
    """Something that happens after `after` bytes."""

    after: int

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        whole, self.after = data[: self.after], self.after - len(data)
        if whole:
            await onward(whole)
        if self.after <= 0:
            await self.strike()

    @abstractmethod
    async def strike(self) -> None:
        """Let it happen."""


class LimitData(_After):
    """Closes the connection after that many bytes."""

    async def strike(self) -> None:
        raise Close


class ResetPeer(_After):
    """Resets the connection after that many bytes."""

    async def strike(self) -> None:
        raise Reset


class Timeout(_After):
    """Stalls after that many bytes: nothing comes through any more, and nobody closes."""

    async def strike(self) -> None:
        await asyncio.Event().wait()


@dataclass
class SlowClose(Toxic):
    """Holds the connection open for `delay` seconds after its end."""

    delay: float

    async def before_close(self) -> None:
        await asyncio.sleep(self.delay)


@dataclass
class Damage(Toxic):
    """Replaces `length` bytes from `offset` on by `put`; no toxic of toxiproxy's, but of middlemen's."""

    offset: int
    length: int = 1
    put: bytes = b""
    # Bytes that have passed.
    passed: int = 0

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        start, self.passed = self.offset - self.passed, self.passed + len(data)
        if 0 <= start < len(data):
            data = data[:start] + self.put + data[start + self.length :]
        if data:
            await onward(data)


@dataclass(frozen=True)
class Toxics:
    """What befalls one connection, on the way `down` to the client and `up` to the server."""

    down: Sequence[Toxic] = ()
    up: Sequence[Toxic] = ()


class FaultProxy:
    """Listens on `port`, and connects to another one.

    Args:
        target: the port to connect to, on this machine.
        plan: the toxics of the nth connection, from 0.

    Attributes: `connections` (that came), `bytes_down` (let through to clients).
    """

    def __init__(self, target: int, plan: Callable[[int], Toxics]) -> None:
        self._target = target
        self._plan = plan
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.bytes_down = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(client_in, client_out))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        toxics = self._plan(self.connections)
        self.connections += 1
        writers = [client_out]
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(server_out)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(client_in, partial(_write, server_out), toxics.up))
                group.create_task(_pump(server_in, partial(self._down, client_out), toxics.down))
        except* Reset:
            _reset(client_out)
        except* (Close, ConnectionError):
            pass
        finally:
            for writer in writers:
                writer.close()
            for writer in writers:
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _down(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.bytes_down += len(data)
        await _write(writer, data)


async def _pump(source: asyncio.StreamReader, sink: Onward, toxics: Sequence[Toxic]) -> None:
    """Pass everything on through the toxics; raises `Close` at the end, for one end ends both ways."""
    onward = sink
    for toxic in reversed(toxics):
        onward = partial(toxic.pass_on, onward=onward)
    await onward(b"")  # a limit of no bytes strikes before the first
    while data := await source.read(65536):
        await onward(data)
    for toxic in toxics:
        await toxic.before_close()
    raise Close


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    line = writer.get_extra_info("socket")
    with suppress(OSError):  # it may be closed already
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
