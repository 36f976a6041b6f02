"""`dazi.sse` against the shared vectors, the standard's algorithm taken literally, and its own laws."""

from __future__ import annotations

import base64
import json
import random
import re
import time
import tracemalloc
from itertools import cycle, pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dazi import sse
from dazi.errors import EventTooLarge
from dazi.sse import Parser, ServerSentEvent, comment, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SEED = 20261123
VECTORS = Path(__file__).parent.parent / "vectors" / "sse"
LONG = 5000  # bytes; a stream from here on is cut at some places instead of at all

thorough = settings(max_examples=300, deadline=None)


# The oracle: no chunks, no fast ways, the words of the standard one after the other.


class Outcome(NamedTuple):
    events: list[ServerSentEvent]
    last_event_id: str = ""
    retry: int | None = None


def interpret(stream: bytes, before: Outcome | None = None) -> Outcome:
    """WHATWG HTML 9.2.6, "Interpreting an event stream", over one whole body."""
    events, last_event_id, retry = before or Outcome([])
    data, event_type, id_buffer = "", "", last_event_id
    # "Streams must be decoded using the UTF-8 decode algorithm", which "strips one leading BOM, if any".
    lines = re.split("\r\n|\n|\r", stream.decode("utf-8", "replace").removeprefix("\ufeff"))
    for line in lines[:-1]:  # "Once the end of the file is reached, any pending data must be discarded."
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            last_event_id = id_buffer
            if data != "":
                events = [*events, ServerSentEvent(event_type or "message", data[:-1], last_event_id, retry)]
            data, event_type = "", ""
        elif field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]{1,15}", value):
            retry = int(value)
    return Outcome(events, last_event_id, retry)


# The vectors.


class Case(NamedTuple):
    bodies: list[bytes]
    expected: Outcome


def spell_out(text: Any) -> str:
    """Expand vectors/README.md's `Text`: a string, a repetition, or a list of them."""
    if isinstance(text, str):
        return text
    if isinstance(text, list):
        return "".join(map(spell_out, text))
    return spell_out(text["repeat"]) * int(text["times"])


def read_body(record: dict[str, Any]) -> bytes:
    return base64.b64decode(record["base64"]) if "base64" in record else spell_out(record["text"]).encode()


def read_cases() -> Iterator[Any]:
    for path in sorted(VECTORS.glob("*.json")):
        for record in json.loads(path.read_text("utf-8")):
            bodies = [read_body(body) for body in record.get("bodies", [record])]
            events = [(event["event"], spell_out(event["data"]), spell_out(event["id"])) for event in record["events"]]
            expected = Outcome(
                [ServerSentEvent(*event) for event in events], spell_out(record["last_event_id"]), record["retry"]
            )
            yield pytest.param(Case(bodies, expected), id=f"{path.stem}: {record['name']}")


def without_retry(outcome: Outcome) -> Outcome:
    """The vectors tell the reconnection time at the end, not at each event."""
    return outcome._replace(events=[msgspec.structs.replace(event, retry=None) for event in outcome.events])


every_vector = pytest.mark.parametrize("case", list(read_cases()))


# Ways to feed.


def as_bytes(parser: Parser, chunk: bytes) -> list[ServerSentEvent]:
    return parser.feed(chunk)


def as_overwritten_bytearray(parser: Parser, chunk: bytes) -> list[ServerSentEvent]:
    buffer = bytearray(chunk)
    events = parser.feed(buffer)
    buffer[:] = b"#" * len(buffer)
    return events


def as_overwritten_memoryview(parser: Parser, chunk: bytes) -> list[ServerSentEvent]:
    buffer = bytearray(b"<" + chunk + b">")
    events = parser.feed(memoryview(buffer)[1:-1])
    buffer[:] = b"\n" * len(buffer)
    return events


WAYS = [as_bytes, as_overwritten_bytearray, as_overwritten_memoryview]


def parse(
    bodies: Iterable[Iterable[bytes]],
    feed: Callable[[Parser, bytes], list[ServerSentEvent]] = as_bytes,
    parser: Parser | None = None,
) -> Outcome:
    parser = parser or Parser()
    events = []
    for number, chunks in enumerate(bodies):
        if number:
            parser.next_body()
        for chunk in chunks:
            events += feed(parser, chunk)
    return Outcome(events, parser.last_event_id, parser.retry)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def single_bytes(stream: bytes) -> list[bytes]:
    return cut(stream, range(1, len(stream)))


def single_cuts(length: int) -> Iterable[int]:
    """Every place; of a long stream both its ends and some of its middle."""
    if length < LONG:
        return range(length + 1)
    return {*range(20), *range(length - 20, length + 1), *random.Random(SEED).sample(range(length), 20)}


def random_cuts(length: int) -> Iterator[list[int]]:
    """Few and many; places may come twice, which makes empty chunks."""
    rng = random.Random(SEED)
    for _ in range(200 if length < LONG else 20):
        yield [rng.randint(0, length) for _ in range(rng.randint(1, 12))]


# Parsing.


@every_vector
def test_the_oracle_agrees_with_the_vector(case: Case) -> None:
    outcome = Outcome([])
    for body in case.bodies:
        outcome = interpret(body, outcome)
    assert without_retry(outcome) == case.expected


@every_vector
def test_vector_whole(case: Case) -> None:
    for feed in WAYS:
        assert without_retry(parse([[body] for body in case.bodies], feed)) == case.expected


@every_vector
def test_vector_with_empty_chunks(case: Case) -> None:
    bodies = [
        [b"", *(piece for half in cut(body, [len(body) // 2]) for piece in (half, b"", b""))] for body in case.bodies
    ]
    for feed in WAYS:
        assert without_retry(parse(bodies, feed)) == case.expected


@every_vector
def test_vector_byte_by_byte(case: Case) -> None:
    bodies = [single_bytes(body) for body in case.bodies]
    assert without_retry(parse(bodies)) == case.expected
    if sum(map(len, bodies)) < LONG:
        with_empty_chunks = [[piece for byte in body for piece in (byte, b"")] for body in bodies]
        for feed in WAYS:
            assert without_retry(parse(with_empty_chunks, feed)) == case.expected


@every_vector
def test_vector_cut_in_two_anywhere(case: Case) -> None:
    for number, body in enumerate(case.bodies):
        for place in single_cuts(len(body)):
            bodies = [[body] for body in case.bodies]
            bodies[number] = cut(body, [place])
            assert without_retry(parse(bodies, WAYS[place % 3])) == case.expected, place


@every_vector
def test_vector_cut_at_random(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = zip(*(random_cuts(len(body)) for body in case.bodies), strict=False)
    for number, (worth_cutting, places) in enumerate(zip(cycle([1, 2048]), cuts, strict=False)):
        monkeypatch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
        bodies = [cut(body, in_body) for body, in_body in zip(case.bodies, places, strict=True)]
        assert without_retry(parse(bodies, WAYS[number % 3])) == case.expected, places


@every_vector
def test_vector_gives_each_event_in_the_feed_that_completes_it(case: Case) -> None:
    stream = case.bodies[0][:400]
    parser, events = Parser(), []
    for length in range(1, len(stream) + 1):
        events += parser.feed(stream[length - 1 : length])
        assert events == interpret(stream[:length]).events


PIECES = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b":", b" ", b": ", b"\0", b"\xef\xbb\xbf", b"\xef", b"\xbb\xbf"),
    *(b"data", b"data:", b"data: ", b"\n\ndata: ", b"data: x\n\n", b"id", b"id: ", b"event: ", b"retry: ", b"12"),
    *("你".encode(), "😀".encode(), b"\xe4", b"\xbd\xa0", b"\xf0\x9f", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8"),
    *(b"x", b"+5", b"foo: ", b": ping\n\n"),
]
# What the shorter ways are for, and what only looks like it.
LINES = [
    *(b"data: x", b"data:xy", b"data: ", b"data:  x", b"data", b"data:", "data: 你\u2028".encode(), b"data: \xe4"),
    *(b"id: 7", b"id:8", b"id:  9", b"id: data: x", b"id: \xe4", b"id: ", b"id:", b"id", b"id: 7\0", b"id: \0"),
    *(
        b"event: e",
        b"event:e",
        b"event:  e",
        b"event: data: x",
        b"event: \xe4",
        b"event: ",
        b"event",
        b"event: message",
    ),
    *(b"retry: 5", b": ping", b"foo: x", b"iddata: x", b"ddata: x", b"\xef\xbb\xbfdata: x", b" data: x", b""),
    *(b"data: a\rb", b"event: a\rdata: b", b"id: 7\rdata: b", b"data: a\r"),
]
simple = st.tuples(
    st.sampled_from([b"", b"id: 7\n", b"id:8\n", b"event:  e\n", b"event:e\nid:  9\n", b"id: 1\nid: 2\n"]),
    st.sampled_from([b"data: x\n\n", b"data:x\n\n", b"data: \xe4\n\n", b"data: \n\n"]),
).map(b"".join)
blocks = simple | st.lists(st.sampled_from(LINES), max_size=4).map(lambda lines: b"\n".join([*lines, b"", b""]))

streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=60).map(b"".join) | st.lists(
    blocks, max_size=8
).map(b"".join)
places = st.lists(st.integers(0, 200), max_size=20)


@thorough
@given(streams, places, st.sampled_from([1, 2048]), st.sampled_from(WAYS))
@example(b"data: a\n\ndata: b\rdata: c\n\n", [9], 1, as_bytes)
def test_any_chunking_of_any_bytes_is_what_the_standard_says(
    stream: bytes, places: list[int], worth_cutting: int, feed: Callable[[Parser, bytes], list[ServerSentEvent]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
        assert parse([cut(stream, places)], feed) == interpret(stream)


@pytest.mark.parametrize("worth_cutting", [1, 2048])
def test_every_pair_of_lines_is_read_as_the_standard_says(worth_cutting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
    for lines in product(LINES, repeat=2):
        for end in (b"\n\n", b"\ndata: z\n\n"):
            block = b"\n".join(lines) + end
            for chunk in (block, block + block, b"data: y\n\n" + block):
                chunks = [b"id: 0\ndata: a\n\n", chunk, b"data: b\n\n"]
                assert parse([chunks]) == interpret(b"".join(chunks)), chunk


@thorough
@given(
    st.lists(st.lists(blocks, min_size=1, max_size=3).map(b"".join) | st.sampled_from(PIECES), max_size=8),
    st.sampled_from([1, 2048]),
    st.sampled_from(WAYS),
)
def test_chunks_that_are_whole_blocks_give_at_once_what_the_standard_says(
    chunks: list[bytes], worth_cutting: int, feed: Callable[[Parser, bytes], list[ServerSentEvent]]
) -> None:
    parser, events = Parser(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
        for number, chunk in enumerate(chunks, start=1):
            events += feed(parser, chunk)
            expected = interpret(b"".join(chunks[:number]))
            assert Outcome(events, parser.last_event_id, parser.retry) == expected


@thorough
@given(st.lists(blocks | st.sampled_from(PIECES), max_size=8), st.integers(8, 30))
def test_what_is_only_data_is_what_a_feed_would_return(chunks: list[bytes], limit: int) -> None:
    parser = Parser(limit)
    try:
        for chunk in chunks:
            text = parser.only_data(chunk)
            before = parser.last_event_id
            events = parser.feed(chunk)
            if text:
                assert events == [ServerSentEvent("message", text.decode("utf-8", "replace"), before, parser.retry)]
                assert chunk == b"data: " + text + b"\n\n"
    except EventTooLarge:
        assert not text
        assert parser.only_data(b"data: x\n\n") == b""


def test_one_line_of_data_between_two_events_is_only_data() -> None:
    parser = Parser(limit=20)
    assert parser.only_data(b"data: x\n\n") == b""  # there may be a byte order mark in front
    parser.feed(b"id: 1\ndata: a\n\n")
    assert parser.only_data(b"data: x\xe4\n\n") == b"x\xe4"
    assert parser.feed(b"\n") == []
    assert parser.only_data(b"data: x\n\n") == b"x"
    parser.feed(b"id: 2\n")
    assert parser.only_data(b"data: x\n\n") == b""


@pytest.mark.parametrize(
    "chunk",
    [
        *(b"", b"data: x", b"data: x\n", b"data: x\n\n\n", b"data: x\n\ndata: y\n\n", b"data: x\ndata: y\n\n"),
        *(b"data:xy\n\n", b"data: x\ry\n\n", b"data: x\r\n\r\n", b"data: 34567890123456\n\n", b"id: 1\ndata: x\n\n"),
    ],
)
def test_nothing_else_is_only_data(chunk: bytes) -> None:
    parser = Parser(limit=20)
    parser.feed(b"\n\n")
    assert parser.only_data(chunk) == b""


@thorough
@given(st.lists(st.tuples(streams, places), min_size=2, max_size=4))
def test_any_chunking_of_any_bodies_is_what_the_standard_says(bodies: list[tuple[bytes, list[int]]]) -> None:
    expected = Outcome([])
    for stream, _ in bodies:
        expected = interpret(stream, expected)
    assert parse(cut(stream, places) for stream, places in bodies) == expected


def test_cr_alone_ends_an_event_at_once_and_a_lf_that_follows_is_part_of_it() -> None:
    parser = Parser()
    assert [event.data for event in parser.feed(b"data: a\r\r")] == ["a"]
    assert not parser.is_idle
    assert parser.feed(b"\n") == []
    assert [event.data for event in parser.feed(b"data: b\n\n")] == ["b"]


def test_an_event_carries_the_reconnection_time_in_force() -> None:
    stream = b"data: a\n\nretry: 5\ndata: b\n\nretry: 6\n\ndata: c\n\n"
    assert [event.retry for event in parse([[stream]]).events] == [None, 5, 6]


@pytest.mark.parametrize(
    "block", [b"data: a\n\n", b"event: message\ndata: a\n\n", b"data: a\r\n\r\n", b"data\ndata\n\n"]
)
def test_what_an_earlier_block_set_is_in_force_on_every_way(block: bytes) -> None:
    for count in (1, 2, 1000):
        events = parse([[b"id: 1\nretry: 5\n\n", block * count]]).events
        assert [(event.id, event.retry) for event in events] == [("1", 5)] * count


def test_the_reconnection_time_counts_from_its_line_on_and_the_id_from_the_end_of_its_block() -> None:
    parser = Parser()
    parser.feed(b"id: 1\nretry: 5\n")
    assert (parser.last_event_id, parser.retry) == ("", 5)
    parser.feed(b"\n")
    assert (parser.last_event_id, parser.retry) == ("1", 5)


def test_an_event_is_an_immutable_value() -> None:
    event = ServerSentEvent(data="x")
    assert event == ServerSentEvent("message", "x", "", None)
    with pytest.raises(AttributeError):
        event.data = "y"  # type: ignore[misc]  # that is the test
    assert hash(event) == hash(ServerSentEvent(data="x"))


@pytest.mark.parametrize("data", [b"data: a\n\n", b"data: a", b"\n", b""])
def test_the_buffer_is_free_again_after_the_feed(data: bytes) -> None:
    parser, buffer = Parser(), bytearray(data)
    parser.feed(memoryview(buffer))
    buffer.clear()  # a BufferError while anybody holds a view of it


@pytest.mark.parametrize("wrong", ["data: a\n\n", 5, None, [100]])
def test_only_bytes_can_be_fed(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Parser().feed(wrong)


def test_parsers_share_nothing() -> None:
    one, other = Parser(), Parser()
    one.feed(b"id: 1\nretry: 5\ndata: a\n\ndata: b\n")
    assert [event.data for event in other.feed(b"\ndata: c\n\n")] == ["c"]
    assert (other.last_event_id, other.retry) == ("", None)


# The limit.


def feed_all(parser: Parser, chunks: Iterable[bytes]) -> tuple[list[ServerSentEvent], bool]:
    """Feed until the parser refuses; returns the events, and whether it did."""
    events = []
    try:
        for chunk in [*chunks, b""]:
            events += parser.feed(chunk)
    except EventTooLarge:
        return events, True
    return events, False


def passes_limit(stream: bytes, limit: int) -> int | None:
    """Where the law of the limit is broken, or None: a block's data lines and the line in progress are within it."""
    held, start = 0, len(stream.removeprefix(b"\xef\xbb\xbf")) - len(stream)
    for line in stream[-start:].splitlines(keepends=True):
        bare = line.rstrip(b"\r\n")
        if held + len(bare) > limit:
            return -start
        if bare.partition(b":")[0] == b"data":
            held += len(bare)
        held = held if bare else 0
        start -= len(line)
    return None


@pytest.mark.parametrize(
    "stream",
    [
        b"data: 67890\n\n",
        b"data:6\ndata\n\n",
        b"data: 67890",
        b": 34567890\ndata: a\n\n",
        b"foo: 67890\ndata: a\n\n",
        b"id: 567890\ndata: a\n\n",
        b"\xef\xbb\xbfdata: 67890\n\n",
        b"data: 6789\n\n" * 9,
        b"data: 6789\r\n\r\n" * 9,
        b"data: 6\n: 34\n: 34\n: 34\n: 34\n\n",
    ],
)
def test_up_to_the_limit_all_is_well_and_a_byte_less_is_too_much(stream: bytes) -> None:
    limit = next(limit for limit in range(100) if passes_limit(stream, limit) is None)
    for chunks in ([stream], single_bytes(stream), cut(stream, range(0, len(stream), 3))):
        assert feed_all(Parser(limit), chunks) == (interpret(stream).events, False)
        assert feed_all(Parser(limit - 1), chunks)[1]


@thorough
@given(streams, places, st.integers(3, 40), st.sampled_from([1, 2048]))
def test_the_limit_strikes_at_the_same_event_however_the_bytes_are_cut(
    stream: bytes, places: list[int], limit: int, worth_cutting: int
) -> None:
    end = passes_limit(stream, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
        outcome = feed_all(Parser(limit), cut(stream, places))
    assert outcome == (interpret(stream[:end]).events, end is not None)


def test_the_error_comes_as_soon_as_the_limit_is_passed_and_at_every_feed_from_then_on() -> None:
    parser = Parser(limit=10)
    assert parser.feed(b"data: 7890") == []
    for chunk in (b"1", b"\n\ndata: a\n\n", b""):
        with pytest.raises(EventTooLarge) as caught:
            parser.feed(chunk)
        assert caught.value.limit == 10


def test_the_line_in_progress_counts_together_with_the_data_before_it() -> None:
    parser = Parser(limit=10)
    assert parser.feed(b"data: a\n") == parser.feed(b"dat") == []
    with pytest.raises(EventTooLarge):
        parser.feed(b"a")
    with pytest.raises(EventTooLarge):
        Parser(limit=10).feed(b"data: a\ndata")


@pytest.mark.parametrize("worth_cutting", [1, 2048])
@pytest.mark.parametrize("first", [b"", b"data: a\n\n", b"data: a\n\n: "])
def test_the_fast_ways_keep_to_the_limit(first: bytes, worth_cutting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_WORTH_CUTTING", worth_cutting)
    parser = Parser(limit=10)
    parser.feed(first)
    assert feed_all(parser, [b"\n\ndata: 7890\n\ndata: 78901\n\n"]) == ([ServerSentEvent(data="7890")], True)
    for chunk in (b"data: 78901\n\n", b"data:678901\n\n", b"id: 1\ndata: 78901\n\n", b"data: 78901\n\ndata: a\n\n"):
        parser.next_body()
        parser.feed(b"data: a\n\n")
        assert parser.only_data(chunk) == b""
        assert feed_all(parser, [chunk]) == ([], True)


@pytest.mark.parametrize(
    "chunks", [[b"data: 23456789012345\n", b"data: 78901"], [b"data: 23456789012345", b"6789012345"]]
)
def test_the_fast_ways_count_what_was_kept_before(chunks: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_WORTH_CUTTING", 1)
    first, second = chunks
    stream = [first, second + b"\n\ndata: a\n\n"]
    assert feed_all(Parser(limit=29), stream) == ([], True)
    assert len(feed_all(Parser(limit=31), stream)[0]) == 2


@pytest.mark.parametrize("chunk", [b"", b"data: b\n\n", b"id: 1\ndata: b\n\n", b"data: b\n\ndata: c\n\n"])
def test_no_fast_way_leads_past_the_error(chunk: bytes) -> None:
    parser = Parser(limit=20)
    assert len(parser.feed(b"data: a\n\ndata: 789012345678901\n\n")) == 1
    assert not parser.is_idle
    assert parser.only_data(chunk) == b""
    with pytest.raises(EventTooLarge):
        parser.feed(chunk)


def test_events_completed_before_the_limit_is_passed_are_delivered_first() -> None:
    parser = Parser(limit=10)
    assert [event.data for event in parser.feed(b"data: a\n\ndata: 78901\n\ndata: b\n\n")] == ["a"]
    with pytest.raises(EventTooLarge):
        parser.feed(b"")


def test_the_next_body_is_read_again_after_the_limit_was_passed() -> None:
    parser = Parser(limit=10)
    parser.feed(b"id: 1\ndata: a\n\nid: 2\n")
    with pytest.raises(EventTooLarge):
        parser.feed(b"data: 78901")
    parser.next_body()
    assert parser.feed(b"data: b\n\n") == [ServerSentEvent(data="b", id="1")]


def test_a_chunk_may_be_longer_than_the_limit() -> None:
    assert feed_all(Parser(limit=10), [b"data: a\n\n" * 1000]) == ([ServerSentEvent(data="a")] * 1000, False)


@pytest.mark.parametrize("chunk", [b": ping\n", b"\n", b":\r", b"id: 1\n", b"foo: bar\n", b"event: x\nretry: 5\n"])
def test_what_makes_no_event_is_not_kept(chunk: bytes) -> None:
    parser = Parser(limit=20)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            parser.feed(chunk)
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


def test_nothing_is_kept_of_an_event_that_passed_the_limit() -> None:
    parser = Parser(limit=100_000)
    tracemalloc.start()
    try:
        parser.feed(b"data: " + bytes(60_000) + b"\ndata: ")
        with pytest.raises(EventTooLarge):
            parser.feed(bytes(60_000))
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


def test_a_line_that_arrives_in_tiny_pieces_weighs_no_more_than_its_bytes() -> None:
    parser = Parser()
    tracemalloc.start()
    try:
        for _ in range(50_000):
            parser.feed(bytes([120, 121]))
        assert tracemalloc.get_traced_memory()[0] < 2 * 100_000
    finally:
        tracemalloc.stop()


# The work is linear. Ratios of one run on one machine: four times the bytes would cost sixteen times were it quadratic.


def pieces_of(stream: bytes, size: int) -> list[bytes]:
    return cut(stream, range(size, len(stream), size))


SHAPES: dict[str, Callable[[int], list[bytes]]] = {
    "one line byte by byte": lambda n: pieces_of(b"data: " + b"x" * n + b"\n\n", 1),
    "one line in pieces of 7": lambda n: pieces_of(b"data: " + b"x" * n * 4 + b"\n\n", 7),
    "tiny events in one chunk": lambda n: [b"data: x\n\n" * (n // 4)],
    "tiny events in one chunk with CR LF": lambda n: [b"data: x\r\n\r\n" * (n // 4)],
    "tiny events in one chunk after another": lambda n: [b"data: ", b"data: x\n\n" * (n // 4)],
    "tiny events with ids in one chunk": lambda n: [b"id: 1\ndata: x\n\n" * (n // 4)],
    "tiny events with ids in one chunk after another": lambda n: [b"\n\n", b"id: 1\ndata: x\n\n" * (n // 4)],
    "tiny events in one chunk and at last one that is not simple": lambda n: [
        b"\n\n",
        b"event: x\ndata: x\n\n" * (n // 4) + b"data\n\n",
    ],
    "what looks like many events in one chunk": lambda n: [b"\n\n", b"event: data: " * (n // 4) + b"\n\n"],
    "ids without an end in one chunk": lambda n: [b"\n\n", b"id: x\n" * (n // 4) + b"\n"],
    "data lines of one event in one chunk": lambda n: [b"data: x\n" * (n // 2) + b"\n"],
    "data lines of one event in pieces of 7": lambda n: pieces_of(b"data: x\n" * (n // 8) + b"\n", 7),
    "bare data lines byte by byte": lambda n: pieces_of(b"data\n" * (n // 5) + b"\n", 1),
    "a comment in pieces of 7": lambda n: pieces_of(b":" + b"x" * n * 4 + b"\n\n", 7),
    "blank lines byte by byte": lambda n: pieces_of(b"\r\n" * (n // 2), 1),
    "one line after a mark in pieces of 7": lambda n: pieces_of(b"\xef\xbb\xbfdata: " + b"x" * n * 4 + b"\n\n", 7),
    "bad bytes in pieces of 7": lambda n: pieces_of(b"data: " + b"\xff" * n + b"\n\n", 7),
}


def seconds(chunks: list[bytes]) -> float:
    parser = Parser()
    start = time.process_time()
    for chunk in chunks:
        parser.feed(chunk)
    return time.process_time() - start


def growth(shape: Callable[[int], list[bytes]]) -> float:
    """How many times longer four times the bytes take, at best of three."""
    small, large = shape(2**15), shape(2**17)
    return min(seconds(large) for _ in range(3)) / min(seconds(small) for _ in range(3))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_four_times_the_bytes_are_about_four_times_the_work(shape: Callable[[int], list[bytes]]) -> None:
    assert any(growth(shape) < 8 for _ in range(4))  # the machine may hiccup once, not four times


# Encoding.


def test_a_frame_is_lf_only_and_its_fields_come_before_its_data() -> None:
    assert encode("a") == b"data: a\n\n"
    assert encode("a\nb", event="x", id="1-7", retry=5) == b"id: 1-7\nevent: x\nretry: 5\ndata: a\ndata: b\n\n"
    assert encode("你好 😀") == "data: 你好 😀\n\n".encode()
    assert encode("") == b"data: \n\n"


texts = st.text(
    st.sampled_from("\r\n\0 :\ufeff\ufffd\u2028\u2029\u0085\x0b\x0cad你😀\ud83d\ude00") | st.characters(), max_size=12
)
encodable = texts.filter(lambda text: not re.search("[\ud800-\udfff]", text))


def lf_only(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@thorough
@given(texts, st.none() | texts, st.none() | texts, st.none() | st.integers(-5, 10**16), places)
def test_any_strings_come_back_as_one_event_or_are_refused(
    data: str,
    event: str | None,
    id: str | None,  # noqa: A002 - the wire's word
    retry: int | None,
    places: list[int],
) -> None:
    try:
        frame = encode(data, event=event, id=id, retry=retry)
    except ValueError:
        assert refusable(data, event, id, retry)
        return
    expected = ServerSentEvent(event or "message", lf_only(data), id or "", retry)
    after = ServerSentEvent("message", "after", id or "", retry)
    assert parse([cut(frame + encode("after"), places)]).events == [expected, after]


def refusable(data: str, event: str | None, id: str | None, retry: int | None) -> bool:  # noqa: A002 - the wire's word
    return bool(
        re.search("[\ud800-\udfff]", f"{data}{event}{id}")
        or re.search("[\r\n]", event or "")
        or event == ""
        or re.search("[\r\n\0]", id or "")
        or not 0 <= (retry or 0) < 10**15
    )


@thorough
@given(encodable)
def test_any_unicode_data_is_accepted(data: str) -> None:
    assert parse([[encode(data)]]).events == [ServerSentEvent(data=lf_only(data))]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"event": "a\nb"}, r"The event 'a\nb' holds '\n', which would end or void the field; remove it."),
        ({"event": "a\rb"}, r"The event 'a\rb' holds '\r', which would end or void the field; remove it."),
        ({"event": ""}, "The event '' would be read as 'message'; leave it out or name a type."),
        ({"id": "a\nb"}, r"The id 'a\nb' holds '\n', which would end or void the field; remove it."),
        ({"id": "a\rb"}, r"The id 'a\rb' holds '\r', which would end or void the field; remove it."),
        ({"id": "a\0b"}, r"The id 'a\x00b' holds '\x00', which would end or void the field; remove it."),
        ({"retry": -1}, "The retry -1 is no time to wait; give milliseconds, from 0 up to 15 digits."),
        (
            {"retry": 10**15},
            "The retry 1000000000000000 is no time to wait; give milliseconds, from 0 up to 15 digits.",
        ),
        (
            {"id": "\ud83d"},
            r"'\ud83d' is half of a surrogate pair, which UTF-8 cannot carry; join it with its other half or replace it by U+FFFD.",
        ),
    ],
)
def test_a_refusal_names_the_value_and_the_remedy(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence) + "$"):
        encode("x", **fields)


def test_a_refusal_does_not_repeat_the_answer() -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair") as caught:
        encode("secret \ud83d")
    assert "secret" not in str(caught.value)


def test_a_retry_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match="float"):
        encode("x", retry=1.5)  # type: ignore[arg-type]  # that is the test


def test_a_comment_stands_on_its_own() -> None:
    assert comment("ping") == b": ping\n\n"
    assert comment() == b": \n\n"
    assert comment("data: a\r\ndata: b\rc\n") == b": data: a\n: data: b\n: c\n: \n\n"


@thorough
@given(encodable, places)
def test_no_comment_is_an_event(text: str, places: list[int]) -> None:
    stream = comment(text) + encode("after") + comment(text)
    assert parse([cut(stream, places)]).events == [ServerSentEvent(data="after")]


def test_the_public_names_are_these() -> None:
    assert sse.__all__ == ["DEFAULT_LIMIT", "Parser", "ServerSentEvent", "comment", "encode"]
    assert Parser().limit == sse.DEFAULT_LIMIT == 8 * 1024 * 1024
