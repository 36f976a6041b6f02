"""What the tests share: a real server on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import hypothesis
import pytest
import uvicorn

from dazi.safety.policy import Policy
from dazi.service import Limits
from dazi.settings import Settings
from dazi.upstream import Upstream
from dazi.upstream.custom import Answerer
from dazi.web.app import App, create_app

# A busy machine is no bug.
hypothesis.settings.register_profile("dazi", deadline=None)
hypothesis.settings.load_profile("dazi")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests counted (their property `counts`), also where they ran in other processes."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "counts":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that listens. `client` has its base URL."""

    app: App
    port: int
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(asgi: Any, http: Any = "httptools") -> AsyncIterator[int]:
    """Serve any ASGI app by uvicorn; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `dazi serve` does
    server = uvicorn.Server(
        uvicorn.Config(asgi, http=http, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    # Not `serve()`: that would take the test runner's signal handlers.
    task = asyncio.create_task(server._serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve models behind the real gateway: `await serve({"m": upstream}, settings=…, limits=…)`.

    `wrap` puts a middleware around the app; `http` chooses uvicorn's parser.
    """
    async with AsyncExitStack() as stack:

        async def start(
            models: Mapping[str, Upstream | Answerer] | None,
            *,
            settings: Settings | None = None,
            limits: Limits | None = None,
            safety: Policy | None = None,
            wrap: Callable[[App], Any] = lambda app: app,
            http: str = "httptools",
        ) -> Served:
            app = create_app(models, settings=settings or Settings(), limits=limits, safety=safety)
            port = await stack.enter_async_context(listening(wrap(app), http))
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
            await stack.enter_async_context(client)
            return Served(app, port, client)

        yield start
