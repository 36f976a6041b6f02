from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.conftest import Serve, Served
from tests.puppet import Puppet
from tests.waiting import until
from tests.web.wire import OPEN

from dazi.web.app import App
from dazi.web.readers import Readers


class Clock:
    """The readers' clock, wound by hand."""

    def __init__(self) -> None:
        self.readers: set[Readers] = set()

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            for readers in self.readers:
                readers._tick()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    def wind(readers: Readers) -> None:
        clock.readers.add(readers)

    monkeypatch.setattr(Readers, "_wind", wind)
    return clock


@pytest.fixture
async def serve(serve: Serve) -> AsyncIterator[Serve]:
    """As all tests' `serve`, and close the lines before the server that they lead to."""
    yield serve
    for line in tuple(OPEN):
        await line.close()


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def with_own_send(app: ASGIApp) -> ASGIApp:
    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        async def own(message: Message) -> None:
            await asyncio.sleep(0)
            await send(message)

        await app(scope, receive, own)

    return wrapper


WAYS: dict[str, tuple[str, Callable[[App], Any]]] = {
    "httptools": ("httptools", lambda app: app),
    "h11": ("h11", lambda app: app),
    "own send": ("httptools", with_own_send),
    "own send, h11": ("h11", with_own_send),
    "BaseHTTPMiddleware": ("httptools", Passing),
    "GZipMiddleware": ("httptools", GZipMiddleware),
}


@pytest.fixture
def serve_by(serve: Serve) -> Callable[[str, Any], Awaitable[Served]]:
    """Serve an upstream by one of the ways that a server or a middleware can take the bytes."""

    async def start(way: str, upstream: Any, **options: Any) -> Served:
        http, wrap = WAYS[way]
        return await serve({"m": upstream}, http=http, wrap=wrap, **options)

    return start


@pytest.fixture
async def served(serve: Serve, puppet: Puppet) -> Served:
    return await serve({"m": puppet})


def readers_of_app(app: App) -> Readers:
    """The readers of this app: others ask /health/ready how many they are."""
    route = app._router.routes[0]
    readers: Readers = route.endpoint._desk.readers  # type: ignore[attr-defined]  # it is an Endpoint
    return readers


def readers_of(served: Served) -> Readers:
    return readers_of_app(served.app)


async def readers_gone(served: Served) -> None:
    await until(lambda: len(readers_of(served)) == 0)
