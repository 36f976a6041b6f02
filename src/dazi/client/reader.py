"""A reader of one generation (PROTOCOL.md, section 8), as a state machine without I/O.

Laws:

- each event is told once, in order, and only after it was proved; what is told after a cut follows what was told before;
- a start is posted under one idempotency key, so however often it is posted, the model is asked once;
- what cannot be proved is read anew as a whole (section 2.4). If it continues what was told, the reader goes on from
  there; else a snapshot tells what stands instead;
- a generation that is gone is an error; no other one is started in its place.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from urllib.parse import quote

from dazi.client.errors import Corrupted, NotAGateway
from dazi.client.exchange import LONGEST, Effort, Exchange, Peer
from dazi.client.held import Held, Told
from dazi.client.wire import Damaged, Head, Request, ask_standing, path_of, read_frame, read_standing, refusal
from dazi.errors import EventTooLarge
from dazi.events import Aborted, Done, End, Event, Failed, Problem, Reconnect, Snapshot, Started
from dazi.sse import Parser, ServerSentEvent

# The position before the first event.
BEGINNING = "0"

_POSITION = re.compile(r"\d{1,9}-\d{1,18}")

# Why a snapshot replaces what was told.
_DISCONTINUED = "the gateway could not go on from the position that had been read"
_DAMAGED = "it had been damaged on the way"
# Why the whole is asked for where nothing is known to be wrong: a tail's end cannot be proved by itself.
_UNPROVEN = "only the end of it was read"


@dataclass(frozen=True, slots=True)
class Over:
    """Result: the terminal event was told; nothing follows."""

    end: End


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: a generation that stands, after a position, or one to start with `body` under `key`."""

    generation: str = ""
    after: str = BEGINNING
    key: str = ""
    body: bytes = b""


class Reader(Exchange):
    """Follows one generation to its end.

    Args:
        peer: the gateway.
        source: what to read.

    Attributes: `generation` (its id, "" until known), `position` (of the last event told), `held` (what was told),
    `has_begun` (the gateway has agreed to tell it).
    """

    def __init__(self, peer: Peer, source: Source) -> None:
        super().__init__(peer)
        self._source = source
        self.generation = source.generation
        self.position = source.after
        self.held = Held(is_whole=source.after == BEGINNING)
        self.has_begun = False
        # The stream in progress, and its events that are not told yet.
        self._parser = Parser(LONGEST)
        self._frames: deque[ServerSentEvent] = deque()
        # Set when something could not be proved, until the whole was read: why.
        self._doubt = ""
        # What the whole gave, to be told before anything else.
        self._told: deque[Told] = deque()

    @property
    def end(self) -> End | None:
        """The terminal event, once told."""
        return self.held.answer.end

    def step(self) -> Effort | Told | Over:
        """Say what to do next, or tell an event."""
        while self._frames and not self._told:
            self._take(self._frames.popleft())
        if self._told:
            return self._told.popleft()
        return self._effort() if self.end is None else Over(self.end)

    def opened(self, head: Head) -> None:
        """Take the head of an answer."""
        super().opened(head)
        self._frames.clear()
        self._parser = Parser(LONGEST)
        if head.status == 200:
            self.generation = self.generation or head.headers.get("dazi-generation", "")
        self.has_begun = self.has_begun or head.is_stream

    def received(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._head is None or not self._head.is_stream:
            super().received(data)
            return
        try:
            self._frames.extend(self._parser.feed(data))
        except EventTooLarge:
            self._mistrust()

    def ended(self) -> None:
        """Take note that the body is whole: of a stream, that it ended before the generation did."""
        if self._head is not None and self._head.is_stream:
            self.lost("the line was closed")
        else:
            super().ended()

    def named(self, generation: str) -> None:
        """Learn the id from somewhere else."""
        self.generation = self.generation or generation

    def _request(self) -> Request:
        if self._doubt and self.generation:
            return ask_standing(self.generation)
        query = f"?heartbeat={self._peer.patience.heartbeat}&after={quote(self.position, safe='')}"
        accept = {"accept": "text/event-stream"}
        if self.generation:
            return Request("GET", path_of(self.generation, "/events") + query, accept)
        headers = {**accept, "content-type": "application/json", "idempotency-key": self._source.key}
        return Request("POST", "/v1/generations" + query, headers, self._source.body)

    def _take(self, frame: ServerSentEvent) -> None:
        """Take a frame of the stream: tell it, leave the line, or doubt."""
        try:
            event = read_frame(frame.data)
            match event:
                case Reconnect():
                    self._hang_up()
                    self.lost("it was asked to come again")
                case Problem():
                    self._hang_up()
                    raise refusal(event, event.status)
                case Done() | Failed() | Aborted() if not self.held.is_whole:
                    self._hang_up()
                    self._doubt = _UNPROVEN
                case _:
                    self._tell(event, frame.id)
        except Damaged:
            self._mistrust()

    def _tell(self, event: Event | Snapshot | None, position: str) -> None:
        if position and not _POSITION.fullmatch(position):
            raise Damaged
        if event is not None and not isinstance(event, Snapshot) and _number(position) <= _number(self.position):
            raise Damaged  # said twice; of a tool call, no `n` would tell
        if event is not None:
            self._told.append(self.held.take(event, cause=_DISCONTINUED))
            self._attempts.progressed()
        if isinstance(event, Started):
            self.named(event.generation)
        self.position = position or self.position

    def _hang_up(self) -> None:
        self._frames.clear()
        self.dropped()

    def _mistrust(self) -> None:
        """Read the answer anew: "A client that finds otherwise reads the answer anew (2.4) and shows that."."""
        self._hang_up()
        self._doubt = _DAMAGED
        self._try_again(Corrupted(self._peer.url, path_of(self.generation)))

    def _take_body(self, head: Head, body: bytes) -> None:
        if head.status == 204:
            self.has_begun = True
            self._doubt = _UNPROVEN
        elif head.media_type != "application/json" or not self._doubt:
            raise NotAGateway(self._peer.url, head.status, head.media_type)
        else:
            self._settle(body)

    def _settle(self, body: bytes) -> None:
        """Go on from the answer as it stands."""
        try:
            standing = read_standing(body)
        except Damaged:
            self._mistrust()
            return
        doubt, self._doubt = self._doubt, ""
        if not self.held.agrees(standing, is_tail=doubt == _UNPROVEN):
            self._told.append(self.held.take(standing.snapshot, cause=_DAMAGED))
        self._told.extend(self.held.settle(end) for end in standing.ends)
        self.position = standing.next


def _number(position: str) -> int:
    """Return a position without its epoch."""
    return int(position.partition("-")[2] or 0)
