"""A list of words as a checker: a text with one of them in it is risky.

Laws: text and words are folded alike (`dazi.safety.folding`); a word that begins or ends with a Latin letter or a digit is found as
a word (`ass` not in `class`), any other wherever it stands; every word is found, in one pass, in time that depends on the
text alone (Aho and Corasick, 1975).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from dazi.errors import ConfigError
from dazi.safety import Passage, Verdict
from dazi.safety.folding import fold

# A key of the automaton's one table is a state and a character.
_CHARACTERS = 0x110000


class WordList:
    """Judges `risky` what has one of the words in it.

    Args:
        words: in any writing; they are folded. Raises `ConfigError` if there are none.
        name: for metrics and log lines.
    """

    def __init__(self, words: Iterable[str], *, name: str = "words") -> None:
        self.name = name
        folded = {word for word in map(fold, words) if word.strip()}
        if not folded:
            raise ConfigError(f"safety: the word list {name!r} has no word. Write one a line.")
        # How long the longest word is: windows must overlap by one character less.
        self.longest = max(map(len, folded))
        # From a state and a character to the next state; states are prefixes of words, 0 is the empty one.
        self._next: dict[int, int] = {}
        # The longest state that is an end of each state; and the lengths of all words that end in it.
        self._fall = [0]
        self._ends: list[tuple[int, ...]] = [()]
        for word in folded:
            self._add(word)
        self._link()

    @classmethod
    def from_file(cls, path: Path, *, name: str = "words") -> WordList:
        """Read a UTF-8 file: one word a line; blank lines, and those that begin with `# `, are none. Raises `ConfigError`."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise ConfigError(f"safety: the word list {path} cannot be read: {reason}. Correct safety.words.") from None
        return cls((line.strip() for line in lines if not line.startswith("# ")), name=name)

    def __repr__(self) -> str:
        return f"WordList({self.name!r})"

    async def check(self, passage: Passage) -> Verdict:
        """Judge a passage; at once."""
        return "risky" if self.finds(passage.text) else "pass"

    def finds(self, text: str) -> bool:
        """Whether one of the words is in the text."""
        text, state = fold(text), 0
        go, fall, ends = self._next.get, self._fall, self._ends
        for at, character in enumerate(text):
            code = ord(character)
            while (following := go(state * _CHARACTERS + code)) is None and state:
                state = fall[state]
            state = following or 0
            if ends[state] and any(_stands_alone(text, at + 1 - length, at + 1) for length in ends[state]):
                return True
        return False

    def _add(self, word: str) -> None:
        state = 0
        for character in word:
            key = state * _CHARACTERS + ord(character)
            if key not in self._next:
                self._next[key] = len(self._fall)
                self._fall.append(0)
                self._ends.append(())
            state = self._next[key]
        self._ends[state] = (len(word),)

    def _link(self) -> None:
        """Tell each state where to go on when no word does, breadth first."""
        children: dict[int, list[tuple[int, int]]] = {}
        for key, state in self._next.items():
            parent, code = divmod(key, _CHARACTERS)
            children.setdefault(parent, []).append((code, state))
        queue = deque([0])
        while queue:
            parent = queue.popleft()
            for code, state in children.get(parent, ()):
                if parent:
                    self._fall[state] = self._fallen(self._fall[parent], code)
                self._ends[state] += self._ends[self._fall[state]]
                queue.append(state)

    def _fallen(self, state: int, code: int) -> int:
        while (following := self._next.get(state * _CHARACTERS + code)) is None and state:
            state = self._fall[state]
        return following or 0


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no Latin letter or digit goes on before or behind a word that begins, or ends, with one."""
    goes_on_before = start > 0 and _is_latin(text[start]) and _is_latin(text[start - 1])
    goes_on_behind = end < len(text) and _is_latin(text[end - 1]) and _is_latin(text[end])
    return not (goes_on_before or goes_on_behind)


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()
