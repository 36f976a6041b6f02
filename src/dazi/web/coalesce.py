"""Readers that wait a moment, so that several pieces of text are one frame.

Laws: those of `dazi.web.stream`; no piece waits for longer than the window, the first one waits not at all, and what is no text
takes all text before it along at once. One timer serves all readers of a window.
"""

from __future__ import annotations

from starlette.types import Send

from dazi.events import Text
from dazi.log import Record
from dazi.service import Gateway
from dazi.web.course import Course
from dazi.web.readers import Readers
from dazi.web.stream import Reader


class CoalescingReader(Reader):
    """One connection in append mode, with a window."""

    __slots__ = ("_before", "_has_begun", "_is_due", "_last", "_texts")

    def __init__(self, gateway: Gateway, course: Course, send: Send, readers: Readers) -> None:
        super().__init__(gateway, course, send, readers)
        # Text that was taken and waits: its pieces, the position before them, and the last one's record.
        self._texts: list[str] = []
        self._before = 0
        self._last: Record | None = None
        # The window is open: it will be flushed.
        self._is_due = False
        # The first text has been taken.
        self._has_begun = False

    def on_record(self, record: Record) -> None:
        """Hold a piece of text until the window closes; anything else ends the waiting."""
        if record.event.__class__ is not Text or not self._has_begun:
            self._has_begun = self._has_begun or record.event.__class__ is Text
            self._settle()
            if self._frames:
                self._readers.write_soon(self)
            super().on_record(record)
            return
        if not self._is_due:
            self._is_due = True
            self._readers.write_within(self, self._course.coalesce)
        if self._pumping or (self._cycle is not None and record.previous != self._position):
            self._wake()
        elif self._cycle is not None:
            self._hold(record)

    def flush(self) -> None:
        """Write what was taken, as one frame where it can be."""
        self._is_due = False
        self._settle()
        super().flush()

    def _hold(self, record: Record) -> None:
        if not self._texts:
            self._before = record.previous
        self._texts.append(record.event.text)  # type: ignore[union-attr]  # only text gets here
        self._last = record
        self._epoch, self._position = record.epoch, record.position

    async def _catch_up(self) -> None:
        self._settle()
        await super()._catch_up()

    def _settle(self) -> None:
        """Make one frame of the text that waits."""
        last = self._last
        if last is None:
            return
        if len(self._texts) > 1:
            whole = Text("".join(self._texts), last.event.n)  # type: ignore[union-attr]  # as above
            last = Record(last.epoch, self._before, last.position, whole)
        self._frames.append(self._framer.record(last))
        self._texts = []
        self._last = None
