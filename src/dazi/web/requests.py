"""The body of a start, checked: OpenAI's chat fields (PROTOCOL.md, section 2.1)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct
from starlette.datastructures import Headers
from starlette.types import Receive

from dazi.errors import InvalidRequest
from dazi.upstream import NOBODY, Asker, Prompt

# Seconds for a body to arrive. Eight megabytes in half a minute is a slow phone's uplink.
BODY_TIMEOUT = 30.0

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Count = Annotated[int, Meta(ge=1)]
_T = TypeVar("_T", bound=Struct)


class Message(Struct):
    """One message. Fields beside these two pass on as they are."""

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[dict[str, Any]] | None = None  # Any: parts are the dialect's, passed through


class ChatRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a start."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=10_000)]  # Any: see `Message`
    model: str | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None  # Any: JSON Schema, passed through
    tool_choice: str | dict[str, Any] | None = None  # Any: the dialect's
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None  # Any: the dialect's
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    thinking: dict[str, Any] | None = None  # Any: DeepSeek's, Zhipu's and Doubao's switch
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None  # Any: vLLM's and SGLang's, passed through
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None  # Any: the caller's own
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None  # Any: accepted and ignored


# What concerns the gateway alone and goes no further.
_OWN_FIELDS = frozenset({"messages", "model", "n", "stream", "stream_options"})


@dataclass(frozen=True, slots=True)
class Start:
    """A start: as it was asked for, and what to answer as the gateway takes it."""

    request: ChatRequest
    prompt: Prompt

    def fingerprint(self, key: str | None) -> str:
        """Tell this request from others that come with the same idempotency key; "" without one, under which none can."""
        if key is None:
            return ""
        return hashlib.sha256(msgspec.json.encode(self.request, order="deterministic")).hexdigest()


def read_start(body: bytes, *, default_model: str, asker: Asker = NOBODY) -> Start:
    """Check the body of a start. Raises `InvalidRequest`."""
    request = decode(body, ChatRequest)
    for index, message in enumerate(request.messages):
        _check_message(message, index)
    fields: Mapping[str, Any] = msgspec.to_builtins(request)
    options = {name: value for name, value in fields.items() if name not in _OWN_FIELDS and value is not None}
    return Start(request, Prompt(request.model or default_model, request.messages, options, asker=asker))


def decode(body: bytes, shape: type[_T]) -> _T:
    """Decode a JSON body into its shape. Raises `InvalidRequest` that names the field and the value."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(str(error)) from None
    except RecursionError:
        raise _no_json("It is nested too deeply") from None


async def read_body(receive: Receive, headers: Headers, *, limit: int) -> bytes:
    """Read a JSON body of at most `limit` bytes. Raises `InvalidRequest`."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest(
            f"The Content-Type {headers.get('content-type', '')[:100]!r} is not application/json.",
            remedy="Send the header Content-Type: application/json.",
            code="unsupported_media_type",
            param="Content-Type",
            status=415,
        )
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await _collect(receive, limit)
    except TimeoutError:
        raise InvalidRequest(
            f"The body did not arrive within {BODY_TIMEOUT:g} seconds.", remedy="Send it again.", code="bad_json"
        ) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise InvalidRequest(
                f"The body is larger than {limit} bytes.",
                remedy="Send a shorter conversation, or smaller images.",
                code="body_too_large",
                status=413,
            )
    return bytes(body)


def _check_message(message: dict[str, Any], index: int) -> None:
    try:
        msgspec.convert(message, Message)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        where = f"$.messages[{index}]{path}" if path else f"$.messages[{index}]`"
        raise _invalid(f"{what} - at `{where}", msgspec.json.encode({"messages": [None] * index + [message]})) from None


def _no_json(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body is not valid JSON: {why}.", remedy="Send one JSON object, as UTF-8.", code="bad_json"
    )


def _invalid(sentence: str, body: bytes) -> InvalidRequest:
    """Say what msgspec found, and the value it found it in."""
    what, _, place = sentence.partition(" - at ")
    path = place.strip("`").removeprefix("$").removeprefix(".")
    unknown = re.search(r"unknown field `(.*)`$", what, re.DOTALL)
    if unknown is not None:
        field = f"{path}.{unknown[1]}"[:100] if path else unknown[1][:100]
        return InvalidRequest(
            f"There is no field {field!r}.",
            remedy="Remove it; the fields that are known here are listed in PROTOCOL.md, section 2.1.",
            code="unknown_field",
            param=field,
            status=422,
        )
    return InvalidRequest(
        f"{path or 'The body'}: {what[:1].lower()}{what[1:]}{_found(body, path)}.",
        remedy="Correct it; the fields and their types are in PROTOCOL.md, section 2.1.",
        code="invalid_field",
        param=path or None,
        status=422,
    )


def _found(body: bytes, path: str) -> str:
    """Quote the value at `path`, if it is a number: a string or an object may be the prompt itself."""
    try:
        value: Any = msgspec.json.decode(body)  # Any: whatever was sent
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            value = value[int(index)] if index else value[name]
    except (LookupError, TypeError, ValueError, RecursionError):  # what follows the value may be no JSON at all
        return ""
    return f" (it is {value!r})" if isinstance(value, bool | int | float) else ""
