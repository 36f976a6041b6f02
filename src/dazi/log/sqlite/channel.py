"""One log's observers in this process.

Laws: each hears each record once and in order, whichever way it came: from this process's commits at once, from others' when
they are found. A record that comes before those it follows waits for them, but not for ever: a reader that hears of a gap
reads the log.
"""

from __future__ import annotations

import asyncio

from dazi.log import Observer, Record, show

# Seconds that a record waits for those before it: several times what the slowest way takes.
_PATIENCE = 0.25


class Channel:
    """The observers of one log.

    Args:
        position: the last one that is no news; None until that is known.
    """

    __slots__ = ("_held", "_position", "_timer", "observers")

    def __init__(self, position: int | None) -> None:
        self._position = position
        # Records that cannot be shown yet.
        self._held: list[Record] = []
        # Set while some are held: what shows them at the latest.
        self._timer: asyncio.TimerHandle | None = None
        # A tuple, replaced on change: it is walked for every record, while observers come and go.
        self.observers: tuple[Observer, ...] = ()

    def begin(self, position: int) -> None:
        """Learn the last position that was there when the watching began."""
        if self._position is None:
            # What this process committed meanwhile is news, though it was there already.
            self._release()
            self._position = max(self._position or 0, position)

    def take(self, record: Record) -> None:
        """Show a record, and those that waited for it."""
        if self._position is None or record.previous > self._position:
            self._hold(record)
        elif record.position > self._position:
            self._show(record)
            if self._held:
                self._take_held()

    def _take_held(self) -> None:
        follower = next((held for held in self._held if held.previous == self._position), None)
        if follower is not None:
            self._held.remove(follower)
            self.take(follower)
        if not self._held:
            self._stop_waiting()

    def _hold(self, record: Record) -> None:
        self._held.append(record)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._release)

    def _release(self) -> None:
        """Show everything that is held."""
        self._stop_waiting()
        held, self._held = sorted(self._held, key=lambda record: record.position), []
        for record in held:
            self._show(record)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self, record: Record) -> None:
        self._position = record.position
        show(record, self.observers)
