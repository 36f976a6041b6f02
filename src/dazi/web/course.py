"""What a reader is asked for: which generation, from where, how framed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dazi.log import START, Cursor, Record
from dazi.web.frames import Mode, Wire


class Framing(Protocol):
    """How a reader's events become bytes. `greeting` opens a stream; an empty `heartbeat` means that none are sent."""

    heartbeat: bytes

    def greeting(self) -> bytes:
        """Write the first bytes."""
        ...

    def record(self, record: Record) -> bytes:
        """Frame a record of a log."""
        ...

    def frame(self, event: Wire, cursor: Cursor | None = None) -> bytes:
        """Frame any event; `cursor` becomes its id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a reader follows and how: whose generation, from where, and in which dialect.

    `heartbeat` and `max` (when to ask the client to attach again) are in seconds. One that does not `attach` again, since
    its dialect has no word for it, stays through rotation and goodbye; when it leaves, the generation is aborted after
    `grace` seconds (None: never) unless somebody reads it then. To one that `forgets` (a parser that drops the frame which
    a cut goes through) the last snapshot is sent twice. In append mode text may wait `coalesce` seconds for more.
    """

    owner: str
    generation: str
    framer: Framing
    after: Cursor = START
    mode: Mode = "append"
    heartbeat: int = 10
    coalesce: float = 0.0
    max: int | None = None
    attaches: bool = True
    forgets: bool = False
    grace: float | None = None
