from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.upstream.mock_server import (
    LAST_CHUNK,
    SOON,
    STREAM_HEAD,
    Line,
    MockServer,
    Recorder,
    answers,
    chunk,
    delta,
    event,
    plain,
    stream,
)

from dazi.errors import Closed, ConfigError, UpstreamError
from dazi.events import Usage
from dazi.upstream import Finish, Lifecycle, Prompt
from dazi.upstream.http import Timeouts
from dazi.upstream.openai import OpenAIUpstream, _Answer
from dazi.upstream.response import Response, Taken

Mock = Callable[..., Awaitable[MockServer]]
UpstreamOf = Callable[..., OpenAIUpstream]
# Sends a whole response, and gives what came of it.
Ask = Callable[..., Awaitable[Finish]]

PROMPT = Prompt("m", [{"role": "user", "content": "Hi"}])
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COUNTED = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
STOP = delta("stop")


@pytest.fixture
def ask(mock: Mock, upstream_of: UpstreamOf, sink: Recorder) -> Ask:
    async def ask(response: bytes, **options: Any) -> Finish:  # Any: the constructor's
        upstream = upstream_of(await mock(answers(response)), **options)
        return await asyncio.wait_for(upstream.generate(PROMPT, sink), 10)

    return ask


async def failure(asking: Awaitable[Finish]) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await asking
    return raised.value


# What is asked


async def request_of(prompt: Prompt, mock: Mock, upstream_of: UpstreamOf, **options: Any) -> Any:  # Any: JSON
    server = await mock(answers(stream(STOP)))
    await upstream_of(server, **options).generate(prompt, Recorder())
    return server.requests[0].json


async def test_the_prompt_is_passed_on_as_it_is(mock: Mock, upstream_of: UpstreamOf) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "你好 👋"}, {"type": "image_url", "x": None}]}]
    options = {"temperature": 0.5, "user": "u", "tools": [{"type": "function"}], "max_tokens": 7}
    body = await request_of(Prompt("m", messages, options), mock, upstream_of)
    assert body == {
        **options,
        "messages": messages,
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_the_gateways_own_options_are_not_passed_on(mock: Mock, upstream_of: UpstreamOf) -> None:
    options = {"stream": False, "n": 3, "stream_options": {"x": 1}, "model": "another", "messages": []}
    body = await request_of(Prompt("m", [], options), mock, upstream_of, model="theirs")
    assert body == {"messages": [], "model": "theirs", "stream": True, "stream_options": {"include_usage": True}}


async def test_half_a_character_in_the_prompt_is_passed_on_escaped(mock: Mock, upstream_of: UpstreamOf) -> None:
    body = await request_of(Prompt("m", [{"role": "user", "content": "\ud83d"}]), mock, upstream_of)
    assert body["messages"][0]["content"] == "\ud83d"


@pytest.mark.parametrize(("key", "header"), [("k-1", "Bearer k-1"), (None, None), ("", None)])
async def test_the_key_is_a_bearer_token(
    key: str | None, header: str | None, mock: Mock, upstream_of: UpstreamOf
) -> None:
    server = await mock(answers(stream(STOP)))
    await upstream_of(server, key=key).generate(PROMPT, Recorder())
    assert server.requests[0].headers.get("Authorization") == header


@pytest.mark.parametrize("key", ["k\r\nX: y", "密钥", "k\x00"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        OpenAIUpstream("http://host/v1", key=key)
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/x%20y?api-version=1", "/v1/x%20y/chat/completions?api-version=1"),
    ],
)
async def test_the_endpoint_follows_the_base_url(suffix: str, target: str, mock: Mock) -> None:
    server = await mock(answers(stream(STOP)))
    upstream = OpenAIUpstream(server.url + suffix)
    await upstream.generate(PROMPT, Recorder())
    await upstream.close()
    assert server.requests[0].line == f"POST {target} HTTP/1.1"


def test_a_base_url_that_cannot_be_used_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'localhost:8000/v1"):
        OpenAIUpstream("localhost:8000/v1")


async def test_it_has_a_lifecycle_that_can_be_repeated() -> None:
    upstream = OpenAIUpstream("http://host/v1")
    assert isinstance(upstream, Lifecycle)
    await upstream.open()
    await upstream.close()
    await upstream.close()


# Dialects


async def test_a_plain_stream(ask: Ask, sink: Recorder) -> None:
    finish = await ask(
        stream(delta(role="assistant", content=""), delta(content="你"), delta(content="好"), STOP, "[DONE]")
    )
    assert finish == Finish("stop")
    assert sink.pieces == ["你", "好"]


DIALECTS = {
    "usage in a chunk without choices": [delta(content="x"), STOP, {"choices": [], "usage": USAGE}, "[DONE]"],
    "usage in the last chunk": [delta(content="x"), {**STOP, "usage": USAGE}, "[DONE]"],
    "usage in the choice": [
        delta(content="x"),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]},
    ],
    "usage so far in every chunk": [
        {**delta(content="x"), "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}},
        {**STOP, "usage": USAGE},
    ],
    "usage null until the end": [
        {**delta(content="x"), "usage": None},
        STOP,
        {"choices": [], "usage": {**USAGE, "x": 1}},
    ],
    "no [DONE]": [delta(content="x"), {**STOP, "usage": USAGE}],
    "no index": [{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE}],
    "null content and empty finish reasons": [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": ""}]},
        {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "null"}]},
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}], "usage": USAGE},
    ],
    "other answers": [
        {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]},
        {"choices": [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"content": "no"}}]},
        {**STOP, "usage": USAGE},
    ],
    "chunks that say nothing": [
        {"choices": [], "prompt_filter_results": [{}]},
        {},
        "",
        {"choices": None},
        delta(content="x"),
        {**STOP, "usage": USAGE},
    ],
}


@pytest.mark.parametrize("data", DIALECTS.values(), ids=DIALECTS)
async def test_dialects_that_say_the_same(data: list[Any], ask: Ask, sink: Recorder) -> None:
    assert await ask(stream(*data)) == Finish("stop", COUNTED)
    assert sink.pieces == ["x"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_goes_its_own_way(field: str, ask: Ask, sink: Recorder) -> None:
    thinking = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 2}, "prompt_tokens_details": None}
    data = [delta(**{field: "hm", "content": None}), delta(content="x"), {**STOP, "usage": thinking}]
    finish = await ask(stream(*data))
    assert (sink.thoughts, sink.pieces) == (["hm"], ["x"])
    assert finish.usage is not None
    assert finish.usage.reasoning_tokens == 2


async def test_reasoning_that_comes_under_both_names_comes_once(ask: Ask, sink: Recorder) -> None:
    await ask(stream(delta(reasoning_content="hm", reasoning="hm"), STOP))
    assert sink.thoughts == ["hm"]


async def test_cached_tokens_are_counted(ask: Ask) -> None:
    finish = await ask(stream({**STOP, "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}}))
    assert finish.usage == Usage(prompt_tokens=9, total_tokens=9, cached_tokens=8)


async def test_tool_calls_come_in_pieces(ask: Ask, sink: Recorder) -> None:
    def calls(*calls: dict[str, Any]) -> dict[str, Any]:
        return delta(tool_calls=list(calls))

    finish = await ask(
        stream(
            calls({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
            calls({"index": 0, "function": {"arguments": '{"x"'}}),
            calls({"index": 1, "id": "b", "function": {"name": "g", "arguments": None}}, {"id": "", "function": None}),
            calls({"index": 0, "id": "", "function": {"name": "", "arguments": ":1}"}}),
            delta("tool_calls"),
        )
    )
    assert finish.reason == "tool_calls"
    assert sink.calls == [
        (0, "a", "f", ""),
        (0, None, None, '{"x"'),
        (1, "b", "g", ""),
        (0, None, None, ""),
        (0, None, None, ":1}"),
    ]


async def test_a_surrogate_pair_split_over_two_deltas_is_one_character(ask: Ask, sink: Recorder) -> None:
    high, low = json.dumps(delta(content="a\ud83d")), json.dumps(delta(content="\ude00b"))
    assert r"\ud83d" in high
    await ask(stream(high, low, STOP))
    assert len(sink.pieces) == 2
    assert sink.said == "a😀b"


@pytest.mark.parametrize(
    "events",
    [
        [
            '{"choices":[{"delta":{"content":"你好"}}]}',
            '{"choices":[{"delta":{"content":" 😀"},"finish_reason":"stop"}]}',
        ],
        ['{"choices":[{"delta":{"content":"\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00"}}]}', "[DONE]"],
        ['{"choices":[]}', "", " ", "[DONE]", '{"choices":[{"delta":{"content":"late"}}]}'],
        ['{"choices":[{"delta":{"content":"a"}}]}', '{"error":{"code":"overloaded"}}'],
        ['{"choices":[{"delta":{"content":"a"}}]}', '{"choices"', '{"choices":[{"delta":{"content":"b"}}]}'],
        ['{"choices":[{"delta":{"content":"a\udcff"}}]}', '{"choices":[{"delta":{"content":"\udce4\udcbd"}}]}'],
    ],
)
def test_an_event_that_comes_alone_says_what_it_says_byte_by_byte(events: list[str]) -> None:
    """A chunk that is one event goes a shorter way."""
    alone = [f"data: {event}\n\n".encode("utf-8", "surrogateescape") for event in events]
    assert heard(alone) == heard([byte.to_bytes() for byte in b"".join(alone)])


# Texts that look like what is around them, beside any others.
TEXTS = (
    st.text(max_size=8) | st.text(alphabet='"\\\\:,{}[]contedal\n\ud83d\ude00', max_size=12) | st.just('","content":"')
)
# Events as servers write them, with a place for a text.
EVENTS = (
    '{"id":"c","choices":[{"index":0,"delta":{"content":TEXT},"finish_reason":null}]}',
    '{"id": "c", "choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": null}]}',
    '{"id":"d","choices":[{"delta":{"role":"assistant","content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT,"reasoning_content":"hm"}}]}',
    '{"choices":[{"delta":{"content":TEXT,"reasoning":TEXT}}]}',
    '{"choices":[{"delta":{"x":{"content":TEXT},"content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT,"content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT,"tool_calls":[{"index":0,"function":{"arguments":"1"}}]}}]}',
    '{"choices":[{"delta":{"content":TEXT}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    '{"choices":[{"delta":{"content":TEXT},"finish_reason":"length"}]}',
    '{"choices":[{"index":1,"delta":{"content":TEXT}}]}',
    '{"choices":[{"message":{"content":TEXT}}]}',
    '{"content":TEXT,"choices":[{"delta":{"content":null}}]}',
    '{"content":TEXT,"choices":[{"delta":{"content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT}},{"delta":{"content":TEXT}}]}',
    '{"error":{"message":TEXT},"choices":[{"delta":{"content":TEXT}}]}',
    '{"choices":[{"delta":{"content":TEXT',
)


@given(st.sampled_from(EVENTS), st.lists(st.tuples(st.sampled_from(EVENTS) | st.none(), TEXTS, st.booleans())), TEXTS)
def test_what_is_like_the_last_but_for_its_text_says_what_it_says_byte_by_byte(
    usual: str, drawn: list[tuple[str | None, str, bool]], other: str
) -> None:
    """It goes a shorter way still, once what stands around the text is known."""
    events = [
        (event or usual)
        .replace("TEXT", json.dumps(text, ensure_ascii=is_ascii), 1)
        .replace("TEXT", json.dumps(other, ensure_ascii=is_ascii))
        for event, text, is_ascii in drawn
    ]
    alone = [f"data: {event}\n\n".encode("utf-8", "replace") for event in events]
    assert heard(alone) == heard([byte.to_bytes() for byte in b"".join(alone)])


def test_the_shorter_way_is_taken_once_it_is_known() -> None:
    answer = _Answer(sink := Recorder(), limit=10_000)
    take = answer.begin("text/event-stream")
    take(b":\n\n")
    for text in ("a", "b", '"'):
        take(f"data: {json.dumps(delta(content=text))}\n\n".encode())
        assert answer._before.endswith(b'"content": ')
    assert sink.pieces == ["a", "b", '"']


def said(text: str) -> bytes:
    return f"data: {json.dumps(delta(content=text))}\n\n".encode()


def test_events_that_come_together_do_not_end_the_shorter_way() -> None:
    answer = _Answer(sink := Recorder(), limit=10_000)
    take = answer.begin("text/event-stream")
    for data in (b":\n\n", *[said("a"), said("b") + said("c")] * 20, said("d")):
        take(data)
    assert (sink.said, answer._before in said("e")) == ("abc" * 20 + "d", True)
    assert answer._before


def test_an_event_that_teaches_nothing_does_not_end_the_shorter_way() -> None:
    answer = _Answer(sink := Recorder(), limit=10_000)
    take = answer.begin("text/event-stream")
    for data in (b":\n\n", said("a"), said("b").replace(b'"content"', rb'"\u0063ontent"')):
        take(data)
    assert (sink.said, answer._before in said("c")) == ("ab", True)
    assert answer._before


@pytest.mark.parametrize("half", [b"data: ", b'data: {"choices"', b"event: error\n", b": keep-alive", b"data: 1\n"])
def test_what_follows_half_an_event_is_its_other_half(half: bytes) -> None:
    chunks = [said("a"), said("b"), half, said("c"), said("d")]
    assert heard(chunks) == heard([byte.to_bytes() for byte in b"".join(chunks)])


def heard(chunks: list[bytes]) -> list[object]:
    sink = Recorder()
    answer = _Answer(sink, limit=10_000)
    take = answer.begin("text/event-stream")
    try:
        takings = [take(b":\n\n"), *map(take, chunks)]
        return [sink.said, sink.thoughts, sink.calls, Taken.ALL in takings, answer.finish()]
    except UpstreamError as error:
        return [sink.said, sink.thoughts, sink.calls, error.code, str(error)]


async def test_comments_are_keep_alives(ask: Ask, sink: Recorder) -> None:
    ping = chunk(b": OPENROUTER PROCESSING\n\n")
    await ask(STREAM_HEAD + ping + event(delta(content="x")) + ping + event(STOP) + LAST_CHUNK)
    assert sink.pieces == ["x"]


async def test_one_huge_chunk(ask: Ask, sink: Recorder) -> None:
    text = "长" * 1_000_000
    await ask(stream(delta(content=text), STOP, "[DONE]"))
    assert sink.pieces == [text]


async def test_many_events_in_one_chunk_and_crlf(ask: Ask, sink: Recorder) -> None:
    body = "".join(f"data: {json.dumps(delta(content=str(n)))}\r\n\r\n" for n in range(100))
    await ask(STREAM_HEAD + chunk(body.encode()) + event(STOP) + LAST_CHUNK)
    assert sink.pieces == [str(n) for n in range(100)]


async def test_every_piece_is_in_the_sink_before_the_next_one_is_sent(mock: Mock, upstream_of: UpstreamOf) -> None:
    sink = Recorder()

    async def script(line: Line) -> None:
        await answers(STREAM_HEAD)(line)
        for count in range(5):
            sink.spoke.clear()
            await line.send(event(delta(content=str(count))))
            await asyncio.wait_for(sink.spoke.wait(), SOON)
        await line.send(event(STOP), LAST_CHUNK)

    await upstream_of(await mock(script)).generate(PROMPT, sink)
    assert sink.pieces == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("reason", ["length", "content_filter", "its_own_word"])
async def test_the_finish_reason_is_passed_on(reason: str, ask: Ask) -> None:
    assert await ask(stream(delta(reason))) == Finish(reason)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("sensitive", "content_filter"), ("model_context_window_exceeded", "length")]
)
async def test_a_houses_word_for_what_has_a_word_is_translated(theirs: str, ours: str, ask: Ask) -> None:
    assert await ask(stream(delta(theirs))) == Finish(ours)


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource"])
async def test_a_reason_that_is_a_failure_is_one(reason: str, ask: Ask, sink: Recorder) -> None:
    error = await failure(ask(stream(delta(content="x"), delta(reason), "[DONE]")))
    assert (error.code, sink.said) == ("upstream_error", "x")


async def test_an_answer_that_its_server_dropped_is_truncated(ask: Ask) -> None:
    assert (await failure(ask(stream(delta(content="x"), delta("abort"), "[DONE]")))).code == "truncated"


async def test_a_refusal_says_its_status_and_for_how_long(ask: Ask) -> None:
    error = await failure(ask(plain(429, b"{}", extra="Retry-After: 7\r\n")))
    assert (error.status, error.retry_after) == (429, 7.0)
    error = await failure(ask(plain(503, b"{}", extra="Retry-After: Fri, 27 Nov 2026 00:00:00 GMT\r\n")))
    assert (error.status, error.retry_after) == (503, None)


async def test_a_finish_reason_that_is_no_word_is_cut(ask: Ask) -> None:
    assert await ask(stream(delta("x" * 100))) == Finish("x" * 64)


async def test_a_server_that_does_not_stream_is_one_piece(ask: Ask, sink: Recorder) -> None:
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}
    document = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    assert await ask(plain(200, json.dumps(document).encode())) == Finish("stop", COUNTED)
    assert (sink.thoughts, sink.pieces) == (["hm"], ["Hello"])


# Ends that are none


UNFINISHED = {
    "no finish reason": stream(delta(content="x")),
    "[DONE] without a finish reason": stream(delta(content="x"), "[DONE]"),
    "a finish reason that is none": stream(delta("null", content="x"), "[DONE]"),
    "a finish reason of another answer": stream(
        delta(content="x"), {"choices": [{"index": 1, "finish_reason": "stop"}]}, "[DONE]"
    ),
    "an event without its end": STREAM_HEAD + event(delta(content="x")) + chunk(b"data: {") + LAST_CHUNK,
    "the connection": STREAM_HEAD + event(delta(content="x")),
    "the connection, without a length": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
    + json.dumps(delta(content="x")).encode()
    + b"\n\n",
}


@pytest.mark.parametrize("response", UNFINISHED.values(), ids=UNFINISHED)
async def test_what_does_not_finish_is_truncated_and_what_was_said_stands(
    response: bytes, ask: Ask, sink: Recorder
) -> None:
    error = await failure(ask(response))
    assert (error.code, error.retryable) == ("truncated", True)
    assert sink.pieces == ["x"]


async def test_an_answer_cut_at_any_byte_is_never_finished_before_its_finish_reason(
    mock: Mock, upstream_of: UpstreamOf
) -> None:
    whole = stream(delta(content="ab"), STOP, "[DONE]")
    finished_at = whole.index(b'"stop"') + len(json.dumps(STOP)) - json.dumps(STOP).index('"stop"') + len("\n\n")
    cuts = iter(range(1, len(whole) + 1))

    async def script(line: Line) -> None:
        await answers(whole[: next(cuts)])(line)

    upstream = upstream_of(await mock(script))
    for cut in range(1, len(whole)):
        sink = Recorder()
        if cut < finished_at:
            assert (await failure(upstream.generate(PROMPT, sink))).code == "truncated"
        else:
            assert await upstream.generate(PROMPT, sink) == Finish("stop")
        assert sink.said in {"", "ab"}


async def test_done_ends_the_answer_though_the_server_holds_the_line(mock: Mock, upstream_of: UpstreamOf) -> None:
    async def script(line: Line) -> None:
        await answers(STREAM_HEAD, event(STOP), event("[DONE]"))(line)
        await line.reader.read()

    upstream = upstream_of(await mock(script))
    assert await asyncio.wait_for(upstream.generate(PROMPT, Recorder()), SOON) == Finish("stop")


async def test_silence_after_the_finish_reason_is_a_finish(mock: Mock, upstream_of: UpstreamOf) -> None:
    async def script(line: Line) -> None:
        await answers(STREAM_HEAD, event(STOP))(line)
        await line.wait_gone()

    upstream = upstream_of(await mock(script), timeouts=Timeouts(between_tokens=0.1))
    assert await upstream.generate(PROMPT, Recorder()) == Finish("stop")


async def test_role_deltas_and_comments_are_no_tokens(mock: Mock, upstream_of: UpstreamOf) -> None:
    async def script(line: Line) -> None:
        await answers(STREAM_HEAD)(line)
        while True:
            await line.send(event(delta(role="assistant", content="")), chunk(b": ping\n\n"), event({"choices": []}))
            await asyncio.sleep(0.01)

    upstream = upstream_of(await mock(script), timeouts=Timeouts(first_token=0.2, between_tokens=0.2))
    assert (await failure(upstream.generate(PROMPT, Recorder()))).code == "upstream_timeout"


# Errors


SAID_ERRORS = {
    '{"error": {"message": "secret", "type": "server_error", "code": 500}}': " (server_error)",
    '{"error": {"message": "secret"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}': "",
    '{"error": "secret"}': "",
    '{"error": {"code": "1301", "message": "\\ud83d secret"}}': " (1301)",
}


@pytest.mark.parametrize("data", SAID_ERRORS)
async def test_an_error_inside_the_stream_is_told_by_its_code_alone(data: str, ask: Ask, sink: Recorder) -> None:
    error = await failure(ask(stream(delta(content="x"), data, "[DONE]")))
    assert (error.code, error.retryable) == ("upstream_error", True)
    assert error.message == f"The model's server reported an error{SAID_ERRORS[data]}."
    assert sink.pieces == ["x"]


async def test_an_error_event_is_an_error(ask: Ask) -> None:
    body = chunk(b'event: error\ndata: {"code": "InternalError", "message": "secret"}\n\n')
    error = await failure(ask(STREAM_HEAD + body + LAST_CHUNK))
    assert (error.code, error.message) == ("upstream_error", "The model's server reported an error (InternalError).")


async def test_a_finish_reason_that_says_error_is_one(ask: Ask) -> None:
    assert (await failure(ask(stream(delta(content="x"), delta("error"), "[DONE]")))).code == "upstream_error"


GARBAGE = {
    "no JSON": stream("secret"),
    "half JSON": stream('{"choices": [{"delta": {"content": "secret'),
    "no object": stream("[1]"),
    "wrong types": stream({"choices": [{"delta": {"content": 7}}]}),
    "a web page": plain(200, b"<html>secret</html>", "text/html; charset=utf-8"),
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
    "a document that is no JSON": plain(200, b"secret"),
    "gzip": plain(200, b"\x1f\x8b secret", "text/event-stream", "Content-Encoding: gzip\r\n"),
    "a huge event": stream(delta(content="secret" * 1000)),
    "a huge document": plain(200, b'{"secret": "' + b"x" * 2000 + b'"}'),
}


@pytest.mark.parametrize("response", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_garbage_and_is_not_repeated(response: bytes, ask: Ask, sink: Recorder) -> None:
    error = await failure(ask(response, limit=1000))
    assert (error.code, error.retryable) == ("upstream_garbage", True)
    assert "secret" not in error.message
    assert sink.pieces == []


@pytest.mark.parametrize("start", ["", '{"x": ', '{"error": '])
async def test_json_that_is_too_deep_is_garbage(start: str, ask: Ask) -> None:
    assert (await failure(ask(stream(start + "[" * 100_000)))).code == "upstream_garbage"


async def test_what_was_said_before_garbage_stands(ask: Ask, sink: Recorder) -> None:
    assert (await failure(ask(stream(delta(content="x"), "}{", delta(content="y"))))).code == "upstream_garbage"
    assert sink.pieces == ["x"]


async def test_a_document_without_an_answer_is_truncated(ask: Ask) -> None:
    assert (await failure(ask(plain(200, b'{"object": "list"}')))).code == "truncated"


async def test_a_document_may_hold_an_error(ask: Ask) -> None:
    assert (await failure(ask(plain(200, b'{"error": {"type": "overloaded"}}')))).code == "upstream_error"


async def test_a_refusal_keeps_its_code(ask: Ask) -> None:
    error = await failure(ask(plain(401, b'{"error": {"code": "invalid_api_key", "message": "sk-secret"}}')))
    assert error.code == "upstream_unauthorized"
    assert error.message == "The model's server answered 401 (invalid_api_key). Check the upstream's key."


# Ending from outside


async def test_a_generation_that_ended_elsewhere_stops_the_model(mock: Mock, upstream_of: UpstreamOf) -> None:
    released = asyncio.Event()

    async def script(line: Line) -> None:
        await answers(STREAM_HEAD, event(delta(content="a")), event(delta(content="b")))(line)
        await line.wait_gone()
        released.set()

    sink = Recorder(ends_after=1)
    with pytest.raises(Closed):
        await upstream_of(await mock(script)).generate(PROMPT, sink)
    await asyncio.wait_for(released.wait(), SOON)
    assert sink.pieces == ["a"]


async def test_an_answer_that_is_over_leaves_nothing_to_the_collector(ask: Ask) -> None:
    gc.collect()
    gc.disable()
    try:
        await ask(stream(delta(content="Hello"), STOP))
        assert not [one for one in gc.get_objects() if isinstance(one, Response | _Answer)]
    finally:
        gc.enable()


async def test_cancelling_releases_the_connection(mock: Mock, upstream_of: UpstreamOf, sink: Recorder) -> None:
    released = asyncio.Event()

    async def script(line: Line) -> None:
        await answers(STREAM_HEAD, event(delta(content="a")))(line)
        await line.wait_gone()
        released.set()

    task = asyncio.create_task(upstream_of(await mock(script)).generate(PROMPT, sink))
    await asyncio.wait_for(sink.spoke.wait(), SOON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(released.wait(), SOON)
