"""A durable log with this process's memory beside it, for operators who would rather answer undurably than not at all.

Laws: what is made while the durable log can be reached is there, and nowhere else; what is made while it cannot is in memory,
to the end, and known to this process alone: other nodes do not know it, and it dies with this process. An idempotency key that stands in the
durable log is not known while that is away, so the same question may then be answered twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from dazi.errors import LogError, StoreUnavailable, Unknown
from dazi.events import End, Piece
from dazi.log import (
    START,
    Append,
    AppendsTogether,
    Cursor,
    Draft,
    Leases,
    Log,
    Observer,
    Opened,
    Page,
    Record,
    Restores,
    Shelf,
    Summary,
    TellsOwner,
)
from dazi.log.memory import MemoryLog

logger = logging.getLogger("dazi.log")


@runtime_checkable
class Durable(Log, AppendsTogether, TellsOwner, Leases, Shelf, Protocol):
    """What this can stand beside: SQLite and Redis have all of it."""

    async def open(self) -> None:
        """Make ready."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


def beside_memory(durable: Durable, memory: MemoryLog) -> FallbackLog:
    """Make a log of both, with the durable one's powers."""
    return _RestoringFallbackLog(durable, memory) if isinstance(durable, Restores) else FallbackLog(durable, memory)


class FallbackLog:
    """A `Log` with `Leases`, `Shelf` and `Degrades`; see `beside_memory`."""

    def __init__(self, durable: Durable, memory: MemoryLog) -> None:
        self._durable = durable
        self._memory = memory
        # Why the last log was made in memory; "" once one was made where it belongs.
        self.undurable = ""

    @property
    def lease(self) -> float:
        """Seconds for which a lease holds."""
        return self._durable.lease

    async def open(self) -> None:
        """Open the durable log. Raises `ConfigError`."""
        await self._durable.open()

    async def close(self) -> None:
        """Close the durable log."""
        await self._durable.close()

    async def create(self, draft: Draft) -> Opened:
        """Store `started` at position 1, where that can be done now."""
        if draft.key is not None and (opened := await self._in_memory(draft.owner, draft.key)):
            return opened
        try:
            opened = await self._durable.create(draft)
        except StoreUnavailable as error:
            self._note(str(error))
            return await self._memory.create(draft)
        self._note("")
        return opened

    async def find(self, owner: str, key: str) -> Opened:
        """Find the log that (owner, key) stands for. Raises `Unknown`, also where that cannot be known now."""
        if opened := await self._in_memory(owner, key):
            return opened
        try:
            return await self._durable.find(owner, key)
        except StoreUnavailable:
            raise Unknown(key) from None

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        """Store pieces after `previous`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        await self._of(generation).append(generation, pieces, previous=previous, epoch=epoch)

    async def append_all(self, appends: Sequence[Append]) -> Sequence[Exception | None]:
        """Store each where its log is; returns what each would have raised, at its place."""
        here = [one for one in appends if self._memory.knows(one.generation)]
        there = [one for one in appends if one not in here] if here else appends
        outcomes = dict(zip(map(id, there), await self._durable.append_all(there) if there else (), strict=True))
        outcomes.update({id(one): await self._remember(one) for one in here})
        return [outcomes[id(one)] for one in appends]

    async def _remember(self, one: Append) -> Exception | None:
        try:
            await self._memory.append(one.generation, one.pieces, previous=one.previous, epoch=one.epoch)
        except LogError as error:
            return error
        return None

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        """Store the terminal event. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        return await self._of(generation).end(generation, end, after=after)

    async def read(self, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `Unknown`."""
        return await self._of(generation).read(generation, after)

    async def owner(self, generation: str) -> str:
        """Tell whose it is. Raises `Unknown`."""
        log: TellsOwner = self._memory if self._memory.knows(generation) else self._durable
        return await log.owner(generation)

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each record stored from now on; returns what ends that. Raises `Unknown`."""
        return self._of(generation).observe(generation, observer)

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with the terminal record, once it is stored; returns what ends that. Raises `Unknown`."""
        return self._of(generation).observe_end(generation, observer)

    async def renew(self, held: Mapping[str, int]) -> frozenset[str]:
        """Prolong the leases of what is durable; in memory nobody else can take over."""
        return await self._durable.renew({one: epoch for one, epoch in held.items() if not self._memory.knows(one)})

    async def sweep(self) -> tuple[str, ...]:
        """End every log whose lease ran out, and forget what has expired."""
        return await self._durable.sweep()

    async def touch(self) -> None:
        """Try whether the durable log takes anything."""
        await self._durable.touch()

    async def list(self, *, owner: str | None = None, limit: int = 100) -> tuple[Summary, ...]:
        """List the newest logs of both."""
        both = (*await self._memory.list(owner=owner, limit=limit), *await self._durable.list(owner=owner, limit=limit))
        return tuple(sorted(both, key=lambda summary: summary.created, reverse=True)[:limit])

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner, in both."""
        return await self._memory.erase(owner) + await self._durable.erase(owner)

    def _of(self, generation: str) -> Log:
        return self._memory if self._memory.knows(generation) else self._durable

    async def _in_memory(self, owner: str, key: str) -> Opened | None:
        try:
            return await self._memory.find(owner, key)
        except Unknown:
            return None

    def _note(self, trouble: str) -> None:
        if bool(trouble) != bool(self.undurable):
            words = f"{trouble} Answers are kept in memory meanwhile." if trouble else "Answers are durable again."
            logger.warning("%s", words)
        self.undurable = trouble


class _RestoringFallbackLog(FallbackLog):
    """The same, beside a log whose store may forget."""

    async def forgotten(self, stored: Mapping[str, int]) -> frozenset[str]:
        """Tell which of the durable logs are gone, or end too early."""
        return await self._restoring.forgotten({one: at for one, at in stored.items() if not self._memory.knows(one)})

    async def restore(self, draft: Draft, pieces: tuple[Piece, ...], *, epoch: int) -> None:
        """Store again what the durable log has forgotten."""
        await self._restoring.restore(draft, pieces, epoch=epoch)

    @property
    def _restoring(self) -> Restores:
        assert isinstance(self._durable, Restores)  # noqa: S101  # that is why this class was chosen
        return self._durable
