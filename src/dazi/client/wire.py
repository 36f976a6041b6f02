"""What passes over the wire (PROTOCOL.md, sections 2, 4 and 6), as values.

Laws: nothing here trusts what came: JSON that is none, or not of the protocol's shape, is `Damaged`, or no gateway's;
unknown event types and fields are ignored, as section 4 asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from dazi.errors import (
    Conflict,
    DaziError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RequestError,
    Unauthorized,
    Unavailable,
)
from dazi.events import (
    Aborted,
    Done,
    End,
    Event,
    Failed,
    Problem,
    Queued,
    Reasoning,
    Reconnect,
    Retract,
    Snapshot,
    Started,
    Text,
    ToolCall,
    Usage,
    crc32,
    utf16_length,
)

Message = Mapping[str, Any]  # Any: message shapes are OpenAI's, passed through
# Everything that a stream's frame can be.
Frame = Event | Snapshot | Reconnect | Problem


class Damaged(Exception):
    """What came is not what was sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask the gateway. `path` begins with a slash and holds the query."""

    method: Literal["GET", "POST"]
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer; the headers' names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def media_type(self) -> str:
        """What the body is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_stream(self) -> bool:
        """Whether events follow."""
        return self.status == 200 and self.media_type == "text/event-stream"


class Fault(Struct, frozen=True):
    """Why a generation failed."""

    code: str
    message: str
    retryable: bool


class Standing(Struct, frozen=True, kw_only=True):
    """An answer as it stands (PROTOCOL.md, section 2.4), proved by its `n` and `crc32`.

    `status` is `running`, `done`, `failed` or `aborted`; `next` is the position to attach after.
    """

    generation: str
    model: str
    status: Literal["running", "done", "failed", "aborted"]
    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    n: int
    crc32: int
    created: int
    usage: Usage | None
    finish_reason: str | None
    error: Fault | None
    next: str

    @property
    def snapshot(self) -> Snapshot:
        """All so far as one event."""
        return Snapshot(text=self.text, n=self.n, reasoning=self.reasoning, tool_calls=self.tool_calls)

    @property
    def ends(self) -> tuple[End, ...]:
        """The terminal event, if there is one yet."""
        match self.status:
            case "running":
                return ()
            case "done":
                return (Done(self.finish_reason or "", self.usage, self.n, self.crc32, ai_generated=True),)
            case "aborted":
                return (Aborted(self.usage, self.n, self.crc32, ai_generated=True),)
            case "failed":
                fault = self.error or Fault("internal", "The gateway did not say why.", retryable=True)
                proof = (self.usage, self.n, self.crc32)
                return (Failed(fault.code, fault.message, fault.retryable, *proof, ai_generated=True),)


class _Typed(Struct, frozen=True):
    type: str


class _Error(Struct, frozen=True):
    # OpenAI's calls tell the first three only, with the remedy as the last sentence of the message.
    code: str
    message: str
    param: str | None = None
    remedy: str = ""
    retryable: bool | None = None
    retry_after: float | None = None


class _Refused(Struct, frozen=True):
    error: _Error


class _Aborted(Struct, frozen=True):
    generation: str
    end: End


class _Model(Struct, frozen=True):
    id: str


class _Models(Struct, frozen=True):
    data: tuple[_Model, ...]


_KINDS = (Started, Text, Reasoning, ToolCall, Retract, Queued, Snapshot, Done, Failed, Aborted, Reconnect, Problem)
_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in _KINDS)
_frame: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
_typed = msgspec.json.Decoder(_Typed)
_standing = msgspec.json.Decoder(Standing)
_refused = msgspec.json.Decoder(_Refused)
_aborted = msgspec.json.Decoder(_Aborted)
_models = msgspec.json.Decoder(_Models)

# Statuses that pass by themselves, where nothing says more: a proxy's, mostly.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_JSON = {"accept": "application/json"}
_BY_STATUS: dict[int, type[RequestError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    503: Unavailable,
}


def path_of(generation: str, what: str = "") -> str:
    """Return the path of a generation, or of something of it."""
    return f"/v1/generations/{quote(generation, safe='')}{what}"


def write_start(messages: str | Sequence[Message], model: str | None, options: Mapping[str, object]) -> bytes:
    """Write the body of a start; a string is one question."""
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    named = {} if model is None else {"model": model}
    return msgspec.json.encode({"messages": said, **named, **options})


def ask_abort(generation: str, key: str) -> Request:
    """Ask to stop a generation, or, where its id is not known yet, whatever was or will be started under a key."""
    if generation:
        return Request("POST", path_of(generation, "/abort"), _JSON)
    return Request("POST", "/v1/generations/abort", {**_JSON, "idempotency-key": key})


def ask_standing(generation: str) -> Request:
    """Ask for an answer as it stands."""
    return Request("GET", path_of(generation), _JSON)


def ask_models() -> Request:
    """Ask for the models."""
    return Request("GET", "/v1/models", _JSON)


def read_frame(data: str) -> Frame | None:
    """Read a frame's data; None for a type that is not known, which means nothing. Raises `Damaged`."""
    try:
        return _frame.decode(data)
    except msgspec.DecodeError as exc:
        try:
            is_known = _typed.decode(data).type in _TYPES
        except msgspec.DecodeError:
            raise Damaged from exc
        if is_known:
            raise Damaged from exc
        return None


def read_standing(body: bytes) -> Standing:
    """Read an answer as it stands, and prove it. Raises `Damaged`."""
    try:
        standing = _standing.decode(body)
    except msgspec.DecodeError as exc:
        raise Damaged from exc
    if (utf16_length(standing.text), crc32(standing.text)) != (standing.n, standing.crc32):
        raise Damaged
    return standing


def read_end(body: bytes) -> tuple[str, End]:
    """Read what an abort answers: the generation, and the terminal event that won. Raises `Damaged`."""
    try:
        aborted = _aborted.decode(body)
    except msgspec.DecodeError as exc:
        raise Damaged from exc
    return aborted.generation, aborted.end


def read_models(body: bytes) -> tuple[str, ...]:
    """Read the names of the models. Raises `Damaged`."""
    try:
        return tuple(model.id for model in _models.decode(body).data)
    except msgspec.DecodeError as exc:
        raise Damaged from exc


def read_refusal(head: Head, body: bytes) -> RequestError | None:
    """Read an error of PROTOCOL.md, section 6; None if it is none."""
    try:
        error = _refused.decode(body).error
    except msgspec.DecodeError:
        return None
    return refusal(error, head.status)


def refusal(error: _Error | Problem, status: int) -> RequestError:
    """Make the exception of an error, in a body or in a stream."""
    kind = _BY_STATUS.get(status, RequestError)
    message, _, remedy = (error.message, "", error.remedy) if error.remedy else error.message.rpartition(". ")
    refused = kind(
        message if error.remedy else f"{message}.",
        remedy=remedy,
        code=error.code,
        param=error.param,
        status=status,
        retry_after=None if error.retry_after is None else int(error.retry_after),
    )
    refused.retryable = status in PASSING if error.retryable is None else error.retryable
    return refused


def retry_after(head: Head, error: DaziError) -> float:
    """Return the seconds that the gateway, or a proxy before it, asks to wait; 0 if none."""
    told = getattr(error, "retry_after", None)
    header = head.headers.get("retry-after", "")
    if told is not None:
        return float(told)
    return float(header) if header.isascii() and header.isdigit() and len(header) < 10 else 0.0
