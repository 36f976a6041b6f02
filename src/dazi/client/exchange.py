"""Exchanges with a gateway as state machines without I/O: `step()` says what to do next, and is told what came of it.

Laws: whoever drives one does what `step` returns, tells the outcome by `opened`, `received`, `ended`, `lost` or
`dropped`, and asks again, until a step is a result; an error that trying again can mend never leaves here before the
patience is used up; after an error was raised, stepping again starts afresh from where the exchange stands.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from dazi.client.attempts import Attempts, Patience
from dazi.client.errors import Corrupted, NotAGateway, Unreachable
from dazi.client.wire import PASSING, Damaged, Head, Request, read_refusal, retry_after
from dazi.errors import DaziError

T = TypeVar("T")

# Bytes of one body or frame: an answer of 4,194,304 characters (PROTOCOL.md, section 7), each escaped as two times
# six bytes, and some.
LONGEST = 64 * 1024 * 1024
# Seconds that a body which is no stream may take to arrive, however steadily it trickles.
_BODY_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Peer:
    """The gateway as its client knows it: where it is, and how patiently to ask. `random` and `clock` are for tests."""

    url: str
    patience: Patience
    random: Random = field(default_factory=Random)
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Open:
    """Step: close what is open, and send this request."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Step: read more of the answer."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Step: wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """Result: what a successful answer says."""

    value: T


# What costs time. Anything else that `step` returns is a result.
Effort = Open | Read | Pause


class Exchange(ABC):
    """What is common to asking for a body and to following a stream.

    Args:
        peer: whom to ask.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._attempts = Attempts(peer.patience, peer.random)
        self._pause = 0.0
        # The answer in progress: its head, and, where it is no stream, what came of its body, and until when it may.
        self._head: Head | None = None
        self._body = bytearray()
        self._deadline = 0.0

    def opened(self, head: Head) -> None:
        """Take the head of an answer."""
        self._head = head
        self._body.clear()
        self._deadline = self._peer.clock() + _BODY_TIMEOUT
        self._attempts.answered()

    def received(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._body += data
        if len(self._body) > LONGEST:
            self.lost(f"the answer is longer than {LONGEST} bytes")
        elif self._peer.clock() > self._deadline:
            self.lost(f"the answer took longer than {_BODY_TIMEOUT:g} s")

    def ended(self) -> None:
        """Take note that the body is whole. Raises what the gateway refused for good."""
        head, self._head = self._head, None
        if head is None:
            return
        if head.status in {200, 204}:
            self._take_body(head, bytes(self._body))
        else:
            self._refused(head, bytes(self._body))

    def lost(self, reason: str) -> None:
        """Take note that the line is gone, and why, in words. Raises `Unreachable` when that was once too often."""
        self._head = None
        self._try_again(Unreachable(self._peer.url, reason))

    def dropped(self) -> None:
        """Take note that the line was let go from this side; not a failure."""
        self._head = None

    def _effort(self) -> Effort:
        """Say what to do as long as there is no result."""
        if self._pause:
            seconds, self._pause = self._pause, 0.0
            return Pause(seconds)
        return Open(self._request()) if self._head is None else Read()

    def _try_again(self, error: DaziError, after: float = 0) -> None:
        self._pause = self._attempts.failed(error, after)

    def _refused(self, head: Head, body: bytes) -> None:
        error = read_refusal(head, body) or self._strange(head)
        if not getattr(error, "retryable", True):
            raise error
        self._try_again(error, retry_after(head, error))

    def _strange(self, head: Head) -> Unreachable:
        if head.status in PASSING:
            return Unreachable(self._peer.url, f"something before the gateway answered {head.status}")
        raise NotAGateway(self._peer.url, head.status, head.media_type)

    @abstractmethod
    def _request(self) -> Request:
        """Return what to ask for now."""

    @abstractmethod
    def _take_body(self, head: Head, body: bytes) -> None:
        """Take the whole body of a successful answer."""


class Call(Exchange, Generic[T]):
    """One question with one JSON answer.

    Args:
        peer: whom to ask.
        request: what to ask; asking it twice must do no more than asking it once.
        read: makes a value of the body; raises `Damaged`.
    """

    def __init__(self, peer: Peer, request: Request, read: Callable[[bytes], T]) -> None:
        super().__init__(peer)
        self._asked = request
        self._read = read
        self._answers: list[Answered[T]] = []

    def step(self) -> Effort | Answered[T]:
        """Say what to do next."""
        return self._answers[0] if self._answers else self._effort()

    def _request(self) -> Request:
        return self._asked

    def _take_body(self, head: Head, body: bytes) -> None:
        if head.media_type != "application/json":
            raise NotAGateway(self._peer.url, head.status, head.media_type)
        try:
            self._answers.append(Answered(self._read(body)))
        except Damaged:
            self._try_again(Corrupted(self._peer.url, self._asked.path))
