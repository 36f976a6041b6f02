"""What a token costs on its way through a log, without sockets: CPU of the gateway's process, and how long it takes to be shown.

usage: commits.py [--streams N] [--rate TOKENS] [--seconds S] [--windows MS,MS] [--rounds N]

One process, a model that says so many tokens a second in each stream, and an observer of each; memory, SQLite (`fsync` `full`) and
Redis (`appendfsync always`, its own CPU not counted) take turns. `events a token` tells whether the machine kept up: what is late goes
together, and then costs less. The first row's cost is mostly that of the model.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.log.redis_server import redis_server
from tests.waiting import until

from dazi.events import Text
from dazi.log import Log, Record
from dazi.log.memory import MemoryLog
from dazi.log.redis import RedisLog
from dazi.log.sqlite import SqliteLog
from dazi.service import Gateway, Limits
from dazi.upstream import Finish, Prompt, Sink

PROMPT = Prompt("m", [{"role": "user", "content": "hi"}])
# Seconds between two looks at which tokens are due.
TICK = 0.001
# Seconds for all streams to begin, and to end.
PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Load:
    """How much is said, and for how many seconds."""

    streams: int
    rate: float
    seconds: float


@dataclass(slots=True)
class Model:
    """Says what it is told to, in every stream."""

    sinks: list[Sink] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        """Wait for the end of the run."""
        self.sinks.append(sink)
        await self.done.wait()
        return Finish("stop")

    async def say(self, load: Load) -> int:
        """Say a token in one stream after another, each with the clock in it; returns how many."""
        said, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < load.seconds:
            token = f" token@{time.perf_counter()}"
            for _ in range(int(passed * load.streams * load.rate) - said):
                self.sinks[said % load.streams].text(token)
                said += 1
            await asyncio.sleep(TICK)
        return said


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[Log]:
    """Open an empty log."""
    with ExitStack() as stack:
        if kind == "memory":
            yield MemoryLog()
        elif kind == "SQLite":
            # Where the code lies, since a temporary folder may be no disk.
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=Path(__file__).parent))
            yield SqliteLog(Path(folder) / "dazi.db")
        else:
            yield RedisLog.from_url(stack.enter_context(redis_server(append_only="always")).url)


async def measure(kind: str, window: float, load: Load) -> tuple[float, float, float, float]:
    """Tell CPU µs and events a token, and the milliseconds until half and 99 % of them were shown."""
    model = Model()
    shown: list[float] = []

    def observe(record: Record) -> None:
        if isinstance(record.event, Text):
            shown.append(time.perf_counter() - float(record.event.text.rpartition("@")[2]))

    async with opened(kind) as log:
        gateway = Gateway(log, {"m": model}, limits=Limits(window=window))
        await gateway.open()
        for _ in range(load.streams):
            gateway.observe((await gateway.start("owner", PROMPT)).generation, observe)
        await until(lambda: len(model.sinks) == load.streams, seconds=PATIENCE)
        before = time.process_time()
        said = await model.say(load)
        cost = (time.process_time() - before) / said
        model.done.set()
        await until(lambda: not gateway.running, seconds=PATIENCE)
        await gateway.close()
    ranked = sorted(shown)
    return cost * 1e6, len(shown) / said, ranked[len(ranked) // 2] * 1000, ranked[len(ranked) * 99 // 100] * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--windows", default="5,10,30")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = Load(arguments.streams, arguments.rate, arguments.seconds)
    windows = [float(window) / 1000 for window in arguments.windows.split(",")]
    rows = [("memory", 0.0), *((kind, window) for kind in ("SQLite", "Redis") for window in windows)]
    runs = [[uvloop.run(measure(*row, load)) for row in rows] for _ in range(arguments.rounds)]
    print("| | CPU µs a token | events a token | shown after p50, ms | p99, ms |\n|---|---:|---:|---:|---:|")
    for (kind, window), *found in zip(rows, *runs, strict=True):
        cost, events, p50, p99 = min(found)
        name = f"{kind}, window {window * 1000:g} ms" if window else kind
        print(f"| {name} | {cost:.1f} | {events:.2f} | {p50:.1f} | {p99:.1f} |")


if __name__ == "__main__":
    main()
