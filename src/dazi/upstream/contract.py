"""The laws of an upstream, as checks that the author of one can run.

    import pytest
    from dazi.upstream.contract import LAWS

    @pytest.mark.parametrize("law", LAWS)
    async def test_my_upstream_keeps(law: str) -> None:
        await LAWS[law](lambda: MyUpstream({"word": "hello"}))

Each law is given a function that makes a fresh upstream, one that answers `PROMPT` with at least three pieces of text when
nothing goes wrong, and raises `AssertionError` with a sentence when it is broken. Nothing here needs pytest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from dazi.errors import Closed
from dazi.upstream import Continues, Finish, Lifecycle, Prompt, Upstream

PROMPT = Prompt("model", [{"role": "user", "content": "Hello"}])
# Seconds for a whole answer; a model that needs longer than this is best tried with a shorter answer.
PATIENCE = 60.0
# Seconds within which a cancelled upstream has let go of everything.
RELEASE = 1.0

Make = Callable[[], Upstream]
Law = Callable[[Make], Awaitable[None]]


class Listener:
    """A sink that keeps what it is given, and may end after some pieces.

    Attributes: `pieces` of text, `late` (what came after the end), `spoke` (set at the first text).
    """

    def __init__(self, ends_after: int | None = None) -> None:
        self.pieces: list[str] = []
        self.late: list[str] = []
        self.spoke = asyncio.Event()
        self.is_over = False
        self._ends_after = ends_after

    def text(self, piece: str) -> None:
        """Keep a piece."""
        self._take(piece)
        self.pieces.append(piece)
        self.spoke.set()

    def reasoning(self, piece: str) -> None:
        """Look at a piece."""
        self._take(piece)

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        """Look at a piece."""
        _hold(isinstance(index, int) and index >= 0, f"It pushed a tool call with the index {index!r}.")
        self._take(arguments)
        for word in (call_id, name):
            _hold(
                word is None or isinstance(word, str), f"It pushed a tool call with {type(word).__name__} for a name."
            )

    def _take(self, piece: str) -> None:
        _hold(isinstance(piece, str), f"It pushed a {type(piece).__name__}; pieces are str.")
        if self.is_over:
            self.late.append(piece)
        if self.is_over or (self._ends_after is not None and len(self.pieces) >= self._ends_after):
            raise Closed("of the contract")


async def answers(make: Make) -> None:
    """It says something and tells how it finished."""
    async with _Opened(make) as upstream:
        listener = Listener()
        finish = await _generate(upstream, listener)
        _hold(isinstance(finish, Finish), f"It returned a {type(finish).__name__}; return a Finish.")
        _hold(bool(finish.reason) and len(finish.reason) <= 64, "Its finish reason is no word.")
        _hold(len(listener.pieces) >= 3, f"It pushed {len(listener.pieces)} pieces of text; this contract needs three.")


async def is_silent_afterwards(make: Make) -> None:
    """Nothing of it runs on when it has returned."""
    async with _Opened(make) as upstream:
        listener = Listener()
        with _Children() as children:
            await _generate(upstream, listener)
        listener.is_over = True
        await asyncio.sleep(0.05)
        _hold(not listener.late, "It went on pushing after it had returned.")
        _hold(not children.left, "It left tasks behind. Await them, or cancel and await them, before you return.")


async def lets_go_when_cancelled(make: Make) -> None:
    """Cancelling it ends it within a second, and it says nothing more."""
    async with _Opened(make) as upstream:
        listener = Listener()
        with _Children() as children:
            task = asyncio.create_task(_ask(upstream, listener))
            async with asyncio.timeout(PATIENCE):
                await listener.spoke.wait()
            listener.is_over = True
            task.cancel()
            await asyncio.wait((task,), timeout=RELEASE)
        _hold(task.done(), f"It did not end within {RELEASE:g} s of being cancelled.")
        with suppress(asyncio.CancelledError, Closed):
            await task
        await asyncio.sleep(0.05)
        _hold(not listener.late, "It went on pushing after it was cancelled.")
        _hold(not children.left, "It left tasks behind when it was cancelled.")


async def ends_with_its_log(make: Make) -> None:
    """What the sink raises goes through it: an answer that was aborted is over."""
    async with _Opened(make) as upstream:
        listener = Listener(ends_after=1)
        try:
            await _generate(upstream, listener)
        except Closed:
            return
        _hold(holds=False, sentence="It swallowed `Closed`, which the sink raises once the generation has ended.")


async def answers_several_at_once(make: Make) -> None:
    """Answers at the same time do not mix, and each is whole."""
    async with _Opened(make) as upstream:
        listeners = [Listener() for _ in range(4)]
        await asyncio.gather(*(_generate(upstream, listener) for listener in listeners))
        short = [listener for listener in listeners if len(listener.pieces) < 3]
        _hold(not short, "Of four answers at once, some were not whole.")


async def may_be_closed_twice(make: Make) -> None:
    """`open` and `close`, if it has them, can be called again."""
    upstream = make()
    if isinstance(upstream, Lifecycle):
        await upstream.open()
        await upstream.close()
        await upstream.close()


async def goes_on_if_it_says_so(make: Make) -> None:
    """If it says that it can continue a text, it does."""
    async with _Opened(make) as upstream:
        prompt = Prompt(PROMPT.model, PROMPT.messages, said="Half an answ")
        if isinstance(upstream, Continues) and upstream.can_continue(prompt):
            listener = Listener()
            await _generate(upstream, listener, prompt)
            _hold(bool(listener.pieces), "It says that it can continue a text, but it said nothing.")


LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        answers,
        is_silent_afterwards,
        lets_go_when_cancelled,
        ends_with_its_log,
        answers_several_at_once,
        may_be_closed_twice,
        goes_on_if_it_says_so,
    )
}


async def check(make: Make) -> None:
    """Check all laws, one after the other. Raises `AssertionError` at the first that is broken."""
    for law in LAWS.values():
        await law(make)


class _Opened:
    """A fresh upstream, opened if it can be."""

    def __init__(self, make: Make) -> None:
        self._upstream = make()

    async def __aenter__(self) -> Upstream:
        if isinstance(self._upstream, Lifecycle):
            await self._upstream.open()
        return self._upstream

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._upstream, Lifecycle):
            await self._upstream.close()


async def _ask(upstream: Upstream, listener: Listener) -> Finish:
    return await upstream.generate(PROMPT, listener)


async def _generate(upstream: Upstream, listener: Listener, prompt: Prompt = PROMPT) -> Finish:
    try:
        async with asyncio.timeout(PATIENCE):
            return await upstream.generate(prompt, listener)
    except TimeoutError:
        raise AssertionError(f"It did not finish within {PATIENCE:g} s.") from None


class _Children:
    """The tasks that this one makes, and those that they make; not what a server in the same loop does."""

    def __init__(self) -> None:
        self._all: set[object] = {asyncio.current_task()}

    @property
    def left(self) -> bool:
        mine = self._all - {asyncio.current_task()}
        return any(isinstance(task, asyncio.Task) and not task.done() for task in mine)

    def __enter__(self) -> _Children:  # noqa: PYI034  # private
        self._loop = asyncio.get_running_loop()
        self._factory = self._loop.get_task_factory()
        self._loop.set_task_factory(self._make)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.set_task_factory(self._factory)

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:  # noqa: ANN401  # asyncio's
        parent = asyncio.current_task(loop)
        task: Any = (
            asyncio.Task(coroutine, loop=loop, **options)
            if self._factory is None
            else self._factory(loop, coroutine, **options)
        )
        if parent in self._all:
            self._all.add(task)
        return task


def _hold(holds: bool, sentence: str) -> None:  # noqa: FBT001  # reads as `assert` does
    if not holds:
        raise AssertionError(sentence)
