"""An HTTP server as a checker: docs/safety.md says what it is asked and answers.

Laws: the operator alone chooses the address and the key; redirects are refused; what is no verdict is `Unchecked`; a query, which
may hold a key, is not told.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from dazi.errors import NoAnswer, Unchecked
from dazi.outside import Outside
from dazi.safety import Passage, Verdict

# An answer is a word or two.
_MOST_BYTES = 64 * 1024
# Seconds; the policy's own timeout comes first, unless it is longer.
_TIMEOUT = 30.0
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
        self._outside = Outside(headers=headers, timeout=_TIMEOUT, most_bytes=_MOST_BYTES, uses_proxies=False)

    def __repr__(self) -> str:
        return f"HttpChecker({self.name!r})"

    async def open(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def close(self) -> None:
        """Let go of its connections."""
        await self._outside.close()

    async def check(self, passage: Passage) -> Verdict:
        """Ask about a passage. Raises `Unchecked`."""
        question = {"text": passage.text, "kind": passage.kind, "owner": passage.asker.owner}
        try:
            status, body = await self._outside.call("POST", self._url, seconds=_TIMEOUT, json=question)
        except NoAnswer as error:
            raise Unchecked(f"its server gives no verdict ({error})", again=error.again) from None
        if status != 200:
            raise _refused(status)
        return _verdict_of(body)


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
