"""Only names of this gateway's lead to it, and what a request says of its host decides nothing else.

MCP TypeScript SDK CVE-2025-66414: a web page rebinds its own name to 127.0.0.1 and talks to a developer's server as if it were its own.
Starlette before 1.0.1: a `Host` header changed the path that was checked, but not the one that was served. (`tests/web/test_guard.py` has the
tables of names; here they come over a socket.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import ASGIApp
from tests.conftest import Served, listening
from tests.puppet import Puppet
from tests.security.conftest import ALICE
from tests.security.raw import HELLO, ask, exchange, parsed, request

from dazi.cli.dev import wechat_fake

OPEN = ("/", "/health/live", "/health/ready", "/openapi.json", "/page/page.js", "/nothing", "/admin")
REBOUND = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "0.0.0.0:8000",
    "[::]",
    "169.254.169.254",
]


@pytest.mark.parametrize("host", REBOUND)
async def test_a_page_that_rebinds_its_name_reads_nothing_and_starts_nothing(
    served: Served, puppet: Puppet, host: str
) -> None:
    headers = [("Host", host), ("Origin", f"http://{host}")]
    for path in (*OPEN, "/v1/models", "/metrics", "/admin/state"):
        answer = await ask(served.port, request("GET", path, headers))
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden_host"), path
        assert not answer.named("access-control-allow-origin")
    kinds = [*headers, ("Content-Type", "application/json")]
    for path in ("/v1/generations", "/v1/chat/completions", "/v1/generations/erase", "/login", "/admin/log-level"):
        assert (await ask(served.port, request("POST", path, kinds, HELLO))).status == 403, path
    assert (await ask(served.port, request("OPTIONS", "/v1/generations", headers))).status == 403
    assert puppet.asked == 0


async def test_a_page_of_another_place_on_this_machine_is_another_place(served: Served) -> None:
    for origin in ("http://localhost:3000", "https://localhost", "http://127.0.0.1", "null", "file://"):
        headers = [("Host", f"localhost:{served.port}"), ("Origin", origin)]
        answer = await ask(served.port, request("GET", "/v1/models", headers))
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden_origin"), origin


async def test_a_request_without_a_host_is_refused(served: Served) -> None:
    for version in (b"1.1", b"1.0"):
        (answer,) = parsed(
            await exchange(served.port, b"GET /v1/models HTTP/%b\r\nConnection: close\r\n\r\n" % version)
        )
        assert answer.status in {400, 403}


@pytest.mark.parametrize(
    "host",
    [
        "localhost/health/live",
        "localhost/../health/live?",
        "localhost#",
        "localhost?x=/health/live",
        "ai.example/health/live#",
        "ai.example@ai.example",
        "\\ai.example",
        "ai.example:80:80",
        "ai.example,ai.example",
    ],
)
async def test_a_host_cannot_make_a_guarded_path_an_open_one(guarded: Served, host: str) -> None:
    for path in ("/v1/models", "/v1/generations/any", "/metrics", "/admin/state"):
        answer = await ask(guarded.port, request("GET", path, [("Host", host)]))
        assert answer.status in {400, 403}, path


@pytest.mark.parametrize(
    "path",
    [
        "/health/live/../../v1/models",
        "/health/../v1/models",
        "//v1/models",
        "/v1//models",
        "/V1/models",
        "/v1/models/",
        "/v1/models;x=/health/live",
        "/%2e%2e/v1/models",
        "/page/../v1/models",
        "/page/..%2f..%2fguard.py",
        "/page/%2e%2e%2fguard.py",
        "/page/....//guard.py",
        "/page/page.js%00.html",
        "/admin/page/..%2f..%2fadmin.py",
        "/health/live%2f..%2f..%2fv1%2fmodels",
        "http://localhost/v1/models",
        "http://evil.example/v1/models",
        "/v1/models?/health/live",
        "/v1/models#/health/live",
        "/v1%2fmodels",
        "*",
    ],
)
async def test_no_spelling_of_a_path_gets_around_the_key(guarded: Served, path: str) -> None:
    """A request is judged by the path that it is served by."""
    answer = await ask(guarded.port, request("GET", path, [("Host", "ai.example")]))
    assert answer.status in {400, 401, 404}, answer
    assert b'"object":"list"' not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize(
    "name",
    ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Prefix", "Forwarded"],
)
async def test_no_header_of_a_proxy_opens_anything(guarded: Served, name: str) -> None:
    for value in ("/health/live", "localhost", "127.0.0.1", "for=127.0.0.1;host=localhost"):
        answer = await ask(guarded.port, request("GET", "/v1/models", [("Host", "ai.example"), (name, value)]))
        assert answer.status == 401
        answer = await ask(
            guarded.port,
            request(
                "GET", "/v1/models", [("Host", "evil.example"), (name, value), ("Authorization", f"Bearer {ALICE}")]
            ),
        )
        assert answer.status == 403


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """What the command itself serves."""
    served: list[ASGIApp] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **_: served.append(app))
    wechat_fake(port=8090)
    async with listening(served[0]) as port:
        yield port


async def test_the_developers_wechat_is_not_for_web_pages(fake: int) -> None:
    """`dazi dev wechat-fake` hands out log-in codes: a page that rebinds its name must not get one."""
    body = b'{"user":"anna"}'
    assert (await ask(fake, request("POST", "/dev/codes", [("Host", "127.0.0.1:8090")], body))).json["code"]
    for headers in ([("Host", "evil.example")], [("Host", "127.0.0.1"), ("Origin", "http://evil.example")]):
        answer = await ask(fake, request("POST", "/dev/codes", headers, body))
        assert answer.status == 403
        assert b'code"' not in answer.body
