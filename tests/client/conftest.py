"""Both faces of the client behind one interface: the synchronous one works in a thread, so that the test's loop serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import pytest

from dazi.client import Answer, AsyncClient, Client, Patience

# Waits of milliseconds, so that a test gives up soon; the silence leaves room for a heartbeat a second.
HASTE = Patience(connect=5, silence=2.5, first_attempts=3, attempts=4, wait=0.002)


class ThreadedAnswer:
    """`Answer` as if it were `AsyncAnswer`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._answer.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterated(self._answer)

    def events(self) -> AsyncIterator[Any]:
        return _iterated(self._answer.events())

    async def wait_end(self) -> Any:
        return await asyncio.to_thread(self._answer.wait_end)

    async def abort(self) -> Any:
        return await asyncio.to_thread(self._answer.abort)

    async def close(self) -> None:
        await asyncio.to_thread(self._answer.close)


class ThreadedClient:
    """`Client` as if it were `AsyncClient`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = Client(*args, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._client.close)

    def start(self, *args: Any, **options: Any) -> ThreadedAnswer:
        return ThreadedAnswer(self._client.start(*args, **options))

    def attach(self, *args: Any, **options: Any) -> ThreadedAnswer:
        return ThreadedAnswer(self._client.attach(*args, **options))

    async def read(self, generation: str) -> Any:
        return await asyncio.to_thread(self._client.read, generation)

    async def abort(self, generation: str) -> Any:
        return await asyncio.to_thread(self._client.abort, generation)

    async def models(self) -> Any:
        return await asyncio.to_thread(self._client.models)


async def _iterated(iterator: Any) -> AsyncIterator[Any]:
    nothing = object()
    while (item := await asyncio.to_thread(next, iterator, nothing)) is not nothing:
        yield item


FACES: dict[str, Any] = {"async": AsyncClient, "sync": ThreadedClient}
Connect = Callable[..., Any]


@pytest.fixture(params=FACES)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Make a client of each face in turn: `connect(url, api_key, patience=…)`, in haste by default."""
    async with AsyncExitStack() as stack:

        def make(*args: Any, patience: Patience = HASTE) -> Any:
            client = FACES[request.param](*args, patience=patience)
            stack.push_async_callback(client.__aexit__)
            return client

        yield make
