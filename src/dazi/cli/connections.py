"""One connection of `dazi serve`: uvicorn's, with limits where uvicorn has none.

Laws: a request's head comes within `HEAD_SECONDS`, and so does whatever else a client sends between two requests; a head, or what stands
around the pieces of a body (sizes and extensions of chunks, trailers), is at most `HEAD_BYTES` and a read of the loop's; who goes
beyond is cut off.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As a body's: a slow phone's radio gets a kilobyte over in this time.
HEAD_SECONDS = 30.0
# Twice what nginx takes; a browser's cookies of a whole host stay below.
HEAD_BYTES = 64 * 1024
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 39\r\nconnection: close\r\n\r\nThe head of this request is too large.\n"
)


class Connection(HttpToolsProtocol):
    """The protocol that uvicorn makes for each connection."""

    # What ends the waiting for a head; None while nothing is waited for.
    _patience: asyncio.TimerHandle | None = None
    # Bytes that came since the last piece of body, or the last whole request.
    _overhead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much."""
        self._overhead += len(data)
        if self._patience is None and (self.cycle is None or self.cycle.response_complete):
            # uvicorn stops its own clock at any byte, be it an empty line or the rest of a body that nobody reads.
            self._expect_head()
        super().data_received(data)
        if self._overhead > HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        if self._patience is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """See a head complete."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body: those have limits of their own, in the app."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See a request complete."""
        self._overhead = 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self.transport.abort()

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:  # in the middle of an answer there is no place for another
            self.transport.abort()
