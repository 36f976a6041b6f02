"""The first-chunk gate: what one upstream says on its way to the answer, while another could still take its place.

Laws:

- blank text and half characters are held until there is something to see, so an upstream that breaks off before that leaves
  nothing behind;
- after the first visible piece the gate is gone: its methods are the sink's own, and a token costs nothing more;
- where answers may be continued it stays, and keeps what was said, to the character: half of a surrogate pair at the end is
  not given on until the other half comes, so the next upstream can say it whole;
- an upstream whose turn is over can say nothing more (`shut`).
"""

from __future__ import annotations

from collections.abc import Callable

from dazi.errors import Closed
from dazi.upstream import Retracts, Sink
from dazi.upstream.response import fault
from dazi.upstream.seam import Seam

# Characters of blank text that are held: who says more than that has begun.
_MAX_BLANK = 1000


class Said:
    """What has been said of one answer, by all upstreams together.

    Attributes: `has_text`, `has_reasoning` and `has_calls` tell what the reader has seen; `text` is it, where `keeps`.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.has_text = False
        self.has_reasoning = False
        self.has_calls = False
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far, valid Unicode as the log holds it."""
        return joined("".join(self._pieces))

    @property
    def pieces(self) -> int:
        """How many pieces of it were kept."""
        return len(self._pieces)

    @property
    def is_nothing(self) -> bool:
        """Whether no reader has seen anything yet."""
        return not (self.has_text or self.has_reasoning or self.has_calls)

    def add(self, piece: str) -> None:
        """Keep a piece that is given on."""
        self._pieces.append(piece)

    def replace(self, text: str) -> None:
        """Keep another text instead of all so far."""
        self._pieces = [text]


class Gate:
    """The sink of one upstream's turn.

    Args:
        sink: where the answer goes.
        said: what was said before, and what is said now.
        begun: called at the first piece of any kind.
    """

    def __init__(self, sink: Sink, said: Said, begun: Callable[[], None]) -> None:
        self._sink = sink
        self._said = said
        self._begun = begun
        # Blank text, half a character, or both: not to be seen alone.
        self._held = ""
        self._seam = Seam(said.text) if said.has_text else None
        # The way of text once there was some.
        self._open: Callable[[str], None] | None = None
        # Another has thought before this one: what this one thinks is a paragraph of its own.
        self._needs_break = said.has_reasoning

    def text(self, piece: str) -> None:
        """Take text while nothing of it was given on."""
        self._begin()
        if self._open is not None:  # by somebody who looked this method up before the gate was gone
            self._open(piece)
            return
        if self._seam is not None:
            # Compared as whole characters: what was said is, and another may cut it elsewhere.
            whole, self._held = _half_cut(self._held + piece)
            self._pass_on(self._seam.feed(joined(whole)))
            if self._seam.is_closed:
                self.text = self._open = self._give  # type: ignore[method-assign]  # as below
            return
        held = self._held + piece
        if len(held) < _MAX_BLANK and not _half_cut(held)[0].strip():
            self._held = held
            return
        self._held = ""
        self._said.has_text = True
        # From here on a piece goes the sink's own way; the types are the same, the binding is not.
        self._open = self._give if self._said.keeps else self._sink.text
        self.text = self._open  # type: ignore[method-assign]
        self._open(held)

    def reasoning(self, piece: str) -> None:
        """Take what it thinks; not in the middle of an answer, where it thinks about how to go on."""
        self._begin()
        if self._seam is not None or not piece:
            return
        self._said.has_reasoning = True
        self.reasoning = self._sink.reasoning  # type: ignore[method-assign]  # as above
        self.reasoning(f"\n\n{piece}" if self._needs_break else piece)

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        """Take a piece of a tool call."""
        self._begin()
        self._said.has_calls = True
        self._sink.tool_call(index, call_id=call_id, name=name, arguments=arguments)

    def retract(self, text: str, *, reason: str) -> None:
        """Put another text in the place of the whole answer so far."""
        self._begin()
        if not isinstance(self._sink, Retracts):
            raise fault("upstream_error", "The model's server took back what it had said.")
        self._held, self._seam = "", None
        self._open = self._give if self._said.keeps else self._sink.text
        self._said.has_text = True
        self._said.replace(text)
        self._sink.retract(text, reason=reason)

    def finish(self) -> None:
        """Give on what was held: nothing more comes, and the upstream says that this is all."""
        rest = self._held if self._seam is None else self._seam.flush() + self._held
        self._held = ""
        if rest:
            self._said.has_text = True
            self._sink.text(rest)

    def shut(self) -> None:
        """Let nothing more through."""
        self._open = _refuse
        self.text = self.reasoning = self.tool_call = self.retract = _refuse  # type: ignore[method-assign]

    def _begin(self) -> None:
        begun, self._begun = self._begun, _nothing
        begun()

    def _give(self, piece: str) -> None:
        """Give text on and keep it, whole characters only."""
        whole, self._held = (piece, "") if piece.isascii() and not self._held else _half_cut(self._held + piece)
        self._pass_on(whole)

    def _pass_on(self, text: str) -> None:
        if text:
            self._said.add(text)
            self._sink.text(text)


def joined(text: str) -> str:
    """Join the halves of surrogate pairs; a half alone becomes U+FFFD, as in the log."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _half_cut(text: str) -> tuple[str, str]:
    """Cut a high surrogate off the end: half a character, whose other half may come."""
    return (text[:-1], text[-1]) if text and "\ud800" <= text[-1] <= "\udbff" else (text, "")


def _refuse(*_: object, **__: object) -> None:
    raise Closed("whose upstream's turn is over")


def _nothing() -> None:
    pass
