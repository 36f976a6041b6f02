"""Turns "the text is now this" into "this comes next", for upstreams that replace.

Laws: what only grew is appended; a true change of earlier text is a retraction, or, where the sink takes none, the end
(`upstream_error`): a reader is never left with text that its upstream took back.
"""

from __future__ import annotations

from dazi.upstream import Retracts, Sink
from dazi.upstream.response import fault


class Replacing:
    """The text of one answer, as its upstream sees it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._text = ""

    def append(self, piece: str) -> None:
        """Hear the next piece."""
        if piece:
            self._text += piece
            self._sink.text(piece)

    def replace(self, text: str, *, reason: str) -> None:
        """Hear the whole text as it stands now."""
        if text.startswith(self._text):
            self.append(text[len(self._text) :])
        elif isinstance(self._sink, Retracts):
            self._text = text
            self._sink.retract(text, reason=reason)
        else:
            raise fault("upstream_error", "The model's server took back what it had said.")
