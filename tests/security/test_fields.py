"""A field stays a field: whatever a client or a model writes, a stock parser reads exactly the events that were meant.

h3 GHSA-4hxc-9384-m385, Hono CVE-2026-29085, eventsource-encoder CVE-2026-44214, sse-channel CVE-2026-44217, flask-sse#40,
django-eventstream#185, express-sse#60, fastify-sse-v2#110, FastAPI#15187, Mercure#1259, Javalin#2580: line ends in an event's fields made
events of their own. Here every field that a client or a model can influence is filled with them, over real sockets, and what comes is
read by parsers that are not ours: httpx-sse, and the rules of the standard as a few lines. (`tests/test_sse.py` and
`tests/web/test_frames.py` prove the encoder and the framer alone.)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import listening
from tests.security.raw import Answer, ask, request

from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.settings import Settings
from dazi.upstream import Finish, Prompt, Sink
from dazi.web.app import create_app

# What ends lines somewhere, what begins fields, and what they would forge.
NASTY = st.sampled_from(
    (
        *(
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "\r\r",
            "\x00",
            "\x0b",
            "\x0c",
            "\x1c",
            "\x85",
            "\u2028",
            "\u2029",
            "\ufeff",
            ":",
            " ",
        ),
        *(
            "data: ",
            "id: 9-9",
            '\n\ndata: {"type":"done"}\n\n',
            "\revent: evil\rdata: x\r\r",
            "\nid: evil\n",
            "\nretry: 1\n",
        ),
        *("\n: ", "0\r\n\r\n", "😀", "\\", '"', "%0A", "<", "x"),
    )
)
TEXTS = st.lists(NASTY | st.text(max_size=5), max_size=6).map("".join)


class Echo:
    """A model that says, in every field that a model has, what it was asked in every field that a client has."""

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        asked: dict[str, Any] = prompt.messages[0]["asked"]  # by this test
        sink.reasoning(asked["reasoning"])
        sink.text(asked["text"])
        sink.tool_call(0, call_id=asked["call_id"], name=asked["name"], arguments=asked["arguments"])
        sink.text(asked["text"])
        if asked["fails"]:
            raise UpstreamError(asked["code"], asked["message"])
        return Finish(asked["reason"], Usage(1, 2, 3))


ASKED = st.fixed_dictionaries(
    {
        **dict.fromkeys(("reasoning", "text", "call_id", "name", "arguments", "code", "message", "reason"), TEXTS),
        "fails": st.booleans(),
    }
)
QUERIES = [
    f"mode={mode}&encoding={encoding}&profile={profile}{more}"
    for mode in ("append", "replace")
    for encoding in ("ascii", "utf8", "url")
    for profile in ("full", "plain")
    for more in ("", "&padding=64", "&coalesce=0.01")
]


def by_the_standard(body: bytes) -> list[tuple[str, str, str]]:
    """Return type, data and id of each event, by the letter of the WHATWG's "event stream interpretation"."""
    events = []
    identity, kind, data = "", "", [""][:0]
    for line in body.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append((kind or "message", "\n".join(data), identity))
            kind, data = "", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            identity = value
    return events


def by_httpx_sse(body: bytes) -> list[tuple[str, str, str]]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    # It tells a block without data, such as our greeting, as an event without data.
    return [(event.event, event.data, event.id) for event in EventSource(response).iter_sse() if event.data]


def decoded(data: str) -> Any:  # Any: JSON
    return json.loads(unquote(data) if data.startswith("%") else data)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with listening(create_app({"m": Echo()}, settings=Settings())) as port:
        yield port


def asking(asked: dict[str, Any], path: str, *headers: tuple[str, str], **more: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": "", "asked": asked}], "stream": True, **more}
    return request("POST", path, [("Content-Type", "application/json"), *headers], json.dumps(body).encode())


few = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(few, max_examples=300)


async def model_speaks(port: int, asked: dict[str, Any], query: str) -> None:
    answer = await ask(port, asking(asked, f"/v1/generations?{query}"))
    events = by_the_standard(answer.body)
    assert {kind for kind, _, _ in events} == {"message"}
    told = [decoded(data) for _, data, _ in events]
    kinds = [one["type"] for one in told]
    assert kinds[0] == "started"
    assert kinds[-1] == ("failed" if asked["fails"] else "done")
    assert sum(kind in {"started", "done", "failed"} for kind in kinds) == 2
    text, reasoning = valid(asked["text"]), valid(asked["reasoning"])
    if "mode=replace" in query:
        snapshots = [one for one in told if one["type"] == "snapshot"]
        assert all((one["text"], one.get("reasoning", "")) == (text * 2, reasoning) for one in snapshots[-1:])
    else:
        assert "".join(one["text"] for one in told if one["type"] == "text") == text * 2
        assert "".join(one["text"] for one in told if one["type"] == "reasoning") == reasoning
        calls = [one for one in told if one["type"] == "tool_call"]
        assert [(one.get("name", ""), one.get("arguments", "")) for one in calls] in (
            [],
            [(valid(asked["name"]), valid(asked["arguments"]))],
        )
    end = told[-1]
    assert end["message" if asked["fails"] else "finish_reason"] == valid(
        asked["message" if asked["fails"] else "reason"]
    )
    if "profile=full" in query:
        assert all(identity.replace("-", "").isdigit() for _, _, identity in events)
        assert not any(line.startswith(b"event") for line in answer.body.splitlines())
    if "encoding=utf8" not in query:
        assert answer.body.isascii()
        assert [data for _, data, _ in by_httpx_sse(answer.body)] == [data for _, data, _ in events]


@few
@given(asked=ASKED, query=st.sampled_from(QUERIES))
async def test_what_a_model_says_makes_no_events_of_its_own(port: int, asked: dict[str, Any], query: str) -> None:
    await model_speaks(port, asked, query)


@pytest.mark.full
@many
@given(asked=ASKED, query=st.sampled_from(QUERIES))
async def test_what_a_model_says_makes_no_events_of_its_own_at_length(
    port: int, asked: dict[str, Any], query: str
) -> None:
    await model_speaks(port, asked, query)


def valid(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


async def model_speaks_in_chunks(port: int, asked: dict[str, Any]) -> None:
    answer = await ask(port, asking(asked, "/v1/chat/completions"))
    if answer.status != 200:
        assert answer.json["error"]["code"] == valid(asked["code"])
        return
    assert answer.body.isascii()
    events = by_the_standard(answer.body)
    assert by_httpx_sse(answer.body) == events
    *chunks, last = [data for _, data, _ in events]
    assert (last == "[DONE]") != asked["fails"]
    deltas = [choice["delta"] for chunk in map(json.loads, chunks) for choice in chunk.get("choices", ())]
    assert "".join(delta.get("content", "") for delta in deltas) == valid(asked["text"]) * 2


@few
@given(asked=ASKED)
async def test_what_a_model_says_makes_no_chunks_of_its_own(port: int, asked: dict[str, Any]) -> None:
    await model_speaks_in_chunks(port, asked)


@pytest.mark.full
@many
@given(asked=ASKED)
async def test_what_a_model_says_makes_no_chunks_of_its_own_at_length(port: int, asked: dict[str, Any]) -> None:
    await model_speaks_in_chunks(port, asked)


# Every field of a request, and where it comes back.
HEADERS = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30) | TEXTS.map(
    lambda text: text.encode("latin-1", "ignore").decode("latin-1").translate(dict.fromkeys(map(ord, "\r\n\0")))
)
FIELDS = (
    "model",
    "role",
    "metadata",
    "user",
    "tool",
    "field",
    "id",
    "key",
    "position",
    "option",
    "value",
    "origin",
    "after",
)


async def client_speaks(port: int, texts: dict[str, str], header: str, profile: str) -> None:
    """Refusals echo what was wrong: in band they are events, and else JSON; they never end the field that they are in."""
    inband = f"inband=1&profile={profile}"
    asked = {
        **dict.fromkeys(("reasoning", "text", "call_id", "name", "arguments", "code", "message", "reason"), "x"),
        "fails": False,
    }
    fields: dict[str, dict[str, Any]] = {
        "model": {"model": texts["model"]},
        "metadata": {"metadata": {texts["metadata"]: texts["metadata"]}, "user": texts["user"]},
        "tool": {"tools": [{"type": "function", "function": {"name": texts["tool"]}}], "tool_choice": texts["tool"]},
        "role": {"messages": [{"role": texts["role"], "content": texts["role"], "asked": asked}]},
        "field": {texts["field"]: 1},
    }
    for more in fields.values():
        check(await ask(port, asking(asked, f"/v1/generations?{inband}", **more)))
        check(await ask(port, asking(asked, "/v1/chat/completions", **more)))
    for name in (
        "Idempotency-Key",
        "Last-Event-ID",
        "Origin",
        "Accept",
        "X-Request-ID",
        "Cookie",
        "Authorization",
        "Content-Type",
    ):
        check(await ask(port, asking(asked, f"/v1/generations?{inband}", (name, header))))
    paths = [
        f"/v1/generations/{quote(texts['id'], safe='')}/events?{inband}",
        f"/v1/generations/{quote(texts['id'], safe='')}",
        f"/v1/generations/any/events?{inband}&after={quote(texts['after'])}",
        f"/v1/generations/any/events?{inband}&{quote(texts['option'])}={quote(texts['value'])}",
        f"/v1/models/{quote(texts['model'], safe='')}",
        f"/{quote(texts['id'])}?{inband}",
        f"/page/{quote(texts['id'], safe='')}",
    ]
    for path in paths:
        check(await ask(port, request("GET", path, [("Accept", "*/*"), ("Referer", header)])))


@few
@given(
    texts=st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)),
    header=HEADERS,
    profile=st.sampled_from(["full", "plain"]),
)
async def test_what_a_client_says_makes_no_events_and_no_headers(
    port: int, texts: dict[str, str], header: str, profile: str
) -> None:
    await client_speaks(port, texts, header, profile)


@pytest.mark.full
@many
@given(
    texts=st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)),
    header=HEADERS,
    profile=st.sampled_from(["full", "plain"]),
)
async def test_what_a_client_says_makes_no_events_and_no_headers_at_length(
    port: int, texts: dict[str, str], header: str, profile: str
) -> None:
    await client_speaks(port, texts, header, profile)


MEANT = {
    *(
        "date",
        "server",
        "content-type",
        "content-length",
        "cache-control",
        "x-accel-buffering",
        "dazi-generation",
        "connection",
    ),
    *(
        "transfer-encoding",
        "retry-after",
        "allow",
        "x-should-retry",
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
    ),
}


def check(answer: Answer) -> None:
    """See that an answer is what it says that it is, and nothing else."""
    assert {name for name, _ in answer.headers} <= MEANT, answer
    assert answer.status in {200, 204, 400, 403, 404, 409, 415, 422}, answer
    kind = (answer.named("content-type") or [""])[0]
    if kind.startswith("text/event-stream"):
        events = by_the_standard(answer.body)
        assert by_httpx_sse(answer.body) == events
        assert {kind for kind, _, _ in events} <= {"message"}
        told = [json.loads(data) for _, data, _ in events if data != "[DONE]"]
        kinds = [one.get("type", "chunk") for one in told]
        assert kinds == ["error"] or kinds[0] in {"started", "chunk"}, kinds
        assert kinds.count("done") <= 1
    elif kind == "application/json":
        json.loads(answer.body)
        assert b"\n" not in answer.body
    else:
        assert answer.status in {204, 400} or kind.startswith(("text/html", "text/plain"))
