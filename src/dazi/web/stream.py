"""Readers: connections that follow a generation as it grows.

Laws: a reader that keeps up takes each record inside the append itself, and is written to in the same turn of the loop,
without a task switch; one that does not keep up is caught up from the log by a task, with fewer and larger frames, so
nothing queues for it and nothing is lost. One that takes nothing for `STALL` seconds is dropped. An error in a reader
stays in it. A disconnect ends a reader, never a generation.

All writes of a turn are made together at its end: a reader's frames of that turn become one write, and the system calls
come in a row, which costs a third less than a write in the middle of each read.

The direct way needs a `send` that is known not to suspend: uvicorn's own, while its transport is not paused. Behind
anything else (a middleware, another server) every write goes through the task: slower, never wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain

from starlette.types import Receive, Send
from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttptoolsCycle

from dazi.errors import RequestError
from dazi.events import Reconnect
from dazi.log import Cursor, Page, Record
from dazi.service import Gateway
from dazi.service.views import Part, append_view
from dazi.web.course import Course
from dazi.web.frames import slices
from dazi.web.metrics import Left
from dazi.web.readers import Readers

Headers = list[tuple[bytes, bytes]]
RequestResponseCycle = HttptoolsCycle | H11Cycle

# Seconds without a byte taken, while there is something to take, after which a reader is dropped: as HAProxy's and
# nginx's common send timeouts, half of what a phone's radio needs at worst.
STALL = 30.0
# The most bytes of one write. What is behind them waits in the log, not in a transport, and `STALL` measures what is taken:
# a line of two kilobytes a second is slow, not absent.
_SLICE = 32 * 1024


class Reader:
    """One connection in append mode.

    Args:
        gateway: whose generations.
        course: what to follow; its owner has been checked.
        send: the ASGI `send`.
        readers: those it is one of.
    """

    __slots__ = (
        "_age",
        "_behind",
        "_course",
        "_cycle",
        "_epoch",
        "_framer",
        "_frames",
        "_gateway",
        "_has_end",
        "_is_chunked",
        "_is_over",
        "_keeps_alive",
        "_leaving",
        "_lost",
        "_position",
        "_pump",
        "_pumping",
        "_quiet",
        "_readers",
        "_send",
        "_told_over",
        "_transport",
    )

    def __init__(self, gateway: Gateway, course: Course, send: Send, readers: Readers) -> None:
        self._gateway = gateway
        self._course = course
        self._send = send
        self._readers = readers
        self._framer = course.framer
        self._cycle = _uvicorn_cycle(send)
        # Asked itself, not by way of uvicorn's objects: those would be more places in memory to fetch for each token.
        self._transport = None if self._cycle is None else self._cycle.transport
        # Whether uvicorn does no more for a body than to frame it as a chunk: then it need not be asked, at thrice the cost.
        self._is_chunked = False
        # Whether the connection was to be kept when the reader came.
        self._keeps_alive = self._cycle is not None and self._cycle.keep_alive
        # The last position taken, and its epoch. What is taken is in `_frames` until it is written.
        self._epoch, self._position = course.after
        self._frames: list[bytes] = []
        # The terminal event is among what was taken.
        self._has_end = False
        # The last byte was handed over, or the client has gone; and who waits for that, where uvicorn does not tell.
        self._is_over = False
        self._told_over: asyncio.Event | None = None
        # While the pump is at work it alone writes; what comes meanwhile is only noted, as `_behind`.
        self._pumping = False
        self._behind = False
        self._pump: asyncio.Task[None] | None = None
        # Set once the reader shall say `reconnect` and go.
        self._leaving = False
        # Why the connection was cut from here, if it was.
        self._lost: Left | None = None
        # Ticks (seconds) since the reader came, and since something was sent.
        self._age = 0
        self._quiet = 0

    async def serve(self, receive: Receive, headers: Headers) -> None:
        """Stream until the end, the rotation, the goodbye or the disconnect."""
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._is_chunked = isinstance(self._cycle, HttptoolsCycle) and bool(self._cycle.chunked_encoding)
        stop = self._gateway.observe(self._course.generation, self.on_record)
        self._readers.add(self)
        try:
            self._frames = [self._framer.greeting()]
            await self._catch_up()
            if self._gateway.has_parted and not self._is_over:
                # It came behind the goodbye, and what runs elsewhere would keep it until it is cut off.
                self.leave()
            await self._wait_over(receive)
        finally:
            self._finish()
            self._readers.discard(self)
            stop()
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.gather(self._pump, return_exceptions=True)
            if self._course.grace is not None:
                self._gateway.abandon(self._course.generation, grace=self._course.grace)

    @property
    def left(self) -> Left:
        """Why it went."""
        if self._lost is not None:
            return self._lost
        if self._has_end:
            return "finished"
        return "reconnect" if self._leaving else "gone"

    @property
    def hears_goodbye(self) -> bool:
        """Whether uvicorn is shutting down."""
        # It tells an app nothing of that before every response has ended; but it stops keeping connections alive.
        return self._keeps_alive and self._cycle is not None and not self._cycle.keep_alive

    def on_record(self, record: Record) -> None:
        """Take a record as it is stored."""
        if self._pumping or self._cycle is None or record.previous != self._position:
            self._wake()
            return
        if not self._frames:
            self._readers.write_soon(self)
        self._frames.append(self._framer.record(record))
        self._epoch, self._position = record.epoch, record.position
        self._has_end = record.event.ends

    def flush(self) -> None:
        """Write what was taken, or leave it to the pump if that would have to wait."""
        frames = self._frames
        body = frames[0] if len(frames) == 1 else b"".join(frames)
        if len(body) > _SLICE or not self._can_write():
            self._wake()
            return
        frames.clear()
        if self._has_end or self._leaving:
            self._write(b"".join((body, *self._farewell())), ends=True)
        elif body and self._is_chunked:
            # What uvicorn's `send` comes to for a body that is not the last: a test compares the two.
            self._quiet = 0
            try:
                self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))  # type: ignore[union-attr]  # there is one
            except Exception as error:  # noqa: BLE001  # as below
                self._fail(error)
        elif body:
            self._write(body)

    def tick(self) -> None:
        """Feel that a second has passed."""
        self._age += 1
        self._quiet += 1
        if self._gateway.is_out_of_reach(self._course.generation):
            self._part()
        elif self._course.max is not None and self._age >= self._course.max:
            self.leave()
        elif self._quiet >= self._course.heartbeat and self._framer.heartbeat:
            self._beat()

    def leave(self) -> None:
        """Ask the client to attach again, and close."""
        if self._course.attaches:
            self._leaving = True
            self.flush()

    def _part(self) -> None:
        """End here what would stay silent here: who attaches again is told why."""
        if self._course.attaches:
            self.leave()
        else:
            self._drop("failed")

    def _can_write(self) -> bool:
        """Whether a write now neither suspends nor comes between the pump's."""
        transport = self._transport
        if transport is None or self._pumping or self._is_over or transport.is_closing():
            return False
        # uvicorn is told to pause only where something waits to be sent.
        return not (transport.get_write_buffer_size() and self._cycle.flow.write_paused)  # type: ignore[union-attr]  # there is one

    def _farewell(self) -> tuple[bytes, ...]:
        return (self._framer.frame(Reconnect()),) if self._leaving and not self._has_end else ()

    def _write(self, body: bytes, *, ends: bool = False) -> None:
        self._quiet = 0
        sending = self._send({"type": "http.response.body", "body": body, "more_body": not ends})
        try:
            sending.send(None)  # type: ignore[attr-defined]  # uvicorn's `send` is a coroutine function
        except StopIteration:
            if ends:
                self._finish()
        except Exception as error:  # noqa: BLE001  # the turn, or the tick, is not this reader's alone
            self._fail(error)
        else:
            self._fail(RuntimeError("uvicorn's send suspended although its transport was not paused"))

    def _beat(self) -> None:
        if self._can_write():
            self._write(self._framer.heartbeat)
        else:
            # Also where the transport is paused: so that one who takes nothing is found out in silence, too.
            self._wake()

    def _wake(self) -> None:
        self._behind = True
        if not self._pumping and not self._is_over:
            self._pumping = True
            self._pump = asyncio.create_task(self._catch_up(), name=f"dazi reader of {self._course.generation}")

    async def _catch_up(self) -> None:
        """Send from the log until there is nothing more in it."""
        self._pumping = self._behind = True
        try:
            while self._behind and not self._is_over:
                self._behind = False
                taken, self._frames = self._frames, []
                missed = () if self._leaving else await self._read()
                frames = chain(taken, missed, self._farewell())
                await self._push(frames, ends=self._has_end or self._leaving)
        except TimeoutError:
            self._drop("stalled")
        except (RequestError, OSError):
            self._drop("gone")
        except Exception as error:  # noqa: BLE001  # a middleware's `send` may raise anything
            self._fail(error)
        finally:
            self._pumping = False

    async def _read(self) -> Iterable[bytes]:
        """Take everything there is; it is framed as it is written."""
        page = await self._gateway.read(self._course.owner, self._course.generation, self._after())
        frames = (self._framer.frame(event, cursor) for cursor, event in self._view(page))
        self._epoch, self._position = page.head
        self._has_end = page.ended
        return frames

    def _after(self) -> Cursor:
        return Cursor(self._epoch, self._position)

    def _view(self, page: Page) -> Iterable[Part]:
        return append_view(page)

    async def _push(self, frames: Iterable[bytes], *, ends: bool) -> None:
        last = b""
        for body in slices(frames, _SLICE):
            if last:
                await self._put(last)
            last = body
        if last or ends:
            await self._put(last, ends=ends)
        elif self._quiet >= self._course.heartbeat and self._framer.heartbeat:
            await self._put(self._framer.heartbeat)

    async def _put(self, body: bytes, *, ends: bool = False) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": not ends}
        if self._cycle is not None and not self._cycle.flow.write_paused:
            await self._send(message)  # which does not suspend: there is nothing to time
        else:
            async with asyncio.timeout(STALL):
                await self._send(message)
        self._quiet = 0
        if ends:
            self._finish()

    def _fail(self, error: Exception) -> None:
        """Tell of a fault in this reader, and let no other feel it."""
        asyncio.get_running_loop().call_exception_handler({"message": "A reader failed", "exception": error})
        self._drop("failed")

    def _drop(self, why: Left) -> None:
        """Cut the connection: what is not taken can only be thrown away. The client may attach again."""
        self._lost = why
        self._finish()
        if self._transport is not None:
            self._transport.abort()

    async def _wait_over(self, receive: Receive) -> None:
        """Wait until the stream has ended or the client has gone."""
        if self._cycle is not None:
            # uvicorn tells the end of the response as a disconnect, too: one wait, and no further task, for both.
            await disconnection(receive)
            return
        self._told_over = asyncio.Event()
        if self._is_over:
            return
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(disconnection(receive)),
            asyncio.create_task(self._told_over.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _finish(self) -> None:
        self._is_over = True
        if self._told_over is not None:
            self._told_over.set()


def _uvicorn_cycle(send: Send) -> RequestResponseCycle | None:
    owner = getattr(send, "__self__", None)
    return owner if isinstance(owner, RequestResponseCycle) else None


async def disconnection(receive: Receive) -> None:
    """Wait until the client has gone, or the server is through with the response."""
    while (await receive())["type"] != "http.disconnect":
        pass
