"""A text in windows: what of it is to be judged next, and what may be shown.

A window is all that was not shown yet, up to a cut: at a sentence's end once there is enough that is new, elsewhere once there is
too much, or when it has waited. When it passed, all of it may be shown but its end, the `overlap`, which is the beginning of
the next window. Laws:

- what was shown was in windows that passed, and is in no later one: no character of a window that did not pass is ever shown;
- a phrase of at most `overlap` + 1 characters that are seen (`dazi.safety.folding`) is whole in one window, wherever the pieces
  and the windows are cut;
- no window is longer than `MOST_CHARACTERS`, and none begins or ends inside a Latin word of ordinary length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dazi.events import Joiner
from dazi.safety import MOST_CHARACTERS
from dazi.safety.folding import is_seen

# Where a sentence ends: in Chinese anywhere, in Latin script before a space.
_SENTENCE_END = re.compile(r"[。！？!?…；;\n]+[”’」』）)\"']*|\.(?=\s|$)")
# How far is looked back for characters that are seen, and for the beginning of a Latin word: together much less than a window.
_FARTHEST = MOST_CHARACTERS // 8
_LONGEST_LATIN = 64
# Beyond the Basic Multilingual Plane a character is two UTF-16 units.
_LAST_OF_PLANE = "\uffff"


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where windows are cut.

    `window`: characters that are new in one before it is cut at a sentence's end; with twice as many it is cut anywhere.
    `overlap`: characters of a window that passed, counting those that are seen, with which the next one begins.
    """

    window: int = 60
    overlap: int = 24


class Strand:
    """One text as it grows."""

    __slots__ = ("_context", "_cut", "_cuts", "_fresh", "_has_end", "_held", "_joiner", "_judged", "_loose", "_tried")

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts
        self._joiner = Joiner()
        # What was not shown yet; how much of that was judged; and the pieces that are not joined to it yet.
        self._held = ""
        self._judged = 0
        self._loose: list[str] = []
        # How much there is to judge, and whether a sentence seems to end in it.
        self._fresh = 0
        self._has_end = False
        # How much there was when it was no more than a Latin word, which may go on: until more comes, nothing can be cut.
        self._tried = 0
        # Where the window ends that is being judged.
        self._cut = 0
        # The end of what was shown whole, because the text seemed to be over: judged again with what follows all the same.
        self._context = ""

    @property
    def size(self) -> int:
        """How many characters are held."""
        return self._judged + self._fresh

    @property
    def has_fresh(self) -> bool:
        """Whether there is anything to judge, once it has waited."""
        return self._fresh > self._tried

    @property
    def is_due(self) -> bool:
        """Whether there is enough for a window."""
        most = self._cuts.window if self._has_end else 2 * self._cuts.window
        return self._fresh >= most and self.has_fresh

    def feed(self, piece: str) -> None:
        """Take the next piece."""
        if whole := self._joiner.join(piece):
            self._loose.append(whole)
            self._fresh += len(whole)
            self._has_end = self._has_end or _SENTENCE_END.search(whole) is not None

    def take(self, *, has_waited: bool = False, is_over: bool = False) -> str:
        """Return the next window to judge, "" where none is due.

        Args:
            has_waited: whether what there is has waited long enough.
            is_over: whether nothing follows, as far as is known.
        """
        if is_over and (rest := self._joiner.flush()):
            self._loose.append(rest)
        self._held += "".join(self._loose)
        self._loose.clear()
        self._cut = self._end(has_waited=has_waited, is_over=is_over)
        return self._context + self._held[: self._cut] if self._cut else ""

    def passed(self) -> str:
        """Hear that the window passed; returns what may be shown now."""
        shown = _word_start(self._held, _overlap(self._held, self._cut, self._cuts.overlap))
        told, self._held = self._held[:shown], self._held[shown:]
        self._judged = self._cut - shown
        self._count()
        if told:
            self._context = ""
        return told

    def rest(self) -> str:
        """Return what was judged and is still held, since the text is over: no window begins with it any more."""
        told, self._held, self._judged = self._held[: self._judged], self._held[self._judged :], 0
        whole = self._context + told
        self._context = whole[_overlap(whole, len(whole), self._cuts.overlap) :]
        return told

    def _count(self) -> None:
        fresh = "".join((self._held[self._judged :], *self._loose))
        self._fresh = len(fresh)
        self._has_end = _SENTENCE_END.search(fresh) is not None

    def _end(self, *, has_waited: bool, is_over: bool) -> int:
        """Tell where the next window ends, or 0."""
        self._tried = 0
        held, judged = self._held, self._judged
        fresh = len(held) - judged
        end = min(len(held), _most(self._context + held) - len(self._context))
        if not fresh or (is_over and end == len(held)):
            return end if fresh else 0
        if fresh >= self._cuts.window and (ends := list(_SENTENCE_END.finditer(held, judged, end))):
            return ends[-1].end()
        self._has_end = False
        if fresh < 2 * self._cuts.window and not has_waited and not is_over:
            return 0
        if (start := _word_start(held, end)) > judged:
            return start
        if is_over:
            return end
        self._tried = fresh
        return 0


def windows_of(text: str, cuts: Cuts) -> Iterator[str]:
    """Cut a whole text into windows."""
    strand = Strand(cuts)
    strand.feed(text)
    while window := strand.take(is_over=True):
        yield window
        strand.passed()


def end_of(text: str, cuts: Cuts) -> str:
    """Return the end of a text with which what follows it is judged."""
    return text[_word_start(text, _overlap(text, len(text), cuts.overlap)) :]


def beginning_of(text: str, cuts: Cuts) -> str:
    """Return the beginning of a text with which what stands before it is judged."""
    return end_of(text[::-1], cuts)[::-1]


def _most(text: str) -> int:
    return MOST_CHARACTERS if text.isascii() or max(text) <= _LAST_OF_PLANE else MOST_CHARACTERS // 2


def _overlap(text: str, end: int, overlap: int) -> int:
    """Tell where the last `overlap` characters before `end` that are seen begin."""
    at, seen = end, 0
    while at > max(0, end - _FARTHEST) and seen < overlap:
        at -= 1
        seen += is_seen(text[at])
    return at


def _word_start(text: str, at: int) -> int:
    """Tell where the Latin word begins through which a cut at `at` goes, or may go: at the end of a text that is not over."""
    if at < len(text) and not _is_latin(text[at]):
        return at
    start = at
    while start > max(0, at - _LONGEST_LATIN) and _is_latin(text[start - 1]):
        start -= 1
    return start


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()
