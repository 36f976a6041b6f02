"""A stream for finding out what is on the way: its pieces carry the time at which they were sent (PROTOCOL.md, section 2.8).

Laws: it asks no model and stores nothing; it tells a caller nothing but what came of its own request; few run at once,
and each ends.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from starlette.types import Message, Receive, Send

from dazi.errors import NotFound, Unavailable
from dazi.web.calls import Call, RawHeaders, Reply, json_reply
from dazi.web.options import read_numbers

# Enough for a team that looks for the same fault; a probe costs a timer and a connection.
_MOST_AT_ONCE = 16
# How a probe ended is asked for in the seconds after it.
_MOST_REMEMBERED = 256
_LEAST_HEARTBEAT = 0.02
# Seconds beyond its plan after which a probe whose client takes nothing is over: as `STALL` of the readers.
_STALL = 30.0

Status = Literal["running", "finished", "left"]

# What middlemen add, drop or change. Nothing here is secret: `Authorization` and `Cookie` are told as there or not.
_ECHOED = ("accept", "accept-encoding", "connection", "host", "last-event-id", "user-agent", "via", "x-forwarded-proto")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a probe sends: `ticks` pieces, `interval` seconds apart, then `silence` seconds with a comment each `heartbeat`.

    `heartbeat` 0: none.
    """

    ticks: int
    interval: float
    silence: float
    heartbeat: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.ticks * self.interval + self.silence


class Probes:
    """The handlers of `/v1/probe`, and how the last probes ended."""

    def __init__(self) -> None:
        self._running = 0
        # By owner and id. The oldest is forgotten first.
        self._ends: OrderedDict[tuple[str, str], tuple[Status, float]] = OrderedDict()

    async def stream(self, call: Call) -> Probe:
        """Start a probe."""
        number = read_numbers(call.query, known=frozenset({"ticks", "interval", "silence", "heartbeat"}))
        plan = Plan(
            ticks=int(number("ticks", 20, least=0, most=100)),
            interval=number("interval", 0.1, least=0.02, most=5),
            silence=number("silence", 0, least=0, most=300),
            heartbeat=_heartbeat(number("heartbeat", 0, least=0, most=60)),
        )
        if self._running >= _MOST_AT_ONCE:
            raise Unavailable(
                f"{self._running} probes are running, which is the limit.",
                remedy="Try again soon.",
                code="too_many_probes",
                retry_after=5,
            )
        return Probe(self, call, plan)

    async def read(self, call: Call) -> Reply:
        """Tell how a probe of this process ended."""
        end = self._ends.get((call.owner, call.generation))
        if end is None:
            raise NotFound(
                f"This process knows no probe {call.generation[:100]!r}.",
                remedy="It may be of another process, or old.",
            )
        status, since = end
        return json_reply(200, {"status": status, "for": round(time.monotonic() - since, 3)})

    def begin(self, owner: str, probe: str) -> None:
        """Take note that it runs."""
        self._running += 1
        self._note(owner, probe, "running")

    def end(self, owner: str, probe: str, status: Status) -> None:
        """Take note of how it ended."""
        self._running -= 1
        self._note(owner, probe, status)

    def _note(self, owner: str, probe: str, status: Status) -> None:
        self._ends[owner, probe] = (status, time.monotonic())
        if len(self._ends) > _MOST_REMEMBERED:
            self._ends.popitem(last=False)


class Probe:
    """One probe: a `Streamed` answer."""

    def __init__(self, probes: Probes, call: Call, plan: Plan) -> None:
        self._probes = probes
        self._call = call
        self._plan = plan
        self._id = secrets.token_hex(8)
        self._began = time.monotonic()

    async def serve(self, receive: Receive, send: Send, opening: RawHeaders) -> None:
        """Send what is planned, unless the client leaves before."""
        status: Status = "left"
        self._probes.begin(self._call.owner, self._id)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": opening})
            telling = asyncio.ensure_future(self._tell(send))
            leaving = asyncio.ensure_future(_left(receive))
            await asyncio.wait(
                (telling, leaving), timeout=self._plan.seconds + _STALL, return_when=asyncio.FIRST_COMPLETED
            )
            status = "finished" if telling.done() and telling.exception() is None else "left"
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        finally:
            self._probes.end(self._call.owner, self._id, status)

    async def _tell(self, send: Send) -> None:
        await send(self._frame("probe", probe=self._id, seen=self._seen()))
        for tick in range(1, self._plan.ticks + 1):
            await asyncio.sleep(max(0.0, self._began + tick * self._plan.interval - time.monotonic()))
            await send(self._frame("tick", tick=tick))
        await self._be_silent(send)
        await send(self._frame("end"))
        await send({"type": "http.response.body"})

    async def _be_silent(self, send: Send) -> None:
        until = time.monotonic() + self._plan.silence
        while (left := until - time.monotonic()) > 0:
            if not self._plan.heartbeat:
                await asyncio.sleep(left)
                return
            await asyncio.sleep(min(left, self._plan.heartbeat))
            await send(_body(f": {self._milliseconds()}\n\n"))

    def _frame(self, kind: str, **fields: object) -> Message:
        return _body(f"data: {json.dumps({'type': kind, 'sent': self._milliseconds(), **fields})}\n\n")

    def _milliseconds(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 1)

    def _seen(self) -> dict[str, object]:
        """Tell what of the request arrived here."""
        headers, scope = self._call.headers, self._call.scope
        return {
            "http": scope["http_version"],
            "scheme": scope["scheme"],
            "authorization": "authorization" in headers,
            "headers": {name: headers[name][:200] for name in _ECHOED if name in headers},
        }


def _heartbeat(seconds: float) -> float:
    """Keep what is not none from being next to nothing: a comment is work, too."""
    return max(_LEAST_HEARTBEAT, seconds) if seconds else 0


def _body(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
