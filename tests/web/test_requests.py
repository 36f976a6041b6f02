from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message

from dazi.errors import InvalidRequest
from dazi.web import requests
from dazi.web.requests import read_body, read_start

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
SECRET = "the prompt itself"


def body(**fields: Any) -> bytes:  # Any: JSON
    return json.dumps({**HELLO, **fields}).encode()


def refusal(sent: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_start(sent, default_model="m")
    assert caught.value.remedy
    return caught.value


def fate(sent: str) -> str:
    """Tell what became of a body that may be taken or refused, but must not break anything."""
    try:
        read_start(sent.encode(), default_model="m")
    except InvalidRequest as error:
        return str(error)
    return "taken"


# What is taken

EVERYTHING: dict[str, Any] = {  # Any: JSON
    "max_tokens": 1,
    "max_completion_tokens": 2,
    "temperature": 0,
    "top_p": 1,
    "presence_penalty": -2,
    "frequency_penalty": 2.0,
    "seed": -1,
    "stop": ["a", "b"],
    "tools": [{"type": "function", "function": {"name": "t", "parameters": {}}}],
    "tool_choice": {"type": "function"},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "logit_bias": {"50256": -100},
    "reasoning_effort": "high",
    "user": "u",
    "metadata": {"a": "b"},
}


def test_every_field_of_the_protocol_reaches_the_model() -> None:
    prompt = read_start(body(model="x", **EVERYTHING), default_model="m").prompt
    assert prompt.model == "x"
    assert prompt.messages == HELLO["messages"]
    assert prompt.options == EVERYTHING


def test_what_concerns_the_gateway_alone_goes_no_further() -> None:
    prompt = read_start(body(n=1, stream=True, stream_options={"include_usage": True}), default_model="m").prompt
    assert prompt.options == {}


def test_without_a_model_it_is_the_default() -> None:
    assert read_start(body(), default_model="m").prompt.model == "m"
    assert read_start(body(model=None), default_model="m").prompt.model == "m"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "user", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]},
        {"role": "tool", "content": "1", "tool_call_id": "c", "name": "t"},
        {"role": "user", "content": "\0\u2028😀", "cache_control": {"type": "ephemeral"}},
    ],
)
def test_a_message_passes_on_as_it_is(message: dict[str, Any]) -> None:
    assert read_start(json.dumps({"messages": [message]}).encode(), default_model="m").prompt.messages == [message]


def test_a_null_field_is_no_field() -> None:
    assert read_start(body(temperature=None, stop=None, tools=None), default_model="m").prompt.options == {}


# The fingerprint


def fingerprint(sent: bytes) -> str:
    return read_start(sent, default_model="m").fingerprint("k")


def test_the_fingerprint_is_of_the_meaning_not_of_the_spelling() -> None:
    assert fingerprint(b'{"seed":1,"messages":[{"role":"user","content":"\\u0068i"}]}') == fingerprint(
        b' {"messages" : [{"content":"hi","role":"user"}], "seed":1, "temperature": null}\n'
    )


@pytest.mark.parametrize(
    "other", [body(seed=2), body(model="x"), body(metadata={}), body(stream=True), body(seed=1, n=1)]
)
def test_another_request_has_another_fingerprint(other: bytes) -> None:
    assert fingerprint(other) != fingerprint(body(seed=1))


# What is refused


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (body(frobnicate=1), "frobnicate"),
        (body(api_base="http://evil"), "api_base"),
        (body(base_url="http://evil"), "base_url"),
        (body(headers={}), "headers"),
        (body(api_key="k"), "api_key"),
        (body(Model="m"), "Model"),
        (body(**{"a\nb": 1}), "a\nb"),
        (body(**{"`x`": 1}), "`x`"),
        (body(**{"": 1}), ""),
        (body(字段=1), "字段"),
    ],
)
def test_an_unknown_field_is_refused_by_name(sent: bytes, field: str) -> None:
    error = refusal(sent)
    assert (error.status, error.code, error.param) == (422, "unknown_field", field)
    assert repr(field) in error.message


def test_a_field_with_an_endless_name_is_not_sent_back_whole() -> None:
    error = refusal(body(**{"x" * 100_000: 1}))
    assert error.code == "unknown_field"
    assert len(str(error)) < 1000
    assert len(error.param or "") < 1000


@pytest.mark.parametrize(
    ("fields", "param", "value"),
    [
        ({"temperature": 3}, "temperature", "3"),
        ({"temperature": -0.1}, "temperature", "-0.1"),
        ({"temperature": "hot"}, "temperature", ""),
        ({"temperature": True}, "temperature", "True"),
        ({"top_p": 1.5}, "top_p", "1.5"),
        ({"presence_penalty": -2.5}, "presence_penalty", "-2.5"),
        ({"frequency_penalty": 9}, "frequency_penalty", "9"),
        ({"max_tokens": 0}, "max_tokens", "0"),
        ({"max_tokens": 1.5}, "max_tokens", "1.5"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "-1"),
        ({"seed": "1"}, "seed", ""),
        ({"stop": 1}, "stop", "1"),
        ({"stop": ["a", 1]}, "stop[1]", "1"),
        ({"tools": {}}, "tools", ""),
        ({"tools": ["t"]}, "tools[0]", ""),
        ({"tool_choice": 1}, "tool_choice", "1"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls", "1"),
        ({"response_format": "json"}, "response_format", ""),
        ({"logit_bias": []}, "logit_bias", ""),
        ({"logit_bias": {"1": "x"}}, "logit_bias[...]", ""),
        ({"reasoning_effort": 1}, "reasoning_effort", "1"),
        ({"user": 1}, "user", "1"),
        ({"metadata": []}, "metadata", ""),
        ({"n": 2}, "n", "2"),
        ({"n": 0}, "n", "0"),
        ({"stream": "yes"}, "stream", ""),
        ({"model": 1}, "model", "1"),
        ({"messages": []}, "messages", ""),
        ({"messages": None}, "messages", ""),
        ({"messages": "hi"}, "messages", ""),
        ({"messages": {}}, "messages", ""),
        ({"messages": ["hi"]}, "messages[0]", ""),
        ({"messages": [7]}, "messages[0]", "7"),
        ({"messages": [*HELLO["messages"], {"content": SECRET}]}, "messages[1]", ""),
        ({"messages": [{"role": 1, "content": SECRET}]}, "messages[0].role", "1"),
        ({"messages": [{"role": "", "content": SECRET}]}, "messages[0].role", ""),
        ({"messages": [{"role": "r" * 65, "content": SECRET}]}, "messages[0].role", ""),
        ({"messages": [*HELLO["messages"], {"role": "user", "content": 1.5}]}, "messages[1].content", "1.5"),
        ({"messages": [{"role": "user", "content": {"text": SECRET}}]}, "messages[0].content", ""),
        ({"messages": [{"role": "user", "content": [SECRET]}]}, "messages[0].content[0]", ""),
        ({"messages": [{"role": "user", "content": [{}, 3]}]}, "messages[0].content[1]", "3"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(fields: dict[str, Any], param: str, value: str) -> None:
    error = refusal(json.dumps({**HELLO, **fields}).encode())
    assert (error.status, error.code, error.param) == (422, "invalid_field", param)
    assert error.message.startswith(f"{param}: ")
    assert f"(it is {value})" in error.message if value else "(it is" not in error.message
    assert SECRET not in str(error)


def test_a_missing_field_is_named() -> None:
    error = refusal(b"{}")
    assert error.code == "invalid_field"
    assert "messages" in error.message


def test_too_many_messages_are_refused() -> None:
    assert refusal(json.dumps({"messages": HELLO["messages"] * 10_001}).encode()).param == "messages"
    assert read_start(json.dumps({"messages": HELLO["messages"] * 10_000}).encode(), default_model="m")


@pytest.mark.parametrize("sent", [b"null", b"[]", b'"hi"', b"1", b"true"])
def test_a_body_that_is_no_object_is_refused(sent: bytes) -> None:
    error = refusal(sent)
    assert (error.status, error.code) == (422, "invalid_field")
    assert error.message.startswith("The body")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b" ",
        b"{",
        b'{"messages": [',
        b"{'messages': []}",
        b'{"messages": [{"role": "user"}],}',
        b'{"messages": 1, oops',
        b'{"temperature": "x" garbage',
        b'{"frobnicate": 1, oops',
        b'{"messages": [{"role": "user"}]} {}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "\\udc00\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud83dx"}]}',
        b'{"messages": [{"role": "user", "content": "\n"}]}',
        b'{"messages": [{"role": "user"}], "temperature": NaN}',
        b'{"messages": [{"role": "user"}], "temperature": Infinity}',
        b'{"messages": [{"role": "user"}], "temperature": 01}',
        b"messages=hi",
        b"--boundary\r\n",
    ],
)
def test_what_is_no_json_is_refused(sent: bytes) -> None:
    error = refusal(sent)
    assert error.status in {400, 422}
    assert error.code in {"bad_json", "invalid_field", "unknown_field"}
    if error.code == "bad_json":
        assert error.status == 400
        assert "not valid JSON" in error.message


@pytest.mark.parametrize("depth", [*range(880, 1000), 5_000, 500_000])
def test_no_depth_of_nesting_breaks_anything(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for sent in (
        nested,
        f'{{"messages": [{{"role": "user", "content": "hi", "x": {nested}}}]}}',
        f'{{"messages": [{{"role": "user", "content": "hi"}}], "metadata": {{"x": {nested}}}}}',
        f'{{"messages": [{{"role": 1, "x": {nested}}}]}}',
    ):
        assert len(fate(sent)) < 1000


@pytest.mark.parametrize(
    "number", ["9" * 19, "9" * 30, "-" + "9" * 30, "9" * 5_000, "1e999", "-1e999", "1e-999", "0." + "1" * 5_000]
)
@pytest.mark.parametrize("field", ["seed", "temperature", "max_tokens", "metadata", "messages"])
def test_no_size_of_a_number_breaks_anything(number: str, field: str) -> None:
    value = {"metadata": f'{{"x": {number}}}', "messages": f'[{{"role": "user", "x": {number}}}]'}.get(field, number)
    sent = f'{{"messages": [{{"role": "user"}}], "{field}": {value}}}'
    assert len(fate(sent)) < 1000


# The bytes of it


def chunks(*parts: bytes, disconnects: bool = False) -> Any:
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) or disconnects}
        for at, part in enumerate(parts, start=1)
    ]
    if disconnects:
        messages.append({"type": "http.disconnect"})
    left = iter(messages)

    async def receive() -> Message:
        for message in left:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


JSON = Headers({"content-type": "application/json"})


async def test_a_body_in_pieces_is_one_body() -> None:
    assert await read_body(chunks(b"{", b"", b"}"), JSON, limit=2) == b"{}"


@pytest.mark.parametrize("parts", [(b"123456",), (b"123", b"456"), (b"12345", b"6")])
async def test_a_body_beyond_the_limit_is_refused_as_soon_as_it_is(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await read_body(chunks(*parts), JSON, limit=5)
    assert (caught.value.status, caught.value.code) == (413, "body_too_large")
    assert "5 bytes" in caught.value.message


async def test_a_body_at_the_limit_is_taken() -> None:
    assert await read_body(chunks(b"12345"), JSON, limit=5) == b"12345"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_taken(kind: str) -> None:
    assert await read_body(chunks(b"{}"), Headers({"content-type": kind}), limit=9) == b"{}"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
async def test_another_content_type_is_refused(kind: str) -> None:
    """A web page elsewhere can send these without a preflight."""
    with pytest.raises(InvalidRequest) as caught:
        await read_body(chunks(b"{}"), Headers({"content-type": kind}), limit=9)
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        415,
        "unsupported_media_type",
        "Content-Type",
    )
    assert repr(kind) in caught.value.message


async def test_no_content_type_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await read_body(chunks(b"{}"), Headers({}), limit=9)
    assert caught.value.status == 415


async def test_a_client_that_goes_in_mid_body_is_gone() -> None:
    with pytest.raises(ConnectionResetError):
        await read_body(chunks(b"{", disconnects=True), JSON, limit=9)


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.01)
    with pytest.raises(InvalidRequest) as caught:
        await read_body(_stalled(), JSON, limit=9)
    assert caught.value.status == 400
    assert "0.01 seconds" in caught.value.message


def _stalled() -> Any:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    return receive
