"""Which of several upstreams is asked next. Each is called with those that have room now, and says one of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dazi.upstream import Prompt
from dazi.upstream.member import Member

# Messages that make a conversation: what is said later changes with every turn, and the beginning does not.
_OPENING = 2


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A member that serves a model: by `name` here, as `model` there."""

    member: Member
    name: str
    model: str


Balance = Callable[[Sequence[Seat], Prompt], Seat]


class Least:
    """The one with the least to do for its weight; of equals the one asked longest ago."""

    def __init__(self) -> None:
        self._asked: dict[Seat, int] = {}
        self._count = 0

    def __call__(self, seats: Sequence[Seat], _prompt: Prompt) -> Seat:
        """Choose."""
        seat = min(seats, key=lambda seat: (seat.member.load, self._asked.get(seat, 0)))
        self._count += 1
        self._asked[seat] = self._count
        return seat


class RoundRobin:
    """One after the other, each as often as its weight; smooth, as in nginx."""

    def __init__(self) -> None:
        self._credit: dict[Seat, float] = {}

    def __call__(self, seats: Sequence[Seat], _prompt: Prompt) -> Seat:
        """Choose."""
        for seat in seats:
            self._credit[seat] = self._credit.get(seat, 0) + seat.member.bounds.weight
        seat = max(seats, key=lambda seat: self._credit[seat])
        self._credit[seat] -= sum(seat.member.bounds.weight for seat in seats)
        return seat


class Conversation:
    """The same one for each turn of a conversation, by weighted rendezvous: when one is out, only its own move."""

    def __call__(self, seats: Sequence[Seat], prompt: Prompt) -> Seat:
        """Choose."""
        key = _conversation(prompt)
        return max(seats, key=lambda seat: _score(key, seat.member))


BALANCES: Mapping[str, Callable[[], Balance]] = {
    "least": Least,
    "round_robin": RoundRobin,
    "conversation": Conversation,
}


def _conversation(prompt: Prompt) -> str:
    named = prompt.options.get("prompt_cache_key")
    return str(named) if named else json.dumps(list(prompt.messages[:_OPENING]), default=str)


def _score(key: str, member: Member) -> float:
    digest = hashlib.blake2b(f"{member.name}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    share = (int.from_bytes(digest) + 1) / (2**64 + 1)
    return -member.bounds.weight / math.log(share)
