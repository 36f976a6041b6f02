"""What houses send, as their documents show it (`shapes/`), and what they are asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.upstream.mock_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    MockServer,
    Recorder,
    answers,
    chunk,
    delta,
    plain,
    stream,
)

from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.upstream import Finish, Prompt
from dazi.upstream.build import build
from dazi.upstream.plan import Plan
from dazi.upstream.presets import PRESETS

Mock = Callable[..., Awaitable[MockServer]]
SHAPES = {path.stem: json.loads(path.read_text("utf-8")) for path in Path(__file__).with_name("shapes").glob("*.json")}
PROMPT = Prompt("m", [{"role": "user", "content": "Hi"}])
END = {
    "openai": [delta("stop")],
    "anthropic": [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}],
    "responses": [{"type": "response.completed", "response": {}}],
    "dify": [{"event": "message_end"}],
}


class Listener(Recorder):
    """A sink that takes retractions."""

    retracted: str | None = None

    def retract(self, text: str, *, reason: str) -> None:
        self.pieces[:] = [text]
        self.retracted = reason

    @property
    def whole_calls(self) -> list[list[str]]:
        folded: dict[int, list[str]] = {}
        for index, call_id, name, arguments in self.calls:
            call = folded.setdefault(index, ["", "", ""])
            call[:] = [call_id or call[0], name or call[1], call[2] + arguments]
        return [folded[index] for index in sorted(folded)]


async def ask(server: MockServer, preset: str, prompt: Prompt, sink: Recorder, **plan: Any) -> Finish:
    plans = [Plan(name="a", preset=preset, url=server.url, models={"m": "there"}, **plan)]
    pool = build(plans, environment={})["m"]
    try:
        # Not through the pool: what it says of an answer begun elsewhere is its own.
        return await pool.seats[0].member.upstream.generate(replace(prompt, model="there"), sink)
    finally:
        await pool.close()


async def outcome(server: MockServer, preset: str, sink: Recorder) -> Finish | str:
    try:
        return await ask(server, preset, PROMPT, sink)
    except UpstreamError as error:
        return "a secret told" if "secret" in str(error) else error.code


def usage_of(expected: dict[str, Any]) -> Usage | None:
    return msgspec.convert(expected["usage"], Usage) if "usage" in expected else None


def test_every_preset_has_a_shape() -> None:
    assert {shape["preset"] for shape in SHAPES.values()} == set(PRESETS)


@pytest.mark.parametrize("cut", ["whole", "by event", "byte by byte"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_a_houses_shape_says_what_it_says_however_it_is_cut(shape: dict[str, Any], cut: str, mock: Mock) -> None:
    blocks = [f"{block}\n\n".encode() for block in shape["stream"]]
    match cut:
        case "whole":
            blocks = [b"".join(blocks)]
        case "byte by byte":
            blocks = [byte.to_bytes() for byte in b"".join(blocks)]
    server = await mock(answers(STREAM_HEAD + b"".join(map(chunk, blocks)) + LAST_CHUNK))
    expected, sink = shape["expect"], Listener()
    assert await outcome(server, shape["preset"], sink) == expected.get(
        "error", Finish(expected.get("finish", ""), usage_of(expected))
    )
    assert (sink.said, "".join(sink.thoughts)) == (expected["text"], expected["reasoning"])
    assert sink.whole_calls == expected["calls"]
    assert sink.retracted == expected.get("retracted")


# What is asked

THINKING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "deepseek": ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "zhipu": ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "doubao": ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "moonshot": ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "qwen": ({"enable_thinking": True}, {"enable_thinking": False}),
    "hunyuan": ({"enable_thinking": True}, {"enable_thinking": False}),
    "siliconflow": ({"enable_thinking": True}, {"enable_thinking": False}),
    "vllm": (
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "sglang": (
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "llamacpp": (
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "ollama": ({"reasoning_effort": "medium"}, {"reasoning_effort": "none"}),
}
SWITCHES = frozenset({"thinking", "enable_thinking", "chat_template_kwargs", "reasoning_effort"})
WAYS: list[tuple[dict[str, Any], bool]] = [
    ({"enable_thinking": True}, True),
    ({"enable_thinking": False}, False),
    ({"thinking": {"type": "enabled"}}, True),
    ({"thinking": {"type": "disabled"}}, False),
    ({"reasoning_effort": "none"}, False),
]


async def body_of(mock: Mock, preset: str, prompt: Prompt, **plan: Any) -> Any:  # Any: JSON
    server = await mock(answers(stream(*END[PRESETS[preset].dialect])))
    await ask(server, preset, prompt, Recorder(), **plan)
    (request,) = server.requests
    return request.json


@pytest.mark.parametrize("preset", THINKING)
@pytest.mark.parametrize(("given", "is_on"), WAYS)
async def test_the_switch_of_thinking_arrives_in_the_houses_own_way(
    preset: str,
    given: Mapping[str, Any],
    mock: Mock,
    *,
    is_on: bool,
) -> None:
    body = await body_of(mock, preset, Prompt("m", PROMPT.messages, given))
    assert {name: body[name] for name in SWITCHES & body.keys()} == THINKING[preset][0 if is_on else 1]


async def test_what_a_switch_says_beside_on_and_off_arrives(mock: Mock) -> None:
    budget = {"type": "enabled", "budget_tokens": 2000}
    assert (await body_of(mock, "zhipu", Prompt("m", PROMPT.messages, {"thinking": budget})))["thinking"] == budget
    given = {"chat_template_kwargs": {"custom": 1}, "enable_thinking": False}
    body = await body_of(mock, "vllm", Prompt("m", PROMPT.messages, given))
    assert body["chat_template_kwargs"] == {"custom": 1, "enable_thinking": False}


CONTINUED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "deepseek": ({"prefix": True}, {}),
    "siliconflow": ({"prefix": True}, {}),
    "qwen": ({"partial": True}, {}),
    "moonshot": ({"partial": True}, {}),
    "doubao": ({}, {}),
    "ollama": ({}, {}),
    "llamacpp": ({}, {}),
    "vllm": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
    "sglang": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}


@pytest.mark.parametrize("preset", CONTINUED)
async def test_a_house_is_asked_in_its_own_way_to_go_on(preset: str, mock: Mock) -> None:
    mark, beside = CONTINUED[preset]
    body = await body_of(mock, preset, Prompt("m", PROMPT.messages, said="half a wor"))
    assert body["messages"] == [*PROMPT.messages, {"role": "assistant", "content": "half a wor", **mark}]
    assert {name: body[name] for name in beside} == beside


def test_who_can_go_on_is_who_has_a_way() -> None:
    able = {name for name, preset in PRESETS.items() if preset.continuation}
    assert able == {*CONTINUED, "anthropic"}


# Translations

PNG = "data:image/png;base64,iVBORw0KGgo="
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "这是什么？"}, {"type": "image_url", "image_url": {"url": PNG}}],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "look", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "a cat"},
    {"role": "tool", "tool_call_id": "b", "content": "a dog"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://host/cat.png"}}]},
]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "looks", "parameters": SCHEMA}}]


async def test_anthropic_is_asked_in_its_own_words(mock: Mock) -> None:
    options = {
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": "END",
        "temperature": 1.5,
        "user": "u",
        "max_completion_tokens": 50,
    }
    server = await mock(answers(stream(*END["anthropic"])))
    await ask(server, "anthropic", Prompt("m", CONVERSATION, options), Recorder(), key="k-1")
    (request,) = server.requests
    assert request.line == "POST /v1/messages HTTP/1.1"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == ("k-1", "2023-06-01")
    assert request.json == {
        "model": "there",
        "max_tokens": 50,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "这是什么？"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
                    {"type": "tool_use", "id": "b", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "a cat"}]},
                    {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "a dog"}]},
                    {"type": "image", "source": {"type": "url", "url": "https://host/cat.png"}},
                ],
            },
        ],
        "tools": [{"name": "look", "description": "looks", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "temperature": 1.0,
        "metadata": {"user_id": "u"},
    }


async def test_anthropic_thinks_within_a_budget_and_not_when_it_goes_on(mock: Mock) -> None:
    options = {"reasoning_effort": "low", "max_tokens": 100, "temperature": 0.3}
    body = await body_of(mock, "anthropic", Prompt("m", PROMPT.messages, options))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert (body["max_tokens"], "temperature" in body) == (2148, False)
    body = await body_of(mock, "anthropic", Prompt("m", PROMPT.messages, options, said="Once \n"))
    assert "thinking" not in body
    assert body["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "Once"}]}


@pytest.mark.parametrize(
    ("said", "pieces", "new"),
    [
        ("a\n\n", ["\n\n", "b  c"], "b  c"),
        ("a\n\n", ["\nb  c"], "b  c"),
        ("a\n\n", ["b  c"], "b  c"),
        ("a\n\n", [" b  c"], "b  c"),
        ("a\n", ["\n\n b"], "\n b"),
        ("a\n", ["\n", "\n", " b"], "\n b"),
        ("a", ["\n\n b"], "\n\n b"),
    ],
)
async def test_white_space_that_anthropic_must_not_be_told_is_not_said_twice(
    said: str, pieces: list[str], new: str, mock: Mock
) -> None:
    texts = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    server = await mock(answers(stream(*texts, *END["anthropic"])))
    sink = Recorder()
    await ask(server, "anthropic", Prompt("m", PROMPT.messages, said=said), sink)
    assert sink.said == new


async def test_responses_are_asked_in_their_own_words(mock: Mock) -> None:
    options = {
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "max_tokens": 9,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    }
    assert await body_of(mock, "responses", Prompt("m", CONVERSATION, options)) == {
        "model": "there",
        "stream": True,
        "store": False,
        "input": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "这是什么？"},
                    {"type": "input_image", "image_url": PNG, "detail": "auto"},
                ],
            },
            {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"x": 1}'},
            {"type": "function_call", "call_id": "b", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "a cat"},
            {"type": "function_call_output", "call_id": "b", "output": "a dog"},
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "https://host/cat.png", "detail": "auto"}],
            },
        ],
        "max_output_tokens": 9,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}},
        "tools": [{"type": "function", "name": "look", "description": "looks", "parameters": SCHEMA}],
        "tool_choice": {"type": "function", "name": "look"},
    }


async def test_dify_is_asked_one_question(mock: Mock) -> None:
    messages = [*CONVERSATION[:1], {"role": "user", "content": "Hi"}, *CONVERSATION[1:2]]
    body = await body_of(mock, "dify", Prompt("m", messages, {"user": "u"}), options={"inputs": {"city": "北京"}})
    assert body == {
        "inputs": {"city": "北京"},
        "query": "system: Be brief.\n\nuser: Hi\n\n这是什么？",
        "response_mode": "streaming",
        "user": "u",
        "files": [{"type": "image", "transfer_method": "remote_url", "url": PNG}],
    }


async def test_coze_is_asked_by_its_bot(mock: Mock) -> None:
    end = 'event:conversation.chat.completed\ndata:{"usage":null}\n\n'
    server = await mock(answers(STREAM_HEAD + chunk(end.encode()) + LAST_CHUNK))
    await ask(server, "coze", Prompt("m", CONVERSATION[:2]), Recorder(), key="t")
    (request,) = server.requests
    assert (request.line, request.headers["Authorization"]) == ("POST /v1/v3/chat HTTP/1.1", "Bearer t")
    asked = request.json
    assert (asked["bot_id"], asked["user_id"], asked["stream"]) == ("there", "dazi", True)
    first, second = asked["additional_messages"]
    assert first == {"role": "user", "type": "question", "content": "Be brief.", "content_type": "text"}
    assert json.loads(second["content"]) == [{"type": "text", "text": "这是什么？"}, {"type": "image", "file_url": PNG}]


async def test_a_refusal_that_is_a_document_is_told_by_its_code(mock: Mock) -> None:
    server = await mock(answers(plain(200, b'{"code": 4100, "msg": "secret", "type": "invalid_token"}')))
    with pytest.raises(UpstreamError, match=r"\(invalid_token\)") as raised:
        await ask(server, "coze", PROMPT, Recorder())
    assert raised.value.code == "upstream_error"


@pytest.mark.parametrize("preset", ["anthropic", "responses", "dify", "coze"])
@pytest.mark.parametrize(
    ("response", "code"),
    [
        (STREAM_HEAD + chunk(b"data: {\n\n") + LAST_CHUNK, "upstream_garbage"),
        (STREAM_HEAD + chunk(b"data: [1]\n\n") + LAST_CHUNK, "upstream_garbage"),
        (STREAM_HEAD + LAST_CHUNK, "truncated"),
        (STREAM_HEAD + chunk(b": ping\n\n"), "truncated"),
        (plain(200, b"<html>", "text/html"), "upstream_garbage"),
        (plain(529), "upstream_unavailable"),
    ],
)
async def test_what_is_wrong_ends_in_its_code(preset: str, response: bytes, code: str, mock: Mock) -> None:
    with pytest.raises(UpstreamError) as raised:
        await ask(await mock(answers(response)), preset, PROMPT, Recorder(), failures=0)
    assert raised.value.code == code
