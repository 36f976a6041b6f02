"""Rounds: what may wait for a window is done together at its end, and costs less than each by itself.

A loop that wakes for every token pays for the waking, and for caches that are cold each time. Where text waits anyway, for a commit
or to be one frame with what follows it, it may as well wait in the kernel: connections are then looked at once a window, in a row.

Laws:

- a round first reads every connection that takes part and has something, then lets go on who waited for its end;
- nothing waits for longer than one window, and who comes during a round does not wait for the next;
- while nobody takes part no timer runs, and nothing is open;
- a connection that has ended, or cannot be read, is given back to its transport, which finds out why.

A transport reads by itself as long as it is not paused, so one that takes part has to be. Where there is no `epoll`, none does.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

# The most bytes that a connection is read in a round, and connections before the loop gets to what else is due.
_MOST_BYTES = 64 * 1024
_MOST_CONNECTIONS = 256


class Connection(Protocol):
    """What is read in rounds: its transport is paused as long as it takes part."""

    def data_received(self, data: bytes) -> None:
        """Take what arrived. Does not raise."""
        ...

    def leave_rounds(self) -> None:
        """Take part no more, and let the transport read again."""
        ...


class Rounds:
    """The rounds of one event loop.

    Args:
        window: seconds from one to the next; 0: there are none, and who waits for the end of one goes on at the turn's.
    """

    def __init__(self, window: float) -> None:
        self.window = window
        self._connections: dict[int, Connection] = {}
        self._poll: select.epoll | None = None
        # Who waits for the end of the round to come.
        self._waiting: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_reading = False

    @property
    def reads(self) -> bool:
        """Whether connections may take part."""
        return self.window > 0 and hasattr(select, "epoll")

    def join(self, descriptor: int, connection: Connection) -> None:
        """Read a connection by its descriptor in each round from now on."""
        if self._poll is None:
            self._poll = select.epoll()
        self._poll.register(descriptor, select.EPOLLIN)
        self._connections[descriptor] = connection
        self._wind()

    def leave(self, descriptor: int, connection: Connection) -> None:
        """Read it no more. Its descriptor may be closed already, or another's by now."""
        if self._poll is None or self._connections.get(descriptor) is not connection:
            return
        del self._connections[descriptor]
        with suppress(OSError):
            self._poll.unregister(descriptor)
        if not self._connections:
            self._poll.close()
            self._poll = None

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call back at the end of this round, or else of the next."""
        if self._is_reading or not self.window:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._waiting.append(callback)
            self._wind()

    def _wind(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.window, self._go_round)

    def _go_round(self) -> None:
        self._timer = None
        is_all = self._read()
        loop = asyncio.get_running_loop()
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            loop.call_soon(callback)
        if not is_all:
            self._timer = loop.call_later(0, self._go_round)
        elif self._connections:
            self._wind()

    def _read(self) -> bool:
        """Read what has arrived; returns whether that was all."""
        ready = self._poll.poll(0, _MOST_CONNECTIONS) if self._poll is not None else []
        self._is_reading = True
        for descriptor, _ in ready:
            # One may have left since, by what another was told.
            if (connection := self._connections.get(descriptor)) is None:
                continue
            try:
                data = os.read(descriptor, _MOST_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                connection.data_received(data)
            else:
                connection.leave_rounds()
        self._is_reading = False
        return len(ready) < _MOST_CONNECTIONS
