"""Readers in replace mode: each frame is the whole text so far, the newest only, and never one that is overtaken.

Laws: those of `dazi.web.stream`, but every snapshot goes through the task; the bytes of an answer grow slower than its square.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import Receive, Send

from dazi.events import Reasoning, Text
from dazi.log import START, Cursor, Page, Record
from dazi.service import Gateway
from dazi.service.views import Part, replace_view
from dazi.web.coalesce import CoalescingReader
from dazi.web.course import Course
from dazi.web.readers import Readers
from dazi.web.stream import Headers, Reader

# The whole text is sent each time. A reader waits this long between two snapshots, and longer as the text grows,
# so that the bytes of an answer grow as n log n, not n squared.
_WINDOW = 0.05
_WINDOW_PER_CHARACTER = 1 / 10_000


class ReplaceReader(Reader):
    """One connection in replace mode: the newest whole text, and never one that is overtaken."""

    __slots__ = ("_due", "_timer")

    def __init__(self, gateway: Gateway, course: Course, send: Send, readers: Readers) -> None:
        super().__init__(gateway, course, send, readers)
        # Loop time before which no further snapshot is sent, and what fires then.
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self, receive: Receive, headers: Headers) -> None:
        """Stream until the end, the rotation, the goodbye or the disconnect."""
        try:
            await super().serve(receive, headers)
        finally:
            self._disarm()

    def on_record(self, record: Record) -> None:
        """Take note that there is more; the end is told at once."""
        if record.event.ends:
            self._fire()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._due, self._fire)

    def _fire(self) -> None:
        self._disarm()
        self._wake()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _after(self) -> Cursor:
        return START

    def _view(self, page: Page) -> Iterable[Part]:
        said = sum(len(record.event.text) for record in page.records if isinstance(record.event, Text | Reasoning))
        self._due = asyncio.get_running_loop().time() + _WINDOW + said * _WINDOW_PER_CHARACTER
        return replace_view(page, Cursor(self._epoch, self._position), insists=self._course.forgets)


def reader_of(gateway: Gateway, course: Course, send: Send, readers: Readers) -> Reader:
    """Make the reader that the course asks for."""
    if course.mode == "replace":
        return ReplaceReader(gateway, course, send, readers)
    return (CoalescingReader if course.coalesce else Reader)(gateway, course, send, readers)
