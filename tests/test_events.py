from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dazi.events import (
    Aborted,
    Answer,
    Done,
    Event,
    Failed,
    Joiner,
    Queued,
    Reasoning,
    Reconnect,
    Retract,
    Snapshot,
    Started,
    Text,
    ToolCall,
    Usage,
    crc32,
    status_of,
    utf16_length,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
HALVES = st.text(st.sampled_from("a好👋\ud83d\udc4b\ud800"))


@given(st.lists(HALVES))
def test_to_measure_is_to_join_and_to_tell_the_length(pieces: list[str]) -> None:
    joining, measuring = Joiner(), Joiner()
    for piece in pieces:
        whole = joining.join(piece)
        assert measuring.measure(piece) == (whole, utf16_length(whole))
        assert measuring.holds == joining.holds
    assert measuring.flush() == joining.flush()


@pytest.mark.parametrize(
    ("text", "length"),
    [("", 0), ("abc", 3), ("é", 1), ("好", 1), ("\uffff", 1), ("𠮷", 2), ("👨‍👩‍👧‍👦", 11), ("🇨🇳", 4), ("\0", 1)],
)
def test_length_is_what_javascript_says(text: str, length: int) -> None:
    assert utf16_length(text) == length


@given(TEXTS)
def test_length_counts_two_for_each_code_point_beyond_the_first_plane(text: str) -> None:
    assert utf16_length(text) == sum(1 + (ord(character) > 0xFFFF) for character in text)


@given(TEXTS, TEXTS)
def test_lengths_add_up(left: str, right: str) -> None:
    assert utf16_length(left) + utf16_length(right) == utf16_length(left + right)


@pytest.mark.parametrize(("text", "number"), [("", 0), ("a", 3904355907), ("你好", 1352841281), ("👩🏽‍🚀", 2554592694)])
def test_crc32_is_unsigned_and_of_the_utf8(text: str, number: int) -> None:
    assert crc32(text) == number


@pytest.mark.parametrize(
    ("event", "shape"),
    [
        (Started("g", "m", 1), {"type": "started", "generation": "g", "model": "m", "created": 1}),
        (Text("a", 1), {"type": "text", "text": "a", "n": 1}),
        (Reasoning("a", 1), {"type": "reasoning", "text": "a", "n": 1}),
        (ToolCall(0, name="t"), {"type": "tool_call", "index": 0, "name": "t"}),
        (ToolCall(0, call_id="i", arguments="{"), {"type": "tool_call", "index": 0, "call_id": "i", "arguments": "{"}),
        (Queued(3), {"type": "queued", "place": 3}),
        (Retract("", 0, "r"), {"type": "retract", "text": "", "n": 0, "reason": "r"}),
        (Snapshot("", 0), {"type": "snapshot", "text": "", "n": 0}),
        (
            Snapshot("a", 1, "b", (ToolCall(1),)),
            {
                "type": "snapshot",
                "text": "a",
                "n": 1,
                "reasoning": "b",
                "tool_calls": [{"type": "tool_call", "index": 1}],
            },
        ),
        (
            Done("stop", None, 0, 0, ai_generated=True),
            {"type": "done", "finish_reason": "stop", "n": 0, "crc32": 0, "ai_generated": True},
        ),
        (
            Failed("c", "m", retryable=False, n=0, crc32=0, ai_generated=True),
            {
                "type": "failed",
                "code": "c",
                "message": "m",
                "retryable": False,
                "n": 0,
                "crc32": 0,
                "ai_generated": True,
            },
        ),
        (
            Aborted(Usage(0, 0, 0), 0, 0, ai_generated=True),
            {
                "type": "aborted",
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
                "n": 0,
                "crc32": 0,
                "ai_generated": True,
            },
        ),
        (Reconnect(), {"type": "reconnect"}),
    ],
)
def test_an_event_has_the_fields_of_the_protocol(event: Event, shape: dict[str, object]) -> None:
    assert json.loads(msgspec.json.encode(event)) == shape


def test_usage_leaves_out_only_what_the_upstream_did_not_count() -> None:
    assert msgspec.to_builtins(Usage(1, 2, 3, reasoning_tokens=0)) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "reasoning_tokens": 0,
    }


def test_only_terminal_events_end_a_log() -> None:
    events = (Started("g", "m", 1), Text("a"), Reasoning("a"), ToolCall(0), Retract("", 0, "r"), Snapshot("", 0))
    assert not any(event.ends for event in events)
    assert all(event.ends for event in (Done("stop"), Failed("c", "m", retryable=True), Aborted()))


def test_the_status_is_the_type_of_the_end() -> None:
    ends = (None, Done("stop"), Failed("c", "m", retryable=True), Aborted())
    assert [status_of(end) for end in ends] == ["running", "done", "failed", "aborted"]


def folded(*events: Event | Snapshot) -> Answer:
    answer = Answer()
    for event in events:
        answer.fold(event)
    return answer


def test_an_answer_is_its_pieces_in_order() -> None:
    answer = folded(
        Started("g", "m", 1), Reasoning("hm", 2), Text("a", 1), Reasoning("m", 3), Text("b", 2), Done("stop", n=2)
    )
    assert (answer.started, answer.text, answer.n, answer.reasoning) == (Started("g", "m", 1), "ab", 2, "hmm")
    assert answer.end == Done("stop", n=2)


def test_a_retraction_replaces_the_text_and_nothing_else() -> None:
    answer = folded(Reasoning("r", 1), Text("bad", 3), ToolCall(0, name="t"), Retract("c", 1, "policy"), Text("d", 2))
    assert (answer.text, answer.n, answer.reasoning, answer.tool_calls) == ("cd", 2, "r", (ToolCall(0, name="t"),))


def test_a_snapshot_replaces_everything() -> None:
    answer = folded(Text("x", 1), Reasoning("x", 1), ToolCall(9), Snapshot("ab", 2, "r", (ToolCall(1, name="t"),)))
    assert (answer.text, answer.n, answer.reasoning, answer.tool_calls) == ("ab", 2, "r", (ToolCall(1, name="t"),))


def test_tool_calls_are_joined_by_index() -> None:
    answer = folded(
        ToolCall(1, call_id="b", name="two", arguments="["),
        ToolCall(0, call_id="a", name="one"),
        ToolCall(1, arguments="]"),
        ToolCall(0, arguments="{}"),
    )
    assert answer.tool_calls == (ToolCall(0, "a", "one", "{}"), ToolCall(1, "b", "two", "[]"))


@given(st.lists(st.builds(Text, TEXTS) | st.builds(Reasoning, TEXTS) | st.builds(ToolCall, st.integers(0, 2))))
def test_a_snapshot_and_what_follows_is_the_whole(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        resumed = folded(folded(*events[:cut]).snapshot(), *events[cut:])
        assert resumed.snapshot() == folded(*events).snapshot()


def test_an_answer_without_events_is_empty() -> None:
    assert folded().snapshot() == Snapshot("", 0)
