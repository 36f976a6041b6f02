"""Windows: wherever pieces and windows are cut, what passed is shown once, in order, and a phrase is whole in one window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dazi.events import utf16_length
from dazi.safety import MOST_CHARACTERS
from dazi.safety.folding import is_seen
from dazi.safety.windows import Cuts, Strand, windows_of

TEXT = st.text("ab1 .。！\n违禁🍆é\u200b", max_size=300)
CUTS = st.builds(Cuts, window=st.integers(1, 30), overlap=st.integers(0, 12))


def pieces_of(text: str, sizes: list[int]) -> list[str]:
    """Cut a text, also through its surrogate pairs, as models do."""
    units = text.encode("utf-16-le", "surrogatepass")
    pieces, at = [], 0
    for size in [*sizes, len(units)]:
        pieces.append(units[2 * at : 2 * (at + size)].decode("utf-16-le", "surrogatepass"))
        at += size
    return pieces


def run(pieces: list[str], cuts: Cuts, waits: set[int]) -> tuple[list[str], list[str]]:
    """Judge pieces as they come; returns the windows, and what is shown after each."""
    strand, windows, shown = Strand(cuts), [], []
    for number, piece in enumerate(pieces):
        strand.feed(piece)
        while window := strand.take(has_waited=number in waits):
            windows.append(window)
            shown.append(strand.passed())
    while window := strand.take(is_over=True):
        windows.append(window)
        shown.append(strand.passed())
    shown.append(strand.rest())
    assert strand.size == 0
    return windows, shown


@given(TEXT, st.lists(st.integers(0, 40), max_size=20), CUTS, st.sets(st.integers(0, 20)))
def test_all_is_judged_and_shown_once_and_in_order(text: str, sizes: list[int], cuts: Cuts, waits: set[int]) -> None:
    windows, shown = run(pieces_of(text, sizes), cuts, waits)
    assert "".join(shown) == text
    # Each window begins where what was shown before it ends.
    at = 0
    for window, piece in zip(windows, shown, strict=False):
        assert text.startswith(window, at)
        at += len(piece)


@given(TEXT, st.lists(st.integers(0, 40), max_size=20), CUTS, st.sets(st.integers(0, 20)), st.data())
def test_a_phrase_is_whole_in_one_window(
    text: str, sizes: list[int], cuts: Cuts, waits: set[int], data: st.DataObject
) -> None:
    seen = [at for at, character in enumerate(text) if is_seen(character)]
    length = data.draw(st.integers(1, cuts.overlap + 1))
    if len(seen) < length:
        return
    first = data.draw(st.integers(0, len(seen) - length))
    start, end = seen[first], seen[first + length - 1] + 1
    windows, shown = run(pieces_of(text, sizes), cuts, waits)
    at, spans = 0, []
    for window, piece in zip(windows, shown, strict=False):
        spans.append((at, at + len(window)))
        at += len(piece)
    assert any(begin <= start and end <= stop for begin, stop in spans)


LONG = st.lists(st.tuples(st.sampled_from("a🍆违 \u200b。"), st.integers(1, 3000)), min_size=1, max_size=4)


@given(LONG, st.builds(Cuts, window=st.just(60), overlap=st.integers(0, 300)))
def test_a_long_text_is_judged_whole_in_windows_that_a_checker_takes(runs: list[tuple[str, int]], cuts: Cuts) -> None:
    text = "".join(character * length for character, length in runs)
    windows, shown = run([text], cuts, set())
    assert "".join(shown) == text
    assert max(map(utf16_length, windows)) <= MOST_CHARACTERS
    at_once = list(windows_of(text, cuts))
    assert max(map(utf16_length, at_once)) <= MOST_CHARACTERS
    assert text.startswith(at_once[0])
    assert text.endswith(at_once[-1])


@given(LONG, LONG)
def test_so_is_one_that_goes_on_after_it_seemed_over(first: list[tuple[str, int]], then: list[tuple[str, int]]) -> None:
    strand, said, shown = Strand(Cuts(overlap=300)), "", ""
    for runs in (first, then):
        piece = "".join(character * length for character, length in runs)
        said += piece
        strand.feed(piece)
        while window := strand.take(is_over=True):
            assert utf16_length(window) <= MOST_CHARACTERS
            shown += strand.passed()
        shown += strand.rest()
        assert shown == said


def test_a_window_is_cut_at_a_sentences_end() -> None:
    strand = Strand(Cuts(window=6, overlap=2))
    strand.feed("今天天气很好。我们")
    assert strand.is_due
    assert strand.take() == "今天天气很好。"
    assert strand.passed() == "今天天气很"


def test_a_text_without_sentences_is_cut_when_it_is_long_or_has_waited() -> None:
    strand = Strand(Cuts(window=6, overlap=2))
    strand.feed("今天天气很好")
    assert (strand.is_due, strand.take()) == (False, "")
    assert strand.take(has_waited=True) == "今天天气很好"
    assert strand.passed() == "今天天气"
    strand.feed("我们去公园里面散步吧大家")
    assert strand.is_due
    assert strand.take() == "很好我们去公园里面散步吧大家"


def test_a_latin_word_is_not_cut() -> None:
    strand = Strand(Cuts(window=2, overlap=3))
    strand.feed("an assign")
    assert strand.take(has_waited=True) == "an "
    assert strand.passed() == ""
    strand.feed("ment ")
    assert strand.take(has_waited=True) == "an assignment "
    assert strand.passed() == "an "


def test_what_nobody_sees_makes_the_overlap_no_shorter() -> None:
    strand = Strand(Cuts(window=1, overlap=2))
    strand.feed("今天很好违\u200b\u200b \u200b")
    strand.take(has_waited=True)
    assert strand.passed() == "今天很"
    strand.feed("禁词")
    assert strand.take(has_waited=True) == "好违\u200b\u200b \u200b禁词"


def test_what_follows_a_text_that_seemed_over_is_judged_with_its_end() -> None:
    strand = Strand(Cuts(window=4, overlap=3))
    strand.feed("想了很久")
    assert strand.take(is_over=True) == "想了很久"
    assert strand.passed() + strand.rest() == "想了很久"
    strand.feed("又想")
    assert strand.take(is_over=True) == "了很久又想"
    assert strand.passed() + strand.rest() == "又想"
    strand.feed("啊")
    assert strand.take(is_over=True) == "久又想啊"
