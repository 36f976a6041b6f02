"""Several processes on one listening socket: `dazi serve --workers N`.

Laws: a worker that dies is started again, later each time it dies young; a signal reaches each of them once, as a goodbye, and
a second one as a hurry; none outlives the supervisor, nor the time that a goodbye may take. Secrets go to a worker through
a pipe, never through its command line.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from types import FrameType

import msgspec
from prometheus_client.multiprocess import mark_process_dead

from dazi.errors import ConfigError
from dazi.settings import Settings

logger = logging.getLogger("dazi.workers")

# Seconds between two looks at the workers.
_LOOK = 0.1
# Seconds until a worker that died young is started again: the first time, and at most.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
# Seconds after which a worker has not died young.
_YOUTH = 30.0
# Seconds that a worker gets beyond its drain: for the last bytes, and for everything that should take no time.
_GRACE = 15.0

_COMMAND = (sys.executable, "-c", "from dazi.cli.serve import work; work()")


class Order(msgspec.Struct, frozen=True):
    """What a worker is told: its settings, the socket to serve, and who its supervisor is."""

    settings: Settings
    listener: int
    supervisor: int


def read_order() -> Order:
    """Read this worker's order, from its supervisor."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=Order)


class _Slot:
    """The place of one worker: the process in it, or when there shall be one again."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._pause = _FIRST_PAUSE
        self._born = 0.0
        self._next = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def look(self, *, is_leaving: bool) -> int | None:
        """Start a worker if there should be one, or take note that it has gone; returns the one that has."""
        now = time.monotonic()
        if self.process is None:
            if not is_leaving and now >= self._next:
                self.process, self._born = self._start(), now
        elif (status := self.process.poll()) is not None:
            gone = self.process.pid
            self._bury(gone, status, now, is_leaving=is_leaving)
            return gone
        return None

    def _bury(self, pid: int, status: int, now: float, *, is_leaving: bool) -> None:
        self.process = None
        if is_leaving:
            return
        if now - self._born > _YOUTH:
            self._pause = _FIRST_PAUSE
        logger.warning("Worker %d ended with status %d; another one starts in %g s", pid, status, self._pause)
        self._next = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class Supervisor:
    """Keeps the workers running, until a signal tells it to go.

    Args:
        settings: of the workers, and how many.
        listener: the socket that they share.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        if os.name != "posix":
            raise ConfigError(f"workers={settings.workers}: this system cannot share a socket so. Use 1 worker.")
        order = Order(settings, listener.fileno(), os.getpid())
        self._order = msgspec.json.encode(order)
        self._listener = listener
        self._patience = settings.drain + _GRACE
        self._slots = [_Slot(self._start) for _ in range(settings.workers)]
        self._numbers = ""
        # Signals that came, and those that were passed on.
        self._signals = 0
        self._passed = 0

    def run(self) -> None:
        """Run until the last worker has gone."""
        with TemporaryDirectory(prefix="dazi-metrics-") as self._numbers:
            self._run()

    def _run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take_note)
        until = float("inf")
        while not self._passed or any(slot.process for slot in self._slots):
            if self._signals > self._passed:
                self._pass_on()
                until = min(until, time.monotonic() + self._patience)
            if time.monotonic() > until:
                self._kill()
            for slot in self._slots:
                if (gone := slot.look(is_leaving=self._passed > 0)) is not None:
                    mark_process_dead(gone, self._numbers)  # type: ignore[no-untyped-call]  # it has no types
            time.sleep(_LOOK)

    def _take_note(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _pass_on(self) -> None:
        self._passed = self._signals
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                logger.warning("Worker %d did not go in time and is killed", slot.process.pid)
                slot.process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            _COMMAND,
            stdin=subprocess.PIPE,
            pass_fds=(self._listener.fileno(),),
            # Where prometheus-client keeps the numbers of all workers, so that each can tell everybody's.
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self._numbers},
        )
        assert process.stdin is not None  # noqa: S101  # it was asked for
        with process.stdin as pipe:
            pipe.write(self._order)
        return process
