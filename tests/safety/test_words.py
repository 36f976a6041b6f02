"""The word list: what it finds and what it leaves, and that folding hides no word and makes none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dazi.errors import ConfigError
from dazi.safety.folding import fold
from dazi.safety.words import WordList

FOUND = {
    "as it is": ("违禁", "这是违禁的"),
    "full width": ("abc", "ＡＢＣ"),
    "capitals": ("Straße", "STRASSE"),
    "accents": ("cafe", "un café"),
    "zero-width between": ("违禁", "违\u200b\u200d禁"),
    "variation selector": ("违禁", "违\ufe0f禁"),
    "a combining mark": ("evil", "e\u0335vil"),
    "a soft hyphen": ("evil", "ev\u00adil"),
    "spaces between": ("违禁", "违 \t 禁"),
    "stars between": ("违禁", "违**禁"),
    "at the start": ("违禁", "违禁"),
    "circled": ("abc", "ⓐⓑⓒ"),
    "a word of Latin letters": ("ass", "an ass."),
    "Latin beside Han": ("av", "看av吧"),
    "a phrase": ("kill bill", "Kill Bill, part two"),
    "signs": ("c++", "I like c++!"),
    "emoji": ("🍆", "an 🍆 here"),
    "behind a false start": ("违禁品", "违违禁违禁品"),
}
LEFT = {
    "inside another word": ("ass", "class assignment"),
    "over a sentence's end": ("大法", "很大。法国"),
    "letters apart": ("shit", "pass hit"),
    "digits beside": ("89", "1989"),
    "another writing": ("颜色", "顏色"),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_word_is_found(name: str) -> None:
    word, text = FOUND[name]
    assert WordList([word]).finds(text)


@pytest.mark.parametrize("name", LEFT)
def test_what_is_no_word_is_left(name: str) -> None:
    word, text = LEFT[name]
    assert not WordList([word]).finds(text)


LETTERS = st.text("abAB违禁词é \u200b*", max_size=12)


@given(st.lists(LETTERS.filter(lambda word: bool(fold(word).strip())), min_size=1, max_size=6), LETTERS)
def test_it_finds_what_a_slow_search_finds(words: list[str], text: str) -> None:
    folded = fold(text)

    def stands(word: str, at: int) -> bool:
        before, behind = folded[:at][-1:], folded[at + len(word) :][:1]

        def is_latin(character: str) -> bool:
            return character.isascii() and character.isalnum()

        return not (is_latin(word[0]) and is_latin(before)) and not (is_latin(word[-1]) and is_latin(behind))

    expected = any(
        folded.startswith(word, at) and stands(word, at) for word in map(fold, words) for at in range(len(folded))
    )
    assert WordList(words).finds(text) == expected


@given(st.text(max_size=40))
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_a_file_holds_one_word_a_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# a comment\n\n  违禁  \n#tag\nkill bill\n", encoding="utf-8")
    words = WordList.from_file(file)
    assert [text for text in ("违禁", "#tag", "kill  bill", "kill bill", "comment") if words.finds(text)] == [
        "违禁",
        "#tag",
        "kill bill",
    ]
    assert words.longest == len("kill bill")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\n\n# nothing\n"], ids=["empty", "no UTF-8", "no word"])
def test_a_file_without_words_stops_the_start(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"words\.txt|'words'"):
        WordList.from_file(file)
    with pytest.raises(ConfigError, match="No such file"):
        WordList.from_file(tmp_path / "missing.txt")
