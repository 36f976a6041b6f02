"""The synchronous face of the client: the asynchronous one without `await`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar

from dazi.client.attempts import Patience
from dazi.client.exchange import Answered, Call, Effort, Exchange, Open, Pause, Peer, Read
from dazi.client.followed import Followed
from dazi.client.held import Told
from dazi.client.http import Connections, Line, Lost
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


class Client:
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
        self._connections = Connections(base_url, api_key, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. What the gateway writes, it goes on writing."""
        self._connections.close()

    def start(
        self,
        messages: str | Sequence[Message],
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **options: object,
    ) -> Answer:
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

    def attach(self, generation: str, *, after: str = BEGINNING) -> Answer:
        """Follow a generation that was started before, here or anywhere, from its beginning or after a `position`."""
        return self._follow(Source(generation, after))

    def read(self, generation: str) -> Standing:
        """Return the answer as it stands, proved by its length and checksum."""
        return self._call(ask_standing(generation), read_standing)

    def abort(self, generation: str) -> End:
        """Stop a generation, and its model. Returns the terminal event that won, which may be an earlier `Done`."""
        _, end = self._call(ask_abort(generation, ""), read_end)
        return end

    def models(self) -> tuple[str, ...]:
        """Return the names of the models, the default first."""
        return self._call(ask_models(), read_models)

    def _follow(self, source: Source) -> Answer:
        return Answer(self._connections, self._peer, source)

    def _call(self, request: Request, read: Callable[[bytes], T]) -> T:
        return _call(self._connections, Call(self._peer, request, read))


class Answer(Followed):
    """A generation, followed to its end. Made by `Client.start` and `attach`.

        with client.start("Why is the sky blue?") as answer:
            for piece in answer:
                print(piece, end="", flush=True)

    Entering it waits until the gateway has taken the question; leaving it closes the connection, and the generation goes
    on: `abort` stops it. A cut connection is taken up again after the last event; each event is proved by its length,
    and the end by its checksum, before it is handed out.

    Iterating gives the pieces of the text, to the end, and raises `GenerationError` if the generation failed, `Replaced` if
    what was handed out no longer stands (it was withdrawn, or had been damaged on the way). `events()` gives everything
    and raises neither. Both may be left and taken up again, also after an error and after a `KeyboardInterrupt`, and share one
    position. `end` tells a whole answer from an aborted one.
    """

    def __init__(self, connections: Connections, peer: Peer, source: Source) -> None:
        super().__init__(Reader(peer, source), source)
        self._connections = connections
        self._peer = peer
        self._line = connections.line()

    def __enter__(self) -> Self:
        while not self._reader.has_begun and isinstance(step := self._reader.step(), Effort):
            _make(self._reader, step, self._line)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent. Iterating again would open another one."""
        self._reader.dropped()
        self._line.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while isinstance(told := self._advance(), Told):
            if piece := self._piece_of(told):
                return piece
        self._check(told.end)
        raise StopIteration

    def events(self) -> Iterator[Event | Snapshot]:
        """Iterate over the events, to the terminal one. A `Snapshot` or a `Retract` replaces all text before it."""
        while isinstance(told := self._advance(), Told):
            yield told.event

    def wait_end(self) -> End:
        """Read on to the end and return the terminal event. Raises `GenerationError` if the generation failed."""
        while isinstance(over := self._advance(), Told):
            pass
        self._check(over.end)
        return over.end

    def abort(self) -> End:
        """Stop the generation, and its model, whether its id is known yet or not.

        Returns the terminal event that won. Whoever iterates gets what was said before, and that event. It may be called
        from another thread than the one that iterates.
        """
        generation, end = _call(self._connections, Call(self._peer, self._ask_abort(), read_end))
        self._reader.named(generation)
        return end

    def _advance(self) -> Told | Over:
        while isinstance(step := self._reader.step(), Effort):
            _make(self._reader, step, self._line)
        if isinstance(step, Over):
            self.close()
        return step


def _call(connections: Connections, call: Call[T]) -> T:
    line = connections.line()
    try:
        while not isinstance(step := call.step(), Answered):
            _make(call, step, line)
    finally:
        line.close()
    return step.value


def _make(exchange: Exchange, effort: Effort, line: Line) -> None:
    """Make the effort, and tell the exchange what came of it. Raises what it makes of that."""
    try:
        match effort:
            case Pause():
                time.sleep(effort.seconds)
            case Open():
                exchange.opened(line.open(effort.request))
            case Read():
                data = line.read()
                exchange.received(data) if data else exchange.ended()
    except Lost as lost:
        line.close()
        exchange.lost(lost.reason)
    except BaseException:
        exchange.dropped()
        line.close()
        raise
