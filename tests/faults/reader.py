"""A client after PROTOCOL.md, section 8, that asserts nothing and records everything it is shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from urllib.parse import unquote

from tests.e2e.client import FORMATS, Event, Format, Reception, request_of
from tests.faults.history import TERMINAL, Broke, Reading, Refused, Shown

from dazi.sse import Parser

# Seconds without a byte after which a line counts as dead; the heartbeat is asked for at half of it.
_SILENCE = 2.0
# Seconds to connect, and the longest pause before the next attempt.
_CONNECT = 2.0
_PAUSE = 0.1


class Reader:
    """Follows one answer, over any of several addresses, in another format each time, until its end.

    Args:
        reading: where everything is recorded.
        ports: where the nodes, or the proxies before them, listen.
        draw: what decides all that is left to chance.
        noted: called after each frame.
    """

    def __init__(self, reading: Reading, ports: Sequence[int], draw: Random, noted: Callable[[], None]) -> None:
        self._reading = reading
        self._ports = ports
        self._draw = draw
        self._noted = noted
        # The id of the last frame that had one; and whether there is nothing more to come.
        self._last = ""
        self._over = False

    async def follow(self) -> None:
        """Ask, and attach again wherever the line breaks, until the end or a 404."""
        try:
            while not self._over:
                polls = bool(self._reading.generation) and self._draw.random() < 0.2
                await (self._poll if polls else self._stream)(self._draw.choice(self._ports))
                if not self._over:
                    await asyncio.sleep(self._draw.uniform(0, _PAUSE))
        finally:
            self._reading.finished = time.monotonic()
            self._reading.gave_up = not self._over

    async def _stream(self, port: int) -> None:
        chosen = self._draw.choice(FORMATS)
        frames = _Frames(chosen)
        reception = Reception()

        def take(data: bytes) -> None:
            reception.feed(data)
            if reception.status == 200:
                for frame_id, event in frames.of(reception.body):
                    self._show(frame_id, event)

        await self._exchange(port, self._request(port, chosen), take)
        self._refuse(reception)

    async def _poll(self, port: int) -> None:
        reception = Reception()
        path = f"/v1/generations/{self._reading.generation}/events?after={self._last}&wait=1"
        await self._exchange(port, request_of(port, "GET", path, {"Accept": "application/json"}), reception.feed)
        if reception.status == 200 and reception.is_whole:
            for event in json.loads(reception.body)["events"]:
                self._show(event.pop("id"), event)
        self._refuse(reception)

    def _request(self, port: int, chosen: Format) -> bytes:
        query = f"{chosen.query}&heartbeat=1"
        if not self._last:
            # The key is the question, so that the model can tell who asks twice.
            body = json.dumps({"messages": [{"role": "user", "content": self._reading.key}]}).encode()
            headers = {"Accept": "text/event-stream", "Idempotency-Key": self._reading.key}
            return request_of(port, "POST", f"/v1/generations?{query}", headers, body)
        path = f"/v1/generations/{self._reading.generation}/events?{query}"
        return request_of(port, "GET", path, {"Accept": "text/event-stream", "Last-Event-ID": self._last})

    async def _exchange(self, port: int, request: bytes, take: Callable[[bytes], None]) -> None:
        """Send a request, and take what comes until the line ends, or is silent for too long."""
        how = "ended"
        try:
            async with asyncio.timeout(_CONNECT):
                source, sink = await asyncio.open_connection("127.0.0.1", port)
            try:
                sink.write(request)
                while not self._over:
                    async with asyncio.timeout(_SILENCE):
                        data = await source.read(65536)
                    if not data:
                        break
                    take(data)
            finally:
                sink.transport.abort()
        except TimeoutError:
            how = "silent"
        except OSError as error:
            how = type(error).__name__
        if not self._over:
            self._reading.items.append(Broke(time.monotonic(), how))

    def _show(self, frame_id: str, event: Event) -> None:
        if event["type"] == "started":
            self._reading.generation = event["generation"]
        self._last = frame_id or self._last
        self._over = self._over or event["type"] in TERMINAL
        self._reading.items.append(Shown(time.monotonic(), frame_id, event))
        self._noted()

    def _refuse(self, reception: Reception) -> None:
        if reception.status in {0, 200}:
            return
        code = json.loads(reception.body)["error"]["code"] if reception.is_whole and reception.body else ""
        self._reading.items.append(Refused(time.monotonic(), reception.status, code))
        # Anything but "not now" is final: a 404 says that it is gone, and the rest is for the checker to wonder at.
        self._over = self._over or reception.status != 503


class _Frames:
    """Takes a body apart, as it grows."""

    def __init__(self, chosen: Format) -> None:
        self._chosen = chosen
        self._parser = Parser()
        self._taken = 0

    def of(self, body: bytes) -> Iterator[tuple[str, Event]]:
        """Yield the id ("" for none) and the event of each frame that is complete now."""
        fresh, self._taken = body[self._taken :], len(body)
        for frame in self._parser.feed(fresh):
            data = unquote(frame.data, errors="strict") if self._chosen.encoding == "url" else frame.data
            event: Event = json.loads(data)
            yield (event.get("id", "") if self._chosen.profile == "plain" else frame.id), event
