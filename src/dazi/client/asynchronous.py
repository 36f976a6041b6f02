"""The asynchronous face of the client, on asyncio."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self, TypeVar

from dazi.client.attempts import Patience
from dazi.client.exchange import Answered, Call, Effort, Exchange, Open, Pause, Peer, Read
from dazi.client.followed import Followed
from dazi.client.held import Told
from dazi.client.http import AsyncConnections, AsyncLine, Lost
from dazi.client.reader import BEGINNING, Over, Reader, Source
from dazi.client.wire import (
    Message,
    Request,
    Standing,
    ask_abort,
    ask_models,
    ask_standing,
    read_end,
    read_models,
    read_standing,
    write_start,
)
from dazi.events import End, Event, Snapshot

T = TypeVar("T")


class AsyncClient:
    """Speaks with one gateway. Use it as a context, or close it.

    Every call is tried again while that may help and `patience` lasts, and raises a `RequestError` (the gateway
    refused), or a `ClientError` (no gateway could be heard), with the remedy in its sentence.

    Args:
        base_url: of the gateway.
        api_key: one of its keys, if it has any.
        patience: how long to wait, and how often to try.

    Raises `ConfigError` for an address or a key that cannot be used.
    """

    def __init__(
        self, base_url: str = "http://127.0.0.1:8000", api_key: str | None = None, *, patience: Patience | None = None
    ) -> None:
        patience = patience or Patience()
        self._peer = Peer(base_url, patience)
        self._connections = AsyncConnections(base_url, api_key, patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. What the gateway writes, it goes on writing."""
        await self._connections.close()

    def start(
        self,
        messages: str | Sequence[Message],
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **options: object,
    ) -> AsyncAnswer:
        """Ask a question. The model is asked once, however often the line breaks; nothing is sent before the answer is entered.

        Args:
            messages: a question, or a conversation as OpenAI's chat takes it.
            model: one of `models()`; by default the gateway's first.
            idempotency_key: a fresh one by default. Given again with the same question, also by another process, it
                attaches to the generation that stands.
            options: OpenAI's other chat fields, such as `temperature` and `max_tokens`.
        """
        body = write_start(messages, model, options)
        return self._follow(Source(key=idempotency_key or str(uuid.uuid4()), body=body))

    def attach(self, generation: str, *, after: str = BEGINNING) -> AsyncAnswer:
        """Follow a generation that was started before, here or anywhere, from its beginning or after a `position`."""
        return self._follow(Source(generation, after))

    async def read(self, generation: str) -> Standing:
        """Return the answer as it stands, proved by its length and checksum."""
        return await self._call(ask_standing(generation), read_standing)

    async def abort(self, generation: str) -> End:
        """Stop a generation, and its model. Returns the terminal event that won, which may be an earlier `Done`."""
        _, end = await self._call(ask_abort(generation, ""), read_end)
        return end

    async def models(self) -> tuple[str, ...]:
        """Return the names of the models, the default first."""
        return await self._call(ask_models(), read_models)

    def _follow(self, source: Source) -> AsyncAnswer:
        return AsyncAnswer(self._connections, self._peer, source)

    async def _call(self, request: Request, read: Callable[[bytes], T]) -> T:
        return await _call(self._connections, Call(self._peer, request, read))


class AsyncAnswer(Followed):
    """A generation, followed to its end. Made by `AsyncClient.start` and `attach`.

        async with client.start("Why is the sky blue?") as answer:
            async for piece in answer:
                print(piece, end="", flush=True)

    Entering it waits until the gateway has taken the question; leaving it closes the connection, and the generation goes
    on: `abort` stops it. A cut connection is taken up again after the last event; each event is proved by its length,
    and the end by its checksum, before it is handed out.

    Iterating gives the pieces of the text, to the end, and raises `GenerationError` if the generation failed, `Replaced` if
    what was handed out no longer stands (it was withdrawn, or had been damaged on the way). `events()` gives everything
    and raises neither. Both may be left and taken up again, also after an error and after a cancellation, and share one
    position. `end` tells a whole answer from an aborted one.
    """

    def __init__(self, connections: AsyncConnections, peer: Peer, source: Source) -> None:
        super().__init__(Reader(peer, source), source)
        self._connections = connections
        self._peer = peer
        self._line = connections.line()

    async def __aenter__(self) -> Self:
        while not self._reader.has_begun and isinstance(step := self._reader.step(), Effort):
            await _make(self._reader, step, self._line)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; idempotent. Iterating again would open another one."""
        self._reader.dropped()
        await self._line.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while isinstance(told := await self._advance(), Told):
            if piece := self._piece_of(told):
                return piece
        self._check(told.end)
        raise StopAsyncIteration

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """Iterate over the events, to the terminal one. A `Snapshot` or a `Retract` replaces all text before it."""
        while isinstance(told := await self._advance(), Told):
            yield told.event

    async def wait_end(self) -> End:
        """Read on to the end and return the terminal event. Raises `GenerationError` if the generation failed."""
        while isinstance(over := await self._advance(), Told):
            pass
        self._check(over.end)
        return over.end

    async def abort(self) -> End:
        """Stop the generation, and its model, whether its id is known yet or not.

        Returns the terminal event that won. Whoever iterates gets what was said before, and that event.
        """
        generation, end = await _call(self._connections, Call(self._peer, self._ask_abort(), read_end))
        self._reader.named(generation)
        return end

    async def _advance(self) -> Told | Over:
        while isinstance(step := self._reader.step(), Effort):
            await _make(self._reader, step, self._line)
        if isinstance(step, Over):
            await self.close()
        return step


async def _call(connections: AsyncConnections, call: Call[T]) -> T:
    line = connections.line()
    try:
        while not isinstance(step := call.step(), Answered):
            await _make(call, step, line)
    finally:
        await line.close()
    return step.value


async def _make(exchange: Exchange, effort: Effort, line: AsyncLine) -> None:
    """Make the effort, and tell the exchange what came of it. Raises what it makes of that."""
    try:
        match effort:
            case Pause():
                await asyncio.sleep(effort.seconds)
            case Open():
                exchange.opened(await line.open(effort.request))
            case Read():
                data = await line.read()
                exchange.received(data) if data else exchange.ended()
    except Lost as lost:
        await line.close()
        exchange.lost(lost.reason)
    except BaseException:
        exchange.dropped()
        await line.close()
        raise
