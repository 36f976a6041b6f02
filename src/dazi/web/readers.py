"""All readers of a process, and when each is written to: at the end of a turn of the loop, when a window closes, by the clock."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Protocol

from dazi.upstream.rounds import Rounds
from dazi.web.metrics import Left, Metrics

# Of so many turns one is timed, the first to begin with: on a quiet machine a token is a turn, and timing it costs as much as writing it.
_TIMED = 16


class Member(Protocol):
    """A reader, as `Readers` knows it: none of these waits, or lets an error out."""

    @property
    def hears_goodbye(self) -> bool:
        """Whether the server below is shutting down."""
        ...

    @property
    def left(self) -> Left:
        """How it ended."""
        ...

    def flush(self) -> None:
        """Write what was taken."""
        ...

    def tick(self) -> None:
        """Feel that a second has passed."""
        ...

    def leave(self) -> None:
        """Ask the client to attach again, and close."""
        ...


class Readers:
    """All readers of this process: one flush a turn of the loop, one tick a second for heartbeats and rotation.

    Args:
        metrics: who counts them.
        rounds: at whose ends those are written to whose window is as long.
    """

    def __init__(self, metrics: Metrics | None = None, rounds: Rounds | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._rounds = rounds or Rounds(0)
        # Turns in which readers were written to, and when the first of them asked for that, in a turn that is timed.
        self._turns = 0
        self._asked = 0.0
        self._readers: set[Member] = set()
        self._due: list[Member] = []
        # Those that wait for the end of a window, by its seconds.
        self._windows: dict[float, list[Member]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Kept, since to ask for it costs a system call, which would be one a token.
        self._loop: asyncio.AbstractEventLoop

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, reader: Member) -> None:
        """Let a reader feel the clock, and hear the goodbye."""
        self._loop = asyncio.get_running_loop()
        self._readers.add(reader)
        self._metrics.reader_came()
        if self._timer is None:
            self._wind()

    def discard(self, reader: Member) -> None:
        """Let it go."""
        self._readers.discard(reader)
        self._metrics.reader_left(reader.left)

    def write_soon(self, reader: Member) -> None:
        """Flush this reader at the end of this turn of the loop."""
        if not self._due:
            if self._turns % _TIMED == 0:
                self._asked = time.monotonic()
            self._loop.call_soon(self._flush)
        self._due.append(reader)

    def write_within(self, reader: Member, window: float) -> None:
        """Flush this reader before `window` seconds are over, together with all that asked for the same."""
        due = self._windows.setdefault(window, [])
        if not due and window == self._rounds.window:
            self._rounds.at_end(partial(self._close_window, window))
        elif not due:
            self._loop.call_later(window, self._close_window, window)
        due.append(reader)

    def goodbye(self) -> None:
        """Ask every reader to attach again."""
        for reader in tuple(self._readers):
            reader.leave()

    def _flush(self) -> None:
        due, self._due = self._due, []
        for reader in due:
            reader.flush()
        if self._turns % _TIMED == 0:
            self._metrics.flushed(time.monotonic() - self._asked)
        self._turns += 1

    def _close_window(self, window: float) -> None:
        for reader in self._windows.pop(window):
            reader.flush()

    def _wind(self) -> None:
        self._timer = self._loop.call_later(1.0, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if any(reader.hears_goodbye for reader in self._readers):
            self.goodbye()
        for reader in tuple(self._readers):
            reader.tick()
        if self._readers:
            self._wind()
