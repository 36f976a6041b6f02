"""The log of a generation: append-only, and everything else reads or writes it.

Laws, which every backend's contract suite checks:

- positions start at 1 (`started`) and have no gaps; every reader sees the same events in the same order;
- an append is checked and stored in one step, all or nothing: the log is open, `previous` is its last position and
  `epoch` is the writer's; the first terminal event ends it, and a later append or end raises `Closed`; an end by the writer is
  checked as an append is, so that it never closes less than it was told is stored;
- stored before shown: an observer hears of a record only once it is as durable as this log makes anything;
- lossless coalescing: a read may hand neighbouring pieces of text as one record that covers several positions;
- what was retracted is never read again: a cursor before a retraction does not match, and the reading starts over;
- an (owner, key) stands for one generation as long as its log lives;
- any verb may raise `StoreUnavailable`; whether the store took an append or an end that raised it is not known then.

`Log` is what every backend is. The protocols below it are powers that some have, found by `isinstance`; one that has
`open` and `close` is opened before its first use and closed after its last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from dazi.events import End, Event, Piece, Started


class Cursor(NamedTuple):
    """Where a reader is: the epoch and position of the last record it has. `START` is before everything."""

    epoch: int
    position: int


START = Cursor(0, 0)


class Record(Struct, frozen=True, gc=False):
    """One event as stored. It covers the positions after `previous`, up to and with `position`."""

    epoch: int
    previous: int
    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class Draft:
    """A log to be created. `key` and `fingerprint` make it idempotent; a `fingerprint` of "" matches any."""

    owner: str
    started: Started
    key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What `create` found or made. `created` is False where (owner, key) stood already; `epoch` is the writer's."""

    generation: str
    epoch: int
    created: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a read found.

    `records` is everything after the cursor, or, where the cursor did not match (`matched` is False), everything there
    is from the start. `head` is the last record's cursor, `end` the terminal event once there is one.
    """

    owner: str
    head: Cursor
    end: End | None
    matched: bool
    records: tuple[Record, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self.end is not None


class Append(Struct, frozen=True, gc=False):
    """Pieces to be stored after `previous`."""

    generation: str
    pieces: tuple[Piece, ...]
    previous: int
    epoch: int


Observer = Callable[[Record], None]


def at_end(observer: Observer) -> Observer:
    """Make an observer that hears the terminal record alone."""

    def hear(record: Record) -> None:
        if record.event.ends:
            observer(record)

    return hear


def show(record: Record, observers: Iterable[Observer]) -> None:
    """Show a record to each. One's fault reaches neither the writer nor the others: the loop's exception handler is told."""
    for observer in observers:
        try:
            observer(record)
        except Exception as error:  # noqa: BLE001  # as above
            context = {"message": "An observer of a log failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class Log(Protocol):
    """The store of all logs of this gateway; the module's docstring states its laws."""

    async def create(self, draft: Draft) -> Opened:
        """Store `started` at position 1, or find the log that (owner, key) already stands for."""
        ...

    async def find(self, owner: str, key: str) -> Opened:
        """Find the log that (owner, key) stands for. Raises `Unknown`."""
        ...

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        """Store pieces after `previous`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        ...

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        """Store the terminal event, stamped with `n` and `crc32`; with `after`, only where that is the last record.

        Raises `Closed` (another was first), `OutOfOrder`, `Unknown`.
        """
        ...

    async def read(self, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `Unknown`."""
        ...

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each record stored from now on; returns what ends that.

        Raises `Unknown` where that can be known without waiting.
        """
        ...

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        """As `observe`, of the terminal record alone: what that one costs nothing."""
        ...


@runtime_checkable
class AppendsNow(Protocol):
    """The power of a log that stores in no time: an append that does not suspend, and shows before it returns."""

    def append_nowait(self, generation: str, piece: Piece, *, previous: int, epoch: int) -> None:
        """As `Log.append`, for one piece, at once."""
        ...


@runtime_checkable
class AppendsTogether(Protocol):
    """The power of a log to which many appends are hardly more work than one: every one counts for itself."""

    async def append_all(self, appends: Sequence[Append]) -> Sequence[Exception | None]:
        """Do what `Log.append` does with each; returns what each would have raised, at its place. Raises nothing itself."""
        ...


@runtime_checkable
class Leases(Protocol):
    """The power of a log that outlives its writers: it knows which of them are gone.

    `create` gives its writer a lease under the epoch that it returns. Laws: times are the store's, or monotonic; a lease
    that is not renewed in time runs out; whoever ends such a log takes the next epoch, so that its old writer, should it wake up,
    finds every append refused (`OutOfOrder`, or `Closed`).
    """

    @property
    def lease(self) -> float:
        """Seconds for which a lease holds."""
        ...

    async def renew(self, held: Mapping[str, int]) -> frozenset[str]:
        """Prolong the leases of these generations, by the epochs they are held under; returns those that are lost."""
        ...

    async def sweep(self) -> tuple[str, ...]:
        """End every log whose lease ran out, `failed` with `producer_lost`, and forget what has expired.

        Returns the generations that it ended. Any number of nodes may sweep at once; each log is ended once.
        """
        ...

    async def touch(self) -> None:
        """Write something of no consequence. Raises `StoreUnavailable` where the store takes nothing, though it may be read."""
        ...


@runtime_checkable
class Restores(Protocol):
    """The power of a log whose store may forget what it took, and whose writers so hold all of it until the end.

    A writer that finds its log gone (`Unknown`), or ending before what was taken (`OutOfOrder`), restores it and goes on, or
    ends it; one whose model is silent asks now and then whether it is.
    """

    async def forgotten(self, stored: Mapping[str, int]) -> frozenset[str]:
        """Tell which of these logs are gone, or end before these positions, which were stored."""
        ...

    async def restore(self, draft: Draft, pieces: tuple[Piece, ...], *, epoch: int) -> None:
        """Store again what is missing of `started` and these pieces, at positions 1, 2, …, under this epoch.

        Changes nothing that still stands. Raises `Closed` or `OutOfOrder` where another has ended it or taken over.
        """
        ...


@runtime_checkable
class TellsOwner(Protocol):
    """The power of a log to say whose a log is without reading it: as quickly as that there is none."""

    async def owner(self, generation: str) -> str:
        """Tell whose it is. Raises `Unknown`."""
        ...


@runtime_checkable
class Degrades(Protocol):
    """The power of a log that keeps what is begun in memory while its store cannot be reached."""

    @property
    def undurable(self) -> str:
        """Why that is so now; "" where it is not."""
        ...


class Summary(Struct, frozen=True):
    """One log, as the operator's list shows it. `created` is in Unix seconds; nothing of what was said is in it."""

    generation: str
    owner: str
    model: str
    created: int
    status: str
    position: int


@runtime_checkable
class Shelf(Protocol):
    """The power of a log that can be looked through and cleared, for operators and for privacy requests."""

    async def list(self, *, owner: str | None = None, limit: int = 100) -> tuple[Summary, ...]:
        """List the newest logs, of one owner or of all."""
        ...

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner; what runs is ended first. Returns how many logs that were."""
        ...
