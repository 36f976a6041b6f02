"""What a generation says on its way into a log that takes time.

Laws: pieces are stored in order, many with one append, and never two appends of a generation at once; what all generations
of this process said within a window goes to the log in one turn of the loop, so that it can commit all of that together.
A store that cannot be reached is tried again while patience lasts. A log that has ended, or that another has taken over,
refuses every further piece. What waits is bounded by what a generation may say.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from dazi.errors import Closed, LogError, OutOfOrder, StoreUnavailable, Unknown
from dazi.events import End, Piece
from dazi.log import Cursor, Draft, Log, Opened, Record, Restores
from dazi.service.telemetry import SILENT, Telemetry

logger = logging.getLogger("dazi.service")

# Seconds between two attempts at a store that cannot be reached: the first, and the longest.
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0

_T = TypeVar("_T")


async def persist(call: Callable[[], Awaitable[_T]], *, seconds: float) -> _T:
    """Call until the store can be reached, for so many seconds. Raises the last `StoreUnavailable`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    for pause in _pauses():
        try:
            return await call()
        except StoreUnavailable:
            if loop.time() + pause > until:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("the pauses never end")


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


class Batches:
    """The batches of this process.

    Args:
        log: where to.
        window: seconds for which pieces are gathered.
        patience: seconds for which a store that cannot be reached is tried.
        telemetry: who is told how long storing takes.
    """

    def __init__(self, log: Log, *, window: float, patience: float, telemetry: Telemetry = SILENT) -> None:
        self.log = log
        self.telemetry = telemetry
        self.patience = patience
        self._window = window
        self._due: list[Batch] = []

    def store_soon(self, batch: Batch) -> None:
        """Store what the batch holds when the window closes."""
        if not self._due:
            asyncio.get_running_loop().call_later(self._window, self._store)
        self._due.append(batch)

    def _store(self) -> None:
        due, self._due = self._due, []
        for batch in due:
            batch.store()


class Batch:
    """One generation's pieces that are not stored yet; to its `Writer`, a log that appends at once.

    Args:
        batches: of this process.
        draft: what the log was made of, to make it again where the store forgets.
        opened: the log, and the lease that its writer holds.
        refused: called once, when the log will take nothing more, or could not for longer than patience lasts.
    """

    def __init__(self, batches: Batches, draft: Draft, opened: Opened, refused: Callable[[LogError], None]) -> None:
        self._batches = batches
        self._log = batches.log
        self._draft = draft
        self._generation = opened.generation
        self._epoch = opened.epoch
        self._refused = refused
        # The last position stored, and what follows it.
        self._position = 1
        self._pieces: list[Piece] = []
        # All that was stored, for a log that may need it again.
        self._stored: list[Piece] = []
        self._restores = self._log if isinstance(self._log, Restores) else None
        # Set from the first piece that waits for its window, until all are stored.
        self._is_due = False
        self._task: asyncio.Task[None] | None = None
        # Why nothing more is taken.
        self.refusal: LogError | None = None

    def append_nowait(self, _generation: str, piece: Piece, *, previous: int, epoch: int) -> None:  # noqa: ARG002  # there is one writer
        """Take a piece. Raises what the log refused an earlier one with."""
        if self.refusal is not None:
            raise self.refusal
        self._pieces.append(piece)
        if not self._is_due:
            self._is_due = True
            self._batches.store_soon(self)

    def store(self) -> None:
        """Begin to store what there is, unless that is under way."""
        if self._task is None and self._pieces and self.refusal is None:
            self._task = asyncio.create_task(self._store(), name=f"dazi batch of {self._generation}")

    @property
    def stored(self) -> int:
        """The last position that the store has confirmed."""
        return self._position

    def restore(self) -> None:
        """Begin to store again what the store has forgotten; what is being stored now finds that out by itself."""
        if self._task is None and self._restores is not None and self.refusal is None:
            self._task = asyncio.create_task(self._restore(self._restores), name=f"dazi restoring {self._generation}")

    def close(self) -> None:
        """Take nothing more: the log has ended, or is another's."""
        self.refusal = self.refusal or Closed(self._generation)

    async def drain(self) -> None:
        """Store everything. Raises what the log refused it with."""
        self._is_due = True
        while self.refusal is None and (self._pieces or self._task is not None):
            self.store()
            if self._task is not None:
                await asyncio.wait([self._task])
        if self.refusal is not None:
            raise self.refusal

    async def end(self, end: End) -> Record:
        """End the log after everything that was stored, which is put back first where the store has forgotten it.

        Raises `Closed`, `OutOfOrder`, `Unknown`, `StoreUnavailable`.
        """
        if isinstance(self.refusal, StoreUnavailable):
            # Patience was long enough for both, and where the last append got to is not known.
            return await self._log.end(self._generation, end)
        after = Cursor(self._epoch, self._position)

        async def attempt() -> Record:
            return await self._whole(lambda: self._log.end(self._generation, end, after=after))

        return await persist(attempt, seconds=self._batches.patience)

    async def _store(self) -> None:
        pieces = tuple(self._pieces)
        self._pieces.clear()
        began = time.monotonic()
        if await self._is_taken(self._append(pieces)):
            self._batches.telemetry.stored(time.monotonic() - began, len(pieces))
            self._position += len(pieces)
            if self._restores is not None:
                self._stored += pieces
            self._go_on()

    async def _restore(self, store: Restores) -> None:
        stored = tuple(self._stored)
        work = persist(lambda: store.restore(self._draft, stored, epoch=self._epoch), seconds=self._batches.patience)
        if await self._is_taken(work):
            self._go_on()

    async def _is_taken(self, work: Awaitable[None]) -> bool:
        """Wait for what the store makes of it; a refusal is the last of this batch."""
        try:
            await work
        except LogError as error:
            refusal: LogError = error
        except Exception as error:  # noqa: BLE001  # whatever it is: a piece that may not be stored must not be passed over
            # Without its words, which may quote what was said.
            logger.warning("Storing generation %s failed: %s", self._generation, type(error).__name__)
            refusal = StoreUnavailable(f"The answer could not be stored ({type(error).__name__}).")
        else:
            return True
        finally:
            self._task = None
        self.refusal = refusal
        self._refused(refusal)
        return False

    def _go_on(self) -> None:
        self._is_due = bool(self._pieces)
        if self._is_due:
            self._batches.store_soon(self)

    async def _append(self, pieces: tuple[Piece, ...]) -> None:
        # Whether an earlier attempt may have been stored, though it raised.
        in_doubt = False
        previous = self._position

        def append() -> Awaitable[None]:
            return self._log.append(self._generation, pieces, previous=previous, epoch=self._epoch)

        async def attempt() -> None:
            nonlocal in_doubt
            try:
                await self._whole(append)
            except StoreUnavailable:
                in_doubt = True
                raise
            except OutOfOrder as error:
                # Only this writer appends under its epoch, so what stands there is its own earlier attempt.
                if not in_doubt or error.expected != f"{self._epoch}-{previous + len(pieces)}":
                    raise

        await persist(attempt, seconds=self._batches.patience)

    async def _whole(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write; where the store has forgotten what it took, put that back and write again."""
        try:
            return await write()
        except (Unknown, OutOfOrder) as error:
            if self._restores is None or not self._has_lost(error):
                raise
            await self._restores.restore(self._draft, tuple(self._stored), epoch=self._epoch)
            return await write()

    def _has_lost(self, error: Unknown | OutOfOrder) -> bool:
        """Whether the store has forgotten what it took, and nobody else has taken over."""
        if isinstance(error, OutOfOrder):
            epoch, _, position = error.expected.partition("-")
            return int(epoch) <= self._epoch and int(position) < self._position
        return True
