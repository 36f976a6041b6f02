"""Upstreams that speak OpenAI's Responses: the same questions and answers in other words; nothing is stored there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import Dialect, Json, told
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Taken

_SAME_NAME = (
    "temperature", "top_p", "parallel_tool_calls", "metadata", "user", "service_tier", "prompt_cache_key", "safety_identifier",
)  # fmt: skip
_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesUpstream(Dialect):
    """A model behind `/v1/responses`."""

    path = "/responses"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the server's answer into `sink` and return how it finished."""
        return await self._exchange.ask(self._options | request(prompt), _Answer(sink))


def request(prompt: Prompt) -> Json:
    """Return the body that asks for this."""
    options = prompt.options
    body: Json = {name: options[name] for name in _SAME_NAME if options.get(name) is not None}
    body |= {
        "model": prompt.model,
        "input": [item for message in prompt.messages for item in _items(message)],
        "store": bool(options.get("store", False)),
        "stream": True,
    }
    if limit := options.get("max_completion_tokens") or options.get("max_tokens"):
        body["max_output_tokens"] = limit
    if effort := options.get("reasoning_effort"):
        body["reasoning"] = {"effort": effort, "summary": "auto"}
    text = {"verbosity": options["verbosity"]} if options.get("verbosity") else {}
    if form := options.get("response_format"):
        text["format"] = {"type": form.get("type"), **(form.get("json_schema") or {})}
    if text:
        body["text"] = text
    if tools := options.get("tools"):
        body["tools"] = [{"type": "function", **tool["function"]} if "function" in tool else tool for tool in tools]
    if choice := options.get("tool_choice"):
        named = isinstance(choice, dict) and "function" in choice
        body["tool_choice"] = {"type": "function", **choice["function"]} if named else choice
    return body


def _items(message: Mapping[str, Any]) -> list[Json]:
    role = message.get("role")
    if role == "tool":
        output = message.get("content")
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output or ""}]
    items: list[Json] = []
    if content := message.get("content"):
        items.append({"role": role, "content": _content(content, is_output=role == "assistant")})
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
        items.append({"type": "function_call", "call_id": call.get("id"), **named})
    return items


def _content(content: Any, *, is_output: bool) -> object:  # noqa: ANN401  # as it came
    if isinstance(content, str):
        return content
    return [_part(part, is_output=is_output) for part in content]


def _part(part: Json, *, is_output: bool) -> Json:
    match part.get("type"):
        case "text":
            return {"type": "output_text" if is_output else "input_text", "text": part.get("text")}
        case "image_url":
            where = part.get("image_url")
            image = where if isinstance(where, dict) else {"url": where}
            return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail", "auto")}
    return part


class _Answer:
    """Hears one answer."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._finish: Finish | None = None
        # By the index of their items, the tool calls' own.
        self._calls: dict[object, int] = {}

    def finish(self) -> Finish | None:
        return self._finish

    def take(self, kind: str, data: Json) -> Taken:
        match data.get("type", kind):
            case "response.output_text.delta" | "response.refusal.delta":
                self._sink.text(data.get("delta") or "")
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self._sink.reasoning(data.get("delta") or "")
            case "response.output_item.added":
                return self._begin_item(data.get("output_index"), data.get("item") or {})
            case "response.function_call_arguments.delta" if data.get("output_index") in self._calls:
                self._sink.tool_call(self._calls[data.get("output_index")], arguments=data.get("delta") or "")
            case "response.completed" | "response.incomplete":
                self._end(data.get("response") or {})
                return ALL
            case "response.failed" | "error":
                raise _failed(data)
            case _:
                return NOTHING  # the doings of tools of theirs, what is done piece by piece, and keep-alives
        return PROGRESS

    def _begin_item(self, index: object, item: Json) -> Taken:
        if item.get("type") != "function_call":
            return NOTHING
        number = self._calls[index] = len(self._calls)
        self._sink.tool_call(
            number, call_id=item.get("call_id"), name=item.get("name"), arguments=item.get("arguments") or ""
        )
        return PROGRESS

    def _end(self, response: Json) -> None:
        why = str((response.get("incomplete_details") or {}).get("reason") or "")
        reason = _REASONS.get(why, why[:64]) or ("tool_calls" if self._calls else "stop")
        self._finish = Finish(reason, _usage(response.get("usage")))


def _failed(data: Json) -> UpstreamError:
    return told(data.get("response") or data)


def _usage(counted: Any) -> Usage | None:  # noqa: ANN401  # JSON
    if not isinstance(counted, dict):
        return None
    asked, answered = counted.get("input_tokens") or 0, counted.get("output_tokens") or 0
    return Usage(
        prompt_tokens=asked,
        completion_tokens=answered,
        total_tokens=counted.get("total_tokens") or asked + answered,
        reasoning_tokens=(counted.get("output_tokens_details") or {}).get("reasoning_tokens"),
        cached_tokens=(counted.get("input_tokens_details") or {}).get("cached_tokens"),
    )
