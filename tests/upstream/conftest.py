from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.upstream.mock_server import MockServer, Recorder, Script

from dazi.upstream.openai import OpenAIUpstream

CERTIFICATE = Path(__file__).with_name("localhost.pem")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test here on both loops: their transports differ in when they close, and how."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def mock(stack: AsyncExitStack) -> Callable[..., Awaitable[MockServer]]:
    """Start a server that follows a script."""

    async def start(script: Script, tls: ssl.SSLContext | None = None) -> MockServer:
        return await stack.enter_async_context(MockServer(script, tls))

    return start


@pytest.fixture
def upstream_of(stack: AsyncExitStack) -> Callable[..., OpenAIUpstream]:
    """Make an upstream that talks to a server."""

    def make(server: MockServer, **options: Any) -> OpenAIUpstream:  # Any: the constructor's
        upstream = OpenAIUpstream(server.url, **options)
        stack.push_async_callback(upstream.close)
        return upstream

    return make


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def trusting_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))
