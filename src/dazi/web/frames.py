r"""Events as bytes on the wire (PROTOCOL.md, sections 3 and 4).

Laws: only LF ends lines; one `data:` line a frame, no `event:` line; with `ascii` and `url` every byte is ASCII, so a
chunk cut anywhere cuts no character. U+2028, U+2029 and U+0085 are escaped in every encoding, for clients that split
text at Unicode's line ends. A record is encoded once for all the readers that take the same format. With padding each frame is
a multiple of so many bytes, filled up by a field that means nothing: whoever sees the sizes of encrypted pieces learns less of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Literal
from urllib.parse import quote

import msgspec

from dazi.events import Event, Problem, Reasoning, Reconnect, Snapshot, Text
from dazi.log import Cursor, Record

Mode = Literal["append", "replace"]
Encoding = Literal["ascii", "utf8", "url"]
Profile = Literal["full", "plain"]

# What `encodeURIComponent` leaves as it is, beside letters and digits (ECMA-262, uriUnescaped).
_URI_UNESCAPED = "-_.!~*'()"
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}

# Bytes to whose multiples frames can be filled up; 0: they are not.
PADDINGS = (0, 32, 64, 128, 256)
# What begins and ends the field, and what ended the object before it.
_FILLER = (b',"p":"', b'"}', b"}")
_FILLER_URL = (b"%2C%22p%22%3A%22", b"%22%7D", b"%7D")

Wire = Event | Snapshot | Reconnect | Problem

# What models say in, a token at a time, and what it is called on the wire.
_TOKENS: dict[type, str] = {Text: "text", Reasoning: "reasoning"}

# Made once: `json.dumps` makes one a call.
_json = msgspec.json.Encoder().encode
_ascii = json.JSONEncoder(separators=(",", ":")).encode
_any = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _utf8(value: object) -> str:
    return _any(value).translate(_LINE_ENDS)


def _url(value: object) -> str:
    return quote(_utf8(value), safe=_URI_UNESCAPED)


def _quote_utf8(text: str) -> str:
    quoted = encode_basestring(text)
    return quoted if quoted.isascii() else quoted.translate(_LINE_ENDS)


_QUOTES: dict[Encoding, Callable[[str], str]] = {"ascii": encode_basestring_ascii, "utf8": _quote_utf8}
_WRITERS: dict[Encoding, Callable[[object], str]] = {"ascii": _ascii, "utf8": _utf8, "url": _url}


def write_json(value: object, encoding: Encoding = "ascii") -> bytes:
    """Write a JSON body: of builtins and of this package's structs."""
    writer = _utf8 if encoding == "utf8" else _ascii
    return writer(msgspec.to_builtins(value)).encode()


class Framer:
    """Writes frames of one encoding and profile, filled up to multiples of `padding` bytes."""

    def __init__(self, encoding: Encoding, profile: Profile, padding: int = 0) -> None:
        self._write = _WRITERS[encoding]
        self._plain = profile == "plain"
        self._padding = padding
        self._filler = _FILLER_URL if encoding == "url" else _FILLER
        self.heartbeat = b"" if self._plain else b": \n\n"
        # Writes a text as a JSON string; None where the frame of a text is no fixed words around it.
        self._quote = None if self._plain or padding else _QUOTES.get(encoding)
        # The newest record and its frame. All readers of a record ask for it in turn, before the next one is stored,
        # so one place is enough to encode it once.
        self._record: Record | None = None
        self._frame = b""

    def greeting(self) -> bytes:
        """Write the first block: how many milliseconds a native `EventSource` waits before it attaches again.

        Spread over a second, so that the readers of a server that went away do not all come back at once.
        """
        return b"" if self._plain else b"retry: %d\n\n" % random.randrange(500, 1500)  # noqa: S311  # spread, not secrecy

    def record(self, record: Record) -> bytes:
        """Frame a record of a log."""
        if record is self._record:
            return self._frame
        event = record.event
        if self._quote is not None and (kind := _TOKENS.get(event.__class__)):
            # The path of nearly every token: the same bytes as `frame` writes, several times as fast.
            text = self._quote(event.text)  # type: ignore[union-attr]  # mypy knows isinstance only
            frame = (
                f'id: {record.epoch}-{record.position}\ndata: {{"type":"{kind}","text":{text},"n":{event.n}}}\n\n'  # type: ignore[union-attr]  # the same
            ).encode()
        else:
            frame = self.frame(event, Cursor(record.epoch, record.position))
        self._record, self._frame = record, frame
        return frame

    def frame(self, event: Wire, cursor: Cursor | None = None) -> bytes:
        """Frame any event; `cursor` becomes its id."""
        identity = None if cursor is None else f"{cursor.epoch}-{cursor.position}"
        if self._plain:
            fields: dict[str, object] = msgspec.to_builtins(event)
            fields = fields if identity is None else {"id": identity, **fields}
            return self._filled(f"data: {self._write(fields)}\n\n".encode())
        head = "" if identity is None else f"id: {identity}\n"
        return self._filled(f"{head}data: {self._write_event(event)}\n\n".encode())

    def _write_event(self, event: Wire) -> str:
        if self._quote is not None:
            # Where all is ASCII, the same in less time; DEL is the one character that it leaves as it is.
            with suppress(UnicodeEncodeError):
                text = _json(event)
                if text.isascii() and b"\x7f" not in text:
                    return text.decode()
        return self._write(msgspec.to_builtins(event))

    def _filled(self, frame: bytes) -> bytes:
        if not self._padding:
            return frame
        begin, end, before = self._filler
        bare = frame[: -len(before + b"\n\n")]
        missing = -(len(bare) + len(begin) + len(end) + 2) % self._padding
        return b"%b%b%b%b\n\n" % (bare, begin, b"." * missing, end)


@cache
def framer_of(encoding: Encoding, profile: Profile, padding: int = 0) -> Framer:
    """The one framer that all readers of this format share, in this process."""
    return Framer(encoding, profile, padding)


def slices(frames: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join frames to bodies of at most `size` bytes."""
    held = b""
    for frame in frames:
        held += frame
        full = len(held) - len(held) % size
        yield from (held[start : start + size] for start in range(0, full, size))
        held = held[full:]
    yield held
