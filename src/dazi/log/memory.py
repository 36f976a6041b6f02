"""Logs in this process's memory: nothing to install, and gone with the process.

Laws: those of `dazi.log`. Text is kept as runs (one growing string and the offset of each position in it), not as an
object a token, so a long answer costs about its own length. What has ended is forgotten after `ttl`, or earlier,
oldest first, when all logs together exceed `max_bytes`; what still runs is never forgotten, so when only that is left
a new log is refused.
"""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from dazi.errors import Closed, OutOfOrder, Unavailable, Unknown
from dazi.events import Aborted, End, Event, Piece, Reasoning, Retract, Text, ToolCall, crc32, status_of, utf16_length
from dazi.log import START, Cursor, Draft, Observer, Opened, Page, Record, Summary, show

# Bytes that all logs of a process may take together.
MEMORY = 512 * 1024 * 1024
# One process holds its logs from birth to death, so no other writer can ever take over.
_EPOCH = 1
# Characters that a read puts into one record. A reader whose line breaks after a kilobyte or two each time must still get
# on (what it has of an unfinished frame does not count), and a Chinese character takes six bytes of ASCII JSON.
_COALESCE = 256
# What a log weighs without its text: the object, its first span, its index entries.
_BYTES_PER_LOG = 2048
# What an event that is no text weighs without its arguments: three objects and a place in a list.
_BYTES_PER_EVENT = 200
# The events that are kept as runs.
_RUNS = (Text, Reasoning)
# Pieces that wait to be joined with those before them. Loose ones cost an object each, joining each at once its square.
_LOOSE_PIECES = 256


class _Run:
    """Neighbouring pieces of text (or of reasoning): one string, and where in it each position ends.

    Adding is on the way of every token, so that only keeps the piece; pieces are measured when somebody reads, and joined.
    """

    __slots__ = ("_ends", "_joined", "_length", "_measured", "_parts", "first", "kind", "n")

    def __init__(self, first: int, piece: Text | Reasoning) -> None:
        self.first = first
        self.kind = type(piece)
        self.n = piece.n
        # The text: first `_joined` strings of many pieces each, then the pieces since.
        self._parts = [piece.text]
        self._joined = 0
        # Where each position ends, and the length with the last of them, of those that are in the first `_measured` parts.
        self._ends = array("I")
        self._length = 0
        self._measured = 0

    @property
    def last(self) -> int:
        return self.first + len(self._ends) + len(self._parts) - self._measured - 1

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, piece: Text | Reasoning) -> None:
        self._parts.append(piece.text)
        self.n = piece.n
        if len(self._parts) - self._joined > _LOOSE_PIECES:
            self._join()

    def after(self, position: int) -> Iterator[Record]:
        """Everything of this run that follows `position`, in records of about `_COALESCE` characters."""
        self._measure()
        previous = max(position, self.first - 1)
        start = self._ends[previous - self.first] if previous >= self.first else 0
        tail, begin = self._tail(start), start
        n = self.n - utf16_length(tail)
        while previous < self.last:
            last = max(previous + 1, bisect_right(self._ends, start + _COALESCE) + self.first - 1)
            end = self._ends[last - self.first]
            piece = tail[start - begin : end - begin]
            n += utf16_length(piece)
            yield Record(_EPOCH, previous, last, self.kind(piece, n))
            previous, start = last, end

    def _measure(self) -> None:
        for part in self._parts[self._measured :]:
            self._length += len(part)
            self._ends.append(self._length)
        self._measured = len(self._parts)

    def _join(self) -> None:
        self._measure()
        self._parts[self._joined :] = ["".join(self._parts[self._joined :])]
        self._joined += 1
        self._measured = self._joined

    def _tail(self, start: int) -> str:
        """The text from a character on; a reader close behind does not pay for all that it has."""
        missing = self._length - start
        pieces: list[str] = []
        for part in reversed(self._parts):
            if missing <= 0:
                break
            pieces.append(part[-missing:])
            missing -= len(part)
        return "".join(reversed(pieces))


class _Single:
    """Any other event, at its position."""

    __slots__ = ("event", "first")

    kind = None

    def __init__(self, first: int, event: Event) -> None:
        self.first = first
        self.event = event

    @property
    def last(self) -> int:
        return self.first

    def after(self, _position: int) -> Iterator[Record]:
        yield Record(_EPOCH, self.first - 1, self.first, self.event)


class _Generation:
    """One log."""

    __slots__ = ("draft", "end", "end_observers", "ended_at", "observers", "position", "retracted_at", "size", "spans")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.spans: list[_Run | _Single] = [_Single(1, draft.started)]
        self.position = 1
        self.size = _BYTES_PER_LOG
        # The terminal event and the monotonic seconds at which it was stored, once it is.
        self.end: End | None = None
        self.ended_at = 0.0
        # Position of the last retraction: a cursor before it has seen what must not be continued.
        self.retracted_at = 0
        # A tuple, replaced on change: it is walked for every token, while observers come and go.
        self.observers: tuple[Observer, ...] = ()
        # Those of the terminal event alone.
        self.end_observers: tuple[Observer, ...] = ()

    def store(self, event: Event) -> Record:
        """Store an event and show it."""
        previous, self.position = self.position, self.position + 1
        last = self.spans[-1]
        if last.kind is event.__class__:
            last.add(event)
        else:
            self._open_span(event)
        record = Record(_EPOCH, previous, self.position, event)
        show(record, self.observers)
        return record

    def _open_span(self, event: Event) -> None:
        if isinstance(event, Retract):
            self.retracted_at = self.position
            self.spans = [span for span in self.spans if not _tells_text(span)]
        run = isinstance(event, Text | Reasoning)
        self.spans.append(_Run(self.position, event) if run else _Single(self.position, event))  # type: ignore[arg-type]

    def after(self, position: int) -> Iterator[Record]:
        index = bisect_right(self.spans, position, key=lambda span: span.last)
        for span in self.spans[index:]:
            yield from span.after(position)

    def text(self) -> str:
        return "".join(_text_of(span) for span in self.spans)

    def stamp(self, end: End) -> End:
        text = self.text()
        n = next((_n_of(span) for span in reversed(self.spans) if _tells_text(span)), 0)
        return msgspec.structs.replace(end, n=n, crc32=crc32(text), ai_generated=True)


def _tells_text(span: _Run | _Single) -> bool:
    return span.kind is Text or (isinstance(span, _Single) and isinstance(span.event, Retract))


def _text_of(span: _Run | _Single) -> str:
    if isinstance(span, _Run):
        return span.text if span.kind is Text else ""
    return span.event.text if isinstance(span.event, Retract) else ""


def _n_of(span: _Run | _Single) -> int:
    return span.n if isinstance(span, _Run) else span.event.n  # type: ignore[union-attr]  # only a retraction gets here


class MemoryLog:
    """A `Log` in memory, with `AppendsNow` and `Shelf`.

    Args:
        ttl: seconds that a log is kept after its end.
        max_bytes: roughly, what all logs together may take; the oldest ended ones go first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        ttl: float = 86_400,
        max_bytes: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._logs: dict[str, _Generation] = {}
        self._keys: dict[tuple[str, str], str] = {}
        # Ended logs, oldest end first: the order in which they are forgotten.
        self._ended: OrderedDict[str, None] = OrderedDict()
        # When the first of them is to be forgotten, by the clock.
        self._next_expiry = math.inf

    async def create(self, draft: Draft) -> Opened:
        """Store `started` at position 1, or find the log that (owner, key) already stands for."""
        self._forget_expired()
        if draft.key is not None and (draft.owner, draft.key) in self._keys:
            return await self.find(draft.owner, draft.key)
        self._make_room()
        generation = draft.started.generation
        self._logs[generation] = log = _Generation(draft)
        self._bytes += log.size
        if draft.key is not None:
            self._keys[draft.owner, draft.key] = generation
        return Opened(generation, _EPOCH, created=True, fingerprint=draft.fingerprint)

    async def find(self, owner: str, key: str) -> Opened:
        """Find the log that (owner, key) stands for. Raises `Unknown`."""
        self._forget_expired()
        generation = self._keys.get((owner, key))
        if generation is None:
            raise Unknown(key)
        return Opened(generation, _EPOCH, created=False, fingerprint=self._logs[generation].draft.fingerprint)

    def knows(self, generation: str) -> bool:
        """Whether this log is here."""
        return generation in self._logs

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        """Store pieces after `previous`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        self._check(generation, previous, epoch)
        for offset, piece in enumerate(pieces):
            self.append_nowait(generation, piece, previous=previous + offset, epoch=epoch)

    def append_nowait(self, generation: str, piece: Piece, *, previous: int, epoch: int) -> None:
        """As `append`, for one piece, at once."""
        log = self._logs.get(generation)
        if log is None or log.end is not None or previous != log.position or epoch != _EPOCH:
            log = self._check(generation, previous, epoch)  # which says what is wrong
        size = _weight_of(piece)
        log.size += size
        self._bytes += size
        log.store(piece)

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        """Store the terminal event, stamped with `n` and `crc32`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        log = self._find(generation)
        epoch, position = after or (_EPOCH, log.position)
        self._check(generation, position, epoch)
        log.end, log.ended_at = log.stamp(end), self._clock()
        self._ended[generation] = None
        self._next_expiry = min(self._next_expiry, log.ended_at + self._ttl)
        record = log.store(log.end)
        show(record, log.end_observers)
        return record

    async def read(self, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `Unknown`."""
        self._forget_expired()
        log = self._find(generation)
        matched = _matches(log, after)
        return Page(
            owner=log.draft.owner,
            head=Cursor(_EPOCH, log.position),
            end=log.end,
            matched=matched,
            records=tuple(log.after(after.position if matched else 0)),
        )

    async def owner(self, generation: str) -> str:
        """Tell whose it is. Raises `Unknown`."""
        self._forget_expired()
        return self._find(generation).draft.owner

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each record stored from now on; returns what ends that. Raises `Unknown`."""
        log = self._find(generation)
        log.observers = (*log.observers, observer)

        def stop() -> None:
            log.observers = tuple(other for other in log.observers if other is not observer)

        return stop

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with the terminal record, once it is stored; returns what ends that. Raises `Unknown`."""
        log = self._find(generation)
        log.end_observers = (*log.end_observers, observer)

        def stop() -> None:
            log.end_observers = tuple(other for other in log.end_observers if other is not observer)

        return stop

    async def list(self, *, owner: str | None = None, limit: int = 100) -> tuple[Summary, ...]:
        """List the newest logs, of one owner or of all."""
        self._forget_expired()
        wanted = (log for log in reversed(self._logs.values()) if owner in {None, log.draft.owner})
        return tuple(_summary(log) for log in islice(wanted, limit))

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner; what runs is ended first. Returns how many logs that were."""
        theirs = [generation for generation, log in self._logs.items() if log.draft.owner == owner]
        for generation in theirs:
            if self._logs[generation].end is None:
                await self.end(generation, Aborted())
            del self._ended[generation]
            self._forget(generation)
        self._await_expiry()
        return len(theirs)

    def _find(self, generation: str) -> _Generation:
        try:
            return self._logs[generation]
        except KeyError:
            raise Unknown(generation) from None

    def _check(self, generation: str, previous: int, epoch: int) -> _Generation:
        log = self._find(generation)
        if log.end is not None:
            raise Closed(generation)
        if previous != log.position or epoch != _EPOCH:
            raise OutOfOrder(generation, expected=f"{_EPOCH}-{log.position}", got=f"{epoch}-{previous}")
        return log

    def _forget_expired(self) -> None:
        # Asked for by every read: what is expired is looked for where something can be.
        now = self._clock()
        while now >= self._next_expiry:
            self._forget_oldest()

    def _make_room(self) -> None:
        while self._bytes >= self._max_bytes and self._ended:
            self._forget_oldest()
        if self._bytes >= self._max_bytes:
            raise Unavailable(
                f"The memory log is full: {self._bytes} bytes of running generations, limit {self._max_bytes}.",
                remedy="Try again when some have ended.",
                code="log_full",
                retry_after=5,
            )

    def _forget_oldest(self) -> None:
        generation, _ = self._ended.popitem(last=False)
        self._forget(generation)
        self._await_expiry()

    def _await_expiry(self) -> None:
        """See when the oldest is due, after one has gone."""
        oldest = next(iter(self._ended), None)
        self._next_expiry = math.inf if oldest is None else self._logs[oldest].ended_at + self._ttl

    def _forget(self, generation: str) -> None:
        log = self._logs.pop(generation)
        self._bytes -= log.size
        if log.draft.key is not None:
            del self._keys[log.draft.owner, log.draft.key]


def _summary(log: _Generation) -> Summary:
    started = log.draft.started
    status = status_of(log.end)
    return Summary(started.generation, log.draft.owner, started.model, started.created, status, log.position)


def _weight_of(piece: Piece) -> int:
    text = piece.arguments if piece.__class__ is ToolCall else piece.text  # type: ignore[union-attr]  # mypy knows isinstance only
    size = len(text) if text.isascii() else 2 * len(text)
    return size + (4 if piece.__class__ in _RUNS else _BYTES_PER_EVENT)


def _matches(log: _Generation, after: Cursor) -> bool:
    if after == START:
        return not log.retracted_at
    return after.epoch == _EPOCH and max(log.retracted_at, 1) <= after.position <= log.position
