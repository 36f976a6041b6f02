"""Upstreams that speak Anthropic's Messages.

An OpenAI prompt is translated: system messages become `system`, pictures blocks, tool calls and their results blocks of the
turns that they belong to. What comes back is text, thinking and tool calls as everywhere. A thinking block's signature is not kept, so a
conversation that goes on after a tool call does so without the thoughts before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import Dialect, Json, told
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Taken

_VERSION = "2023-06-01"
# The API insists on a limit; this is one that every model takes.
_MAX_TOKENS = 8192
# Tokens to think with, for OpenAI's words for how hard. The API's least is 1024.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24576}
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_PICTURE = re.compile(r"data:(image/[a-z.+-]{1,32});base64,(.+)", re.DOTALL)
_SAME_NAME = ("top_p", "top_k", "service_tier")


class AnthropicUpstream(Dialect):
    """A model behind Anthropic's API, or one like it."""

    path = "/messages"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the server's answer into `sink` and return how it finished."""
        blank = prompt.said[len(prompt.said.rstrip()) :]
        return await self._exchange.ask(self._options | request(prompt), _Answer(sink, blank))

    def can_continue(self, prompt: Prompt) -> bool:
        """Whether it can: with a trailing message of the assistant's, but not while it has tools to call instead."""
        return not prompt.options.get("tools")

    def _fields(self, key: str) -> Mapping[str, str]:
        return {"anthropic-version": _VERSION} | ({"x-api-key": key} if key else {})


def request(prompt: Prompt) -> Json:
    """Return the body that asks for this."""
    options = prompt.options
    body: Json = {name: options[name] for name in _SAME_NAME if options.get(name) is not None}
    body |= {
        "model": prompt.model,
        "max_tokens": options.get("max_completion_tokens") or options.get("max_tokens") or _MAX_TOKENS,
        "messages": _turns(prompt),
        "stream": True,
    }
    system = [part for message in prompt.messages if _is_system(message) for part in _parts(message.get("content"))]
    if system:
        body["system"] = system
    if (stop := options.get("stop")) is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if (temperature := options.get("temperature")) is not None:
        body["temperature"] = min(temperature, 1.0)  # theirs ends at 1
    if options.get("user"):
        body["metadata"] = {"user_id": options["user"]}
    _add_tools(body, options)
    if not prompt.said:  # what is continued must not be thought about anew
        _add_thinking(body, options)
    return body


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") in {"system", "developer"}


def _turns(prompt: Prompt) -> list[Json]:
    """Return the messages without the system's, neighbours of one role joined: results of tools must share a turn."""
    turns: list[Json] = []
    for message in prompt.messages:
        if _is_system(message):
            continue
        role = "assistant" if message.get("role") == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    said = prompt.said.rstrip()  # "final assistant content cannot end with trailing whitespace"
    if said:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
    return turns


def _blocks(message: Mapping[str, Any]) -> list[Json]:
    if message.get("role") == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
        return [{**result, "content": _parts(message.get("content"))}]
    blocks = _parts(message.get("content"))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id"),
                "name": function.get("name"),
                "input": _object(function.get("arguments")),
            }
        )
    return blocks


def _parts(content: object) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts: Iterable[Any] = content if isinstance(content, list) else ()  # Any: as they came
    return [_part(part) for part in parts if isinstance(part, dict)]


def _part(part: Json) -> Json:
    """Translate a picture; what is no picture of OpenAI's is theirs already, or theirs to judge."""
    if part.get("type") != "image_url":
        return part
    where = part.get("image_url")
    url = str(where.get("url") if isinstance(where, dict) else where)
    inline = _PICTURE.fullmatch(url)
    if inline:
        return {"type": "image", "source": {"type": "base64", "media_type": inline[1], "data": inline[2]}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _object(arguments: object) -> object:
    try:
        value = json.loads(str(arguments or "{}"))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _add_tools(body: Json, options: Mapping[str, Any]) -> None:
    tools = [tool["function"] for tool in options.get("tools") or () if isinstance(tool.get("function"), dict)]
    if not tools:
        return
    body["tools"] = [
        {
            "name": tool.get("name"),
            **({"description": tool["description"]} if tool.get("description") else {}),
            "input_schema": tool.get("parameters") or {"type": "object", "properties": {}},
        }
        for tool in tools
    ]
    choice = _choice(options.get("tool_choice"))
    if options.get("parallel_tool_calls") is False:
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice


def _choice(given: object) -> Json:
    match given:
        case "required":
            return {"type": "any"}
        case "auto" | "none":
            return {"type": given}
        case {"function": {"name": name}}:
            return {"type": "tool", "name": name}
    return {}


def _add_thinking(body: Json, options: Mapping[str, Any]) -> None:
    thinking, effort = options.get("thinking"), options.get("reasoning_effort")
    if isinstance(thinking, dict) and (thinking.get("type") != "enabled" or "budget_tokens" in thinking):
        body["thinking"] = thinking
    elif isinstance(thinking, dict) or options.get("enable_thinking") or effort in _BUDGETS:
        body["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS.get(str(effort), _BUDGETS["medium"])}
    budget = body.get("thinking", {}).get("budget_tokens")
    if budget:
        body["max_tokens"] = max(body["max_tokens"], 0) + budget  # theirs counts thoughts and answer together
        # "Thinking isn't compatible with temperature or top_k modifications"
        body.pop("temperature", None)
        body.pop("top_k", None)


class _Answer:
    """Hears one answer. `blank`: the white space at the end of what was said, which the API did not let us repeat."""

    def __init__(self, sink: Sink, blank: str) -> None:
        self._sink = sink
        self._blank = blank
        self._reason: str | None = None
        self._usage: Json = {}
        # By the index of their blocks, the tool calls' own.
        self._calls: dict[object, int] = {}

    def finish(self) -> Finish | None:
        if self._reason is None:
            return None
        return Finish(_REASONS.get(self._reason, self._reason[:64]), _usage(self._usage))

    def take(self, kind: str, data: Json) -> Taken:
        match data.get("type", kind):
            case "content_block_delta":
                return self._delta(data.get("index"), data.get("delta") or {})
            case "content_block_start":
                return self._begin_block(data.get("index"), data.get("content_block") or {})
            case "message_start":
                self._usage |= (data.get("message") or {}).get("usage") or {}
            case "message_delta":
                self._usage |= {name: count for name, count in (data.get("usage") or {}).items() if count is not None}
                if reason := (data.get("delta") or {}).get("stop_reason"):
                    self._reason = str(reason)
                    return PROGRESS
            case "message_stop":
                return ALL
            case "error":
                raise told(data)
        return NOTHING  # `ping`, the ends of blocks, and what is yet to be invented

    def _begin_block(self, index: object, block: Json) -> Taken:
        match block.get("type"):
            case "tool_use":
                number = self._calls[index] = len(self._calls)
                self._sink.tool_call(number, call_id=block.get("id"), name=block.get("name"))
                return PROGRESS
            case "text":
                return self._say(block.get("text") or "")
        return NOTHING

    def _delta(self, index: object, delta: Json) -> Taken:
        match delta.get("type"):
            case "text_delta":
                return self._say(delta.get("text") or "")
            case "thinking_delta":
                self._sink.reasoning(delta.get("thinking") or "")
                return PROGRESS
            case "input_json_delta" if index in self._calls:
                self._sink.tool_call(self._calls[index], arguments=delta.get("partial_json") or "")
                return PROGRESS
        return NOTHING

    def _say(self, text: str) -> Taken:
        while self._blank and text[:1].isspace():  # said already, or something like it
            self._blank = self._blank[text[0] == self._blank[0] :]
            text = text[1:]
        if not text:
            return NOTHING
        self._blank = ""
        self._sink.text(text)
        return PROGRESS


def _usage(told: Json) -> Usage:
    cached = told.get("cache_read_input_tokens")
    asked = sum(told.get(name) or 0 for name in ("input_tokens", "cache_creation_input_tokens")) + (cached or 0)
    answered = told.get("output_tokens") or 0
    return Usage(
        prompt_tokens=asked,
        completion_tokens=answered,
        total_tokens=asked + answered,
        cached_tokens=cached or None,
    )
