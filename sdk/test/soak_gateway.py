"""The gateway for the seeded runs, with time that passes faster: `soak_gateway.py SCALE`; prints its port.

Its model types what it is asked to, and the server tells how often it was asked and whether it is still at work, at
`/soak/NAME`. `/soak/hang` never answers.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import time
from collections import Counter

import uvicorn
from starlette.types import Receive, Scope, Send

from dazi import create_app
from dazi.upstream import Finish, Prompt, Sink

SCALE = float(sys.argv[1])
# Lengths of the pieces, in code points, over and over.
LENGTHS = (2, 1, 3, 1, 4, 2, 1, 9)


class FastSelector(selectors.DefaultSelector):
    """Waits a fraction of the time."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for as long as `timeout` seconds of fast time."""
        return super().select(timeout and timeout / SCALE)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop in which every sleep, timeout and tick is shorter by one factor."""

    def __init__(self) -> None:
        super().__init__(FastSelector())

    def time(self) -> float:
        """Count fast seconds."""
        return super().time() * SCALE


class Typist:
    """Types the answer that the question holds: `{"name","text","reasoning","wait","pace"}`."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        # The wall's time when it last came to rest.
        self.rested: dict[str, float] = {}

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Wait, then type, so many pieces a second."""
        order = json.loads(prompt.messages[-1]["content"])
        self.asked[order["name"]] += 1
        self.busy[order["name"]] += 1
        try:
            await asyncio.sleep(order["wait"])
            for push, text in ((sink.reasoning, order["reasoning"]), (sink.text, order["text"])):
                await _type(push, text, order["pace"])
        finally:
            self.busy[order["name"]] -= 1
            self.rested[order["name"]] = time.time()
        return Finish()


async def _type(push: object, text: str, pace: float) -> None:
    at = count = 0
    while at < len(text):
        length = LENGTHS[count % len(LENGTHS)]
        push(text[at : at + length])
        at, count = at + length, count + 1
        await asyncio.sleep(1 / pace)


typist = Typist()
gateway = create_app({"typist": typist})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell about the typist, or serve."""
    if scope["type"] != "http" or not scope["path"].startswith("/soak/"):
        await gateway(scope, receive, send)
        return
    name = scope["path"].removeprefix("/soak/")
    if name == "hang":
        while (await receive())["type"] != "http.disconnect":
            pass
    told = {"asked": typist.asked[name], "busy": typist.busy[name], "rested": typist.rested.get(name, 0.0)}
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    asyncio.Runner(loop_factory=FastLoop).run(server.serve(sockets=[listener]))
