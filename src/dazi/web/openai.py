"""OpenAI's dialect: the events of a log as `chat.completion.chunk`s, and what is said when something goes wrong.

Laws: chunks are a view of the same log, and carry the same ids, so `GET …/events?format=openai` can attach where a stream
broke; a broken answer never looks finished: it ends in an error chunk, without `[DONE]`. What the dialect has no words
for (a text that was withdrawn, a position that cannot be continued) ends it likewise; unless nothing follows but the end of
an answer that the content check stopped, for which there is a word: the finish reason `content_filter`.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii

from dazi.errors import RequestError
from dazi.events import (
    Aborted,
    Answer,
    Done,
    End,
    Failed,
    Queued,
    Reasoning,
    Retract,
    Snapshot,
    Started,
    Text,
    ToolCall,
    Usage,
)
from dazi.log import START, Cursor, Record
from dazi.web.frames import Wire

# What the HTTP status would have been, of a generation that failed before it said anything.
_STATUS = {
    "upstream_rejected": 400,
    "upstream_rate_limited": 429,
    "upstream_unavailable": 503,
    "upstream_timeout": 504,
    "internal": 500,
    "producer_lost": 503,
    "too_long": 400,
    "token_limit": 400,
    "queue_timeout": 429,
    "abandoned": 503,
    "time_limit": 504,
    "prompt_refused": 400,
    "safety_unavailable": 503,
}
# What libraries of this dialect know a refused prompt by, as Azure's service says it.
_CODES = {"prompt_refused": "content_filter"}
# The finish reason of an answer that a content check stopped.
_FILTERED = "content_filter"
_BAD_GATEWAY = 502
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}

# What models say in, a token at a time, and its name in a delta; and what ends the chunk of one.
_TOKENS: dict[type, str] = {Text: "content", Reasoning: "reasoning_content"}
_CLOSING = '},"finish_reason":null}]}\n\n'

_Json = dict[str, object]


class Chunks:
    """Frames the events of one generation as chunks.

    Args:
        started: the generation's first event.
        with_usage: whether a last chunk tells the usage, as `stream_options.include_usage` asks for.
        after: what the client has.
    """

    heartbeat = b": \n\n"

    def __init__(self, started: Started, *, with_usage: bool = True, after: Cursor = START) -> None:
        self._started = started
        # Whether the client has nothing yet, and so can be told all so far at once.
        self._is_fresh = after == START
        # Whether what the client has is no beginning of the answer any more; and whether it was told so.
        self._is_withdrawn = False
        self._is_broken = False
        self._base: _Json = {
            "id": f"chatcmpl-{started.generation}",
            "object": "chat.completion.chunk",
            "created": started.created,
            "model": started.model,
        }
        self._with_usage = with_usage
        opening = _write({**self._base, "choices": []})[:-2]
        self._before = {kind: f'data: {opening}{{"index":0,"delta":{{"{name}":' for kind, name in _TOKENS.items()}

    def greeting(self) -> bytes:
        """Write nothing: clients of this dialect reconnect by their own rules."""
        return b""

    def record(self, record: Record) -> bytes:
        """Frame a record of a log."""
        event = record.event
        if (before := self._before.get(event.__class__)) and not self._is_withdrawn:
            # The path of nearly every token: the same bytes as `frame` writes, several times as fast.
            text = encode_basestring_ascii(event.text)  # type: ignore[union-attr]  # mypy knows isinstance only
            return f"id: {record.epoch}-{record.position}\n{before}{text}{_CLOSING}".encode("ascii")
        return self.frame(event, Cursor(record.epoch, record.position))

    def frame(self, event: Wire, cursor: Cursor | None = None) -> bytes:
        """Frame any event. Where one takes several chunks, the last carries the id: what was cut is sent again whole."""
        parts = self._parts(event)
        blocks = [f"data: {part}\n\n" for part in parts]
        if blocks and cursor is not None:
            blocks[-1] = f"id: {cursor.epoch}-{cursor.position}\n{blocks[-1]}"
        return "".join(blocks).encode("ascii")

    def _parts(self, event: Wire) -> list[str]:
        is_fresh, self._is_fresh = self._is_fresh, False
        match event:
            case Failed() | Aborted():
                return [_write(error_body(event))]
            case Done() if not self._is_withdrawn or event.finish_reason == _FILTERED:
                return [*self._finish(event), "[DONE]"]
            case Snapshot() if is_fresh:
                return [self._chunk(part) for part in (self._started, *_parts_of(event))]
            case Queued() | Retract() | Snapshot():
                # The dialect has no word for it. While an answer waits for its turn heartbeats go on.
                self._is_withdrawn = self._is_withdrawn or not isinstance(event, Queued)
                return []
            case Started() | Text() | Reasoning() | ToolCall() if not self._is_withdrawn:
                return [self._chunk(event)]
        return self._break()

    def _chunk(self, event: Started | Text | Reasoning | ToolCall) -> str:
        choices = [{"index": 0, "delta": _delta(event), "finish_reason": None}]
        return _write({**self._base, "choices": choices})

    def _break(self) -> list[str]:
        """Tell once that the stream cannot go on."""
        if self._is_broken:
            return []
        self._is_broken = True
        return [_write({"error": _error("The stream cannot go on in this dialect.", "position_lost", "server_error")})]

    def _finish(self, done: Done) -> list[str]:
        choices = [{"index": 0, "delta": {}, "finish_reason": done.finish_reason}]
        chunks = [_write({**self._base, "choices": choices})]
        if self._with_usage and done.usage is not None:
            chunks.append(_write({**self._base, "choices": [], "usage": _usage(done.usage)}))
        return chunks


def completion(generation: str, answer: Answer, started: Started, done: Done) -> _Json:
    """Make the whole answer a `chat.completion`."""
    message: _Json = {"role": "assistant", "content": answer.text}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [_whole_tool_call(call) for call in answer.tool_calls]
    return {
        "id": f"chatcmpl-{generation}",
        "object": "chat.completion",
        "created": started.created,
        "model": started.model,
        "choices": [{"index": 0, "message": message, "finish_reason": done.finish_reason, "logprobs": None}],
        "usage": _usage(done.usage or Usage()),
    }


def status_of_failure(end: End) -> int:
    """Tell the HTTP status of an answer that failed, or was aborted, before it began."""
    return _STATUS.get(end.code, _BAD_GATEWAY) if isinstance(end, Failed) else 503


def error_body(end: End) -> _Json:
    """Say in OpenAI's shape how an answer broke."""
    if isinstance(end, Failed):
        code = _CODES.get(end.code, end.code)
        return {"error": _error(end.message, code, _TYPES.get(status_of_failure(end), "server_error"))}
    return {"error": _error("The answer was aborted.", "aborted", "server_error")}


def request_error_body(error: RequestError) -> _Json:
    """Say in OpenAI's shape what was wrong with a request."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": _error(f"{error.message} {error.remedy}", error.code, kind, error.param)}


def _error(message: str, code: str, kind: str, param: str | None = None) -> _Json:
    return {"message": message, "type": kind, "param": param, "code": code}


def _parts_of(snapshot: Snapshot) -> list[Text | Reasoning | ToolCall]:
    reasoning = [Reasoning(snapshot.reasoning)] if snapshot.reasoning else []
    text = [Text(snapshot.text)] if snapshot.text else []
    return [*reasoning, *text, *snapshot.tool_calls]


def _delta(event: Started | Text | Reasoning | ToolCall) -> _Json:
    match event:
        case Started():
            return {"role": "assistant", "content": ""}
        case Text():
            return {"content": event.text}
        case Reasoning():
            return {"reasoning_content": event.text}
        case ToolCall():
            return {"tool_calls": [_tool_call(event)]}


def _write(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _usage(usage: Usage) -> _Json:
    told: _Json = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.cached_tokens is not None:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return told


def _tool_call(piece: ToolCall) -> _Json:
    function: _Json = {"arguments": piece.arguments}
    if piece.name is not None:
        function["name"] = piece.name
    first: _Json = {"id": piece.call_id, "type": "function"} if piece.call_id is not None else {}
    return {"index": piece.index, **first, "function": function}


def _whole_tool_call(call: ToolCall) -> _Json:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
