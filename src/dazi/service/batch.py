"""What a generation says on its way into a log that takes time.

Laws: pieces are stored in order, many with one append, and never two appends of a generation at once; what all generations
of this process said within a window goes to the log together, and costs one task, not one each.
A store that cannot be reached is tried again while patience lasts. A log that has ended, or that another has taken over,
refuses every further piece. What waits is bounded by what a generation may say.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TypeVar

from dazi.errors import Closed, LogError, OutOfOrder, StoreUnavailable, Unknown
from dazi.events import End, Piece
from dazi.log import Append, AppendsNow, AppendsTogether, Cursor, Draft, Log, Opened, Record, Restores
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


def batches_of(
    log: Log, doubt: Callable[[str], None], telemetry: Telemetry = SILENT, *, window: float, patience: float
) -> Batches | None:
    """Make the batches of a log, where it takes time."""
    if isinstance(log, AppendsNow):
        return None
    return Batches(log, doubt, telemetry, window=window, patience=patience)


class Batches:
    """The batches of this process.

    Args:
        log: where to.
        doubt: who is told why the store did not take something.
        telemetry: who is told how long storing takes.
        window: seconds for which pieces are gathered.
        patience: seconds for which a store that cannot be reached is tried.
    """

    def __init__(
        self, log: Log, doubt: Callable[[str], None], telemetry: Telemetry, *, window: float, patience: float
    ) -> None:
        self.log = log
        self.patience = patience
        self._doubt = doubt
        self._telemetry = telemetry
        self._window = window
        # Asked once: such a question takes as long as storing a token.
        self._together = log if isinstance(log, AppendsTogether) else None
        self._due: list[Batch] = []
        # What is being stored, a window each.
        self._tasks: set[asyncio.Task[None]] = set()

    def store_soon(self, batch: Batch) -> None:
        """Store what the batch holds when the window closes."""
        if not self._due:
            asyncio.get_running_loop().call_later(self._window, self._close_window)
        self._due.append(batch)

    def _close_window(self) -> None:
        due, self._due = self._due, []
        group = [(batch, append) for batch in due if (append := batch.take()) is not None]
        if group:
            task = asyncio.get_running_loop().create_task(self._store(group), name="dazi batches")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _store(self, group: Sequence[tuple[Batch, Append]]) -> None:
        began = time.monotonic()
        outcomes = await self._append_all([append for _, append in group])
        stored = 0
        for (batch, append), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailable):
                self._doubt(str(outcome))
            batch.settle(append, outcome)
            stored += 0 if outcome else len(append.pieces)
        if stored:
            self._telemetry.stored(time.monotonic() - began, stored)

    async def _append_all(self, appends: Sequence[Append]) -> Sequence[BaseException | None]:
        if self._together is not None:
            try:
                return await self._together.append_all(appends)
            except Exception as error:  # noqa: BLE001  # which it should not; but then nothing of this may be passed over
                return [error] * len(appends)
        return await asyncio.gather(*(append_to(self.log, append) for append in appends), return_exceptions=True)


async def append_to(log: Log, append: Append) -> None:
    """Store one append. Raises what `Log.append` does."""
    await log.append(append.generation, append.pieces, previous=append.previous, epoch=append.epoch)


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
        # Set while the log has some of them, or is given back what it lost; then nothing else is stored.
        self._is_busy = False
        # The work of this batch alone: storing what the log did not take with the others', or what it lost.
        self._task: asyncio.Task[None] | None = None
        # Set while somebody waits for the batch not to be busy.
        self._idle: asyncio.Future[None] | None = None
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

    def take(self) -> Append | None:
        """Hand out what is to be stored now, if anything; `settle` has to follow."""
        if self._is_busy or not self._pieces or self.refusal is not None:
            return None
        pieces = tuple(self._pieces)
        self._pieces.clear()
        self._is_busy = True
        return Append(self._generation, pieces, self._position, self._epoch)

    def settle(self, append: Append, outcome: BaseException | None) -> None:
        """Hear what came of an append."""
        if outcome is None:
            self._confirm(append.pieces)
        elif isinstance(outcome, LogError):
            self._work(self._insist(append, in_doubt=isinstance(outcome, StoreUnavailable)))
        else:
            self._refuse(outcome)

    @property
    def stored(self) -> int:
        """The last position that the store has confirmed."""
        return self._position

    def restore(self) -> None:
        """Begin to store again what the store has forgotten; what is being stored now finds that out by itself."""
        if not self._is_busy and self._restores is not None and self.refusal is None:
            self._is_busy = True
            self._work(self._restore(self._restores))

    def close(self) -> None:
        """Take nothing more: the log has ended, or is another's."""
        self.refusal = self.refusal or Closed(self._generation)

    async def drain(self) -> None:
        """Wait until everything is stored. Raises what the log refused it with."""
        while self.refusal is None and (self._pieces or self._is_busy):
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle])
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

    def _confirm(self, pieces: tuple[Piece, ...]) -> None:
        self._position += len(pieces)
        if self._restores is not None:
            self._stored += pieces
        self._rest()

    def _refuse(self, error: BaseException) -> None:
        if isinstance(error, LogError):
            self.refusal = error
        else:  # whatever it is: a piece that may not be stored must not be passed over
            # Without its words, which may quote what was said.
            logger.warning("Storing generation %s failed: %s", self._generation, type(error).__name__)
            self.refusal = StoreUnavailable(f"The answer could not be stored ({type(error).__name__}).")
        self._rest()
        self._refused(self.refusal)

    def _rest(self) -> None:
        """Be busy no more, and have stored what came meanwhile."""
        self._is_busy = False
        self._is_due = bool(self._pieces)
        if self._is_due and self.refusal is None:
            self._batches.store_soon(self)
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _work(self, work: Coroutine[None, None, None]) -> None:
        self._task = asyncio.create_task(self._do(work), name=f"dazi batch of {self._generation}")

    async def _do(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # which refuses everything that follows
            self._refuse(error)
        finally:
            self._task = None

    async def _restore(self, store: Restores) -> None:
        stored = tuple(self._stored)
        await persist(lambda: store.restore(self._draft, stored, epoch=self._epoch), seconds=self._batches.patience)
        self._rest()

    async def _insist(self, append: Append, *, in_doubt: bool) -> None:
        """Store what was not taken with the others'. `in_doubt`: it may have been, and only the answer was lost."""

        async def attempt() -> None:
            nonlocal in_doubt
            try:
                await self._whole(lambda: append_to(self._log, append))
            except StoreUnavailable:
                in_doubt = True
                raise
            except OutOfOrder as error:
                # Only this writer appends under its epoch, so what stands there is its own earlier attempt.
                if not in_doubt or error.expected != f"{self._epoch}-{append.previous + len(append.pieces)}":
                    raise

        await persist(attempt, seconds=self._batches.patience)
        self._confirm(append.pieces)

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
