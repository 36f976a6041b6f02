from __future__ import annotations

import random

import pytest

from dazi.upstream.seam import LEAST, Seam

SAID = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。The next line is half a wor"


def join(said: str, *pieces: str) -> str:
    seam = Seam(said)
    return said + "".join([*map(seam.feed, pieces), seam.flush()])


@pytest.mark.parametrize("start", range(len(SAID) - LEAST + 1))
def test_a_repeated_end_of_any_length_is_taken_away_however_it_is_cut(start: int) -> None:
    whole = SAID + "d, and goes on 🎉."
    again = whole[start:]
    assert join(SAID, again) == whole
    assert join(SAID, *again) == whole
    for cut in range(len(again)):
        assert join(SAID, again[:cut], again[cut:]) == whole


@pytest.mark.parametrize("rest", ["d.", " word", "wor d", "", "d", "春眠不觉晓 once more", "half a word", "\n"])
def test_what_is_new_stays_as_it_is(rest: str) -> None:
    assert join(SAID, rest) == SAID + rest
    assert join(SAID, *rest) == SAID + rest


@pytest.mark.parametrize("meant", ["哈" * 40, "-" * 80, "| --- | --- |" * 3, "ha" * 20, "         " * 9])
def test_what_is_said_twice_on_purpose_stays(meant: str) -> None:
    assert join(meant, meant) == meant * 2
    assert join(meant, *meant) == meant * 2


def test_a_repetition_that_ends_before_its_end_is_kept() -> None:
    assert join(SAID, SAID[:20]) == SAID + SAID[:20]


def test_a_repetition_and_nothing_more_is_nothing_new() -> None:
    assert join(SAID, SAID) == SAID
    assert join(SAID, SAID[10:]) == SAID


def test_the_text_before_the_end_is_not_looked_at_but_as_a_whole() -> None:
    said = "".join(random.Random(1).choices("abcdefghij龘𠮷", k=9000))
    assert join(said, said, "x") == f"{said}x"
    assert join(said, said[8000:], "x") == f"{said}x"


def test_nothing_is_held_once_it_can_be_told() -> None:
    seam = Seam(SAID)
    assert seam.feed("d") == "d"
    assert seam.is_closed
    assert seam.feed(SAID) == SAID
