"""An upstream whose strings the test pulls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink

PATIENCE = 5.0


class Play:
    """One generation as its upstream sees it. `released` is set once it was cancelled, failed or finished."""

    def __init__(self, prompt: Prompt, sink: Sink) -> None:
        self.prompt = prompt
        self.sink = sink
        self.released = asyncio.Event()
        self._outcome: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()

    def say(self, *pieces: str) -> None:
        for piece in pieces:
            self.sink.text(piece)

    def think(self, *pieces: str) -> None:
        for piece in pieces:
            self.sink.reasoning(piece)

    def finish(self, reason: str = "stop", usage: Usage | None = None) -> None:
        if not self._outcome.done():
            self._outcome.set_result(Finish(reason, usage))

    def fail(self, error: BaseException) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)

    async def wait_released(self) -> None:
        await asyncio.wait_for(self.released.wait(), PATIENCE)

    async def outcome(self) -> Finish:
        try:
            return await self._outcome
        finally:
            self.released.set()


class Puppet:
    """An upstream that does nothing by itself: the test takes each generation's `Play` from it."""

    def __init__(self) -> None:
        self.asked = 0
        self._plays: asyncio.Queue[Play] = asyncio.Queue()

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.asked += 1
        play = Play(prompt, sink)
        self._plays.put_nowait(play)
        return await play.outcome()

    async def play(self) -> Play:
        """Wait for the next generation to reach the model."""
        return await asyncio.wait_for(self._plays.get(), PATIENCE)


class Scripted:
    """An upstream that says these pieces in one turn of the loop, and finishes."""

    def __init__(self, *pieces: str, reason: str = "stop", usage: Usage | None = None) -> None:
        self._pieces = pieces
        self._finish = Finish(reason, usage)

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        for piece in self._pieces:
            sink.text(piece)
        return self._finish


class Acting:
    """An upstream that does what a function does with its sink, and finishes."""

    def __init__(self, act: Callable[[Sink], object]) -> None:
        self._act = act

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        self._act(sink)
        return Finish()
