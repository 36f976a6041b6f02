from __future__ import annotations

import json
import subprocess
from itertools import product
from typing import get_args
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.log.contract import PIECES, SAMPLES

from dazi.events import (
    Aborted,
    Done,
    Event,
    Failed,
    Problem,
    Reasoning,
    Reconnect,
    Snapshot,
    Started,
    Text,
    ToolCall,
)
from dazi.log import Cursor, Record
from dazi.sse import Parser, ServerSentEvent
from dazi.web.frames import PADDINGS, Encoding, Framer, Profile, Wire, framer_of, write_json
from dazi.web.openai import Chunks

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
PROFILES: tuple[Profile, ...] = get_args(Profile)
FORMATS = list(product(ENCODINGS, PROFILES))
every_format = pytest.mark.parametrize(("encoding", "profile"), FORMATS)
TEXTS = st.text(st.sampled_from("".join(SAMPLES)) | st.characters(exclude_categories=["Cs"]))
EVENTS: st.SearchStrategy[Wire] = st.one_of(
    PIECES,
    st.builds(Started, TEXTS, TEXTS, st.integers(0, 2**40)),
    st.builds(Snapshot, TEXTS, st.integers(0), TEXTS, st.tuples(st.builds(ToolCall, st.integers(0), arguments=TEXTS))),
    st.builds(Done, TEXTS, n=st.integers(0), crc32=st.integers(0, 2**32 - 1), ai_generated=st.just(value=True)),
    st.builds(Failed, TEXTS, TEXTS, st.booleans(), n=st.integers(0), crc32=st.integers(0, 2**32 - 1)),
    st.builds(Problem, TEXTS, TEXTS, TEXTS, st.integers(400, 599), st.booleans(), TEXTS),
    st.just(Reconnect()),
    st.just(Aborted(n=0, crc32=0)),
)
CURSORS = st.builds(Cursor, st.integers(1, 99), st.integers(1, 2**50))


def only_event(frame: bytes) -> ServerSentEvent:
    events = Parser().feed(frame)
    assert len(events) == 1
    return events[0]


def decoded(event: ServerSentEvent, encoding: Encoding) -> dict[str, object]:
    data = unquote(event.data, errors="strict") if encoding == "url" else event.data
    value: dict[str, object] = json.loads(data)
    return value


@every_format
@given(event=EVENTS, cursor=CURSORS)
def test_a_frame_is_read_back_as_exactly_its_event(
    encoding: Encoding, profile: Profile, event: Wire, cursor: Cursor
) -> None:
    identity = f"{cursor.epoch}-{cursor.position}"
    seen = only_event(Framer(encoding, profile).frame(event, cursor))
    value = decoded(seen, encoding)
    if profile == "plain":
        assert value.pop("id") == identity
    assert (seen.event, seen.id) == ("message", "" if profile == "plain" else identity)
    assert value == json.loads(msgspec.json.encode(event))


@every_format
@given(event=EVENTS, cursor=CURSORS)
def test_a_frame_is_one_block_of_lines_that_end_in_lf(
    encoding: Encoding, profile: Profile, event: Wire, cursor: Cursor
) -> None:
    frame = Framer(encoding, profile).frame(event, cursor)
    lines = frame.decode().splitlines()  # Python's: every line end that Unicode knows
    assert frame.endswith(b"\n\n")
    assert b"\r" not in frame
    assert [line[:4] for line in lines] == (["data", ""] if profile == "plain" else ["id: ", "data", ""])
    assert frame.isascii() or encoding == "utf8"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_tool_call_keeps_its_own_id_beside_its_position(encoding: Encoding) -> None:
    seen = only_event(Framer(encoding, "plain").frame(ToolCall(0, call_id="call_1", name="t"), Cursor(1, 7)))
    value = decoded(seen, encoding)
    assert (value["id"], value["call_id"]) == ("1-7", "call_1")


@every_format
@pytest.mark.parametrize("event", [Reconnect(), Problem("c", "m", "r", 400, retryable=False)])
def test_what_is_not_in_the_log_has_no_id(encoding: Encoding, profile: Profile, event: Wire) -> None:
    frame = Framer(encoding, profile).frame(event)
    assert b"id:" not in frame
    assert "id" not in decoded(only_event(frame), encoding)


@every_format
@given(pieces=st.lists(PIECES, max_size=6), epoch=st.integers(1, 99))
def test_a_record_is_framed_as_its_event_is(
    encoding: Encoding, profile: Profile, pieces: list[Event], epoch: int
) -> None:
    """The quick way for texts writes the very bytes of the general way."""
    framer = Framer(encoding, profile)
    for position, piece in enumerate(pieces, start=2):
        event = msgspec.structs.replace(piece, n=position) if isinstance(piece, Text | Reasoning) else piece
        record = Record(epoch, position - 1, position, event)
        expected = framer.frame(event, Cursor(epoch, position))
        assert framer.record(record) == expected
        assert framer.record(record) == expected


@given(pieces=st.lists(PIECES, max_size=6))
def test_a_record_is_a_chunk_of_openais_as_its_event_is(pieces: list[Event]) -> None:
    """There, too, the quick way for texts writes the very bytes of the general way."""
    quick, general = Chunks(Started("g", "m", 0)), Chunks(Started("g", "m", 0))
    for position, event in enumerate(pieces, start=2):
        expected = general.frame(event, Cursor(1, position))
        assert quick.record(Record(1, position - 1, position, event)) == expected


@given(text=st.text() | st.text(st.characters(max_codepoint=127)))
@example(text="".join(map(chr, range(128))))
@example(text="\ud83d")
def test_an_event_is_written_as_the_standard_library_writes_json(text: str) -> None:
    """The quick way for what is all ASCII writes the very bytes of the general way."""
    event = Problem("c", text, "r", 400, retryable=False)
    expected = json.dumps(msgspec.to_builtins(event), separators=(",", ":"))
    assert Framer("ascii", "full").frame(event) == f"data: {expected}\n\n".encode()


def test_a_record_is_encoded_once_for_all_its_readers() -> None:
    framer = Framer("ascii", "full")
    record = Record(1, 1, 2, Text("好", 1))
    assert framer.record(record) is framer.record(record)


def test_equal_records_of_two_generations_do_not_mix() -> None:
    framer = Framer("ascii", "full")
    assert framer.record(Record(1, 1, 2, Text("a", 1))) != framer.record(Record(1, 1, 2, Text("b", 1)))


def test_readers_of_one_format_share_one_framer() -> None:
    framers = {framer_of(*words) for words in FORMATS}
    assert len(framers) == len(FORMATS)
    assert framer_of("ascii", "full") in framers


@pytest.mark.parametrize(
    ("encoding", "profile", "frame"),
    [
        ("ascii", "full", b'id: 1-7\ndata: {"type":"text","text":"\\u4f60\\u597d","n":12}\n\n'),
        ("ascii", "plain", b'data: {"id":"1-7","type":"text","text":"\\u4f60\\u597d","n":12}\n\n'),
        ("utf8", "full", 'id: 1-7\ndata: {"type":"text","text":"你好","n":12}\n\n'.encode()),
        (
            "url",
            "plain",
            b"data: %7B%22id%22%3A%221-7%22%2C%22type%22%3A%22text%22%2C%22text%22%3A%22%E4%BD%A0%E5%A5%BD%22%2C%22n%22%3A12%7D\n\n",
        ),
    ],
)
def test_the_protocols_own_example(encoding: Encoding, profile: Profile, frame: bytes) -> None:
    assert Framer(encoding, profile).record(Record(1, 6, 7, Text("你好", 12))) == frame


@every_format
def test_lines_that_only_some_clients_end_are_escaped(encoding: Encoding, profile: Profile) -> None:
    text = "".join(map(chr, (0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029)))
    frame = Framer(encoding, profile).record(Record(1, 1, 2, Text(text, 10)))
    assert len(frame.decode().splitlines()) == (2 if profile == "plain" else 3)
    assert decoded(only_event(frame), encoding)["text"] == text


def test_a_plain_stream_has_neither_greeting_nor_heartbeat() -> None:
    assert (Framer("ascii", "plain").greeting(), Framer("ascii", "plain").heartbeat) == (b"", b"")


def test_the_greeting_sets_the_reconnection_time_and_nothing_else() -> None:
    times = set()
    for _ in range(50):
        parser = Parser()
        assert parser.feed(Framer("ascii", "full").greeting()) == []
        assert parser.retry is not None
        assert 500 <= parser.retry < 1500
        times.add(parser.retry)
    assert len(times) > 5


def test_a_heartbeat_is_a_comment_and_nothing_else() -> None:
    heartbeat = Framer("utf8", "full").heartbeat
    assert heartbeat.startswith(b":")
    assert Parser().feed(heartbeat + heartbeat) == []


@given(TEXTS)
def test_a_json_body_is_ascii_unless_asked_otherwise(text: str) -> None:
    assert write_json({"a": text}).isascii()
    assert json.loads(write_json({"a": text})) == json.loads(write_json({"a": text}, "utf8")) == {"a": text}
    assert len(write_json(text, "utf8").decode().splitlines()) == 1


# encodeURIComponent

TABLE = "".join(map(chr, [*range(0x100), 0x2028, 0x2029, 0x4F60, 0xFFFF, 0x20BB7, 0x1F600, 0x10FFFF]))


def quoted(text: str) -> str:
    seen = only_event(Framer("url", "plain").frame(Text(text, 1)))
    return seen.data


def test_url_is_what_encode_uri_component_writes() -> None:
    text = json.dumps({"type": "text", "text": TABLE, "n": 1}, ensure_ascii=False, separators=(",", ":"))
    for end in "\x85\u2028\u2029":
        text = text.replace(end, f"\\u{ord(end):04x}")
    program = "process.stdout.write(encodeURIComponent(require('fs').readFileSync(0, 'utf8')))"
    node = subprocess.run(["node", "-e", program], input=text.encode(), capture_output=True, check=True, timeout=30)
    assert quoted(TABLE) == node.stdout.decode()


def test_url_leaves_what_encode_uri_component_leaves() -> None:
    """ECMA-262, the same without Node.js: uriUnreserved is letters, digits, and these marks."""
    letters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    for character in letters | set("-_.!~*'()"):
        assert f"text%22%3A%22{character}%22" in quoted(character)
    for character in '"#$%&+,/:;<=>?@[]^`{|} ':
        assert f"%{ord(character):02X}" in quoted(character)


# Padding


@every_format
@pytest.mark.parametrize("padding", PADDINGS[1:])
@given(event=EVENTS, cursor=CURSORS)
def test_a_padded_frame_is_the_same_event_in_a_size_of_few(
    encoding: Encoding, profile: Profile, padding: int, event: Wire, cursor: Cursor
) -> None:
    """Whisper Leak (arXiv 2511.03675): the sizes of encrypted pieces tell what an answer is about."""
    padded, bare = Framer(encoding, profile, padding), Framer(encoding, profile)
    for place in (cursor, None):
        frame, plain = padded.frame(event, place), bare.frame(event, place)
        assert len(frame) % padding == 0
        assert 0 < len(frame) - len(plain) < padding + len("%2C%22p%22%3A%22%22")
        told, meant = only_event(frame), only_event(plain)
        fields = decoded(told, encoding)
        assert set(str(fields.pop("p"))) <= {"."}
        assert fields == decoded(meant, encoding)
        assert (told.id, told.event) == (meant.id, meant.event)


def test_texts_of_like_length_have_frames_of_one_length() -> None:
    framer = Framer("ascii", "full", 128)
    sizes = {len(framer.record(Record(1, at, at + 1, Text("x" * at, at)))) for at in range(1, 40)}
    assert len(sizes) == 1
