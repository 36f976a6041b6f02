"""Virtual time, and a client without a socket: the app called as its server calls it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from starlette.types import ASGIApp, Message, Receive, Send
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]  # asyncio's own, as are its timers

        def leap(timeout: float | None = None) -> list[Any]:  # Any: the selector's
            events: list[Any] = select(0)
            if not events and timeout is None:
                raise TimeoutError("everybody waits, for nothing")
            if not events:
                self._now += timeout or 0
            return events

        self._selector.select = leap  # type: ignore[attr-defined]  # as above

    def time(self) -> float:
        return self._now


def in_virtual_time(coroutine: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


class Wire:
    """A foreign server: an ASGI `send` that may take its time, and a `receive` that tells the disconnect."""

    def __init__(self, take: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self._take = take
        self.status = 0
        self.body = bytearray()
        self.bodies: list[tuple[float, bytes]] = []
        self.is_complete = False
        self.left = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        body = message.get("body", b"")
        if self._take is not None:
            await self._take(body)
        self.body += body
        self.bodies.append((asyncio.get_running_loop().time(), body))
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self.left.set()

    async def get(self, app: ASGIApp, path: str, query: str, headers: dict[str, str]) -> None:
        """Call the app over this wire; returns when it has answered, or noticed that the client left."""
        scope = _scope(path, query, headers)
        await app(scope, self.receive, self.send)


class DirectWire:
    """uvicorn's own `send` and `receive`, over a transport that is a list."""

    def __init__(self) -> None:
        self._transport = _Transport()
        self._cycle: RequestResponseCycle | None = None

    @property
    def status(self) -> int:
        return int(self._transport.written.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        """What was written, without the head and the chunks' frames."""
        _, _, rest = bytes(self._transport.written).partition(b"\r\n\r\n")
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body

    def leave(self) -> None:
        assert self._cycle is not None
        self._cycle.disconnected = self._transport.is_lost = True
        self._cycle.message_event.set()

    async def get(self, app: ASGIApp, path: str, query: str, headers: dict[str, str]) -> None:
        """As `Wire.get`."""
        scope = _scope(path, query, headers)
        transport: Any = self._transport  # Any: as much of a transport as a cycle uses
        self._cycle = RequestResponseCycle(
            scope=cast("HTTPScope", scope),
            transport=transport,
            flow=FlowControl(transport),
            logger=logging.getLogger(__name__),
            access_logger=logging.getLogger(__name__),
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=lambda: None,
        )
        await app(scope, cast("Receive", self._cycle.receive), cast("Send", self._cycle.send))


class _Transport:
    def __init__(self) -> None:
        self.written = bytearray()
        self.is_lost = False

    def is_closing(self) -> bool:
        return self.is_lost

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        raise AssertionError("nobody is dropped here")


def _scope(path: str, query: str, headers: dict[str, str]) -> dict[str, Any]:  # Any: ASGI's
    fields = {"host": "localhost", **headers}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }
