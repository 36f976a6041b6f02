"""Who calls: an app's own hook, a company's tokens beside keys and sessions, and the address that a start is counted under."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from tests.conftest import Serve, Served, listening
from tests.puppet import Puppet
from tests.web.test_issuer import AUDIENCE, ISSUER, Publisher, token
from tests.web.wire import HELLO

from dazi.errors import Forbidden
from dazi.settings import Settings
from dazi.upstream import Asker
from dazi.web.app import App, create_app

KEY = "a-key-of-a-server-R7tq"
JSON = {"accept": "application/json"}


def user_of(request: Request) -> str | None:
    """The hook of an app whose users say who they are."""
    return request.headers.get("x-user")


async def serve_hook(
    hook: Any, stack: AsyncExitStack, puppet: Puppet, settings: Settings | None = None
) -> httpx.AsyncClient:
    app = create_app({"m": puppet}, settings=settings or Settings(), owner=hook)
    port = await stack.enter_async_context(listening(app))
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
    return await stack.enter_async_context(client)


async def start(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.post("/v1/generations", json=HELLO, headers={**JSON, **headers})


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_hook_says_whose_a_generation_is_and_others_get_404(stack: Any, puppet: Puppet) -> None:
    client = await serve_hook(user_of, stack, puppet)
    started = await start(client, **{"x-user": "anna"})
    assert started.status_code == 202
    generation = started.json()["generation"]
    anna, bert, nobody = [
        await client.get(f"/v1/generations/{generation}", headers=headers)
        for headers in ({"x-user": "anna"}, {"x-user": "bert"}, {})
    ]
    assert (anna.status_code, bert.status_code, nobody.status_code) == (200, 404, 401)
    missing = await client.get(f"/v1/generations/{'0' * 32}", headers={"x-user": "bert"})
    assert missing.text.replace("0" * 32, "*") == bert.text.replace(generation, "*")
    for verb, path in (("GET", "/events"), ("POST", "/abort")):
        other = await client.request(verb, f"/v1/generations/{generation}{path}", headers={"x-user": "bert"})
        assert other.status_code == 404


async def test_an_async_hook_runs_in_the_loop_and_an_ordinary_one_in_a_thread(stack: Any, puppet: Puppet) -> None:
    threads: list[bool] = []

    def ordinary(request: Request) -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return str(request.headers["x-user"])

    async def asynchronous(request: Request) -> Asker:
        threads.append(threading.current_thread() is threading.main_thread())
        return Asker(str(request.headers["x-user"]), key="app")

    for hook in (ordinary, asynchronous):
        client = await serve_hook(hook, stack, puppet)
        assert (await start(client, **{"x-user": "anna"})).status_code == 202
    assert threads == [False, True]


async def test_a_hook_may_refuse_in_its_own_words(stack: Any, puppet: Puppet) -> None:
    async def hook(_: Request) -> str:
        raise Forbidden("Your account is closed.", remedy="Write to us.", code="closed")

    refused = await start(await serve_hook(hook, stack, puppet))
    assert (refused.status_code, refused.json()["error"]["message"]) == (403, "Your account is closed.")


@pytest.mark.parametrize("said", ["", "a" * 256, "a\nb", 5, ["anna"], "local", "key:0f3c", "wx:7d0c", "jwt:1"])
async def test_a_hook_that_says_nonsense_lets_nobody_in(stack: Any, puppet: Puppet, said: Any) -> None:
    refused = await start(await serve_hook(lambda _: said, stack, puppet))
    assert refused.status_code == 500
    assert "The hook `owner` returned" in refused.json()["error"]["message"]
    assert puppet.asked == 0


async def test_a_hook_that_breaks_lets_nobody_in_and_tells_nothing(stack: Any, puppet: Puppet) -> None:
    def hook(request: Request) -> str:
        raise LookupError(request.headers["x-user"])

    refused = await start(await serve_hook(hook, stack, puppet), **{"x-user": "secret-of-anna"})
    assert refused.status_code == 500
    assert "secret-of-anna" not in refused.text


async def test_a_hook_that_stalls_is_given_up(stack: Any, puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazi.web.visitors._HOOK_SECONDS", 0.05)

    async def hook(_: Request) -> str:
        await asyncio.sleep(60)
        return "late"

    refused = await start(await serve_hook(hook, stack, puppet))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "issuer_unavailable")


async def test_whom_a_hook_does_not_know_may_come_by_a_key(stack: Any, puppet: Puppet) -> None:
    client = await serve_hook(user_of, stack, puppet, Settings(api_keys=(KEY,)))
    assert (await start(client, authorization=f"Bearer {KEY}")).status_code == 202
    assert (await start(client)).status_code == 401


async def test_with_a_hook_the_operators_side_is_not_open(stack: Any, puppet: Puppet) -> None:
    client = await serve_hook(user_of, stack, puppet)
    assert (await client.get("/metrics", headers={"x-user": "anna"})).status_code == 403


async def test_an_app_mounts_it_with_its_own_sessions(stack: Any, puppet: Puppet) -> None:
    """As with FastAPI or Django: the session is in the request that the hook gets."""
    sessions = {"of-anna": {"user": "anna"}}
    inner = create_app({"m": puppet}, settings=Settings(), owner=lambda request: request.session.get("user"))
    outer = Starlette(routes=[Mount("/ai", inner)])

    async def with_sessions(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["session"] = sessions.get(Request(scope).cookies.get("session", ""), {})
        await outer(scope, receive, send)

    port = await stack.enter_async_context(listening(with_sessions))
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False))
    answers = [
        await client.post("/ai/v1/generations", json=HELLO, headers={**JSON, "cookie": f"session={session}"})
        for session in ("of-nobody", "of-anna")
    ]
    assert [answer.status_code for answer in answers] == [401, 202]


# A company's tokens


async def with_issuer(serve: Serve, stack: Any, puppet: Puppet, **settings: Any) -> Served:
    port = await stack.enter_async_context(listening(Publisher()))
    trusted = {"jwt_jwks_url": f"http://127.0.0.1:{port}/keys", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    return await serve({"m": puppet}, settings=Settings(**{**trusted, **settings}))


async def test_a_companys_token_opens_its_users_generations_and_no_others(
    serve: Serve, stack: Any, puppet: Puppet
) -> None:
    served = await with_issuer(serve, stack, puppet)
    anna, bert = [{"authorization": f"Bearer {token(sub=name)}"} for name in ("anna", "bert")]
    generation = (await start(served.client, **anna)).json()["generation"]
    path = f"/v1/generations/{generation}"
    answers = [await served.client.get(path, headers=headers) for headers in (anna, bert, {})]
    assert [answer.status_code for answer in answers] == [200, 404, 401]
    assert answers[2].headers["www-authenticate"] == "Bearer"


async def test_keys_go_on_to_work_beside_a_companys_tokens(serve: Serve, stack: Any, puppet: Puppet) -> None:
    served = await with_issuer(serve, stack, puppet, api_keys=(KEY,))
    for shown in (KEY, token()):
        assert (await start(served.client, authorization=f"Bearer {shown}")).status_code == 202
    for shown in ("a-key-that-nobody-has-1", token(iss="https://evil.example")):
        assert (await start(served.client, authorization=f"Bearer {shown}")).status_code == 401


async def test_the_clients_of_a_company_have_limits_of_their_own(serve: Serve, stack: Any, puppet: Puppet) -> None:
    served = await with_issuer(serve, stack, puppet, running_per_key=1)
    answers = [
        await start(served.client, authorization=f"Bearer {token(sub=name, azp=client)}")
        for name, client in (("anna", "app"), ("bert", "app"), ("bert", "web"), ("carl", None), ("dora", None))
    ]
    assert [answer.status_code for answer in answers] == [202, 429, 202, 202, 202]
    assert answers[1].json()["error"]["param"] == "running-key"


# Addresses


async def test_an_address_has_its_limit_whoever_comes_from_it(serve: Serve, puppet: Puppet) -> None:
    keys = (KEY, "another-key-of-a-server-9")
    served = await serve({"m": puppet}, settings=Settings(api_keys=keys, running_per_ip=1))
    forged = {"x-forwarded-for": "1.2.3.4"}
    one, two = [await start(served.client, authorization=f"Bearer {key}", **forged) for key in keys]
    assert (one.status_code, two.status_code, two.json()["error"]["param"]) == (202, 429, "running-ip")


async def test_behind_a_trusted_proxy_the_address_is_the_clients(serve: Serve, puppet: Puppet) -> None:
    settings = Settings(starts_per_minute_ip=1, trusted_proxies=("127.0.0.0/8",))
    served = await serve({"m": puppet}, settings=settings)
    answers = [
        await start(served.client, **{"x-forwarded-for": said})
        for said in ("1.2.3.4", "1.2.3.5", "9.9.9.9, 1.2.3.5", "2001:db8::1", "2001:db8::2")
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 202, 429]


def test_the_app_hands_the_hook_on() -> None:
    assert isinstance(create_app(settings=Settings(model=("demo",)), owner=user_of), App)
