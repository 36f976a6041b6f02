"""One streaming POST over HTTP/1.1 on the event loop's own transports, for the hot path: no task wakes for a chunk.

Laws:

- what arrives is handed to the reader inside the transport's data callback, in order; the awaiting task wakes once,
  at the end;
- `post` returns only for a whole response, or one whose reader said that it has all; anything else raises an
  `UpstreamError` with a code of PROTOCOL.md 4.1, or what the reader raised;
- when `post` raises, also when it is cancelled, its connection is aborted, whatever state it was in;
- silence ends in `upstream_timeout`, and only what the reader calls progress breaks it: a keep-alive is no token;
- with `rounds`, what follows the first progress is read in them; TLS has to read as it comes.

A connection is kept and used again after a whole response, never after an abort. One that the server closed in the
meantime costs nothing but a second try. `HTTPS_PROXY` and `NO_PROXY` of the environment are honoured (`proxy`).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import cast
from urllib.parse import SplitResult, urlsplit

from dazi.errors import ConfigError
from dazi.upstream.proxy import Proxy, dig, proxy_for
from dazi.upstream.response import ALL, PROGRESS, Reader, Response, fault
from dazi.upstream.rounds import Rounds

# Seconds that the rest of a response may take after its reader had all: long enough for the last chunk to come in,
# short enough that a server which holds the line loses it.
_DRAIN_TIMEOUT = 1.0
# Seconds that a connection waits for its next request; below the 5 s after which uvicorn and Node.js close theirs.
_IDLE_TIMEOUT = 4.0
# Idle connections kept, for as short as they are: the next burst's handshakes saved.
_MAX_IDLE = 512

# What may stand in a request line without ending it.
_VISIBLE_ASCII = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the connection, for the first progress of an answer, and for the next."""

    connect: float = 10.0
    first_token: float = 120.0
    between_tokens: float = 60.0


class Client:
    """Posts to one URL, with the same headers each time, and keeps its connections for the next post.

    Args:
        url: where to post; http or https. Raises `ConfigError` if it cannot be used.
        headers: sent with each request, beside those that HTTP needs.
        timeouts: how long to wait.
        tls: for https; by default the system's certificates are trusted, and names are checked.
        proxy: for https; by default the one that the environment names, if it does.
        rounds: in which connections are read; by default each as something arrives.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        parts = _split(url)
        self._timeouts = timeouts or Timeouts()
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._proxy = (proxy or proxy_for(self._host, self._port)) if self._tls else None
        self._head = _request_head(parts, headers)
        self._pool = _Pool(rounds if rounds is not None and rounds.reads and self._tls is None else None)

    async def post(self, body: bytes, reader: Reader) -> None:
        """Send `body` and feed the response to `reader` until it is whole, or the reader has all of it."""
        request = (self._head % len(body), body)
        if self._pool.idle:
            try:
                return await self._pool.idle.pop().exchange(request, reader, self._timeouts)
            except _StaleError:
                pass  # the model has not seen it; a fresh connection is a first try
        connection = await self._connect()
        return await connection.exchange(request, reader, self._timeouts)

    def close(self) -> None:
        """Abort every connection."""
        for connection in tuple(self._pool.all):
            connection.abort()

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeouts.connect):
                return await self._dial()
        except ssl.SSLError as exc:
            raise fault("upstream_unreachable", "No secure connection to the model's server can be made.") from exc
        except TimeoutError as exc:
            waited = f"{self._timeouts.connect:g} s"
            raise fault("upstream_unreachable", f"The model's server took no connection for {waited}.") from exc
        except (OSError, UnicodeError) as exc:  # UnicodeError: a host name that DNS cannot hold
            raise fault("upstream_unreachable", "The model's server cannot be reached.") from exc

    async def _dial(self) -> _Connection:
        if self._proxy is not None and self._tls is not None:
            connection = _Connection(self._pool)
            await dig(self._proxy, self._host, self._port, connection, self._tls)
            return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._pool), self._host, self._port, ssl=self._tls
        )
        return connection


def _split(url: str) -> SplitResult:
    """Take a URL apart, or say what is wrong with it; one that may hold a password is not repeated."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if is_valid and "@" in parts.netloc:
        raise ConfigError("The upstream's address holds a user name or password. Configure the key instead.")
    if not is_valid or not _VISIBLE_ASCII.fullmatch(url):
        raise ConfigError(f"The upstream's address {url!r} is no http or https URL. Give one like http://host:8000/v1.")
    return parts


def _request_head(parts: SplitResult, headers: Mapping[str, str]) -> bytes:
    """Return the head of every request to this URL, with `%d` for the length of its body."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {
        "Host": parts.netloc,
        "User-Agent": "dazi",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        **headers,
    }
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).replace("%", "%%").encode("ascii") + b"\r\nContent-Length: %d\r\n\r\n"


class _StaleError(Exception):
    """A connection that was used before was lost before a byte of the response came."""


class _Pool:
    """The connections of one client, and the rounds that they take part in, if they do."""

    def __init__(self, rounds: Rounds | None) -> None:
        self.rounds = rounds
        self.all: set[_Connection] = set()
        # Those between two exchanges, the latest last: it is the one least likely to be closed.
        self.idle: list[_Connection] = []

    def forget(self, connection: _Connection) -> None:
        self.all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection: idle, in an exchange, or draining what follows the end of one."""

    __slots__ = (
        "_descriptor",
        "_is_used",
        "_loop",
        "_may_join",
        "_next_patience",
        "_over",
        "_patience",
        "_pool",
        "_progress_at",
        "_response",
        "_timer",
        "_transport",
    )

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        # The response being read, or drained; None while idle.
        self._response: Response | None = None
        # Done when the latest exchange is over; holds how it failed, if it did. None before the first.
        self._over: asyncio.Future[Exception | None] | None = None
        # By which the rounds read it while it takes part in them, else -1; and whether it shall take part from the next progress on.
        self._descriptor = -1
        self._may_join = False
        # Whether an exchange went well on this connection: losing it then may be the server's idle timeout.
        self._is_used = False
        # When there was progress last, how long it may take until there is more, and from the next progress on.
        self._progress_at = 0.0
        self._patience = 0.0
        self._next_patience = 0.0
        # The one timer: looks for silence, ends the draining, ends the idling.
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, request: tuple[bytes, bytes], reader: Reader, timeouts: Timeouts) -> None:
        """Send a request and see its response through."""
        # Not in `connection_made`: when connecting is cancelled, uvloop closes the transport without telling it.
        self._pool.all.add(self)
        self._response = Response(reader)
        # Its own: when this task runs again, the connection may be in its next exchange.
        over = self._over = self._loop.create_future()
        self._progress_at = monotonic()
        self._patience, self._next_patience = timeouts.first_token, timeouts.between_tokens
        self._may_join = self._pool.rounds is not None
        self._look()
        if self._transport.is_closing():
            self.connection_lost(None)  # it was lost when nobody was listening
        else:
            self._transport.writelines(request)
        try:
            error = await over
        except BaseException:
            if self._over is over:
                self.abort()
            raise
        if error is not None:
            raise error

    def abort(self) -> None:
        """Drop the connection at once; an exchange that is waiting fails."""
        self._fail(fault("truncated", "The gateway dropped its connection to the model's server."))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Own the transport."""
        # Not asserted: uvloop's transports are asyncio's in behaviour only.
        self._transport = cast("asyncio.Transport", transport)
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Hand what arrived to the response, and see what it makes of it."""
        response = self._response
        if response is None:  # a server that speaks unasked; its next answer could not be trusted
            self.abort()
            return
        try:
            taken = response.feed(data)
        except Exception as error:  # noqa: BLE001  # whatever the reader raised: the awaiting task gets it
            self._fail(error)
            return
        if taken is PROGRESS:
            self._progress_at = monotonic()
            self._patience = self._next_patience
            if self._may_join:
                self._join_rounds()
        if response.is_whole:
            self._settle(response)
        elif taken is ALL:
            self._drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange, if one is going on, what that means for it."""
        self._pool.forget(self)
        self.leave_rounds()
        response, self._response = self._response, None
        if response is not None:
            response.let_go()
        if response is None:
            self._end(None)
        elif self._is_used and not response.has_begun:
            self._end(_StaleError())
        else:
            self._end(response.lost(exc))

    # Rounds.

    def _join_rounds(self) -> None:
        """Be read with others from now on."""
        self._may_join = False
        if self._pool.rounds is not None and not self._transport.is_closing():
            self._descriptor = self._transport.get_extra_info("socket").fileno()
            self._transport.pause_reading()
            self._pool.rounds.join(self._descriptor, self)

    def leave_rounds(self) -> None:
        """Be read by the transport again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0 or self._pool.rounds is None:
            return
        self._pool.rounds.leave(descriptor, self)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # How an exchange ends.

    def _settle(self, response: Response) -> None:
        """The response is whole: be idle, or go."""
        self.leave_rounds()
        self._response = None
        response.let_go()
        self._end(None)
        is_reusable = response.leaves_reusable and not self._transport.get_write_buffer_size()
        if is_reusable and len(self._pool.idle) < _MAX_IDLE:
            self._is_used = True
            self._pool.idle.append(self)
            self._set_timer(self._loop.call_later(_IDLE_TIMEOUT, self.abort))
        else:
            self._transport.abort()

    def _drain(self) -> None:
        """The reader has all: let the task go on, and give the rest of the response a moment to come in."""
        self.leave_rounds()
        self._end(None)
        self._set_timer(self._loop.call_later(_DRAIN_TIMEOUT, self.abort))

    def _fail(self, error: Exception) -> None:
        if self._response is not None:
            self._response.let_go()
        self._response = None
        self._end(error)
        self.leave_rounds()
        self._transport.abort()

    def _end(self, error: Exception | None) -> None:
        """Wake the task, unless it is awake already."""
        self._set_timer(None)
        if self._over is not None and not self._over.done():
            self._over.set_result(error)

    def _look(self) -> None:
        """See whether there was no progress for too long; look again when that may be."""
        left = self._progress_at + self._patience - monotonic()
        if left > 0:
            # The first progress may make for less patience, so never sleep for longer than that.
            self._set_timer(self._loop.call_later(min(left, self._next_patience), self._look))
        elif self._response is not None:
            self._fail(self._response.stalled(self._patience))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
