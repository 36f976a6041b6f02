"""What a gateway tells of itself, for metrics, traces and the operator's page.

Laws: nothing is told on the way of a token; nothing that a user or a model wrote is told; whoever listens never raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dazi.events import Usage


@dataclass(frozen=True, slots=True)
class Beginning:
    """A generation that has begun to run here. `began` is of the monotonic clock, in seconds."""

    generation: str
    owner: str
    model: str
    began: float


@dataclass(frozen=True, slots=True)
class Presence:
    """A generation that runs here: how it began, how many pieces have come, and how many read it."""

    beginning: Beginning
    pieces: int
    readers: int


@dataclass(frozen=True, slots=True)
class Story:
    """A generation that ran here, from its beginning to its end.

    `status` is that of PROTOCOL.md, or `lost` where its end is not known here; `code` is that of a failure, or the finish
    reason. `seconds`: how long it ran. `first_token`: seconds until its first piece came, or None without one.
    `pieces`: how many followed. `characters`: of the answer, in UTF-16 units.
    """

    beginning: Beginning
    status: str
    code: str
    seconds: float
    first_token: float | None
    pieces: int
    characters: int
    usage: Usage | None

    @property
    def gap(self) -> float | None:
        """Mean seconds between two pieces, or None where there are not two."""
        if self.first_token is None or self.pieces < 2:
            return None
        return max(0.0, self.seconds - self.first_token) / (self.pieces - 1)


class Telemetry(Protocol):
    """Whoever wants to know."""

    def began(self, beginning: Beginning) -> None:
        """Hear of a generation that runs."""
        ...

    def ended(self, story: Story) -> None:
        """Hear of one that has run."""
        ...

    def stored(self, seconds: float, pieces: int) -> None:
        """Hear how long a durable log took to store so many pieces."""
        ...

    def refused(self, limit: str) -> None:
        """Hear of a start that a limit refused, by its name."""
        ...

    def queued(self) -> None:
        """Hear of one that waits for its turn."""
        ...

    def called(self, seconds: float, outcome: str) -> None:
        """Hear how long one waited, and what came of it: its `turn`, or it is `gone`."""
        ...


class Chorus:
    """Tells several."""

    def __init__(self, members: Sequence[Telemetry] = ()) -> None:
        self._members = tuple(members)

    def began(self, beginning: Beginning) -> None:
        """Tell of a generation that runs."""
        for member in self._members:
            member.began(beginning)

    def ended(self, story: Story) -> None:
        """Tell of one that has run."""
        for member in self._members:
            member.ended(story)

    def stored(self, seconds: float, pieces: int) -> None:
        """Tell how long storing took."""
        for member in self._members:
            member.stored(seconds, pieces)

    def refused(self, limit: str) -> None:
        """Tell of a start that a limit refused."""
        for member in self._members:
            member.refused(limit)

    def queued(self) -> None:
        """Tell of one that waits."""
        for member in self._members:
            member.queued()

    def called(self, seconds: float, outcome: str) -> None:
        """Tell how long one waited."""
        for member in self._members:
            member.called(seconds, outcome)


SILENT = Chorus()
