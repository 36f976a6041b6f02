"""The client chooses no address, no header and no key: the operator's upstream is asked, at its own address, with its own key, whatever comes.

LiteLLM CVE-2024-6587 (`api_base` in a body sent the provider's key to an attacker), CVE-2026-47101 (self-granted rights by unknown fields);
Postiz CVE-2026-40168 and Craft CVE-2026-25493 (a redirect leads past the check of an address).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import Serve
from tests.e2e.mock_model import MockModel
from tests.puppet import Puppet
from tests.security.raw import Answer, ask, request, start

from dazi.settings import Settings
from dazi.upstream.openai import OpenAIUpstream

KEY = "quokka-key-9bd2468e"
OWN = "wombat-key-0f3c9a7e"
# What other gateways have been told to do by fields of a body.
PRIVILEGED = [
    *(
        "api_base",
        "base_url",
        "api_key",
        "api_version",
        "organization",
        "extra_headers",
        "headers",
        "extra_body",
        "extra_query",
        "proxy",
    ),
    *(
        "custom_llm_provider",
        "litellm_params",
        "mock_response",
        "fallbacks",
        "upstream",
        "upstream_key",
        "owner",
        "role",
        "admin",
        "is_admin",
    ),
    *(
        "allowed_routes",
        "permissions",
        "key",
        "url",
        "callback_url",
        "webhook",
        "timeout",
        "ttl",
        "limits",
        "generation",
        "epoch",
        "said",
    ),
    *("__proto__", "constructor", "__class__", "messages\u0000", "Model", "MODEL", "models", ""),
]


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that should never be spoken to; gives its port, and what came."""
    came: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


@pytest.fixture
async def model() -> AsyncIterator[MockModel]:
    async with MockModel(["hello"]) as model:
        yield model


async def told(answer: Answer) -> str:
    return answer.body.decode()


@pytest.mark.parametrize("path", ["/v1/generations", "/v1/chat/completions"])
async def test_a_field_that_is_not_the_clients_is_refused_by_name(serve: Serve, puppet: Puppet, path: str) -> None:
    served = await serve({"m": puppet})
    for name in PRIVILEGED:
        for value in ("http://169.254.169.254/", {"Authorization": "x"}, True):
            body = json.dumps({"messages": [{"role": "user", "content": "hi"}], name: value}).encode()
            answer = await ask(served.port, request("POST", path, [("Content-Type", "application/json")], body))
            assert (answer.status, answer.json["error"]["code"]) == (422, "unknown_field"), name
    assert puppet.asked == 0


async def test_whatever_comes_the_model_is_asked_at_its_own_address_with_its_own_key(
    serve: Serve, model: MockModel
) -> None:
    async with trap() as (port, came):
        settings = Settings(api_keys=(OWN,))
        served = await serve({"m": OpenAIUpstream(model.url, key=KEY, headers={"X-Own": "own"})}, settings=settings)
        evil = f"http://127.0.0.1:{port}"
        spread = {
            "api_base": evil,
            "base_url": evil,
            "headers": {"X-Evil": evil},
            "extra_headers": {"X-Evil": evil},
            "api_key": "evil",
        }
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": f"\r\nX-Evil: 1\r\n\r\n{evil}", **spread}],
            "metadata": {**spread, "\r\nX-Evil": evil},
            "user": f"a\r\nX-Evil: {evil}",
            "response_format": {"type": "text", **spread},
            "thinking": spread,
            "chat_template_kwargs": spread,
            "stream_options": spread,
            "tools": [{"type": "function", "function": {"name": "x", **spread}, **spread}],
        }
        names = [
            "X-Evil",
            "X-Forwarded-Host",
            "X-Original-URL",
            "OpenAI-Organization",
            "X-API-Key",
            "Api-Key",
            "X-Base-Url",
            "Proxy-Authorization",
        ]
        headers = [("Authorization", f"Bearer {OWN}"), *((name, evil) for name in names)]
        answer = await ask(served.port, start(*headers, body=json.dumps(body).encode(), accept="*/*"))
        assert b'"done"' in answer.body
        ((head, sent),) = model.requests
        lines = head.split("\r\n")
        assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        assert fields.pop("content-length")
        assert fields == {
            "host": f"127.0.0.1:{model.port}",
            "user-agent": "dazi",
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "authorization": f"bearer {KEY}",
            "x-own": "own",
        }
        assert "stream_options" in sent
        assert sent["stream_options"] == {"include_usage": True}
        assert OWN not in json.dumps(sent) + head
        assert not came


@pytest.mark.parametrize(
    "name", ["http://evil.example/", "../m", "m/../../admin", "m\r\nX-Evil: 1", "m\u0000", "M", "", "m "]
)
async def test_a_models_name_is_one_of_ours(serve: Serve, puppet: Puppet, name: str) -> None:
    served = await serve({"m": puppet})
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "model": name}).encode()
    answer = await ask(served.port, start(body=body))
    # An empty one is none, and means the first.
    assert (answer.status, puppet.asked) == ((202, 1) if not name else (404, 0))
    assert (
        len((await ask(served.port, start(body=body.replace(b'"model": "', b'"model": "' + b"x" * 100_000)))).body)
        < 2000
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 399])
async def test_a_redirect_of_a_models_server_is_not_followed(serve: Serve, status: int) -> None:
    async with trap() as (port, came):

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            where = f"http://127.0.0.1:{port}/".encode()
            writer.write(
                b"HTTP/1.1 %d Elsewhere\r\nLocation: %b\r\nRefresh: 0; url=%b\r\nContent-Length: 0\r\n\r\n"
                % (status, where, where)
            )
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            served = await serve({"m": OpenAIUpstream(url, key=KEY)})
            answer = await ask(served.port, start(accept="*/*"))
            assert json.loads(answer.body.split(b"data: ")[-1])["code"] == "upstream_redirected"
        assert not came


ENDLESS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Y: %b\r\n" % (b"z" * 1000)),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"z" * 1000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X-Y: zzzzzzzz\r\n" * 60,
    ),
    "an extension": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"z" * 1000,
    ),
    "an event": (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ", b"z" * 60_000),
    "a refusal": (b"HTTP/1.1 400 No\r\nContent-Type: application/json\r\n\r\n", b"z" * 1000),
    "a document": (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"z" * 60_000),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_models_server_that_never_stops_is_cut_off(serve: Serve, what: str) -> None:
    """aiohttp CVE-2026-22815: trailers without end filled the memory of the client. (`tests/upstream/test_response.py` is exact.)"""
    first, piece = ENDLESS[what]
    sent = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        try:
            while sent < 64 * 2**20:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except ConnectionError:
            pass
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        served = await serve({"m": OpenAIUpstream(url, key=KEY)})
        answer = await ask(served.port, start(accept="*/*"))
        end = json.loads(answer.body.split(b"data: ")[-1])
        assert (end["type"], end["code"]) in {("failed", "upstream_garbage"), ("failed", "upstream_rejected")}
        assert b"zzz" not in answer.body
    assert sent < 32 * 2**20
