"""Where an answer goes on from what another upstream has said: what is new, and what is said again.

Some servers answer with what follows alone, some say the whole text again, and models like to begin again at the last line
or sentence. Laws:

- a beginning that repeats the whole text, or its end from some place on, is taken away, if it is `LEAST` characters or more of
  `LEAST_VARIETY` or more different ones: anything less (`哈哈哈`, `----`, a word said twice) may be meant, and is kept;
- nothing else is taken away or changed: what cannot be told yet is held, and let go when it can.
"""

from __future__ import annotations

LEAST = 12
LEAST_VARIETY = 6
# How much of the end is looked at: more than a paragraph is repeated only by servers that repeat everything.
_TAIL = 2000


class Seam:
    """Finds what is new in the pieces after `said`.

    Attributes: `is_closed` (the repetition, if there was any, is behind; pieces are new as they come).
    """

    def __init__(self, said: str) -> None:
        self.is_closed = False
        # Every end of the text that the new one may begin with, the longest first.
        starts = dict.fromkeys([0, *range(max(0, len(said) - _TAIL), len(said) - LEAST + 1)])
        self._ends = [said[start:] for start in starts if _is_telling(said[start:])]
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what is certainly new."""
        if self.is_closed:
            return piece
        held = self._held = self._held + piece
        self._ends = [end for end in self._ends if end.startswith(held) or held.startswith(end)]
        if self._ends and len(held) < len(self._ends[0]):
            return ""
        return self._close(len(self._ends[0]) if self._ends else 0)

    def flush(self) -> str:
        """Return what was held when nothing more comes: an answer that ended inside a repetition is all new, or none."""
        if self.is_closed:
            return ""
        whole = next((end for end in self._ends if self._held == end), "")
        return self._close(len(whole))

    def _close(self, repeated: int) -> str:
        self.is_closed = True
        return self._held[repeated:]


def _is_telling(text: str) -> bool:
    return len(text) >= LEAST and len(set(text)) >= LEAST_VARIETY
