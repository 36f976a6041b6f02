"""The upkeep of a log that outlives its writers: leases held are renewed, those of the dead are swept.

Laws: what runs here is renewed each third of the lease; a runner whose lease is lost stops at once; what the store has forgotten
of a running generation is stored again, also while its model is silent. Every node sweeps, often
enough that a log whose writer died has its end not much later than its lease. Trouble with the store never stops the upkeep,
and is remembered until the store has taken something again: one that can only be read is of no use to a start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from dazi.errors import LogError
from dazi.log import Degrades, Leases, Log, Restores
from dazi.service.refusals import store_unavailable
from dazi.service.runner import Runner

logger = logging.getLogger("dazi.service")

# Rounds in one lease, and how many of them go by between two renewals.
_ROUNDS = 6
_ROUNDS_PER_RENEWAL = 2


class Keeper:
    """Keeps the leases of this process, and knows what is wrong with the store.

    Args:
        log: whose leases; there is nothing to keep where it has none.
        running: what runs now, as it changes.
    """

    def __init__(self, log: Log, running: Mapping[str, Runner]) -> None:
        self._log = log
        self._running = running
        self._task: asyncio.Task[None] | None = None
        # What is wrong with the store, in words; "" when nothing is known to be. And since when, in loop time.
        self.trouble = ""
        self._since = 0.0

    @property
    def troubled(self) -> float:
        """For how many seconds the store has been in trouble."""
        return asyncio.get_running_loop().time() - self._since if self.trouble else 0.0

    @property
    def undurable(self) -> str:
        """Why new generations are kept in memory alone, where the operator chose that; "" where they are not."""
        return (self._log.undurable or self.trouble) if isinstance(self._log, Degrades) else ""

    def check(self) -> None:
        """Raise `Unavailable`, with the reason, where starts are refused for want of a store."""
        if self.trouble and not isinstance(self._log, Degrades):
            raise store_unavailable(self.trouble)

    def open(self) -> None:
        """Begin; idempotent."""
        if self._task is None and isinstance(self._log, Leases):
            self._task = asyncio.create_task(self._keep(self._log), name="dazi keeper of leases")

    def doubt(self, trouble: str) -> None:
        """Hear why the store did not take something; until it does, it is in trouble."""
        if self._task is not None and not self.trouble:  # one line of the log, not one a commit
            self._note(trouble)

    async def close(self) -> None:
        """Stop; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, log: Leases) -> None:
        count = 0
        while True:
            try:
                if known := self.trouble:
                    await log.touch()
                if count % _ROUNDS_PER_RENEWAL == 0:
                    await self._renew(log)
                    await self._restore()
                await log.sweep()
            except LogError as error:
                self._note(str(error))
            except Exception as error:  # noqa: BLE001  # the leases of all that runs here depend on the next round
                self._note(f"The upkeep of the log failed: {type(error).__name__}")
            else:
                if known:  # what was heard of meanwhile, the next round looks into
                    self._note("")
            count += 1
            await asyncio.sleep(log.lease / _ROUNDS)

    async def _renew(self, log: Leases) -> None:
        held = {generation: runner.epoch for generation, runner in self._running.items()}
        for generation in await log.renew(held) if held else ():
            if generation in self._running:
                logger.warning("Generation %s was ended by another: its lease ran out", generation)
                self._running[generation].yield_to_others()

    async def _restore(self) -> None:
        if not isinstance(self._log, Restores):
            return
        stored = {generation: runner.stored for generation, runner in self._running.items()}
        for generation in await self._log.forgotten(stored) if stored else ():
            if generation in self._running:
                logger.warning("The store has lost some of generation %s, which is put back", generation)
                self._running[generation].restore()

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            logger.warning("%s", trouble or "The store can be used again.")
        if trouble and not self.trouble:
            self._since = asyncio.get_running_loop().time()
        self.trouble = trouble
