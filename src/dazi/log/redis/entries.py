"""How events lie in a Stream: fields of an entry to records, and back.

Laws: neighbouring pieces of text in a batch become one run, which remembers where each piece ends, so that reading can
begin after any of them; what comes of reading is the same events in the same order, in records of about `_COALESCE`
characters.

An entry's fields: `s` started, `t` a run of text, `r` one of reasoning, `c` a tool call, `x` a retraction, `q` a place in the line, `e` the
end.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

import msgspec
from msgspec import Raw, Struct

from dazi.events import End, Event, Piece, Queued, Reasoning, Retract, Started, Text, ToolCall, utf16_length
from dazi.log import Record

# Characters that a read puts into one record; the same as memory's, and for the same reason: a reader whose line breaks
# after a few kilobytes each time must still get on.
_COALESCE = 2048

# Spans in one entry: Lua hands some 8,000 values to a call at most, and each span is two. More come of a long outage.
_SPANS = 1000

Fields = list[bytes]
# The names of fields, each with the length of its value; and the values.
Entries = tuple[bytes, bytes]


class Run(Struct, frozen=True, array_like=True, gc=False):
    """Neighbouring pieces of text or reasoning, after `previous`.

    `n` is that of the last; `pieces` is the length of each, or, where that will not be asked, how many they are.
    """

    previous: int
    n: int
    text: str
    pieces: int | list[int] = 1

    @property
    def position(self) -> int:
        """The last position."""
        return self.previous + (self.pieces if isinstance(self.pieces, int) else len(self.pieces))

    def joins(self, other: Run) -> bool:
        """Whether `other` continues this run and fits into one record with it."""
        return self.position == other.previous and len(self.text) + len(other.text) <= _COALESCE

    def joined(self, other: Run) -> Run:
        """Make one of two; for reading only, so borders are not kept."""
        return Run(self.previous, other.n, self.text + other.text, other.position - self.previous)

    def after(self, position: int) -> Run:
        """Cut off what is not after `position`."""
        if position <= self.previous or isinstance(self.pieces, int):
            return self
        count = position - self.previous
        return Run(position, self.n, self.text[sum(self.pieces[:count]) :], self.pieces[count:])

    def parts(self) -> Iterator[Run]:
        """Cut into runs of about `_COALESCE` characters, where there are borders."""
        if len(self.text) <= _COALESCE or isinstance(self.pieces, int):
            yield self
            return
        ends = list(accumulate(self.pieces))
        n = self.n - utf16_length(self.text)
        first = start = 0
        while first < len(ends):
            last = first
            while last + 1 < len(ends) and ends[last + 1] - start <= _COALESCE:
                last += 1
            text = self.text[start : ends[last]]
            n += utf16_length(text)
            yield Run(self.previous + first, n, text, last + 1 - first)
            first, start = last + 1, ends[last]


class _Single(Struct, frozen=True, array_like=True, gc=False):
    """Any other event of a writer, after `previous`."""

    previous: int
    event: Started | ToolCall | Retract | Queued


_encode = msgspec.msgpack.Encoder().encode
_decode_run = msgspec.msgpack.Decoder(Run).decode
_decode_single = msgspec.msgpack.Decoder(_Single).decode
# The alias is a union of types, which is what msgspec takes and the type checker cannot name.
_decode_end: Callable[[bytes], End] = msgspec.msgpack.Decoder(End).decode

_RUNS: dict[type, bytes] = {Text: b"t", Reasoning: b"r"}
_SINGLES: dict[type, bytes] = {Started: b"s", ToolCall: b"c", Retract: b"x", Queued: b"q"}
_NAMES: dict[bytes, str] = {field: field.decode() for field in (*_RUNS.values(), *_SINGLES.values())}
_KINDS: dict[bytes, type[Text | Reasoning]] = {b"t": Text, b"r": Reasoning}


class Batch(Struct, frozen=True, gc=False):
    """Pieces as they will lie in one entry, or a few, and what they do to the log's proof.

    `said` is what they add to the answer's text, or, where they `retracted` (the position of that), all there is of it;
    `n` is the answer's length with them, None where they leave it. `only` is the piece where there is but one, of text.
    """

    last: int
    spans: tuple[tuple[bytes, Run | _Single], ...]
    said: bytes
    n: int | None
    retracted: int | None
    only: Text | None = None

    def raw(self) -> Iterator[list[object]]:
        """The entries, each its position and then its fields and values, for `packed`."""
        if self.only is not None:
            yield [self.last, "t", _raw(_encode(self.spans[0][1]))]
            return
        for position, spans in self._entries():
            entry: list[object] = [position]
            for field, span in spans:
                entry += (_NAMES[field], _raw(_encode(span)))
            yield entry

    def entries(self) -> Iterator[tuple[int, Fields]]:
        """The same, each its position, and its fields and values."""
        for position, spans in self._entries():
            yield position, [part for field, span in spans for part in (field, _encode(span))]

    def _entries(self) -> Iterator[tuple[int, Sequence[tuple[bytes, Run | _Single]]]]:
        for start in range(0, len(self.spans), _SPANS):
            spans = self.spans[start : start + _SPANS]
            last = spans[-1][1]
            yield last.position if isinstance(last, Run) else last.previous + 1, spans

    def crc32(self, before: int) -> int:
        """The CRC-32 of the answer's text with them, from that before."""
        return zlib.crc32(self.said, 0 if self.retracted else before)

    def records(self, epoch: int) -> tuple[Record, ...]:
        """What observers are told of them."""
        if self.only is not None:
            return (Record(epoch, self.last - 1, self.last, self.only),)
        return tuple(_records(self.spans, epoch))


def batch(pieces: Sequence[Piece], previous: int) -> Batch:
    """Make a batch of pieces that follow `previous`."""
    if len(pieces) == 1 and isinstance(piece := pieces[0], Text):  # as almost all are
        run = Run(previous, piece.n, piece.text)
        return Batch(previous + 1, ((b"t", run),), piece.text.encode(), piece.n, None, piece)
    last_retract = max((at for at, piece in enumerate(pieces) if isinstance(piece, Retract)), default=-1)
    # What is retracted in the batch that said it is not even stored.
    told = [
        (previous + at, piece)
        for at, piece in enumerate(pieces)
        if at >= last_retract or not isinstance(piece, Text | Retract)
    ]
    answer = [piece for _, piece in told if isinstance(piece, Text | Retract)]
    return Batch(
        last=previous + len(pieces),
        spans=tuple(_spans(told)),
        said="".join(piece.text for piece in answer).encode(),
        n=answer[-1].n if answer else None,
        retracted=previous + last_retract + 1 if last_retract >= 0 else None,
    )


def _spans(told: Sequence[tuple[int, Piece]]) -> Iterator[tuple[bytes, Run | _Single]]:
    run: list[Text | Reasoning] = []
    for at, (previous, piece) in enumerate(told):
        if not isinstance(piece, Text | Reasoning):
            yield _SINGLES[type(piece)], _Single(previous, piece)
            continue
        run.append(piece)
        following = told[at + 1] if at + 1 < len(told) else None
        if following is None or type(following[1]) is not type(piece) or following[0] != previous + 1:
            yield _RUNS[type(piece)], _run(run, previous + 1)
            run = []


def _run(pieces: Sequence[Text | Reasoning], last: int) -> Run:
    if len(pieces) == 1:
        return Run(last - 1, pieces[0].n, pieces[0].text)
    lengths = [len(piece.text) for piece in pieces]
    return Run(last - len(pieces), pieces[-1].n, "".join(piece.text for piece in pieces), lengths)


def started_fields(started: Started) -> Fields:
    """Encode the first event."""
    return [_SINGLES[Started], _encode(_Single(0, started))]


def end_value(end: End) -> bytes:
    """Encode the terminal event."""
    return _encode(end)


def stamped(value: bytes, n: int, crc32: int) -> End:
    """Decode the terminal event, with the proof of the answer."""
    return msgspec.structs.replace(_decode_end(value), n=n, crc32=crc32, ai_generated=True)


def packed(given: object) -> bytes:
    """Make one argument of many, for a script."""
    return _encode(given)


def _raw(value: bytes) -> Raw:
    """Let bytes pass for a string, which is what Redis's MessagePack knows."""
    size = len(value)
    for kind, width in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if size < 1 << 8 * width:
            return Raw(bytes((kind, *size.to_bytes(width))) + value)
    raise ValueError(size)


def records_of(entries: Entries, epoch: int, after: int, end: Record | None) -> tuple[Record, ...]:
    """Decode entries into the records after the position `after`."""
    records = tuple(_records(_decoded(entries, after), epoch))
    return (*records, end) if end is not None and end.position > after else records


def _decoded(entries: Entries, after: int) -> Iterator[tuple[bytes, Run | _Single]]:
    names, values = entries
    at = 0
    for name in names.split():
        field, end = name[:1], at + int(name[1:])
        value, at = values[at:end], end
        if field in _KINDS:
            run = _decode_run(value)
            if run.position > after:
                yield field, run.after(after)
        elif field != b"e":
            single = _decode_single(value)
            if single.previous >= after:
                yield field, single


def _records(spans: Iterable[tuple[bytes, Run | _Single]], epoch: int) -> Iterator[Record]:
    """Join neighbouring runs, cut those that are too long, and make records of them all."""
    held: tuple[bytes, Run] | None = None
    for field, span in spans:
        if held is not None and isinstance(span, Run) and field == held[0] and held[1].joins(span):
            held = field, held[1].joined(span)
            continue
        if held is not None:
            yield _record(*held, epoch)
            held = None
        if isinstance(span, Run):
            *whole, last = span.parts()
            yield from (_record(field, part, epoch) for part in whole)
            held = field, last
        else:
            yield Record(epoch, span.previous, span.previous + 1, span.event)
    if held is not None:
        yield _record(*held, epoch)


def _record(field: bytes, run: Run, epoch: int) -> Record:
    event: Event = _KINDS[field](run.text, run.n)
    return Record(epoch, run.previous, run.position, event)
