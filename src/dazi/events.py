"""What a generation's log holds, and how it folds into an answer.

Laws: an event is immutable; the terminal ones (`done`, `failed`, `aborted`) end a log and carry the proof of the
answer: `n`, its length in UTF-16 units, and `crc32` (zlib's, of its UTF-8, without reasoning). Folding every event of
a log, or a snapshot and the events after it, gives the same answer.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

from msgspec import Struct, field

_HIGH_SURROGATES = ("\ud800", "\udbff")


def utf16_length(text: str) -> int:
    """Return the length of `text` in UTF-16 units, as JavaScript (and so every mini program) counts `text.length`."""
    # Encoding beats counting: one call in C, for a piece of any script.
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def crc32(text: str) -> int:
    """Return zlib's CRC-32 of the UTF-8 of `text`, as an unsigned number."""
    return zlib.crc32(text.encode())


class Joiner:
    """Makes valid Unicode of the pieces of one string, whose surrogate pairs may be split over two pieces."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        # A high surrogate that ended a piece, until its other half comes with the next one.
        self._held = ""

    def join(self, piece: str) -> str:
        """Take the next piece; returns what is whole with it."""
        if piece.isascii() and not self._held:
            return piece
        return self._repair(self._held + piece)

    def measure(self, piece: str) -> tuple[str, int]:
        """As `join`; returns also how long that is, in UTF-16 units."""
        whole = self.join(piece) if self._held else piece
        try:
            # Nearly every piece is whole by itself, and to measure it tells so.
            return whole, utf16_length(whole)
        except UnicodeEncodeError:
            whole = self.join(piece)
            return whole, utf16_length(whole)

    @property
    def holds(self) -> bool:
        """Whether the other half of a character is to come."""
        return bool(self._held)

    def flush(self) -> str:
        """Return what is left when nothing more comes: a half alone is U+FFFD."""
        held, self._held = self._held, ""
        return "\ufffd" if held else ""

    def _repair(self, piece: str) -> str:
        first, last = _HIGH_SURROGATES
        self._held = piece[-1] if first <= piece[-1] <= last else ""
        if self._held:
            piece = piece[:-1]
        try:
            piece.encode()
        except UnicodeEncodeError:
            return piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return piece


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens as the upstream counted them."""

    # Told also when zero: msgspec leaves out a default, but not what a factory makes.
    prompt_tokens: int = field(default_factory=int)
    completion_tokens: int = field(default_factory=int)
    total_tokens: int = field(default_factory=int)
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


class _Event(Struct, frozen=True, tag_field="type", omit_defaults=True, gc=False):
    """One entry of a log, or of the wire."""

    ends: ClassVar[bool] = False


class Started(_Event, frozen=True, tag="started"):
    """The first event of every log, at position 1. `created` is in Unix seconds."""

    generation: str
    model: str
    created: int


class Text(_Event, frozen=True, tag="text"):
    """The next piece of the answer; `n` is the answer's length with it, in UTF-16 units (stamped by the gateway)."""

    text: str
    n: int = 0


class Reasoning(_Event, frozen=True, tag="reasoning"):
    """The next piece of what a thinking model thinks aloud; `n` counts the reasoning so far."""

    text: str
    n: int = 0


class ToolCall(_Event, frozen=True, tag="tool_call"):
    """A piece of the `index`-th tool call: `call_id` and `name` come once, `arguments` piece by piece."""

    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""


class Queued(_Event, frozen=True, tag="queued"):
    """The answer waits for its turn, as the `place`-th; with 0 its turn has come."""

    # Nothing of the answer.
    text: ClassVar[str] = ""

    place: int


class Retract(_Event, frozen=True, tag="retract"):
    """Everything said so far is withdrawn; `text` stands in its place. What was withdrawn is never served again."""

    text: str
    n: int
    reason: str


class Snapshot(_Event, frozen=True, tag="snapshot"):
    """All so far, folded. On the wire only: a log never holds one."""

    text: str
    n: int
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class Reconnect(_Event, frozen=True, tag="reconnect"):
    """Please attach again, where you are. On the wire only, without an id."""


class Problem(_Event, frozen=True, tag="error"):
    """An error before the start, told inside a 200 because the client asked for `inband=1`. On the wire only."""

    code: str
    message: str
    remedy: str
    status: int
    retryable: bool
    param: str | None = None
    retry_after: int | None = None


class Done(_Event, frozen=True, tag="done"):
    """The model finished. `n` and `crc32` are stamped by the log that stores it."""

    ends: ClassVar[bool] = True

    finish_reason: str
    usage: Usage | None = None
    n: int = -1
    crc32: int = -1
    ai_generated: bool | None = None


class Failed(_Event, frozen=True, tag="failed"):
    """The generation broke; the text so far stands. `retryable`: asking again may help."""

    ends: ClassVar[bool] = True

    code: str
    message: str
    retryable: bool
    usage: Usage | None = None
    n: int = -1
    crc32: int = -1
    ai_generated: bool | None = None


class Aborted(_Event, frozen=True, tag="aborted"):
    """Somebody stopped it; the text so far stands."""

    ends: ClassVar[bool] = True

    usage: Usage | None = None
    n: int = -1
    crc32: int = -1
    ai_generated: bool | None = None


Piece = Text | Reasoning | ToolCall | Retract | Queued
End = Done | Failed | Aborted
Event = Started | Piece | End


def status_of(end: End | None) -> str:
    """Tell how a generation stands: `running`, or the type of its terminal event."""
    return "running" if end is None else str(end.__struct_config__.tag)


class Answer:
    """The fold of a log: what has been said, and how it stands.

    Attributes: `started` and `end` are the first and the terminal event, or None; `n` is the length of `text` in
    UTF-16 units; `place` is how far the answer is from its turn, 0 once it has come.
    """

    __slots__ = ("_reasoning", "_text", "_tools", "end", "n", "place", "started")

    def __init__(self) -> None:
        self.started: Started | None = None
        self.end: End | None = None
        self.n = 0
        self.place = 0
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, ToolCall] = {}

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far, each folded into one, by index."""
        return tuple(self._tools[index] for index in sorted(self._tools))

    def fold(self, event: Event | Snapshot) -> None:
        """Take in the next event."""
        match event:
            case Text():
                self._text.append(event.text)
                self.n = event.n
            case Reasoning():
                self._reasoning.append(event.text)
            case ToolCall():
                self._fold_tool_call(event)
            case Retract():
                self._text = [event.text]
                self.n = event.n
            case Snapshot():
                self._replace(event)
            case Started():
                self.started = event
            case Queued():
                self.place = event.place
            case _:
                self.end = event

    def _replace(self, snapshot: Snapshot) -> None:
        self._text, self.n = [snapshot.text], snapshot.n
        self._reasoning = [snapshot.reasoning]
        self._tools = {call.index: call for call in snapshot.tool_calls}

    def _fold_tool_call(self, piece: ToolCall) -> None:
        known = self._tools.get(piece.index, ToolCall(piece.index))
        self._tools[piece.index] = ToolCall(
            piece.index,
            call_id=piece.call_id or known.call_id,
            name=piece.name or known.name,
            arguments=known.arguments + piece.arguments,
        )

    def snapshot(self) -> Snapshot:
        """All so far as one event."""
        return Snapshot(text=self.text, n=self.n, reasoning=self.reasoning, tool_calls=self.tool_calls)
