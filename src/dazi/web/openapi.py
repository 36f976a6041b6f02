"""The API for machines: OpenAPI 3.1, made from the types that the code checks with."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from dazi import events
from dazi.web.admin import LogLevel
from dazi.web.calls import Call, Reply, json_reply
from dazi.web.frames import PADDINGS
from dazi.web.operations import Login
from dazi.web.requests import ChatRequest, Message
from dazi.web.sessions import WeChatLogin

_EVENTS = (
    events.Started,
    events.Text,
    events.Reasoning,
    events.ToolCall,
    events.Queued,
    events.Retract,
    events.Snapshot,
    events.Done,
    events.Failed,
    events.Aborted,
    events.Reconnect,
    events.Problem,
)

_Json = dict[str, Any]  # Any: JSON


async def description(_call: Call) -> Reply:
    """Describe this API."""
    return json_reply(200, document())


@cache
def document() -> _Json:
    """Make the OpenAPI document."""
    shapes, components = msgspec.json.schema_components(
        [ChatRequest, Message, Login, LogLevel, WeChatLogin, *_EVENTS], ref_template="#/components/schemas/{name}"
    )
    components["ChatRequest"]["properties"]["messages"]["items"] = shapes[1]
    components["Event"] = {"oneOf": [shape for shape in shapes[5:] if shape != _ref("Problem")]}
    components.update(_own_shapes())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dazi", "version": "1", "description": "Generations as append-only logs. See PROTOCOL.md."},
        "paths": _paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "dazi_session"},
            },
        },
    }


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: _Json) -> _Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


_STRING: _Json = {"type": "string"}
_NUMBER: _Json = {"type": "integer"}
_STATUS: _Json = {"type": "string", "enum": ["running", "done", "failed", "aborted"]}


def _own_shapes() -> _Json:
    error = _object(code=_STRING, message=_STRING, remedy=_STRING, status=_NUMBER, retryable={"type": "boolean"})
    error["properties"] |= {"param": _STRING, "retry_after": _NUMBER}
    nullable_usage = {"anyOf": [_ref("Usage"), {"type": "null"}]}
    failure = _object(code=_STRING, message=_STRING, retryable={"type": "boolean"})
    return {
        "Error": _object(error=error),
        "Accepted": _object(generation=_STRING, status=_STATUS, events=_STRING),
        "Page": _object(
            generation=_STRING, status=_STATUS, events={"type": "array", "items": _ref("Event")}, next=_STRING
        ),
        "End": _object(
            generation=_STRING,
            status=_STATUS,
            end={"oneOf": [_ref("Done"), _ref("Failed"), _ref("Aborted")]},
        ),
        "Generation": _object(
            generation=_STRING,
            model=_STRING,
            status=_STATUS,
            text=_STRING,
            reasoning=_STRING,
            tool_calls={"type": "array", "items": _ref("ToolCall")},
            n=_NUMBER,
            crc32=_NUMBER,
            created=_NUMBER,
            usage=nullable_usage,
            finish_reason={"type": ["string", "null"]},
            error={"anyOf": [failure, {"type": "null"}]},
            ai_generated={"type": "boolean"},
            next=_STRING,
        ),
        "Models": _object(
            object=_STRING,
            data={"type": "array", "items": _ref("Model")},
        ),
        "Model": _object(id=_STRING, object=_STRING, created=_NUMBER, owned_by=_STRING),
        "Completion": _object(
            id=_STRING,
            object=_STRING,
            created=_NUMBER,
            model=_STRING,
            choices={"type": "array", "items": {"type": "object"}},
            usage={"type": "object"},
        ),
        "OpenAIError": _object(error=_object(message=_STRING, type=_STRING, code=_STRING)),
        "Status": _object(status=_STRING),
        "Erased": _object(erased=_NUMBER),
    }


_ID: _Json = {"name": "id", "in": "path", "required": True, "schema": _STRING}
_LAST_EVENT_ID: _Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string", "pattern": "^(0|\\d{1,9}-\\d{1,18})$"},
}
_OPTIONS: list[_Json] = [
    {"name": "mode", "in": "query", "schema": {"enum": ["append", "replace"]}},
    {"name": "encoding", "in": "query", "schema": {"enum": ["ascii", "utf8", "url"]}},
    {"name": "profile", "in": "query", "schema": {"enum": ["full", "plain"]}},
    {"name": "heartbeat", "in": "query", "schema": {"type": "number"}},
    {"name": "coalesce", "in": "query", "schema": {"type": "number"}},
    {"name": "padding", "in": "query", "schema": {"enum": list(map(str, PADDINGS))}},
    {"name": "max", "in": "query", "schema": {"type": "number"}},
    {"name": "inband", "in": "query", "schema": {"enum": ["0", "1"]}},
    {"name": "after", "in": "query", "schema": _LAST_EVENT_ID["schema"]},
]
_WAIT: _Json = {"name": "wait", "in": "query", "schema": {"type": "number"}}
_FORMAT: _Json = {"name": "format", "in": "query", "schema": {"enum": ["dazi", "openai"]}}


def _key(*, required: bool) -> _Json:
    schema = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
    return {"name": "Idempotency-Key", "in": "header", "required": required, "schema": schema}


def _json(shape: str) -> _Json:
    return {"application/json": {"schema": _ref(shape)}}


# Without a schema: OpenAPI 3.1 has none for the events of a stream, and some tools take what there is for theirs.
_STREAM: _Json = {"text/event-stream": {}}


def _answer(description: str, content: _Json | None = None) -> _Json:
    return {"description": description, **({"content": content} if content else {})}


def _operation(
    summary: str, answers: _Json, *, open_to_all: bool = False, error: str = "Error", **more: object
) -> _Json:
    refused = {
        "4XX": _answer("What was wrong, and the remedy.", _json(error)),
        "503": _answer("Not now.", _json(error)),
    }
    security: list[_Json] = [] if open_to_all else [{"key": []}, {"cookie": []}, {}]
    return {"summary": summary, "responses": {**answers, **refused}, "security": security, **more}


def _body(shape: str) -> _Json:
    return {"required": True, "content": _json(shape)}


def _paths() -> _Json:
    return {**_generation_paths(), **_openai_paths(), **_operation_paths(), **_admin_paths()}


def _generation_paths() -> _Json:
    stream = _answer("The events, as they come.", _STREAM)
    ended = {"200": _answer("The terminal event that won.", _json("End"))}
    return {
        "/v1/generations": {
            "post": _operation(
                "Start a generation.",
                {"200": stream, "202": _answer("Started.", _json("Accepted")), "204": _answer("Nothing follows.")},
                parameters=[_key(required=False), _LAST_EVENT_ID, *_OPTIONS],
                requestBody=_body("ChatRequest"),
            )
        },
        "/v1/generations/abort": {
            "post": _operation("Stop the generation of a key.", ended, parameters=[_key(required=True)])
        },
        "/v1/generations/erase": {
            "post": _operation("Forget everything of the caller's.", {"200": _answer("How much.", _json("Erased"))})
        },
        "/v1/generations/{id}": {
            "get": _operation(
                "The answer as it stands.", {"200": _answer("It.", _json("Generation"))}, parameters=[_ID]
            )
        },
        "/v1/generations/{id}/markdown": {
            "get": _operation(
                "The answer as a file of Markdown, labelled as made by an AI.",
                {"200": _answer("It.", {"text/markdown": {"schema": {"type": "string"}}})},
                parameters=[_ID],
            )
        },
        "/v1/generations/{id}/events": {
            "get": _operation(
                "Attach, or poll.",
                {
                    "200": _answer("What follows the position.", {**_STREAM, **_json("Page")}),
                    "204": _answer("Nothing follows."),
                },
                parameters=[_ID, _LAST_EVENT_ID, *_OPTIONS, _WAIT, _FORMAT],
            )
        },
        "/v1/generations/{id}/abort": {"post": _operation("Stop a generation.", ended, parameters=[_ID])},
    }


def _openai_paths() -> _Json:
    return {
        "/v1/chat/completions": {
            "post": _operation(
                "Answer a chat, in OpenAI's dialect.",
                {
                    "200": _answer("A chat.completion, or a stream of its chunks.", {**_STREAM, **_json("Completion")}),
                    "5XX": _answer("The model failed before it began.", _json("OpenAIError")),
                },
                error="OpenAIError",
                parameters=[_key(required=False)],
                requestBody=_body("ChatRequest"),
            )
        },
        "/v1/models/{name}": {
            "get": _operation(
                "A model.",
                {"200": _answer("It.", _json("Model"))},
                error="OpenAIError",
                parameters=[{**_ID, "name": "name"}],
            )
        },
        "/v1/models": {
            "get": _operation("The models.", {"200": _answer("They.", _json("Models"))}, error="OpenAIError")
        },
    }


def _operation_paths() -> _Json:
    return {
        "/v1/probe": {
            "get": _operation(
                "A stream that shows what is on the way.",
                {"200": _answer("Pieces with the time at which they were sent.", _STREAM)},
                parameters=[
                    {"name": name, "in": "query", "schema": {"type": "number"}}
                    for name in ("ticks", "interval", "silence", "heartbeat")
                ],
            )
        },
        "/v1/probe/{id}": {
            "get": _operation("How a probe ended.", {"200": _answer("That.", _json("Status"))}, parameters=[_ID])
        },
        "/health/live": {"get": _open("Whether the process runs.", _json("Status"))},
        "/health/ready": {"get": _open("Whether new starts are taken.", _json("Status"))},
        "/openapi.json": {"get": _open("This document.", {"application/json": {"schema": {"type": "object"}}})},
        "/": {"get": _open("The chat page.", {"text/html": {"schema": _STRING}})},
        "/page/{name}": {
            "get": _open("A file of the chat page.", None, parameters=[{**_ID, "name": "name"}]),
        },
        "/v1/wechat/sessions": {
            "post": _operation(
                "Take wx.login's code for a session token.",
                {
                    "200": _answer(
                        "The token.", {"application/json": {"schema": _object(token=_STRING, expires_in=_NUMBER)}}
                    )
                },
                open_to_all=True,
                requestBody=_body("WeChatLogin"),
            )
        },
        "/login": {
            "post": _operation(
                "Take a key for a cookie.",
                {"204": _answer("The cookie is set.")},
                open_to_all=True,
                requestBody=_body("Login"),
            )
        },
        "/logout": {
            "post": _operation("Give the cookie back.", {"204": _answer("It is gone.")}, open_to_all=True),
        },
    }


def _admin_paths() -> _Json:
    anything: _Json = {"application/json": {"schema": {"type": "object"}}}
    return {
        "/metrics": {
            "get": _operation(
                "Numbers, for Prometheus.", {"200": _answer("They.", {"text/plain": {"schema": _STRING}})}
            )
        },
        "/admin": {"get": _open("The operator's page.", {"text/html": {"schema": _STRING}})},
        "/admin/page/{name}": {"get": _open("A file of it.", None, parameters=[{**_ID, "name": "name"}])},
        "/admin/state": {"get": _operation("How things stand.", {"200": _answer("So.", anything)})},
        "/admin/generations": {"get": _operation("The newest generations.", {"200": _answer("They.", anything)})},
        "/admin/generations/{id}": {
            "get": _operation(
                "An answer, where that is switched on.", {"200": _answer("It.", anything)}, parameters=[_ID]
            )
        },
        "/admin/generations/{id}/abort": {
            "post": _operation(
                "Stop any generation.", {"200": _answer("How it ended.", _json("Status"))}, parameters=[_ID]
            )
        },
        "/admin/log-level": {
            "post": _operation(
                "Log more or less.", {"200": _answer("The level.", anything)}, requestBody=_body("LogLevel")
            )
        },
    }


def _open(summary: str, content: _Json | None, parameters: list[_Json] | None = None) -> _Json:
    return _operation(summary, {"200": _answer(summary, content)}, open_to_all=True, parameters=parameters or [])
