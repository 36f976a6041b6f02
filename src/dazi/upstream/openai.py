"""Upstreams that speak OpenAI's chat completions: OpenAI, vLLM, SGLang, Ollama, llama.cpp, DeepSeek, Qwen and others.

When an answer is finished, since servers differ:

- with a finish reason, however the stream then ends: by `[DONE]`, without it, or with a broken line;
- a `[DONE]` without any finish reason is `truncated`: servers that finish say why, and gateways in between are known to
  write `[DONE]` themselves when the model's server dies on them;
- with neither, `truncated`.

On the way of a token there is no task switch: its bytes arrive in the transport's callback, become server-sent events,
then typed structs, and are in the sink when the callback returns.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec

from dazi.errors import EventTooLarge, UpstreamError
from dazi.events import Usage
from dazi.sse import DEFAULT_LIMIT, Parser
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import checked_key, encode, endpoint
from dazi.upstream.http import Client, Timeouts
from dazi.upstream.presets import Preset, continued, switched
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Take, Taken, error_code, fault
from dazi.upstream.rounds import Rounds

_PATH = "/chat/completions"
# Options of a start that are the gateway's own affair: it always streams, always counts, and asks for one answer.
_GATEWAY_OPTIONS = frozenset({"stream", "stream_options", "n"})
# The longest finish reason of any known server has 14 characters; what is longer is no word.
_MAX_REASON = 64
# Reasons that are failures: OpenRouter's for a provider that broke off, Zhipu's and DeepSeek's for want of machines.
_BROKEN = frozenset({"error", "network_error", "insufficient_system_resource"})
# Words of single houses for what OpenAI has a word for: Zhipu's and Hunyuan's, Zhipu's again.
_REASONS = {"sensitive": "content_filter", "model_context_window_exceeded": "length"}
# Ways to say "not finished yet" beside null: DashScope's old API writes the word.
_UNFINISHED = frozenset({None, "", "null"})


class OpenAIUpstream:
    """A model behind an OpenAI-compatible server.

    Args:
        base_url: where the API begins, as `https://api.openai.com/v1`. Raises `ConfigError` if it cannot be used.
        key: sent as a bearer token, if there is one.
        model: its name there; by default the prompt's.
        timeouts: how long to wait for the connection, the first token, and between tokens.
        limit: the most bytes of one event, or of an answer that is not streamed.
        tls: trusted certificates, if not the system's.
        preset: what this server has to be asked differently (`presets`).
        headers: sent with every request.
        options: added to every request's body, where the prompt does not say otherwise.
        rounds: in which its answers are read; by default each as it comes.
    """

    def __init__(  # noqa: PLR0913  # what servers differ in
        self,
        base_url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        timeouts: Timeouts | None = None,
        limit: int = DEFAULT_LIMIT,
        tls: ssl.SSLContext | None = None,
        preset: Preset | None = None,
        headers: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        fields = dict(headers or {}) | ({"Authorization": f"Bearer {checked_key(key)}"} if key else {})
        self._base_url = base_url
        self._preset = preset or Preset()
        self._client = Client(endpoint(base_url, _PATH), headers=fields, timeouts=timeouts, tls=tls, rounds=rounds)
        # Where texts are continued; the same, but for a house that has an address of its own for it.
        self._continuing = self._client
        if self._preset.continuation_url and base_url == self._preset.url:
            url = endpoint(self._preset.continuation_url, _PATH)
            self._continuing = Client(url, headers=fields, timeouts=timeouts, tls=tls, rounds=rounds)
        self._model = model
        self._limit = limit
        self._options = dict(options or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the server's answer into `sink` and return how it finished."""
        answer = _Answer(sink, self._limit)
        try:
            client = self._continuing if prompt.said else self._client
            await client.post(self._request(prompt), answer)
        except UpstreamError as error:
            if not (answer.is_finished and error.code in {"truncated", "upstream_timeout"}):
                raise
        return answer.finish()

    def can_continue(self, _prompt: Prompt) -> bool:
        """Whether this server can go on from what another has said."""
        return bool(self._preset.continuation)

    async def open(self) -> None:
        """Nothing to prepare: connections are made when they are needed."""

    async def close(self) -> None:
        """Drop every connection."""
        self._client.close()
        self._continuing.close()

    def _request(self, prompt: Prompt) -> bytes:
        options = {name: value for name, value in prompt.options.items() if name not in _GATEWAY_OPTIONS}
        body = self._options | switched(options, self._preset.thinking)
        messages: Any = prompt.messages  # Any: as they came
        if prompt.said:
            messages, fields = continued([dict(one) for one in messages], prompt.said, self._preset.continuation)
            body |= fields
        body |= {
            "model": self._model or prompt.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return encode(body)


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    """A delta, or the whole message where the server does not stream."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Details(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def plain(self) -> Usage:
        prompt, completion = self.prompt_tokens or 0, self.completion_tokens or 0
        details = self.completion_tokens_details
        cache = self.prompt_tokens_details
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=self.total_tokens or prompt + completion,
            reasoning_tokens=details.reasoning_tokens if details else None,
            cached_tokens=cache.cached_tokens if cache else None,
        )


class _Choice(msgspec.Struct, gc=False):
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    index: int | None = None
    usage: _Usage | None = None  # Moonshot's place for it


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None  # Any: every server has its own shape


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_text = msgspec.json.Decoder(str).decode

# The key of a piece of text, and the string after it.
_CONTENT = re.compile(rb'"content": ?("(?:[^"\\]|\\.)*")')
# How often in one answer it is learned what stands around its text: more would not pay with a server where that changes each time.
_LESSONS = 8


class _Answer:
    """Reads one response into a sink."""

    __slots__ = (
        "_after",
        "_before",
        "_document",
        "_events",
        "_is_done",
        "_known",
        "_lessons",
        "_limit",
        "_reason",
        "_sink",
        "_usage",
    )

    def __init__(self, sink: Sink, limit: int) -> None:
        self._sink = sink
        self._limit = limit
        self._events = Parser(limit)
        # A whole JSON document, from a server that was asked to stream and did not.
        self._document = bytearray()
        # What stands before and after the text in this answer's events, once that is known; `_before` is empty while half an event waits.
        self._known = b""
        self._before = b""
        self._after = b""
        self._lessons = _LESSONS
        self._reason = ""
        self._usage: _Usage | None = None
        self._is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the model said how it ended."""
        return bool(self._reason)

    def begin(self, media_type: str) -> Take:
        """Read server-sent events, or one JSON document."""
        match media_type:
            case "text/event-stream":
                return self._feed_events
            case "application/json":
                return self._feed_document
        raise fault("upstream_garbage", f"The model's server answered with {media_type} instead of an event stream.")

    def finish(self) -> Finish:
        """Return how the answer ended, after the response did; raises `truncated` if it did not end."""
        if self._document:
            self._take(self._document.decode("utf-8", "replace"), "message")
        if self._reason:
            return Finish(self._reason[:_MAX_REASON], self._usage.plain() if self._usage else None)
        how = "said [DONE]" if self._is_done else "ended its stream"
        raise fault("truncated", f"The model's server {how} without saying that the answer is finished.")

    def _feed_document(self, data: bytes) -> Taken:
        self._document += data
        if len(self._document) > self._limit:
            raise fault("upstream_garbage", f"The model's server sent an answer of more than {self._limit} bytes.")
        return NOTHING

    def _feed_events(self, data: bytes) -> Taken:
        before, after = self._before, self._after
        if before and data.startswith(before) and data.endswith(after) and len(data) <= self._limit:
            # An event like one before, but for its text: the shape of nearly every token.
            try:
                piece = _decode_text(data[len(before) : -len(after)])
            except (msgspec.DecodeError, UnicodeDecodeError):
                piece = ""
            if piece:
                self._sink.text(piece)
                return PROGRESS
        if (text := self._events.only_data(data)) and (chunk := _decode_quickly(text)) is not None:
            if self._lessons and _only_text(chunk):
                self._lessons -= 1
                self._known, self._after = _around_text(data) or (self._known, self._after)
                self._before = self._known
            return PROGRESS if self._take_chunk(chunk) else NOTHING
        taken = NOTHING
        try:
            events = self._events.feed(data)
        except EventTooLarge as exc:
            raise fault(
                "upstream_garbage", f"The model's server sent an event of more than {exc.limit} bytes."
            ) from exc
        self._before = self._known if self._events.is_idle else b""
        for event in events:
            if event.data == "[DONE]":
                self._is_done = True
                return ALL
            if self._take(event.data, event.event):
                taken = PROGRESS
        return taken

    def _take(self, data: str, kind: str) -> bool:
        """Push what one chunk says; returns whether it said anything."""
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, RecursionError) as exc:
            chunk = _leniently(data, exc)
        if chunk.error is not None or kind == "error":
            raise _told(data)
        return self._take_chunk(chunk)

    def _take_chunk(self, chunk: _Chunk) -> bool:
        spoke = False
        for choice in chunk.choices or ():
            if choice.index:
                continue  # of several answers the first is the one; a server that does not count has just one
            message = choice.delta or choice.message
            if message is not None and self._push(message):
                spoke = True
            if choice.finish_reason not in _UNFINISHED:
                self._conclude(str(choice.finish_reason))
                spoke = True
            self._usage = choice.usage or self._usage
        self._usage = chunk.usage or self._usage
        return spoke

    def _conclude(self, reason: str) -> None:
        if reason in _BROKEN:
            raise fault("upstream_error", f"The model's server said that it failed ({reason}).")
        if reason == "abort":  # vLLM's and SGLang's, for an answer that they were made to drop
            raise fault("truncated", "The model's server dropped its answer before it was finished.")
        self._reason = _REASONS.get(reason, reason)

    def _push(self, message: _Message) -> bool:
        reasoning = message.reasoning_content or message.reasoning
        if reasoning:
            self._sink.reasoning(reasoning)
        if message.content:
            self._sink.text(message.content)
        for call in message.tool_calls or ():
            function = call.function or _Function()
            self._sink.tool_call(
                call.index or 0, call_id=call.id or None, name=function.name or None, arguments=function.arguments or ""
            )
        return bool(message.content or reasoning or message.tool_calls)


def _decode_quickly(data: bytes) -> _Chunk | None:
    """Decode the text of an event, unless there is anything about it to look at closely."""
    try:
        chunk = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return chunk if chunk.error is None else None


def _only_text(chunk: _Chunk) -> str | None:
    """Return the piece of text that is all that a chunk says, or None where it says anything else."""
    if chunk.usage is not None or chunk.choices is None or len(chunk.choices) != 1:
        return None
    choice, message = chunk.choices[0], chunk.choices[0].delta
    if message is None or choice.index or choice.usage is not None or choice.finish_reason not in _UNFINISHED:
        return None
    return None if message.reasoning_content or message.reasoning or message.tool_calls else message.content


def _around_text(event: bytes) -> tuple[bytes, bytes] | None:
    """Return what stands before and after the text of an event that is a line of data with one chunk, which is all text; else None.

    Any string in the place of a string leaves JSON what it is. That it is the text's place shows when an empty one is put there.
    """
    found = _CONTENT.search(event)
    if found is None:
        return None
    before, after = event[: found.start(1)], event[found.end(1) :]
    empty = _decode_quickly((before + b'""' + after)[len(b"data: ") : -len(b"\n\n")])
    return (before, after) if empty is not None and _only_text(empty) == "" else None


def _leniently(data: str, problem: Exception) -> _Chunk:
    """Decode what msgspec does not: half a surrogate pair, which the next delta completes; and nothing at all."""
    if not data.strip():
        return _Chunk()  # an empty `data:` line, as a keep-alive
    try:
        return msgspec.convert(json.loads(data), _Chunk)
    except (ValueError, RecursionError):
        pass
    raise fault("upstream_garbage", "The model's server sent a chunk that is no chat completion.") from problem


def _told(data: str) -> UpstreamError:
    try:
        word = error_code(json.loads(data))
    except (ValueError, RecursionError):
        word = ""
    return fault("upstream_error", f"The model's server reported an error{word}.")
