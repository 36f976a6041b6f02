"""What happened in a fault run: what every reader was shown, what the model said, what was broken, and what stands at the end.

It is plain data: written by those who run, judged by `checker`, and kept as JSON where a run fails.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

TERMINAL = frozenset({"done", "failed", "aborted"})


class Shown(Struct, tag="shown", tag_field="what"):
    """A reader was shown a frame, or an event of a poll."""

    at: float
    id: str
    event: dict[str, Any]  # Any: JSON


class Refused(Struct, tag="refused", tag_field="what"):
    """A reader got another status than 200."""

    at: float
    status: int
    code: str


class Broke(Struct, tag="broke", tag_field="what"):
    """A reader's line ended, or stayed silent for too long."""

    at: float
    how: str


class Reading(Struct):
    """All that one reader lived through. `gave_up`: it was stopped from outside, before an end."""

    reader: str
    key: str
    began: float
    items: list[Shown | Refused | Broke] = field(default_factory=list)
    generation: str = ""
    finished: float = 0.0
    gave_up: bool = False

    @property
    def shown(self) -> list[Shown]:
        """The frames alone."""
        return [item for item in self.items if isinstance(item, Shown)]


class Said(Struct):
    """The model was asked for an answer, and this is the whole of it."""

    key: str
    text: str


class Fault(Struct):
    """Something was broken. `forgets`: the store may have lost what it had confirmed."""

    at: float
    kind: str
    target: str
    forgets: bool = False


class Standing(Struct):
    """How a node tells a generation when all is over; `status` is "404" where it does not know it."""

    node: str
    generation: str
    status: str
    text: str


class History(Struct):
    """One run."""

    name: str
    seed: int
    readings: list[Reading] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Count what happened, for a report."""
        items = [item for reading in self.readings for item in reading.items]
        ends = [item.event for item in items if isinstance(item, Shown) and item.event["type"] in TERMINAL]
        return {
            "generations": len({reading.key for reading in self.readings}),
            "readers": len(self.readings),
            "frames": sum(isinstance(item, Shown) for item in items),
            "broken lines": sum(isinstance(item, Broke) for item in items),
            "refusals": sum(isinstance(item, Refused) for item in items),
            "faults": len(self.faults),
            "ends done": sum(end["type"] == "done" for end in ends),
            "ends producer_lost": sum(end.get("code") == "producer_lost" for end in ends),
            "ends store_lost": sum(end.get("code") == "store_lost" for end in ends),
            "gone": sum(isinstance(item, Refused) and item.status == 404 for item in items),
        }
