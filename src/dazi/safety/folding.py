"""Text as a word list compares it: what looks alike is alike.

What is undone, in texts and in words: full width and other compatibility forms (NFKC), capitals, accents over Latin letters,
characters that nobody sees (zero-width ones, soft hyphens, controls, variation selectors, combining marks alone), and separators
between two Han characters (`违 禁`, `违*禁`). What is not: other spellings, pinyin, homophones, look-alikes of other scripts,
traditional and simplified forms. Those are words of their own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Categories of characters that nobody sees: formats (zero-width ones among them), marks, controls that are no space.
_UNSEEN = frozenset({"Cf", "Mn", "Me", "Cc"})
_SPACES = frozenset("\t\n\v\f\r\x85")
# What somebody puts between two Han characters to part them. Sentence marks are none: a word does not cross a sentence.
_SEPARATORS = r"\s*+\-_.·・•~^|/\\#@&=`'\"<>"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}])[{_SEPARATORS}]+(?=[{_HAN}])")
_IS_SEPARATOR = re.compile(f"[{_SEPARATORS}]")


def fold(text: str) -> str:
    """Fold a text, or a word."""
    if text.isascii():
        folded = text.casefold() if text.isprintable() else "".join(map(_fold, text))
    else:
        folded = "".join(map(_fold, text))
    return _BETWEEN_HAN.sub("", folded)


def is_seen(character: str) -> bool:
    """Whether a character counts: it is neither unseen nor a separator."""
    folded = _fold(character)
    return bool(folded) and _IS_SEPARATOR.fullmatch(folded) is None


@lru_cache(maxsize=8192)
def _fold(character: str) -> str:
    if character in _SPACES:
        return " "
    if unicodedata.category(character) in _UNSEEN:
        return ""
    return "".join(_without_accent(part) for part in unicodedata.normalize("NFKC", character).casefold())


def _without_accent(character: str) -> str:
    if unicodedata.category(character) in _UNSEEN:
        return ""
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character
