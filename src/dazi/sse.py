"""Server-sent events after the WHATWG HTML standard, section 9.2: an encoder and an incremental parser, without I/O.

The parser's laws:

- any chunking of the same bytes gives the same events, and each event is out in the very feed that completes it;
- what a feed was given may be overwritten as soon as it returns: the parser keeps copies only;
- bytes that are not UTF-8 become U+FFFD as `bytes.decode("utf-8", "replace")` makes them; they never stop the stream;
- an event that the stream does not finish is never delivered, and its id is not remembered;
- the work is linear in the bytes, however they are cut, and never more than the limit is kept of an unfinished event;
- the last event id and the reconnection time outlive the body that set them (`Parser.next_body`).

The encoder's law: a string in any field is read back as exactly one event with that very string, or it is refused with
a `ValueError`. Only the line ends inside data are one to the format: CR LF and CR are read back as LF.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from dazi.errors import EventTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_LIMIT", "Parser", "ServerSentEvent", "comment", "encode"]

# A whole answer in one frame (a snapshot, or an image as base64) fits; an endless line does not eat the machine.
DEFAULT_LIMIT = 8 * 1024 * 1024

# 31,000 years in milliseconds. A longer number is no time to wait for, and JavaScript could not hold it exactly.
_MAX_RETRY_DIGITS = 15

# In a shorter chunk, looking for the blocks that it holds whole costs more than it saves; in a longer one, looking
# whether it is a single block does (bench/sse_parsers.py).
_WORTH_CUTTING = 2048

# A block as nearly every server writes it, in text without CR: at most an id and a type, then one line of data. `.` is
# all but LF, and what `+` and `?` with a second `+` have taken they never give back: the work is linear. A line that
# empties the id, or has NUL in it, is no part of it; so where the id's group has nothing, there was no id.
_SIMPLE = r"(?:id: ?+([^\n\0]++)\n|event: ?+(.*+)\n){0,2}data: ?+(.*+)\n\n"
_one_simple = re.compile(_SIMPLE).fullmatch
# All such blocks; from one that is not, all that is left is the fourth group of the last.
_all_simple = re.compile(_SIMPLE + r"|(?s:(.++))").findall

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = "\r\n"
_NOT_IN_ID = "\r\n\0"
_NUL, _CR, _LF = b"\0\r\n"  # as numbers: `10 in chunk` is eight times as fast as `b"\n" in chunk`


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event, as an `EventSource` would deliver it.

    `event` is its type. `id` is the last event id of the stream and `retry` the reconnection time in milliseconds (None
    while nothing has set it), both as they stand with this event, whichever block set them: all that a client has to
    remember in order to come back.
    """

    # A struct, where the rest of Dazi has frozen dataclasses: one is made for every token, and costs a tenth as much.
    # It can be in no cycle, so the garbage collector need not know it.
    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None


def encode(data: str, *, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:  # noqa: A002 - the standard's name
    """Encode one event, with LF line ends.

    Raises `ValueError` for what the format cannot carry: a line end in `event` or `id`, NUL in `id`, an empty `event`,
    half a surrogate pair anywhere, a `retry` that is no time to wait.
    """
    fields = ""
    if id is not None:
        fields += f"id: {_line_without('id', id, forbidden=_NOT_IN_ID)}\n"
    if event == "":
        raise ValueError("The event '' would be read as 'message'; leave it out or name a type.")
    if event is not None:
        fields += f"event: {_line_without('event', event, forbidden=_LINE_ENDS)}\n"
    if retry is not None:
        fields += f"retry: {_milliseconds(retry)}\n"
    return _utf8(f"{fields}{_lines('data: ', data)}\n")


def comment(text: str = "") -> bytes:
    """Encode a comment: bytes for a silent connection that no reader takes for an event. It belongs between events."""
    return _utf8(_lines(": ", text) + "\n")


def _line_without(field: str, value: str, *, forbidden: str) -> str:
    for character in forbidden:
        if character in value:
            raise ValueError(
                f"The {field} {value!r} holds {character!r}, which would end or void the field; remove it."
            )
    return value


def _milliseconds(retry: int) -> str:
    digits = f"{retry:d}"
    if not digits.isdigit() or len(digits) > _MAX_RETRY_DIGITS:
        raise ValueError(
            f"The retry {digits} is no time to wait; give milliseconds, from 0 up to {_MAX_RETRY_DIGITS} digits."
        )
    return digits


def _lines(prefix: str, text: str) -> str:
    """Put the prefix before each line: no line of the text can then begin a field of its own."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", f"\n{prefix}")
    return f"{prefix}{text}\n"


def _utf8(frame: str) -> bytes:
    try:
        return frame.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"{frame[exc.start]!r} is half of a surrogate pair, which UTF-8 cannot carry; "
            "join it with its other half or replace it by U+FFFD."
        ) from exc


class Parser:
    """Turn the bytes of an event stream, cut anywhere, into events.

    Attributes: `last_event_id` (what a reconnecting client sends as `Last-Event-ID`; "" if nothing), `retry` (the
    reconnection time in milliseconds, or None), `limit` (the most bytes of an unfinished event that are kept), `is_idle` (it is
    certainly between two events).
    """

    # A gateway holds one for every stream.
    __slots__ = (
        *("_data", "_held", "_id", "_line", "_overflowed", "_skip", "_type"),
        *("is_idle", "last_event_id", "limit", "retry"),
    )

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.last_event_id = ""
        self.retry: int | None = None
        self.next_body()

    def next_body(self) -> None:
        """Start over with the next body (after a reconnect): only the last event id and the retry time persist."""
        self._line = bytearray()  # the line that has not ended yet: as one, because a list of tiny pieces weighs more
        self._data: list[bytes] = []  # the standard's "data buffer": the values of this block's data lines
        self._held = 0  # how many bytes those data lines had
        self._type = ""  # the "event type buffer"
        self._id = self.last_event_id  # the "last event ID buffer": becomes the last event id when its block ends
        self._skip = _BYTE_ORDER_MARK  # dropped where the next bytes begin with it: this, or the LF of a cut CR LF
        self.is_idle = False  # certainly between two blocks, nothing kept and nothing to skip: shorter ways begin here
        self._overflowed = False  # an event passed the limit: what comes now may be its middle

    def feed(self, data: bytes | bytearray | memoryview) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        Raises `EventTooLarge` as soon as the data lines of an event, with the line in progress, are longer than the
        limit, and from then on until `next_body`. Events that the same bytes completed before are not lost: they are
        returned, and the next feed raises.
        """
        chunk = data if type(data) is bytes else memoryview(data).tobytes()
        if self.is_idle and len(chunk) <= self.limit and _CR not in chunk:
            # What nearly every chunk is has a shorter way to what `_feed_any` would return: one line of data, ...
            if chunk[:6] == b"data: ":
                line, _, rest = chunk[6:].partition(b"\n")
                if rest == b"\n":
                    return [ServerSentEvent("message", line.decode("utf-8", "replace"), self._id, self.retry)]
            # ... one simple block that begins otherwise, ...
            elif len(chunk) < _WORTH_CUTTING and (block := _one_simple(chunk.decode("utf-8", "replace"))):
                id_, event, text = block.groups()
                if id_:
                    self._id = self.last_event_id = id_
                return [ServerSentEvent(event or "message", text, self._id, self.retry)]
            # ... or several simple blocks.
            if chunk[-2:] == b"\n\n" and (events := self._simple_events(chunk)):
                return events
        return self._feed_any(chunk)

    def only_data(self, data: bytes) -> bytes:
        """Return the text of a chunk that is exactly one event of one `data: ` line, and changes nothing here; else nothing.

        For the reader of a stream of tokens, who then need not feed it: no event is made, and the text is not decoded.
        """
        if self.is_idle and len(data) <= self.limit and data[:6] == b"data: " and _CR not in data:
            line, _, rest = data[6:].partition(b"\n")
            return line if rest == b"\n" else b""
        return b""

    def _feed_any(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take any bytes, in any state."""
        if self._overflowed:
            raise EventTooLarge(limit=self.limit)
        if self._skip:
            chunk = self._skip_prefix(chunk)
        events: list[ServerSentEvent] = []
        if _LF not in chunk and _CR not in chunk:
            self._keep(chunk)
        elif len(chunk) < _WORTH_CUTTING:
            self._feed_lines(chunk, events)
        else:
            self._feed_blocks(chunk, events)
        if self._overflowed and not events:
            raise EventTooLarge(limit=self.limit)
        return events

    def _skip_prefix(self, chunk: bytes) -> bytes:
        seen = bytes(self._line) + chunk  # a byte order mark may come in parts; after a CR no line has begun
        self._line.clear()
        if len(seen) < len(self._skip) and self._skip.startswith(seen):
            self._line += seen
            return b""
        prefix, self._skip = self._skip, b""
        return seen.removeprefix(prefix)

    def _keep(self, fragment: bytes) -> None:
        """Add to the line in progress."""
        self._line += fragment
        self.is_idle = False
        if self._held + len(self._line) > self.limit:
            self._overflow()

    def _feed_blocks(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        """Take the block that ends first line by line, those after it at once, if all are simple, and the rest line by line."""
        start, end = chunk.find(b"\n\n") + 2, chunk.rfind(b"\n\n") + 2
        if start < end and _CR not in chunk and self._held + len(self._line) + len(chunk) <= self.limit:
            self._feed_lines(chunk[:start], events)
            simple = self._simple_events(chunk[start:end])
            events += simple
            chunk = chunk[end:] if simple else chunk[start:]
        self._feed_lines(chunk, events)

    def _simple_events(self, blocks: bytes) -> list[ServerSentEvent]:
        """Take blocks without CR at once, if all are simple; else change nothing and return none."""
        # Fields and line ends are ASCII, so bytes that are not UTF-8 on one side of them swallow none of the other.
        text = blocks.decode("utf-8", "replace")
        if text[:6] == "data: ":
            # One line of data each, perhaps: then no end of a line is left between the boundaries.
            texts = text[6:-2].split("\n\ndata: ")
            if "\n" not in "".join(texts):
                return list(map(ServerSentEvent, repeat("message"), texts, repeat(self._id), repeat(self.retry)))
        rows = _all_simple(text)
        events: list[ServerSentEvent] = []
        if rows[-1][3]:
            return events
        for id_, event, text, _ in rows:
            if id_:
                self._id = self.last_event_id = id_
            events.append(ServerSentEvent(event or "message", text, self._id, self.retry))
        return events

    def _feed_lines(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        # Of bytes, unlike of str, splitlines() knows the standard's line ends and no others: CR LF, LF and CR.
        lines = chunk.splitlines()
        if not lines:
            return
        near_limit = self._held + len(self._line) + len(chunk) > self.limit
        last, rest = chunk[-1], b""
        if last == _CR:
            self._skip = b"\n"
        elif last != _LF:
            rest = lines.pop()
        if self._line and lines:
            lines[0] = b"".join((self._line, lines[0]))
            self._line.clear()
        self.is_idle = last == _LF and not lines[-1]
        for line in self._within_limit(lines) if near_limit else lines:
            if line[:6] == b"data: ":  # nearly every line is this one
                self._data.append(line[6:])
                self._held += len(line)
            elif line:
                self._take_field(line)
            else:
                self._end_block(events)
        if rest:
            self._keep(rest)

    def _within_limit(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            if self._held + len(line) > self.limit:
                self._overflow()
                return
            yield line

    def _overflow(self) -> None:
        self._overflowed = True
        self.is_idle = False
        self._line.clear()
        self._data.clear()

    def _take_field(self, line: bytes) -> None:
        # "Collect the characters on the line before the first U+003A COLON character (:), and let field be that string."
        # Without a colon the whole line is the field; with a colon in front, a comment, the field is "" and ignored.
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")  # "If value starts with a U+0020 SPACE character, remove it": it, not all
        match field:
            case b"data":
                self._data.append(value)
                self._held += len(line)
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if _NUL not in value:  # "If the field value does not contain U+0000 NULL"
                self._id = value.decode("utf-8", "replace")
            # "If the field value consists of only ASCII digits": isdigit() of bytes, unlike of str, asks just that.
            case b"retry" if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self.retry = int(value)

    def _end_block(self, events: list[ServerSentEvent]) -> None:
        self.last_event_id = self._id
        if self._data:  # "If the data buffer is an empty string, [...] return": no data line, no event
            text = b"\n".join(self._data).decode("utf-8", "replace")
            events.append(ServerSentEvent(self._type or "message", text, self._id, self.retry))
            self._data.clear()
            self._held = 0
        self._type = ""
