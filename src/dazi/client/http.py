"""One line to a gateway over httpx, the only file that knows it.

Laws: whatever breaks a line is `Lost`, with the reason in words; redirects are not followed; proxies of the environment
are used, but not to reach this very machine; nothing is asked for compressed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypedDict
from urllib.parse import urlsplit

import httpx

from dazi.client.attempts import Patience
from dazi.client.wire import Head, Request
from dazi.errors import ConfigError

_VISIBLE_ASCII = re.compile(r"[!-~]+")


class Lost(Exception):
    """The line broke, or never came to be."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class AsyncConnections:
    """The connections to one gateway. Arguments as `AsyncClient`'s."""

    def __init__(self, url: str, api_key: str | None, patience: Patience) -> None:
        self._http = httpx.AsyncClient(**_options(url, api_key, patience))

    def line(self) -> AsyncLine:
        """Return a line that is not open yet."""
        return AsyncLine(self._http)

    async def close(self) -> None:
        """Close them all."""
        await self._http.aclose()


class Connections:
    """The connections to one gateway. Arguments as `Client`'s."""

    def __init__(self, url: str, api_key: str | None, patience: Patience) -> None:
        self._http = httpx.Client(**_options(url, api_key, patience))

    def line(self) -> Line:
        """Return a line that is not open yet."""
        return Line(self._http)

    def close(self) -> None:
        """Close them all."""
        self._http.close()


class AsyncLine:
    """At most one open answer of an asynchronous client.

    Args:
        http: shared by all lines to one gateway.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def open(self, request: Request) -> Head:
        """Close what is open and send a request; returns once the answer has begun. Raises `Lost`."""
        await self.close()
        with _translated():
            self._response = await self._http.send(_built(self._http, request), stream=True)
        self._chunks = self._response.aiter_bytes()
        return Head(self._response.status_code, dict(self._response.headers))

    async def read(self) -> bytes:
        """Return the next bytes, none at the end. Raises `Lost`."""
        with _translated():
            return await anext(self._chunks, b"")

    async def close(self) -> None:
        """Let go of the answer; idempotent."""
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()


class Line:
    """At most one open answer of a synchronous client.

    Args:
        http: shared by all lines to one gateway.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes]

    def open(self, request: Request) -> Head:
        """Close what is open and send a request; returns once the answer has begun. Raises `Lost`."""
        self.close()
        with _translated():
            self._response = self._http.send(_built(self._http, request), stream=True)
        self._chunks = self._response.iter_bytes()
        return Head(self._response.status_code, dict(self._response.headers))

    def read(self) -> bytes:
        """Return the next bytes, none at the end. Raises `Lost`."""
        with _translated():
            return next(self._chunks, b"")

    def close(self) -> None:
        """Let go of the answer; idempotent."""
        response, self._response = self._response, None
        if response is not None:
            response.close()


class _Options(TypedDict):
    """How either of httpx's clients is made."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout
    limits: httpx.Limits
    trust_env: bool
    verify: ssl.SSLContext | bool


def _options(url: str, api_key: str | None, patience: Patience) -> _Options:
    """Check an address and a key. Raises `ConfigError`."""
    headers = {"user-agent": "dazi", "accept-encoding": "identity"}
    if api_key is not None:
        if not _VISIBLE_ASCII.fullmatch(api_key):
            raise ConfigError("The API key holds characters a header cannot carry. Use visible ASCII.")
        headers["authorization"] = f"Bearer {api_key}"
    return _Options(
        base_url=url,
        headers=headers,
        timeout=httpx.Timeout(patience.silence, connect=patience.connect, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
        # Reading the certificates takes longer than many an answer; without https, none will be trusted.
        verify=url.lower().startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        trust_env=not _is_here(_host_of(url)),
    )


def _built(http: httpx.AsyncClient | httpx.Client, request: Request) -> httpx.Request:
    return http.build_request(request.method, request.path, headers=dict(request.headers), content=request.body or None)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise Lost("no connection came to be in time") from exc
    except httpx.ConnectError as exc:
        raise Lost(f"no connection could be made ({_words(exc)})") from exc
    except httpx.TimeoutException as exc:
        raise Lost("nothing came for too long") from exc
    except (httpx.TransportError, httpx.DecodingError) as exc:
        raise Lost("the line broke") from exc


def _words(error: BaseException) -> str:
    """Return what the system said, where it is still known, such as `Connection refused`."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            # asyncio puts a sentence of its own, with the address, where the system's words belong.
            knows = isinstance(cause, socket.gaierror | ssl.SSLError)  # these count errors their own way
            return str(cause.strerror) if knows else os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _host_of(url: str) -> str:
    """Return the name in an address, or say what is wrong with it; one that may hold a password is not repeated."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if is_valid and "@" in parts.netloc:
        raise ConfigError("The gateway's address holds a user name or password. Give the key instead.")
    if not is_valid or not _VISIBLE_ASCII.fullmatch(url):
        raise ConfigError(f"{url!r} is no http or https URL. Give the gateway's, like http://127.0.0.1:8000.")
    return parts.hostname or ""


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
