"""One answer as it arrives: its head, its bytes, and when each of them came. The only file that knows httpx.

Laws: nothing is decoded or joined on the way, so that what middlemen did stays visible; a recording ends when the answer does,
when the line breaks, or after its time.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx

from dazi.errors import DaziError, EventTooLarge
from dazi.sse import Parser, ServerSentEvent

_CONNECT = 10.0
# No diagnosis needs more; an endless body does not eat the machine.
_MOST_BYTES = 4 * 1024 * 1024

# `ended`: the answer did. `cut`: the line broke. `left`: its time was over, or it was large enough.
Ending = Literal["ended", "cut", "left"]


class Unreachable(DaziError):
    """No answer came. The sentence says why."""


@dataclass(slots=True)
class Recording:
    """What came, and when: seconds since the request was sent."""

    status: int
    http: str
    headers: Mapping[str, str]
    opened: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    ending: Ending = "ended"
    seconds: float = 0.0

    @property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(chunk for _, chunk in self.chunks)

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_compressed(self) -> bool:
        """Whether the body is in a content coding."""
        return self.headers.get("content-encoding", "identity").lower() not in ("", "identity")

    def events(self) -> list[tuple[float, ServerSentEvent]]:
        """Parse the body; each event with the time of the chunk that completed it."""
        parser = Parser()
        try:
            return [(when, event) for when, chunk in self.chunks for event in parser.feed(chunk)]
        except EventTooLarge:
            return []


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `body` is JSON."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


class Line:
    """Requests to one place, recorded.

    Args:
        headers: sent with each request. `sends_key` tells whether one of them is a key.
        verify: whether a certificate that cannot be verified stops it.
    """

    def __init__(self, headers: Mapping[str, str] | None = None, *, verify: bool = True) -> None:
        self.sends_key = any(name.lower() == "authorization" for name in headers or {})
        self._http = httpx.AsyncClient(
            # Whom the system trusts, as the rest of the examination does; httpx has a list of its own.
            verify=ssl.create_default_context() if verify else False,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(_CONNECT, read=None),
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Let go of everything."""
        await self._http.aclose()

    async def record(self, request: Request, *, seconds: float) -> Recording:
        """Send a request and record its answer for at most so long. Raises `Unreachable`."""
        async with self.recording(request, seconds=seconds) as (recording, chunks):
            async for _ in chunks:
                pass
        return recording

    @asynccontextmanager
    async def recording(
        self, request: Request, *, seconds: float
    ) -> AsyncIterator[tuple[Recording, AsyncIterator[bytes]]]:
        """The same, chunk by chunk; leaving the block early closes the connection."""
        began = time.monotonic()
        sent = self._http.build_request(
            request.method,
            request.url,
            headers=_headers(request),
            params=request.query or None,
            content=None if request.body is None else request.body.encode(),
        )
        try:
            async with asyncio.timeout(max(seconds, _CONNECT)):
                response = await self._http.send(sent, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise Unreachable(f"{request.method} {request.url}: {str(error) or type(error).__name__}") from error
        recording = Recording(
            response.status_code, response.http_version, dict(response.headers), time.monotonic() - began
        )
        try:
            yield recording, _chunks(response, recording, began, seconds)
        finally:
            recording.seconds = time.monotonic() - began
            await response.aclose()


def _headers(request: Request) -> dict[str, str]:
    # A proxy that would compress for a browser or a phone shall do so here too.
    ours = {"accept-encoding": "gzip, br", "accept": "text/event-stream"}
    if request.body is not None:
        ours["content-type"] = "application/json"
    return {**ours, **request.headers}


async def _chunks(response: httpx.Response, recording: Recording, began: float, seconds: float) -> AsyncIterator[bytes]:
    left = _MOST_BYTES
    try:
        async with asyncio.timeout(seconds):
            async for chunk in response.aiter_raw():
                recording.chunks.append((time.monotonic() - began, chunk))
                left -= len(chunk)
                yield chunk
                if left < 0:
                    recording.ending = "left"
                    return
    except TimeoutError:
        recording.ending = "left"
    except httpx.HTTPError:
        recording.ending = "cut"
