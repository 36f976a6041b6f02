"""Who reads what, and what becomes of an answer that nobody reads.

Laws: a reader counts on whichever node it is: each node marks in the store what it reads of others, once a few seconds, and the one that
runs an answer looks there before it stops one; where the store cannot tell, somebody reads. Nothing of this is on the way of a token.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping

from dazi.errors import StoreUnavailable
from dazi.quota import Marks
from dazi.service.runner import ABANDONED, Runner

logger = logging.getLogger("dazi.service")

# Seconds between two rounds of marks; a mark outlives three of them, so that one that is late stops nothing.
_ROUND = 5.0
_MARKED = 3 * _ROUND
# Seconds for which the first mark of a reader waits for others.
_GATHER = 0.5
# Seconds after which the place of one who waits for a turn is given up, where nobody reads it and the policy is to keep.
_WAITING = 60.0


class Attention:
    """What one process knows of readers.

    Args:
        running: what runs here, as it changes.
        marks: where nodes tell each other; None where there is but one.
        unread: seconds after which an answer that nobody reads is stopped; None: it is kept.
        has_line: whether some may wait for their turn.
    """

    def __init__(
        self, running: Mapping[str, Runner], marks: Marks | None, *, unread: float | None, has_line: bool
    ) -> None:
        self._running = running
        self._marks = marks
        self._unread = unread
        self._round = _ROUND if unread is None else min(_ROUND, max(unread / 4, 0.1))
        # How many follow each generation here now.
        self._readers: Counter[str] = Counter()
        # When each was last read here, in loop time: of what runs here since it began, of others since the last round.
        self._seen: dict[str, float] = {}
        self._foreign: set[str] = set()
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # Where nothing is marked, and nothing is stopped, there is nothing to look at.
        self._looks = marks is not None or unread is not None or has_line
        self._is_begun = False
        self._is_closed = False

    def open(self) -> None:
        """Begin; idempotent."""
        if self._looks and not self._is_begun:
            self._is_begun = True
            self._own(self._keep())

    async def close(self) -> None:
        """Stop; idempotent."""
        self._is_closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def readers(self, generation: str) -> int:
        """Tell how many follow it here."""
        return self._readers[generation]

    def came(self, generation: str, stop: Callable[[], None]) -> Callable[[], None]:
        """Hear of a reader; returns what to call when it goes, which stops it then."""
        self._readers[generation] += 1
        self.saw(generation)

        def leave() -> None:
            stop()
            self.saw(generation)
            self._readers[generation] -= 1
            if not self._readers[generation]:
                del self._readers[generation]

        return leave

    def saw(self, generation: str) -> None:
        """Hear that somebody has read what runs, or may run."""
        if not self._looks:
            return
        if generation in self._running:
            self._seen[generation] = asyncio.get_running_loop().time()
        elif self._marks is not None and generation not in self._foreign:
            self._foreign.add(generation)
            self._woken.set()

    def forget(self, generation: str) -> None:
        """Hear that it has ended."""
        self._seen.pop(generation, None)

    def abandon(self, generation: str, *, grace: float) -> None:
        """Abort the generation in `grace` seconds, unless it has ended or somebody reads it then."""
        if generation in self._running and not self._is_closed:
            self._own(self._abort_unread(generation, grace))

    async def _abort_unread(self, generation: str, grace: float) -> None:
        await asyncio.sleep(grace)
        while (run := self._running.get(generation)) is not None and not self._readers[generation]:
            if not await self._marked([generation]):
                run.abort()
                return
            await asyncio.sleep(self._round)

    def _own(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work, name="dazi attention"))
        task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._round):
                    await self._woken.wait()
                await asyncio.sleep(_GATHER)
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                await self._mark()
                await self._look()
            except Exception as error:  # noqa: BLE001  # what nobody reads any more is found by the next round
                logger.warning("The look for readers failed: %s", type(error).__name__)

    async def _mark(self) -> None:
        """Tell the others what is read here of theirs."""
        read = self._foreign | {one for one in self._readers if one not in self._running}
        self._foreign = set()
        if self._marks is not None and read:
            try:
                await self._marks.mark(read, seconds=_MARKED)
            except StoreUnavailable as error:
                logger.debug("Readers cannot be told of: %s", error)

    async def _look(self) -> None:
        """Stop what nobody has read for long enough."""
        now = asyncio.get_running_loop().time()
        for generation in self._running:
            self._seen.setdefault(generation, now)
        unread = [
            one for one, run in self._running.items() if not self._readers[one] and self._patience(run) is not None
        ]
        for generation in await self._marked(unread):
            self._seen[generation] = now
        for generation in unread:
            run = self._running.get(generation)
            if run is None or self._readers[generation]:
                continue
            patience = self._patience(run)
            if patience is not None and now - self._seen.get(generation, now) >= patience:
                run.abort(ABANDONED)

    def _patience(self, run: Runner) -> float | None:
        if run.is_waiting:
            return _WAITING if self._unread is None else min(_WAITING, self._unread)
        return self._unread

    async def _marked(self, generations: Collection[str]) -> Collection[str]:
        if self._marks is None or not generations:
            return ()
        try:
            return await self._marks.marked(generations)
        except StoreUnavailable:
            return generations
