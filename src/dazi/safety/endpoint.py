"""An HTTP server as a checker: docs/safety.md says what it is asked and answers.

Laws: the operator alone chooses the address and the key; redirects are refused; what is no verdict is `Unchecked`; a query, which
may hold a key, is not told.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import get_args

import httpx
import msgspec

from dazi.errors import Unchecked
from dazi.safety import Passage, Verdict
from dazi.unspoken import Unspoken

# An answer is a word or two.
_MOST_BYTES = 64 * 1024
# Seconds; the policy's own timeout comes first, unless it is longer.
_TIMEOUT = 30.0
# As many questions at once as a busy gateway has; the others wait for a connection.
_CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=100)
_BUSY = frozenset({429, 503})


class _Answer(msgspec.Struct):
    verdict: Verdict


class HttpChecker:
    """Asks a server.

    Args:
        url: where to POST.
        key: sent as `Authorization: Bearer`, if there is one.
        name: for metrics and log lines.
    """

    def __init__(self, url: str, *, key: str = "", name: str = "http") -> None:
        self.name = name
        self._url = url
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=_CONNECTIONS, headers=headers, follow_redirects=False, trust_env=False
        )

    def __repr__(self) -> str:
        return f"HttpChecker({self.name!r})"

    async def open(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.aclose()

    async def check(self, passage: Passage) -> Verdict:
        """Ask about a passage. Raises `Unchecked`."""
        question = {"text": passage.text, "kind": passage.kind, "owner": passage.asker.owner}
        try:
            request = self._http.build_request("POST", self._url, json=question)
            request.url = Unspoken(request.url)
            async with aclosing(await self._http.send(request, stream=True)) as response:
                if response.status_code != 200:
                    raise _refused(response.status_code)
                return _verdict_of(await _read(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not its own words: they may hold the URL.
            raise Unchecked(f"its server does not answer ({type(error).__name__})", again=True) from None


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > _MOST_BYTES:
            raise Unchecked("its server answers with more than a verdict")
    return bytes(body)


def _verdict_of(body: bytes) -> Verdict:
    try:
        return msgspec.json.decode(body, type=_Answer).verdict
    except (msgspec.DecodeError, UnicodeDecodeError):
        words = ", ".join(get_args(Verdict))
        raise Unchecked(f'its server answers without a "verdict" of {words}') from None


def _refused(status: int) -> Unchecked:
    if status in _BUSY:
        return Unchecked(f"its server takes no more questions for now (status {status})")
    return Unchecked(f"its server answers with status {status}", again=status >= 500)
