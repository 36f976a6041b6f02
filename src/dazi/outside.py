"""Small calls to servers of others: a checker, an issuer of tokens, WeChat.

Laws: no redirect is followed; of an answer so many bytes are read, and for so many seconds; what a query holds is not told, and neither
is it in an error; a call that is cancelled leaves nothing behind. For that, calls wait here until it is their turn: one that is
cancelled while it waits inside of httpx's pool may have been given a connection, which then is nobody's and counts for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from dazi.errors import NoAnswer

# Calls to one server at once. Each sentence of every answer may be a call: connections are kept, since making one takes longer.
AT_ONCE = 100


class Outside:
    """A server, or several.

    Args:
        base: what addresses begin with, unless they are whole.
        headers: of every call.
        timeout: seconds for a connection, and for each piece of an answer.
        most_bytes: of an answer.
        uses_proxies: whether the environment's proxies count.
    """

    def __init__(
        self,
        *,
        base: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float,
        most_bytes: int,
        uses_proxies: bool = True,
    ) -> None:
        self._options: dict[str, Any] = {
            "base_url": base,
            "headers": headers,
            "timeout": timeout,
            "follow_redirects": False,
            "trust_env": uses_proxies,
            # Made once: it takes longer than a call.
            "verify": httpx.create_ssl_context(trust_env=uses_proxies),
        }
        self._most_bytes = most_bytes
        self._turns = asyncio.Semaphore(AT_ONCE)
        # Clients that nobody uses, each with its connection; the one that was used last comes last.
        self._idle: list[httpx.AsyncClient] = []
        self._is_closed = False

    async def close(self) -> None:
        """Let go of the connections; idempotent."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().aclose()

    async def call(self, method: str, url: str, *, seconds: float, **fields: Any) -> tuple[int, bytes]:  # noqa: ANN401  # httpx's
        """Make a call; returns the status and the body. Raises `NoAnswer`.

        Args:
            method: of HTTP.
            url: whole, or behind `base`.
            seconds: for all of it, the wait for its turn too.
            fields: `params`, `json`.
        """
        try:
            async with asyncio.timeout(seconds), self._turns, self._client() as client:
                return await self._exchange(client, client.build_request(method, url, **fields))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # Not its own words: they may hold the URL.
            raise NoAnswer(type(error).__name__, again=True) from None

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        client = self._idle.pop() if self._idle else httpx.AsyncClient(**self._options)
        is_good = False
        try:
            yield client
            is_good = True
        finally:
            if is_good and not self._is_closed:
                self._idle.append(client)
            else:
                await client.aclose()

    async def _exchange(self, client: httpx.AsyncClient, request: httpx.Request) -> tuple[int, bytes]:
        request.url = _Unspoken(request.url)
        body = bytearray()
        async with aclosing(await client.send(request, stream=True)) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > self._most_bytes:
                    raise NoAnswer(f"more than {self._most_bytes} bytes")
        return response.status_code, bytes(body)


class _Unspoken(httpx.URL):
    """A URL that does not tell its query: httpx logs every URL, and secrets stand there (AppSecret, code and access token, in WeChat's)."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None))

    __repr__ = __str__
