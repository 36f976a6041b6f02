"""What a reader holds of an answer, proved before it is handed on.

Laws: an event is taken only when its `n` agrees with what is held, and a terminal one only when its `crc32` does
(that of a lost log has none); what is not taken changes nothing. A reader that came in the middle holds a tail: how long the part before it is follows from
the first `n`, and its checksum cannot be told, so its end is proved by the whole (`agrees`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dazi import events
from dazi.client.wire import Damaged, Standing
from dazi.events import Aborted, Done, End, Event, Failed, Reasoning, Retract, Snapshot, Text, crc32, utf16_length


@dataclass(frozen=True, slots=True)
class Told:
    """Result: an event, taken. `piece` is what it adds to the text; `replaced`, if not "", why it does not add but replace."""

    event: Event | Snapshot
    piece: str = ""
    replaced: str = ""


class Held:
    """The answer so far.

    Args:
        is_whole: whether it is held from its beginning.

    Attributes: `answer` (the fold of what was taken; its text is a tail if the beginning is not held).
    """

    def __init__(self, *, is_whole: bool) -> None:
        self.answer = events.Answer()
        self._text = _Span(is_whole=is_whole)
        self._reasoning = _Span(is_whole=is_whole)

    def take(self, event: Event | Snapshot, *, cause: str = "") -> Told:
        """Prove an event and take it. `cause` is why a snapshot came. Raises `Damaged`."""
        told = Told(event)
        match event:
            case Text():
                self._text.extend(event.text, event.n)
                told = Told(event, event.text)
            case Reasoning():
                self._reasoning.extend(event.text, event.n)
            case Retract():
                told = self._replace(event, f"it was withdrawn ({event.reason})")
            case Snapshot():
                told = self._replace(event, cause)
                self._reasoning.restart(utf16_length(event.reasoning))
            case Done() | Failed() | Aborted():
                self._prove(event)
        self.answer.fold(event)
        return told

    @property
    def is_whole(self) -> bool:
        """Whether the answer is held from its beginning."""
        return self._text.start == 0

    def agrees(self, standing: Standing, *, is_tail: bool) -> bool:
        """Whether what is held is all that stands; of a tail nothing of which is held, `is_tail` tells that it is none."""
        if self.is_whole:
            return (self.answer.text, self.answer.reasoning) == (standing.text, standing.reasoning)
        if self._text.start is None:
            return is_tail and standing.status != "running"
        return self.answer.text == _behind(standing.text, self._text.start)

    def settle(self, end: End) -> Told:
        """Take a terminal event that was proved by the whole."""
        self.answer.fold(end)
        return Told(end)

    def _replace(self, event: Retract | Snapshot, cause: str) -> Told:
        if utf16_length(event.text) != event.n:
            raise Damaged
        told = Told(event, event.text, cause)
        start = self._text.start
        if start is not None and (said := _behind(event.text, start)).startswith(self.answer.text):
            told = Told(event, said[len(self.answer.text) :])
        self._text.restart(event.n)
        return told

    def _prove(self, end: End) -> None:
        if isinstance(end, Failed) and end.code == "store_lost" and (end.n, end.crc32) == (-1, -1):
            return  # the log is gone, and its proof with it
        if (self._text.end, crc32(self.answer.text)) != (end.n, end.crc32):
            raise Damaged


class _Span:
    """Which UTF-16 units of a text are held: from `start` (None until the first `n` tells) to `end`."""

    __slots__ = ("end", "start")

    def __init__(self, *, is_whole: bool) -> None:
        self.start: int | None = 0 if is_whole else None
        self.end = 0

    def extend(self, piece: str, n: int) -> None:
        length = utf16_length(piece)
        if n < length or (self.start is not None and self.end + length != n):
            raise Damaged
        if self.start is None:
            self.start = n - length
        self.end = n

    def restart(self, n: int) -> None:
        self.start, self.end = 0, n


def _behind(text: str, start: int) -> str:
    """Return what follows the first `start` UTF-16 units."""
    return text.encode("utf-16-le")[2 * start :].decode("utf-16-le", "replace")
