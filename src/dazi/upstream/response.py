"""A response to a streaming POST, read without I/O: bytes in, bodies to a reader, faults by their codes.

Laws:

- redirects, refusals, compressed and wrong answers raise an `UpstreamError` with a code of PROTOCOL.md 4.1;
- nothing that a server sends is repeated in a message but short words that look like error codes;
- heads, trailers and chunk extensions of more than `MAX_OVERHEAD` bytes between two pieces of body are garbage;
- what came before a fault is handed to the reader before the fault is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Protocol

import httptools
import msgspec

from dazi.errors import UpstreamError

# Bytes that may pass between two pieces of body: the largest heads in the wild are 16 KiB, endless ones are attacks.
MAX_OVERHEAD = 64 * 1024
# Hexadecimal digits of a chunk's size that are looked at: eight are four gigabytes.
_LONGEST_SIZE = 8
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
# A refusal says why in its first lines; the rest is not worth the memory.
_MAX_REFUSAL = 16 * 1024

# The codes of PROTOCOL.md 4.1 that an upstream's fault ends in, and whether asking again may help.
_RETRYABLE = {
    "upstream_unreachable": True,
    "upstream_rejected": False,
    "upstream_unauthorized": False,
    "upstream_rate_limited": True,
    "upstream_unavailable": True,
    "upstream_redirected": False,
    "upstream_timeout": True,
    "upstream_garbage": True,
    "upstream_error": True,
    "truncated": True,
}
_CODES_BY_STATUS = {
    401: "upstream_unauthorized",
    403: "upstream_unauthorized",
    408: "upstream_unavailable",
    409: "upstream_unavailable",
    425: "upstream_unavailable",
    429: "upstream_rate_limited",
}
_CODES_BY_HUNDREDS = {3: "upstream_redirected", 4: "upstream_rejected", 5: "upstream_unavailable"}
_REMEDIES = {
    "upstream_unauthorized": " Check the upstream's key.",
    "upstream_redirected": " Redirects are not followed: configure the final address.",
    "upstream_garbage": " Only 200 has an answer.",
}

# An error code is words of letters, or a short number. Keys, prompts and addresses do not look like that.
_ERROR_CODE = re.compile(r"[A-Za-z]{2,32}(?:[_.-][A-Za-z]{1,32}){0,5}|\d{3,6}")
_SHORT_NUMBER = re.compile(rb"\d{1,6}(?:\.\d{1,6})?")
_MEDIA_TYPE = re.compile(r"[a-z]{1,16}/[a-z0-9.+-]{1,48}")


class Taken(Enum):
    """What a reader made of the bytes it was handed."""

    NOTHING = "nothing that counts: half an event, or a keep-alive"
    PROGRESS = "something the model said"
    ALL = "the end of what is wanted; the rest of the response does not matter"


Take = Callable[[bytes], Taken]

# An enumeration's member is looked up three times as slowly as a name of the module, and these are for every token.
NOTHING, PROGRESS, ALL = Taken.NOTHING, Taken.PROGRESS, Taken.ALL


class Reader(Protocol):
    """What a response with status 200 is read into."""

    def begin(self, media_type: str) -> Take:
        """Look at the type and return what takes the body, piece by piece. Both may raise: that ends the exchange."""
        ...


def fault(code: str, message: str) -> UpstreamError:
    """Return the error for `code` of PROTOCOL.md 4.1."""
    return UpstreamError(code, message, retryable=_RETRYABLE[code])


def error_code(problem: object) -> str:
    """Return ` (code)` for the word in a decoded error object that looks like a code, or "" if none is safe to show."""
    if not isinstance(problem, dict):
        return ""
    inner = problem.get("error")
    places = [inner, problem] if isinstance(inner, dict) else [problem]
    words = (place.get(name) for place in places for name in ("code", "type", "status"))
    return next((f" ({word})" for word in words if isinstance(word, str) and _ERROR_CODE.fullmatch(word)), "")


class Response:
    """One response. The `on_` names are httptools'.

    Attributes: `has_begun` (a byte of it came), `is_whole` (nothing of it is missing), `leaves_reusable` (whole, and
    the connection can serve another request).
    """

    __slots__ = (
        "_bodies",
        "_fields",
        "_is_between_chunks",
        "_overhead",
        "_parser",
        "_reader",
        "_refusal",
        "_status",
        "_take",
        "has_begun",
        "is_whole",
        "leaves_reusable",
        "on_body",
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.has_begun = False
        self.is_whole = False
        self.leaves_reusable = False
        # The final status; 0 until its head is complete.
        self._status = 0
        self._fields: dict[bytes, bytes] = {}
        # What takes the body; None until the head is judged.
        self._take: Take | None = None
        # The start of the body of an answer that is not 200.
        self._refusal = bytearray()
        # Bytes received since the last piece of body.
        self._overhead = 0
        # The last chunk of a chunked body has ended, and no byte of the next has come.
        self._is_between_chunks = False
        # The bodies of one feed. httptools appends them itself, so a piece costs no Python frame.
        self._bodies: list[bytes] = []
        self.on_body = self._bodies.append
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> Taken:
        """Take what arrived; raises what is wrong with it, or what the reader raised."""
        if self._is_between_chunks and self._take is not None:
            # Bytes that are one whole chunk without extensions, and nothing else: the shape of nearly every token. The parser
            # misses one chunk between two that it sees, and so nothing.
            end = data.find(b"\r\n", 1, _LONGEST_SIZE + 2)
            if end > 0 and _size_of(data[:end]) == len(data) - end - 4 > 0 and data.endswith(b"\r\n"):
                self._overhead = 0
                taken = self._take(data[end + 2 : -2])
                if taken is ALL:
                    self._take = _ignore
                return taken
        self.has_begun = True
        problem = self._parse(data)
        if self._take is None and self._status:
            self._take = self._judge_head()
        taken = self._hand_over(len(data))
        if self.is_whole and self._status != 200:
            raise self._refused()
        # Whatever ends without a line end is the beginning of the next chunk's head.
        self._is_between_chunks = self._is_between_chunks and data[-2:] == b"\r\n"
        if problem is not None and not self.is_whole and taken is not ALL:
            raise fault("upstream_garbage", "What the model's server sent is not HTTP.") from problem
        return taken

    def lost(self, exc: Exception | None) -> UpstreamError | None:
        """Return what it means that the connection is gone: None if the response may end so."""
        if self._status not in {0, 200}:
            problem = self._refused()
        elif not self.has_begun:
            problem = fault("upstream_unreachable", "The model's server closed the connection without an answer.")
        elif self._ends_with_connection and exc is None:
            return None
        else:
            problem = fault("truncated", "The model's server broke off in the middle of its answer.")
        problem.__cause__ = exc
        return problem

    def stalled(self, seconds: float) -> UpstreamError:
        """Return what it means that nothing came for so long."""
        if self._status not in {0, 200}:
            return self._refused()
        return fault("upstream_timeout", f"The model's server gave no next token for {seconds:g} s.")

    def let_go(self) -> None:
        """Part from the parser, once nothing is fed any more: they hold each other, and would wait for the collector."""
        del self._parser

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Refuse to read an answer that was not asked for."""
        if self.is_whole:
            raise httptools.HttpParserError("a second response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Remember a field of the head; what follows the head are trailers."""
        if not self._status:
            self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Remember the final status; a 1xx is interim, the answer follows."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
        else:
            self._fields.clear()

    def on_chunk_header(self) -> None:
        """Remember that a chunk has begun."""
        self._is_between_chunks = False

    def on_chunk_complete(self) -> None:
        """Remember that it has ended."""
        self._is_between_chunks = True

    def on_message_complete(self) -> None:
        """Remember that all is there."""
        self._is_between_chunks = False
        if self._status:
            self.is_whole = True
            self.leaves_reusable = self._parser.should_keep_alive()

    # What `feed` is made of.

    def _parse(self, data: bytes) -> Exception | None:
        """Run the parser; return its complaint, so that what came before the nonsense is still handed over."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.leaves_reusable = False
            return exc
        return None

    def _hand_over(self, received: int) -> Taken:
        bodies = self._bodies
        if bodies and self._take is not None:
            self._overhead = 0
            body = bodies[0] if len(bodies) == 1 else b"".join(bodies)
            bodies.clear()
            taken = self._take(body)
            if taken is ALL:
                self._take = _ignore
            return taken
        self._overhead += received
        if self._overhead > MAX_OVERHEAD:
            limit = f"{MAX_OVERHEAD // 1024} KiB"
            raise fault("upstream_garbage", f"The model's server sent more than {limit} of HTTP around its answer.")
        return NOTHING

    def _judge_head(self) -> Take:
        if 300 <= self._status < 400:
            raise self._refused()
        if self._status != 200:
            return self._take_refusal
        for name in (b"content-encoding", b"transfer-encoding"):
            if self._fields.get(name, b"identity").lower() not in {b"identity", b"chunked", b""}:
                raise fault("upstream_garbage", "The model's server compressed its answer, unasked.")
        media_type = self._fields.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
        return self._reader.begin(media_type if _MEDIA_TYPE.fullmatch(media_type) else "none")

    def _take_refusal(self, body: bytes) -> Taken:
        self._refusal += body
        if len(self._refusal) > _MAX_REFUSAL:
            raise self._refused()
        return NOTHING

    def _refused(self) -> UpstreamError:
        try:
            word = error_code(msgspec.json.decode(self._refusal))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            word = ""
        code = _CODES_BY_STATUS.get(self._status) or _CODES_BY_HUNDREDS.get(self._status // 100, "upstream_garbage")
        error = fault(code, f"The model's server answered {self._status}{word}.{_REMEDIES.get(code, '')}")
        error.status, error.retry_after = self._status, _seconds(self._fields.get(b"retry-after", b""))
        return error

    @property
    def _ends_with_connection(self) -> bool:
        """RFC 9112 6.3: without either field, the body is what comes until the connection closes."""
        return bool(self._status) and not self._fields.keys() & {b"content-length", b"transfer-encoding"}


def _seconds(retry_after: bytes) -> float | None:
    """Read a `Retry-After` in seconds; one that is a date is not read, as its clock may not be ours."""
    return float(retry_after) if _SHORT_NUMBER.fullmatch(retry_after) else None


@lru_cache(maxsize=1024)
def _size_of(digits: bytes) -> int:
    """Return the number that a chunk's size is, or -1."""
    return int(digits, 16) if _HEXADECIMAL.fullmatch(digits) else -1


def _ignore(_body: bytes) -> Taken:
    return NOTHING
