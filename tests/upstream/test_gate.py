from __future__ import annotations

from typing import Any

import pytest
from tests.upstream.mock_server import Recorder

from dazi.errors import Closed, UpstreamError
from dazi.upstream import Retracts
from dazi.upstream.gate import Gate, Said


class Begun:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def gate(sink: Recorder, said: Said | None = None) -> Gate:
    return Gate(sink, said or Said(keeps=False), Begun())


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "\u3000", "\ud83d", " \ud83d"])
def test_what_cannot_be_seen_is_held_until_something_can(sink: Recorder, blank: str) -> None:
    said = Said(keeps=False)
    one = gate(sink, said)
    one.text(blank)
    assert (sink.pieces, said.is_nothing) == ([], True)
    one.text("\ude00x")
    assert (sink.pieces, said.has_text) == ([f"{blank}\ude00x"], True)


def test_a_blank_answer_is_given_on_at_its_end(sink: Recorder) -> None:
    one = gate(sink)
    one.text("\n")
    one.text(" ")
    one.finish()
    assert sink.pieces == ["\n "]


def test_blank_text_without_end_is_not_held_without_end(sink: Recorder) -> None:
    one = gate(sink)
    for _ in range(1001):
        one.text(" ")
    assert sum(map(len, sink.pieces)) >= 1000


def test_after_the_first_piece_the_gate_is_gone(sink: Recorder) -> None:
    one = gate(sink)
    one.text("x")
    one.reasoning("y")
    assert one.text == sink.text
    assert one.reasoning == sink.reasoning


def test_who_looked_its_methods_up_before_loses_nothing(sink: Recorder) -> None:
    one = gate(sink)
    text = one.text
    for piece in ["a", "\n", " ", "b"]:
        text(piece)
    assert sink.pieces == ["a", "\n", " ", "b"]


def test_the_first_piece_of_any_kind_is_told_once(sink: Recorder) -> None:
    begun = Begun()
    one = Gate(sink, Said(keeps=True), begun)
    one.reasoning("hm")
    one.text("x")
    one.tool_call(0, call_id="c", name="f", arguments="{}")
    assert begun.count == 1
    assert (sink.thoughts, sink.pieces, sink.calls) == (["hm"], ["x"], [(0, "c", "f", "{}")])


def test_an_upstream_whose_turn_is_over_can_say_nothing_more(sink: Recorder) -> None:
    one = gate(sink)
    text = one.text
    one.text("x")
    one.shut()
    for say in (one.text, text, one.reasoning):
        with pytest.raises(Closed):
            say("y")
    assert sink.pieces == ["x"]


def test_half_a_character_at_the_break_is_said_whole_by_the_next(sink: Recorder) -> None:
    said = Said(keeps=True)
    first = gate(sink, said)
    first.text("a😀")
    first.text("b\ud83d")
    first.shut()
    assert said.text == "a😀b"
    second = gate(sink, said)
    for piece in ["\ud83d", "\ude00", "c"]:
        second.text(piece)
    second.finish()
    assert sink.said == said.text == "a😀b😀c"


def test_the_next_one_thinks_in_a_paragraph_of_its_own_or_not_aloud(sink: Recorder) -> None:
    said = Said(keeps=True)
    gate(sink, said).reasoning("one")
    second = gate(sink, said)
    second.reasoning("two")
    second.text("x")
    gate(sink, said).reasoning("three")
    assert sink.thoughts == ["one", "\n\ntwo"]


class Erasing(Recorder):
    def retract(self, text: str, *, reason: str) -> None:
        self.pieces[:] = [text]
        self.reason = reason


def test_a_retraction_replaces_what_the_next_one_goes_on_from() -> None:
    sink = Erasing()
    powers: Any = sink
    assert isinstance(powers, Retracts)
    said = Said(keeps=True)
    one = gate(sink, said)
    one.text("a secret")
    one.retract("no", reason="changed")
    one.text("thing")
    assert (sink.said, said.text) == ("nothing", "nothing")


def test_where_the_sink_takes_no_retraction_the_answer_has_failed(sink: Recorder) -> None:
    with pytest.raises(UpstreamError, match="took back"):
        gate(sink).retract("x", reason="y")


@pytest.mark.parametrize("cut", range(1, 40))
def test_what_is_said_again_is_known_though_it_is_cut_inside_characters(sink: Recorder, cut: int) -> None:
    said = Said(keeps=True)
    gate(sink, said).text("she said 👩🏽‍🚀 and 𠮷野家 and wen")
    second = gate(sink, said)
    units = f"{said.text}t 😀.".encode("utf-16-le")
    for piece in (units[: 2 * cut], units[2 * cut :]):
        second.text(piece.decode("utf-16-le", "surrogatepass"))
    second.finish()
    assert sink.said == said.text == "she said 👩🏽‍🚀 and 𠮷野家 and went 😀."
