"""The one writer of a running generation's log: what upstreams push into.

Laws: stored text is valid Unicode (a surrogate pair split over two pieces is joined, an unpaired half becomes U+FFFD);
`n` counts UTF-16 units; nothing is stored beyond the limit of a generation. A piece is stored, and shown to every
reader that keeps up, before the call returns: there is no task on the way of a token.
"""

from __future__ import annotations

import time

from dazi.events import Joiner, Piece, Queued, Reasoning, Retract, Text, ToolCall, utf16_length
from dazi.log import AppendsNow
from dazi.service.budget import Share

# Characters that half a character counts while it is kept for a tool call: what keeps it weighs about as much, and a server could
# begin calls without end.
_HALF = 64


def valid(text: str) -> str:
    """Return the text as valid Unicode: surrogate pairs are joined, and what is left of them is U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Writer:
    """A `Sink` that writes to a log.

    Args:
        log: where to.
        generation: whose log.
        epoch: the lease this writer holds.
        share: how many characters of text, reasoning and tool arguments together it may say.
    """

    __slots__ = (
        "_append",
        "_arguments",
        "_epoch",
        "_first",
        "_generation",
        "_granted",
        "_n",
        "_places",
        "_position",
        "_reasoning",
        "_reasoning_n",
        "_room",
        "_share",
        "_text",
    )

    def __init__(self, log: AppendsNow, generation: str, epoch: int, *, share: Share) -> None:
        self._append = log.append_nowait
        self._generation = generation
        self._epoch = epoch
        self._share = share
        # Characters that may be said before another block of the share is needed.
        self._room = 0
        self._position = 1
        # How often the place in the line was told: no piece of the answer.
        self._places = 0
        # Characters said, at most: all of a block count when it is begun.
        self._granted = 0
        # When the first of them was, in monotonic seconds.
        self._first: float | None = None
        self._n = 0
        self._reasoning_n = 0
        self._text = Joiner()
        self._reasoning = Joiner()
        self._arguments: dict[int, Joiner] = {}

    @property
    def position(self) -> int:
        """The last position written."""
        return self._position

    @property
    def pieces(self) -> int:
        """How many pieces of the answer were said."""
        return self._position - 1 - self._places

    @property
    def characters(self) -> int:
        """How many characters were said, in text, reasoning and tool arguments."""
        return self._granted - max(self._room, 0)

    @property
    def first(self) -> float | None:
        """When the first character was said, in monotonic seconds; None before."""
        return self._first

    @property
    def n(self) -> int:
        """The length of the answer so far, in UTF-16 units."""
        return self._n

    def text(self, piece: str) -> None:
        """Append a piece of the answer."""
        whole, length = self._text.measure(piece)
        if whole:
            self._n += length
            self._store(Text(whole, self._n), len(whole))

    def reasoning(self, piece: str) -> None:
        """Append a piece of the reasoning."""
        whole, length = self._reasoning.measure(piece)
        if whole:
            self._reasoning_n += length
            self._store(Reasoning(whole, self._reasoning_n), len(whole))

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        """Append a piece of a tool call."""
        whole = self._whole_arguments(index, arguments) if arguments else ""
        if whole or call_id or name:
            piece = ToolCall(index, call_id=call_id and valid(call_id), name=name and valid(name), arguments=whole)
            self._store(piece, len(whole) + max(1, len(call_id or "") + len(name or "")))

    def queued(self, place: int) -> None:
        """Tell the place in the line."""
        self._places += 1
        self._store(Queued(place), 0)

    def retract(self, text: str, *, reason: str) -> None:
        """Put another text in the place of the whole answer so far."""
        self._text.flush()  # half a character of what is withdrawn
        whole = self._text.join(text) + self._text.flush() if text else ""
        self._n = utf16_length(whole)
        self._store(Retract(whole, self._n, reason), len(whole) + 1)

    def flush(self) -> None:
        """Store what was held back for its other half, which will not come.

        Raises if the answer was too long, whether or not its upstream took notice: a cut answer never looks finished.
        """
        self._check_room()
        if rest := self._text.flush():
            self.text(rest)
        if rest := self._reasoning.flush():
            self.reasoning(rest)
        for index, joiner in tuple(self._arguments.items()):
            if rest := joiner.flush():
                self.tool_call(index, arguments=rest)

    def _whole_arguments(self, index: int, piece: str) -> str:
        joiner = self._arguments.pop(index, None) or Joiner()
        whole = joiner.join(piece)
        if joiner.holds:
            self._room -= _HALF
            self._check_room()
            self._arguments[index] = joiner
        return whole

    def _store(self, piece: Piece, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._check_room()
        self._append(self._generation, piece, previous=self._position, epoch=self._epoch)
        self._position += 1

    def _check_room(self) -> None:
        if self._first is None and self._room < 0:  # without a block there was nothing to say it in
            self._first = time.monotonic()
        while self._room < 0:
            block = self._share.grow(self.pieces)
            self._granted += block
            self._room += block
