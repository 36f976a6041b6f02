from __future__ import annotations

import random
import re
from collections import deque
from itertools import pairwise
from pathlib import Path

import pytest
from tests.upstream.mock_server import LAST_CHUNK, STREAM_HEAD, chunk, plain

from dazi.errors import UpstreamError
from dazi.upstream import response as module
from dazi.upstream.response import MAX_OVERHEAD, Response, Taken, error_code

CHUNKED = STREAM_HEAD + chunk(b"Hello, ") + chunk("世界".encode()) + LAST_CHUNK
SIZED = plain(200, b"Hello")
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nHello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + SIZED
TRAILERS = CHUNKED[:-2] + b"Checksum: 1\r\nContent-Type: text/html\r\n\r\n"
EXTENSIONS = STREAM_HEAD + b"5;name=value\r\nHello\r\n" + LAST_CHUNK
WHOLE = {"chunked": CHUNKED, "sized": SIZED, "interim": INTERIM, "trailers": TRAILERS, "extensions": EXTENSIONS}


class Keeper:
    """A reader that keeps the body, and has all of it at the byte `!`."""

    def __init__(self, ends: bytes = b"!") -> None:
        self.body = b""
        self._ends = ends
        self.media_type = ""

    def begin(self, media_type: str) -> module.Take:
        self.media_type = media_type
        return self.take

    def take(self, body: bytes) -> Taken:
        self.body += body
        return Taken.ALL if self._ends and self._ends in body else Taken.PROGRESS


def pieces(data: bytes, cuts: int, dice: random.Random) -> list[bytes]:
    """Cut it at random."""
    ends = sorted(dice.randrange(1, len(data)) for _ in range(cuts))
    return [data[start:end] for start, end in pairwise([0, *ends, len(data)]) if start < end]


def fails(data: bytes, *more: bytes) -> UpstreamError:
    """Feed it; returns how that fails."""
    response = Response(Keeper())
    with pytest.raises(UpstreamError) as raised:
        deque(map(response.feed, (data, *more)), maxlen=0)
    return raised.value


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_every_cut_gives_the_same_body(data: bytes) -> None:
    expected = Keeper()
    Response(expected).feed(data)
    assert expected.body
    for cut in range(1, len(data)):
        keeper = Keeper()
        response = Response(keeper)
        response.feed(data[:cut])
        response.feed(data[cut:])
        assert (keeper.body, keeper.media_type) == (expected.body, expected.media_type)
        assert response.is_whole
        assert response.leaves_reusable


def test_chunks_that_come_alone_and_chunks_that_are_cut_anywhere_give_the_same_body() -> None:
    dice = random.Random(11)
    for _ in range(300):
        parts = [dice.randbytes(dice.choice((1, 5, 15, 16, 250, 5000))) for _ in range(12)]
        forms = (b"%x\r\n%b\r\n", b"%X\r\n%b\r\n", b"%04x\r\n%b\r\n", b"%x;a=b\r\n%b\r\n")
        feeds = [STREAM_HEAD]
        for part in parts:
            feeds += pieces(dice.choice(forms) % (len(part), part), dice.choice((0, 0, 1, 3)), dice)
        keeper = Keeper(ends=b"")
        response = Response(keeper)
        for data in [*feeds, LAST_CHUNK]:
            response.feed(data)
        assert keeper.body == b"".join(parts)
        assert response.is_whole
        assert response.leaves_reusable


@pytest.mark.parametrize("size", [b"0x5", b"+5", b"-5", b"5_", b"g", b""])
def test_a_chunk_of_no_size_is_garbage_wherever_it_comes(size: bytes) -> None:
    bad = size + b"\r\nHello\r\n"
    assert fails(STREAM_HEAD + chunk(b"a"), bad).code == "upstream_garbage"
    assert fails(STREAM_HEAD, chunk(b"a"), chunk(b"b"), bad).code == "upstream_garbage"


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_response_that_ends_early_is_truncated_at_every_byte(data: bytes) -> None:
    for cut in range(1, len(data)):
        response = Response(Keeper())
        response.feed(data[:cut])
        lost = response.lost(None)
        assert not response.is_whole
        assert lost is not None
        assert lost.code == "truncated"


def test_nothing_at_all_is_unreachable() -> None:
    lost = Response(Keeper()).lost(None)
    assert lost is not None
    assert lost.code == "upstream_unreachable"


def test_a_body_without_a_length_ends_with_the_connection_but_not_with_a_reset() -> None:
    keeper = Keeper()
    response = Response(keeper)
    response.feed(UNTIL_CLOSE)
    assert not response.is_whole
    assert response.lost(None) is None
    assert keeper.body == b"Hello"
    reset = response.lost(ConnectionResetError())
    assert reset is not None
    assert reset.code == "truncated"


def test_connection_close_is_whole_but_not_reusable() -> None:
    response = Response(Keeper())
    response.feed(plain(200, b"Hello", extra="Connection: close\r\n"))
    assert response.is_whole
    assert not response.leaves_reusable


def test_an_unasked_second_response_is_not_read_and_spoils_the_connection() -> None:
    keeper = Keeper()
    response = Response(keeper)
    response.feed(SIZED + plain(200, b"smuggled"))
    assert keeper.body == b"Hello"
    assert response.is_whole
    assert not response.leaves_reusable


def test_what_follows_the_end_of_the_answer_is_not_handed_over() -> None:
    keeper = Keeper()
    response = Response(keeper)
    assert response.feed(STREAM_HEAD + chunk(b"all!")) is Taken.ALL
    assert response.feed(chunk(b"more")) is Taken.NOTHING
    response.feed(LAST_CHUNK)
    assert keeper.body == b"all!"
    assert response.leaves_reusable


def test_what_came_before_nonsense_is_handed_over() -> None:
    keeper = Keeper()
    with pytest.raises(UpstreamError, match="not HTTP"):
        Response(keeper).feed(STREAM_HEAD + chunk(b"Hello") + b"nonsense\r\n")
    assert keeper.body == b"Hello"


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH_9\r\n", b"<html>", b"HTTP/1.1 999999 No\r\n\r\n", b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\nx"],
)
def test_what_is_not_http_is_garbage(data: bytes) -> None:
    assert fails(data).code == "upstream_garbage"


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Field: " + b"a" * 1000 + b"\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"a" * 1000, id="one header"),
        pytest.param(STREAM_HEAD + b"0\r\n", b"X-Field: " + b"a" * 1000 + b"\r\n", id="trailers"),
        pytest.param(STREAM_HEAD + b"5;", b"a" * 1000, id="chunk extension"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40, id="interim responses"),
    ],
)
def test_endless_overhead_is_garbage_in_bounded_memory(start: bytes, repeated: bytes) -> None:
    most = MAX_OVERHEAD // len(repeated) + 1
    error = fails(start, *[repeated] * most)
    assert error.code == "upstream_garbage"
    assert "64 KiB of HTTP" in error.message


def test_a_long_answer_is_not_overhead() -> None:
    response = Response(Keeper())
    response.feed(STREAM_HEAD)
    for _ in range(1000):
        response.feed(b"1;" + b"a" * 1000)
        response.feed(b"\r\nx\r\n")
    response.feed(LAST_CHUNK)
    assert response.is_whole


REFUSALS = {
    204: ("upstream_garbage", True),
    301: ("upstream_redirected", False),
    307: ("upstream_redirected", False),
    400: ("upstream_rejected", False),
    401: ("upstream_unauthorized", False),
    403: ("upstream_unauthorized", False),
    404: ("upstream_rejected", False),
    408: ("upstream_unavailable", True),
    409: ("upstream_unavailable", True),
    422: ("upstream_rejected", False),
    425: ("upstream_unavailable", True),
    429: ("upstream_rate_limited", True),
    500: ("upstream_unavailable", True),
    503: ("upstream_unavailable", True),
    529: ("upstream_unavailable", True),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_has_the_code_of_its_status(status: int) -> None:
    data = plain(status, b'{"error": {"code": "some_code"}}', extra="Location: http://elsewhere/\r\n")
    error = fails(data)
    assert (error.code, error.retryable) == REFUSALS[status]
    assert str(status) in error.message
    assert "elsewhere" not in error.message


def test_a_redirect_is_refused_before_its_body_comes() -> None:
    assert fails(b"HTTP/1.1 302 Found\r\nContent-Length: 100\r\n\r\n").code == "upstream_redirected"


def test_a_refusal_that_breaks_off_or_stalls_is_still_that_refusal() -> None:
    response = Response(Keeper())
    response.feed(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 100\r\n\r\n{")
    lost = response.lost(ConnectionResetError())
    assert lost is not None
    assert lost.code == response.stalled(1).code == "upstream_rate_limited"


def test_of_an_endless_refusal_only_the_start_is_read() -> None:
    head = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert fails(head, *[chunk(b"x" * 10_000)] * 2).code == "upstream_unavailable"


@pytest.mark.parametrize(
    "body", [b"", b"<html>down</html>", b"[1]", b'"x"', b'{"error": 7}', b"\xff\xfe", b'{"x":' + b"[" * 16_000]
)
def test_a_refusal_without_a_code_tells_its_status_alone(body: bytes) -> None:
    assert fails(plain(503, body)).message == "The model's server answered 503."


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ({"error": {"code": "model_not_found", "type": "invalid_request_error"}}, " (model_not_found)"),
        ({"error": {"code": 400, "type": "BadRequestError"}}, " (BadRequestError)"),
        ({"error": {"code": "1301"}}, " (1301)"),
        ({"code": "InvalidParameter.DataInspection", "message": "m"}, " (InvalidParameter.DataInspection)"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, " (overloaded_error)"),
        ({"error": {"code": "sk-proj-1234567890abcdef"}}, ""),
        ({"error": {"code": "the user said: hello"}}, ""),
        ({"error": {"message": "secret"}}, ""),
        ({"error": {"code": "x" * 1000}}, ""),
        ({"error": "secret"}, ""),
        (["code"], ""),
    ],
)
def test_only_short_words_are_repeated(problem: object, told: str) -> None:
    assert error_code(problem) == told


@pytest.mark.parametrize(
    "field", ["Content-Encoding: gzip", "Content-Encoding: br", "Transfer-Encoding: gzip, chunked"]
)
def test_a_compressed_answer_is_garbage(field: str) -> None:
    error = fails(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{field}\r\n\r\n".encode())
    assert error.code == "upstream_garbage"
    assert "compressed" in error.message


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("Content-Type: Text/Event-Stream;charset=UTF-8", "text/event-stream"),
        ("Content-Type: <script>alert(1)</script>", "none"),
        ("X: y", "none"),
    ],
)
def test_the_reader_learns_the_media_type(header: str, media_type: str) -> None:
    keeper = Keeper()
    Response(keeper).feed(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode())
    assert keeper.media_type == media_type


def test_codes_and_their_retryability_are_those_of_the_protocol() -> None:
    protocol = (Path(__file__).parents[2] / "PROTOCOL.md").read_text("utf-8")
    table = dict(re.findall(r"^\| `(upstream_\w+|truncated)` \|.*\| (yes|no) \|$", protocol, re.MULTILINE))
    assert {code: "yes" if retryable else "no" for code, retryable in module._RETRYABLE.items()} == table
