from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.log.contract import fold, units

from dazi.errors import GenerationError, OutOfOrder
from dazi.events import Answer, Event, Reasoning, Retract, Started, Text, ToolCall
from dazi.log import Draft
from dazi.log.memory import MemoryLog
from dazi.service.budget import Budget, Share
from dazi.service.writer import Writer

LIMIT = 10_000


def share(limit: int) -> Share:
    return Share(Budget(per_owner=0, total=10 * LIMIT), "owner", limit=limit)


class Desk:
    """A writer, and everything that it stored, as it was shown."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.log = MemoryLog()
        opened = asyncio.run(self.log.create(Draft("owner", Started("g", "m", 1))))
        self.events: list[Event] = []
        self.log.observe("g", lambda record: self.events.append(record.event))
        self.writer = Writer(self.log, "g", opened.epoch, share=share(limit))

    @property
    def answer(self) -> Answer:
        return fold(self.events)

    def text(self, *pieces: str) -> str:
        for piece in pieces:
            self.writer.text(piece)
        self.writer.flush()
        return self.answer.text

    def reasoning(self, *pieces: str) -> str:
        for piece in pieces:
            self.writer.reasoning(piece)
        self.writer.flush()
        return self.answer.reasoning

    def arguments(self, *pieces: str) -> str:
        for piece in pieces:
            self.writer.tool_call(3, arguments=piece)
        self.writer.flush()
        return "".join(call.arguments for call in self.answer.tool_calls)


WAYS = pytest.mark.parametrize("way", ["text", "reasoning", "arguments"])


def whole(pieces: Sequence[str]) -> str:
    """Join pieces as UTF-16 does, another way than the code: unit by unit."""
    return "".join(_characters([unit for piece in pieces for unit in _units(piece)]))


def _units(text: str) -> Iterator[int]:
    for character in text:
        point = ord(character)
        if point > 0xFFFF:
            yield from (0xD800 + (point - 0x10000 >> 10), 0xDC00 + (point - 0x10000 & 0x3FF))
        else:
            yield point


def _characters(stream: list[int]) -> Iterator[str]:
    at = 0
    while at < len(stream):
        unit, after = stream[at], stream[at + 1] if at + 1 < len(stream) else 0
        is_pair = 0xD800 <= unit < 0xDC00 <= after < 0xE000
        if is_pair:
            yield chr(0x10000 + ((unit - 0xD800) << 10) + after - 0xDC00)
        else:
            yield "\ufffd" if 0xD800 <= unit < 0xE000 else chr(unit)
        at += 2 if is_pair else 1


@WAYS
@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["\ud83d", "\ude00"], "😀"),
        (["a\ud83d", "\ude00b"], "a😀b"),
        (["\ud83d", "\ude00\ud83d", "\ude01\ud83d", "\ude02"], "😀😁😂"),
        (["\ud83d", "", "\ude00"], "😀"),
        (["\ud83d\ude00"], "😀"),
        (["\ud83d"], "\ufffd"),
        (["\ude00"], "\ufffd"),  # noqa: PT014  # ruff takes all lone halves for one
        (["\ud83d", "a"], "\ufffda"),
        (["\ud83d", "\ud83d", "\ude00"], "\ufffd😀"),
        (["\ude00", "\ud83d"], "\ufffd\ufffd"),
        (["\ud83da", "\ude00"], "\ufffda\ufffd"),
        (["好\ud83d", "\ude00好"], "好😀好"),
        (["\ud83d\ud83d\ude00\ude00"], "\ufffd😀\ufffd"),
        (["abc", "", "def"], "abcdef"),
        (["\ufffd"], "\ufffd"),  # noqa: PT014  # the same
        (["\ufeff", "\0"], "\ufeff\0"),
    ],
)
def test_halves_of_a_character_are_joined_and_lone_ones_replaced(way: str, pieces: list[str], joined: str) -> None:
    assert getattr(Desk(), way)(*pieces) == joined == whole(pieces)


@WAYS
@given(pieces=st.lists(st.text(st.sampled_from("\ud83d\udbff\ude00\udc00a好😀\ufffd"), max_size=4), max_size=12))
def test_any_pieces_give_what_utf16_makes_of_them(way: str, pieces: list[str]) -> None:
    assert getattr(Desk(), way)(*pieces) == whole(pieces)


@given(text=st.text(st.characters(exclude_categories=["Cs"])), data=st.data())
def test_a_text_cut_between_any_of_its_units_is_whole_again(text: str, data: st.DataObject) -> None:
    stream = text.encode("utf-16-le")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream) // 2), max_size=8)) | {0, len(stream) // 2})
    pieces = [stream[2 * left : 2 * right].decode("utf-16-le", "surrogatepass") for left, right in pairwise(cuts)]
    assert Desk().text(*pieces) == text


@given(st.lists(st.tuples(st.booleans(), st.text(st.sampled_from("\ud83d\ude00a好😀"), max_size=4)), max_size=12))
def test_n_is_the_length_so_far_and_what_is_stored_is_valid(pieces: list[tuple[bool, str]]) -> None:
    desk = Desk()
    for is_text, piece in pieces:
        (desk.writer.text if is_text else desk.writer.reasoning)(piece)
    desk.writer.flush()
    said = thought = ""
    for event in desk.events:
        if isinstance(event, Text):
            said += event.text
            assert event.n == units(said)
        elif isinstance(event, Reasoning):
            thought += event.text
            assert event.n == units(thought)
        assert isinstance(event, Text | Reasoning)
        assert event.text.encode()


def test_text_reasoning_and_each_call_hold_their_own_halves() -> None:
    desk = Desk()
    for half in ("\ud83d", "\ude00"):
        desk.writer.text(half)
        desk.writer.reasoning(half)
        desk.writer.tool_call(0, arguments=half)
        desk.writer.tool_call(1, arguments=half)
    assert (desk.answer.text, desk.answer.reasoning) == ("😀", "😀")
    assert [call.arguments for call in desk.answer.tool_calls] == ["😀", "😀"]


def test_a_piece_is_shown_before_the_call_returns() -> None:
    desk = Desk()
    desk.writer.text("a")
    assert desk.events == [Text("a", 1)]


def test_what_says_nothing_is_not_stored() -> None:
    desk = Desk()
    desk.writer.text("")
    desk.writer.reasoning("")
    desk.writer.tool_call(0)
    desk.writer.tool_call(0, call_id="", name="", arguments="")
    desk.writer.flush()
    assert desk.events == []


def test_a_flush_of_nothing_stores_nothing_and_a_second_one_neither() -> None:
    desk = Desk()
    desk.writer.text("a\ud83d")
    desk.writer.flush()
    desk.writer.flush()
    assert desk.events == [Text("a", 1), Text("\ufffd", 2)]


def test_a_call_keeps_its_name_while_its_arguments_wait_for_their_other_half() -> None:
    desk = Desk()
    desk.writer.tool_call(0, call_id="i", name="t", arguments="\ud83d")
    desk.writer.tool_call(0, arguments="\ude00")
    assert desk.events == [ToolCall(0, "i", "t"), ToolCall(0, arguments="😀")]


@WAYS
def test_more_than_the_limit_is_refused_and_nothing_of_it_stored(way: str) -> None:
    desk = Desk(limit=12)
    write = getattr(desk, way)
    write("123456")
    before = list(desk.events)
    with pytest.raises(GenerationError) as caught:
        write("1234567")
    assert (caught.value.code, caught.value.retryable) == ("too_long", False)
    assert "12 characters" in str(caught.value)
    assert desk.events == before


def test_the_limit_itself_is_allowed() -> None:
    assert Desk(limit=6).text("123", "456") == "123456"


def test_text_reasoning_and_arguments_share_one_limit() -> None:
    desk = Desk(limit=10)
    desk.writer.text("1234")
    desk.writer.reasoning("1234")
    with pytest.raises(GenerationError):
        desk.writer.tool_call(0, arguments="12")  # a call costs one beside its arguments


def test_calls_without_arguments_cannot_go_on_for_ever() -> None:
    desk = Desk(limit=10)
    for index in range(10):
        desk.writer.tool_call(index, name="t")
    with pytest.raises(GenerationError):
        desk.writer.tool_call(10, name="t")


def test_two_writers_of_one_log_cannot_both_write() -> None:
    desk = Desk()
    other = Writer(desk.log, "g", 1, share=share(LIMIT))
    desk.writer.text("a")
    with pytest.raises(OutOfOrder):
        other.text("b")


def test_a_retraction_is_all_there_is_and_what_follows_goes_on_from_it() -> None:
    desk = Desk()
    desk.writer.text("half a secret \ud83d")
    desk.writer.retract("不行 \ud83d", reason="moderation")
    desk.writer.text("\ude00 then")
    desk.writer.flush()
    assert desk.answer.text == "不行 \ufffd\ufffd then"
    assert desk.answer.n == units(desk.answer.text)
    assert desk.events[-2] == Retract("不行 \ufffd", 4, "moderation")


def test_everything_may_be_retracted() -> None:
    desk = Desk()
    desk.writer.text("x")
    desk.writer.retract("", reason="moderation")
    assert desk.text("y") == "y"
