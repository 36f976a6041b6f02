"""A Python function as a checker: it takes the `Passage` and returns its verdict.

Laws: a function that is not `async` runs in a thread, of at most `THREADS` for it, so that one which blocks holds up no
answer but its own; while all are busy questions wait, and who gives up leaves nothing behind; what it raises, and what it returns beside the three words, is `Unchecked`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast, get_args

from dazi.errors import ConfigError, Unchecked
from dazi.safety import Passage, Verdict

THREADS = 16

Function = Callable[[Passage], Verdict] | Callable[[Passage], Awaitable[Verdict]]


class FunctionChecker:
    """Calls a function.

    Args:
        function: `async` or not; takes the `Passage`, returns `pass`, `review` or `risky`.
        name: for metrics and log lines; by default, the function's.
    """

    def __init__(self, function: Function, *, name: str = "") -> None:
        self._function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        call = getattr(function, "__call__", function)  # noqa: B004  # an object's own `__call__` may be `async`
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        self._threads: ThreadPoolExecutor | None = None
        # One for each thread, given back by what ran there: not by who asked, who may not have waited.
        self._slots = asyncio.Semaphore(THREADS)

    @classmethod
    def load(cls, reference: str) -> FunctionChecker:
        """Find a function by `package.module:function`. Raises `ConfigError`."""
        module, colon, path = reference.partition(":")
        where = f"safety: function={reference!r}"
        if not colon or not module or not path:
            raise ConfigError(f"{where} is no function. Write package.module:function.")
        try:
            found: object = importlib.import_module(module)
            for attribute in path.split("."):
                found = getattr(found, attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{where} cannot be imported: {error}. Install it, or correct the name.") from error
        if not callable(found):
            raise ConfigError(f"{where} is no function. Name one that takes a Passage and returns a verdict.")
        return cls(cast("Function", found))

    def __repr__(self) -> str:
        return f"FunctionChecker({self.name!r})"

    async def open(self) -> None:
        """Make room for its threads, where it needs some."""
        if not self._is_async and self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"dazi checker {self.name}")

    async def close(self) -> None:
        """Let go of the threads; one that is stuck is left behind."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, passage: Passage) -> Verdict:
        """Ask about a passage. Raises `Unchecked`."""
        try:
            verdict = await self._call(passage)
        except Unchecked:
            raise
        except Exception as error:  # noqa: BLE001  # it may raise anything, and quote the text
            raise Unchecked(f"it raised {type(error).__name__}") from None
        if verdict not in get_args(Verdict):
            raise Unchecked(f"it returned no verdict but a {type(verdict).__name__}")
        return verdict

    async def _call(self, passage: Passage) -> Verdict:
        if self._is_async:
            return await cast("Awaitable[Verdict]", self._function(passage))
        await self._slots.acquire()
        loop = asyncio.get_running_loop()

        def give_back(_: Future[Any]) -> None:  # Any: whatever it returned
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._slots.release)

        await self.open()
        running = cast("ThreadPoolExecutor", self._threads).submit(self._function, passage)
        running.add_done_callback(give_back)
        return cast("Verdict", await asyncio.wrap_future(running))
