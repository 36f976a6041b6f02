"""The reader's decisions, without a socket: a played gateway answers each request it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dazi import sse
from dazi.client.attempts import Patience
from dazi.client.errors import Corrupted, NotAGateway, Unreachable
from dazi.client.exchange import Open, Pause, Peer, Read
from dazi.client.held import Held, Told
from dazi.client.reader import Over, Reader, Source
from dazi.client.wire import Damaged, Head, Request
from dazi.errors import InvalidRequest, NotFound, Unauthorized, Unavailable
from dazi.events import Aborted, Done, Failed, Retract, Snapshot, Started, Text, crc32, utf16_length

ID = "0123abc"
PIECES = ("你好，", "𠮷", "家。")
TEXT = "".join(PIECES)
STREAM = {"content-type": "text/event-stream; charset=utf-8", "dazi-generation": ID}
JSON = {"content-type": "application/json"}
PATIENCE = Patience(first_attempts=3, attempts=5, wait=1)


def test_only_the_end_of_a_lost_log_is_taken_without_a_proof() -> None:
    held = Held(is_whole=True)
    held.take(Text("so far", 6))
    for end in (Done("stop"), Aborted(), Failed("producer_lost", "gone", retryable=True)):
        with pytest.raises(Damaged):
            held.take(end)
    with pytest.raises(Damaged):
        held.take(Failed("store_lost", "lost", retryable=True, n=7, crc32=1))
    held.take(Failed("store_lost", "lost", retryable=True))
    assert held.answer.text == "so far"


@dataclass
class Answer:
    """One answer of the played gateway. `lost`: how the line broke after the chunks, "" if it was closed in order."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: STREAM)
    chunks: Iterable[bytes] = ()
    lost: str = ""


@dataclass
class Seen:
    """What a reader did until it was over, or raised."""

    told: list[Told] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(told.piece for told in self.told)

    @property
    def kinds(self) -> list[type]:
        return [type(told.event) for told in self.told]


def reader_of(source: Source | None = None) -> Reader:
    peer = Peer("http://gateway", PATIENCE, random=Random(1))
    return Reader(peer, source or Source(key="key", body=b"{}"))


def play(reader: Reader, answers: Iterable[Answer | str], seen: Seen | None = None) -> Seen:
    """Drive the reader to its end; a string is a line that never came to be."""
    seen, script = seen or Seen(), iter(answers)
    answer, chunks = Answer(), iter([b""])
    while not isinstance(step := reader.step(), Over):
        match step:
            case Told():
                seen.told.append(step)
            case Pause():
                seen.pauses.append(step.seconds)
            case Open():
                seen.requests.append(step.request)
                following = next(script)
                if isinstance(following, str):
                    reader.lost(following)
                else:
                    answer, chunks = following, iter(following.chunks)
                    reader.opened(Head(answer.status, answer.headers))
            case Read():
                if data := next(chunks, b""):
                    reader.received(data)
                elif answer.lost:
                    reader.lost(answer.lost)
                else:
                    reader.ended()
    return seen


# What the gateway says


def frame(event: Any, position: str | None = None) -> bytes:
    return sse.encode(msgspec.json.encode(event).decode(), id=position)


def log(*pieces: str, end: Callable[..., Any] = lambda **proof: Done("stop", **proof)) -> list[bytes]:
    """Return the frames of an answer of these pieces."""
    events: list[Any] = [Started(ID, "m", 1)]
    text = ""
    for piece in pieces:
        text += piece
        events.append(Text(piece, utf16_length(text)))
    events.append(end(n=utf16_length(text), crc32=crc32(text)))
    return [frame(event, f"1-{position}") for position, event in enumerate(events, start=1)]


def standing(text: str, status: str = "done", following: str = "1-5", **fields: Any) -> Answer:
    body = {
        "generation": ID,
        "model": "m",
        "status": status,
        "text": text,
        "reasoning": "",
        "tool_calls": [],
        "n": utf16_length(text),
        "crc32": crc32(text),
        "created": 1,
        "usage": None,
        "finish_reason": "stop" if status == "done" else None,
        "error": None,
        "ai_generated": True,
        "next": following,
    }
    return Answer(headers=JSON, chunks=[msgspec.json.encode(body | fields)])


def refusal(status: int, code: str, **fields: Any) -> Answer:
    error = {"code": code, "message": "So it is.", "remedy": "Do.", "status": status, "retryable": False}
    return Answer(status, JSON, [msgspec.json.encode({"error": error | fields})])


# Reading


@given(st.lists(st.text(), max_size=5), st.data())
def test_any_chunking_and_any_breaks_give_the_same_answer(pieces: list[str], data: st.DataObject) -> None:
    frames = log(*(piece.encode(errors="replace").decode() for piece in pieces))
    reader, seen = reader_of(), Seen()

    def answers() -> Iterable[Answer]:
        yield Answer(lost="the line broke")
        while True:
            left = b"".join(frames[int(reader.position.partition("-")[2] or 0) :])
            cuts = sorted(data.draw(st.lists(st.integers(0, len(left)), min_size=1, max_size=4)))
            chunks = [left[start:end] for start, end in zip([0, *cuts], cuts, strict=False) if start < end]
            yield Answer(chunks=chunks, lost="the line broke")
            yield Answer(chunks=[left[: len(left) // 2 + 1]])

    try:
        play(reader, answers(), seen)
    except Unreachable:  # four breaks in a row that brought nothing
        assert reader.end is None
    else:
        assert seen.kinds[-1] is Done
    folded = "".join(told.event.text for told in seen.told if isinstance(told.event, Text))
    assert folded == reader.held.answer.text == seen.text
    assert "".join(pieces).encode(errors="replace").decode().startswith(seen.text)


@pytest.mark.parametrize("cut", range(len(b"".join(log(*PIECES))) + 1))
def test_a_cut_at_any_byte_is_taken_up_again(cut: int) -> None:
    frames = log(*PIECES)
    reader = reader_of()

    def answers() -> Iterable[Answer]:
        yield Answer(chunks=[b"".join(frames)[:cut]], lost="the line broke")
        position = int(reader.position.partition("-")[2] or 0)
        yield Answer(chunks=frames[position:])

    seen = play(reader, answers())
    assert seen.text == TEXT
    assert seen.kinds == [Started, Text, Text, Text, Done]


def test_a_start_is_posted_again_under_its_key_until_the_generation_is_known() -> None:
    half = [log(*PIECES)[0]]
    seen = play(reader_of(), ["refused", Answer(lost="broke", chunks=half), Answer(chunks=log(*PIECES)[1:])])
    first, second, third = seen.requests
    assert first == second
    assert (first.method, first.headers["idempotency-key"], first.body) == ("POST", "key", b"{}")
    assert third.path == f"/v1/generations/{ID}/events?heartbeat=10&after=1-1"


def test_what_was_read_already_is_not_told_twice() -> None:
    frames = log(*PIECES)
    seen = play(reader_of(), [Answer(chunks=[*frames[:3], *frames[1:]]), standing(TEXT)])
    assert seen.text == TEXT
    assert seen.kinds == [Started, Text, Text, Snapshot, Done]
    assert not any(told.replaced for told in seen.told)


def test_unknown_events_and_fields_mean_nothing() -> None:
    frames = log(*PIECES)
    strange = frame({"type": "poem", "lines": 3}, "1-2")
    odd = frame({"type": "text", "text": "x", "n": 1, "colour": "red"}, "1-3")
    end = frame(Done("stop", n=1, crc32=crc32("x")), "1-4")
    assert play(reader_of(), [Answer(chunks=[frames[0], strange, odd, end])]).text == "x"


# Leaving and coming again


def test_reconnect_is_obeyed_at_once() -> None:
    frames = log(*PIECES)
    goodbye = frame({"type": "reconnect"})
    seen = play(reader_of(), [Answer(chunks=[*frames[:2], goodbye, *frames[2:]]), Answer(chunks=frames[2:])])
    assert seen.text == TEXT
    assert seen.pauses == []
    assert seen.requests[1].path.endswith("after=1-2")


def test_breaks_without_anything_new_are_waited_out_longer_and_longer_and_end() -> None:
    reader, seen = reader_of(), Seen()
    with pytest.raises(Unreachable, match="http://gateway could not be read: it broke, and trying again"):
        play(reader, [Answer(chunks=log(*PIECES)[:1]), *["it broke"] * 9], seen)
    assert len(seen.requests) == PATIENCE.attempts
    assert seen.pauses == [pytest.approx(seconds, rel=0.5) for seconds in (0.75, 1.5, 3)]


def test_anything_new_gives_new_patience() -> None:
    frames = log(*[str(number) for number in range(9)])
    reader = reader_of()
    seen = play(reader, [Answer(chunks=[one], lost="it broke") for one in frames])
    assert seen.text == "012345678"
    assert seen.pauses == []


def test_a_gateway_that_never_answered_is_given_up_sooner() -> None:
    seen = Seen()
    with pytest.raises(Unreachable):
        play(reader_of(), ["refused"] * 9, seen)
    assert len(seen.requests) == PATIENCE.first_attempts


def test_after_an_error_the_reader_can_be_asked_again() -> None:
    reader, seen = reader_of(), Seen()
    with pytest.raises(Unreachable):
        play(reader, [Answer(chunks=log(*PIECES)[:2]), *["refused"] * 4], seen)
    play(reader, [Answer(chunks=log(*PIECES)[2:])], seen)
    assert seen.text == TEXT


def test_nothing_more_to_come_ends_with_how_it_stands() -> None:
    for status, kind in (("done", Done), ("aborted", Aborted), ("failed", Failed)):
        error = {"code": "truncated", "message": "Broke off.", "retryable": True} if status == "failed" else None
        seen = play(reader_of(Source(ID, "1-5")), [Answer(204, {}), standing(TEXT, status, error=error)])
        assert seen.kinds == [kind]
        assert seen.text == ""


def test_an_end_that_cannot_be_read_is_asked_for() -> None:
    frames = log(*PIECES)
    frames[-1] = frames[-1].replace(b"done", b"gone")
    seen = play(reader_of(), [Answer(chunks=frames), Answer(204, {}), standing(TEXT)])
    assert seen.kinds == [Started, Text, Text, Text, Done]


# Proof


@pytest.mark.parametrize("at", [2, 3])
@pytest.mark.parametrize("damage", ["lost", "changed", "not JSON"])
def test_damage_to_what_was_not_told_yet_is_mended_from_the_whole(at: int, damage: str) -> None:
    frames = log(*PIECES)
    frames[at : at + 1] = {
        "lost": [],
        "changed": [frames[at].replace(b"n", b"m")],
        "not JSON": [frames[at].replace(b"{", b"[")],
    }[damage]
    seen = play(reader_of(), [Answer(chunks=frames), standing(TEXT)])
    assert seen.text == TEXT
    assert not any(told.replaced for told in seen.told)
    assert isinstance(seen.told[-1].event, Done)


def test_damage_to_what_was_told_is_told() -> None:
    frames = log(*PIECES)
    frames[1] = frame(Text("我好，", 3), "1-2")
    seen = play(reader_of(), [Answer(chunks=frames), standing(TEXT)])
    assert seen.kinds == [Started, Text, Text, Text, Snapshot, Done]
    assert seen.told[4] == Told(Snapshot(TEXT, utf16_length(TEXT)), TEXT, "it had been damaged on the way")


def test_an_answer_that_still_runs_is_followed_from_the_whole() -> None:
    frames = log(*PIECES)
    damaged = [frames[0], frame(Text("我", 3), "1-2")]
    seen = play(
        reader_of(), [Answer(chunks=damaged), standing("你好，𠮷", "running", "1-3"), Answer(chunks=frames[3:])]
    )
    assert seen.text == TEXT
    assert seen.requests[-1].path.endswith("after=1-3")


def test_a_whole_that_is_damaged_too_is_read_again_until_patience_ends() -> None:
    damaged = [Answer(chunks=[log("x")[0], b"data: {\n\n"]), *[standing(TEXT, crc32=1)] * 9]
    seen = Seen()
    with pytest.raises(Corrupted, match=f"What http://gateway told at /v1/generations/{ID} does not agree"):
        play(reader_of(), damaged, seen)
    assert len(seen.requests) == PATIENCE.attempts


def test_a_position_that_is_none_is_damage() -> None:
    frames = log(*PIECES)
    frames[2] = frames[2].replace(b"id: 1-3", b"id: 1-3x")
    assert play(reader_of(), [Answer(chunks=frames), standing(TEXT)]).text == TEXT


@pytest.mark.parametrize("after", range(1, 5))
def test_a_tail_is_proved_by_the_whole(after: int) -> None:
    frames = log(*PIECES)
    source = Source(ID, f"1-{after}")
    seen = play(reader_of(source), [Answer(chunks=frames[after:]), standing(TEXT)])
    assert "".join(PIECES[: after - 1]) + seen.text == TEXT
    assert seen.kinds[-1] is Done


def test_a_tail_that_the_whole_does_not_bear_out_is_told() -> None:
    changed = log("你好，", "𠮷", "国。")
    seen = play(reader_of(Source(ID, "1-2")), [Answer(chunks=changed[2:]), standing(TEXT)])
    assert seen.kinds == [Text, Text, Snapshot, Done]
    assert seen.told[2].replaced


# What replaces


def test_a_retraction_replaces_what_was_told() -> None:
    frames = [*log("Bad")[:2], frame(Retract("Sorry.", 6, "unsafe"), "1-3")]
    end = frame(Done("stop", n=6, crc32=crc32("Sorry.")), "1-4")
    seen = play(reader_of(), [Answer(chunks=[*frames, end])])
    assert seen.told[2].replaced == "it was withdrawn (unsafe)"
    assert seen.told[2].piece == "Sorry."


def test_a_snapshot_that_goes_on_where_the_reader_was_only_adds() -> None:
    frames = log(*PIECES)
    whole = frame(Snapshot(TEXT, utf16_length(TEXT)), "2-4")
    seen = play(reader_of(), [Answer(chunks=frames[:2]), Answer(chunks=[whole, frame_end(TEXT, "2-5")])])
    assert seen.text == TEXT
    assert not any(told.replaced for told in seen.told)


def test_a_snapshot_of_another_text_replaces() -> None:
    frames = log(*PIECES)
    other = frame(Snapshot("Other.", 6), "2-4")
    seen = play(reader_of(), [Answer(chunks=frames[:2]), Answer(chunks=[other, frame_end("Other.", "2-5")])])
    assert seen.told[2].replaced == "the gateway could not go on from the position that had been read"


def frame_end(text: str, position: str) -> bytes:
    return frame(Done("stop", n=utf16_length(text), crc32=crc32(text)), position)


# Refusals


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(401, "unauthorized"), Unauthorized),
        (refusal(404, "not_found"), NotFound),
        (refusal(422, "unknown_field", param="zoom"), InvalidRequest),
        (refusal(503, "log_full", retryable=True, retry_after=3600), Unavailable),
        (
            Answer(
                chunks=[frame({"type": "error", **msgspec.json.decode(b"".join(refusal(404, "x").chunks))["error"]})]
            ),
            NotFound,
        ),
        (Answer(headers={"content-type": "text/html"}, chunks=[b"<html>"]), NotAGateway),
        (Answer(headers=JSON, chunks=[b"{}"]), NotAGateway),
        (Answer(404, {}), NotAGateway),
        (Answer(301, {"location": "/"}), NotAGateway),
    ],
)
def test_what_trying_again_cannot_mend_is_raised_at_once(answer: Answer, error: type[Exception]) -> None:
    seen = Seen()
    with pytest.raises(error):
        play(reader_of(), [answer], seen)
    assert len(seen.requests) == 1


def test_a_generation_that_is_gone_is_not_started_anew() -> None:
    seen = Seen()
    with pytest.raises(NotFound, match="So it is"):
        play(reader_of(), [Answer(chunks=log("x")[:1]), refusal(404, "not_found")], seen)
    assert [request.method for request in seen.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (refusal(503, "shutting_down", retryable=True, retry_after=7), 7),
        (Answer(503, {"retry-after": "7", "content-type": "text/html"}), 7),
    ],
)
def test_what_passes_is_waited_for_as_long_as_the_gateway_asks(answer: Answer, wait: float) -> None:
    seen = play(reader_of(), [answer, Answer(chunks=log(*PIECES))])
    assert seen.pauses == [wait]
    assert seen.text == TEXT


def test_what_does_not_pass_is_raised_in_the_gateways_words() -> None:
    with pytest.raises(Unavailable, match="So it is"):
        play(reader_of(), [refusal(503, "too_many_generations", retryable=True)] * 9)
    with pytest.raises(Unreachable, match="something before the gateway answered 502"):
        play(reader_of(), [Answer(502, {})] * 9)


# Time and size


def test_a_body_that_trickles_for_ever_is_left() -> None:
    times = iter(range(0, 10_000, 25))
    reader = Reader(Peer("http://gateway", PATIENCE, clock=lambda: next(times)), Source(ID))
    slow = Answer(404, {}, [b"x"] * 9)
    with pytest.raises(Unreachable, match="took longer than 60 s"):
        play(reader, [slow] * 9)


def test_an_endless_body_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazi.client.exchange.LONGEST", 100)
    with pytest.raises(Unreachable, match="longer than 100 bytes"):
        play(reader_of(), [Answer(404, {}, [b"x" * 60] * 9)] * 9)


def test_an_endless_frame_is_read_as_a_whole_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazi.client.reader.LONGEST", 200)
    endless = [*log("x")[:1], b"data: " + b"x" * 300]
    assert play(reader_of(), [Answer(chunks=endless), standing(TEXT)]).text == TEXT


@pytest.mark.parametrize(("silence", "heartbeat"), [(1, 1), (25, 10), (1000, 60)])
def test_heartbeats_come_at_least_twice_a_silence(silence: float, heartbeat: int) -> None:
    assert Patience(silence=silence).heartbeat == heartbeat
