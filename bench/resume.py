"""Resuming after position k of n costs what follows, O(n − k), not what is: reads of each log, of several lengths.

usage: resume.py [--length N] [--json]

Each log (memory, SQLite, a real Redis) holds an answer of N/10 and one of N appends. Readers go on after several positions; the time is the best of many. That the last
of it costs the same in an answer ten times as long, and all of it ten times as much as a tenth, is what the run asserts,
generously: it fails where a resume costs what was read before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dazi.events import Started, Text
from dazi.log import Cursor, Draft, Log
from dazi.log.memory import MemoryLog
from dazi.log.redis import RedisLog
from dazi.log.sqlite import SqliteLog

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.log.redis_server import redis_server  # the path had to come first

# What follows the position, as parts of the longer answer.
PARTS = (1, 0.1, 0.01, 0)
ROUNDS = 15
# How much more a resume near the end of the long answer may cost than near the end of the short one.
SLACK = 3.0
# Microseconds below which there is nothing to compare but noise.
NOISE = 400.0


async def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="dazi-bench-") as folder, redis_server() as server:
        logs: dict[str, Log] = {
            "memory": MemoryLog(),
            "SQLite": SqliteLog(Path(folder) / "log.db"),
            "Redis": RedisLog.from_url(server.url),
        }
        for name, log in logs.items():
            async with opened(log):
                results[name] = await measure(log, arguments.length)
    print(json.dumps(results) if arguments.json else table(results))
    for name, costs in results.items():
        judge(name, costs, arguments.length)


@asynccontextmanager
async def opened(log: Log) -> AsyncIterator[None]:
    """Open a log that can be, and close it."""
    if not isinstance(log, MemoryLog):
        await log.open()  # type: ignore[attr-defined]  # the two that are left have it
    try:
        yield
    finally:
        if not isinstance(log, MemoryLog):
            await log.close()  # type: ignore[attr-defined]  # the same


async def measure(log: Log, length: int) -> dict[str, float]:
    """Tell the µs of resumes, by what follows of how much: `following/of`."""
    costs = {}
    for size in (length // 10, length):
        opened = await log.create(Draft("me", Started(secrets.token_hex(16), "m", 1)))
        for previous in range(1, size + 1, 10):
            pieces = tuple(Text(" piece", 6 * (previous + at)) for at in range(10))
            await log.append(opened.generation, pieces, previous=previous, epoch=opened.epoch)
        for following in sorted({int(length * part) for part in PARTS if length * part <= size}, reverse=True):
            cursor = Cursor(opened.epoch, size + 1 - following)
            costs[f"{following}/{size}"] = min([await timed(log, opened.generation, cursor) for _ in range(ROUNDS)])
    return costs


async def timed(log: Log, generation: str, cursor: Cursor) -> float:
    """Read what follows a cursor; µs."""
    began = time.perf_counter()
    await log.read(generation, cursor)
    return round((time.perf_counter() - began) * 1e6, 1)


def table(results: dict[str, dict[str, float]]) -> str:
    """Draw the results as a Markdown table."""
    columns = next(iter(results.values())).keys()
    lines = ["| µs, following/of | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [
        f"| {name} | " + " | ".join(f"{costs[one]:g}" for one in columns) + " |" for name, costs in results.items()
    ]
    return "\n".join(lines)


def judge(name: str, costs: dict[str, float], length: int) -> None:
    """Exit with a sentence if a resume near the end costs what is before it."""
    for part in (0.1, 0.01, 0):
        following = int(length * part)
        short, long = costs[f"{following}/{length // 10}"], costs[f"{following}/{length}"]
        if long > max(SLACK * short, NOISE):
            raise SystemExit(f"{name}: {following} after {length - following} cost {long} µs, after fewer {short} µs")


if __name__ == "__main__":
    asyncio.run(main())
