"""What limits cost a start, and its end: a gateway's start to its end with none, and with all of them, on each store.

usage: quota.py [--starts N]

Each generation says one piece and ends; one after another (latency), then 32 at once (throughput). With `limits` installed (pip install
limits), what that library takes for four moving windows on Redis, one after another, is shown beside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dazi.log import Log
from dazi.log.memory import MemoryLog
from dazi.log.redis import RedisLog
from dazi.log.redis.store import Store
from dazi.log.sqlite import SqliteLog
from dazi.quota import Quota
from dazi.quota.memory import MemoryQuota
from dazi.quota.redis import RedisQuota
from dazi.quota.sqlite import SqliteQuota
from dazi.service import Gateway
from dazi.service.allowance import Allowance, Scope
from dazi.service.turns import Turns
from dazi.upstream import Asker, Prompt

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.log.redis_server import redis_server  # the path had to come first
from tests.puppet import Scripted  # as above

MANY = 10**6
SCOPES: tuple[Scope, ...] = ("owner", "key", "ip", "total")
ALL = Allowance(
    running=dict.fromkeys(SCOPES, MANY),
    starts=dict.fromkeys(SCOPES, MANY),
    tokens={"owner": 10**12, "key": 10**12},
)
PROMPT = Prompt("m", [{"role": "user", "content": "?"}], asker=Asker("anna", key="k", ip="10.0.0.1"))
Stores = dict[str, tuple[Callable[[], Log], Callable[[], Quota]]]


async def main() -> None:
    """Print a row for each store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=400)
    count = parser.parse_args().starts
    print("| store | limits | start p50, ms | p99 | start to end p50, ms | starts a second, 32 at once |")
    print("|---|---|---:|---:|---:|---:|")
    with stores() as (found, url):
        for name, (log, quota) in found.items():
            for label, allowance in (("none", Allowance()), ("all", ALL)):
                await measure(f"| {name} | {label} |", log(), Turns(allowance, quota(), lease=10), count)
        if importlib.util.find_spec("limits"):
            await library(url, count)


@contextlib.contextmanager
def stores() -> Iterator[tuple[Stores, str]]:
    """Give a log and counts of each kind, on real stores, and Redis's URL."""
    with redis_server() as redis, tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / f"{at}.db" for at in range(99))
        yield (
            {
                "memory": (MemoryLog, MemoryQuota),
                "SQLite": (lambda: SqliteLog(next(files)), lambda: SqliteQuota(next(files))),
                "Redis": (lambda: RedisLog.from_url(redis.url), lambda: RedisQuota(Store.from_url(redis.url))),
            },
            redis.url,
        )


async def measure(row: str, log: Log, turns: Turns, count: int) -> None:
    """Start one after another, then 32 at once."""
    gateway = Gateway(log, {"m": Scripted("a")}, turns=turns)
    await gateway.open()
    starts, ends = [], []
    for _ in range(count):
        began = time.perf_counter()
        opened = await gateway.start("anna", PROMPT)
        starts.append(1000 * (time.perf_counter() - began))
        await gateway.ended("anna", opened.generation)
        ends.append(1000 * (time.perf_counter() - began))

    async def one_after_another() -> None:
        for _ in range(count // 32):
            await gateway.ended("anna", (await gateway.start("anna", PROMPT)).generation)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(32)))
    rate = 32 * (count // 32) / (time.perf_counter() - began)
    await gateway.close()
    p50, p99 = statistics.median(starts), statistics.quantiles(starts, n=100)[98]
    print(f"{row} {p50:.2f} | {p99:.2f} | {statistics.median(ends):.2f} | {rate:.0f} |")


async def library(url: str, count: int) -> None:
    """Hit four windows of the library `limits`, as a start with four limits has to."""
    from limits import RateLimitItemPerMinute  # noqa: PLC0415  # only where it is installed
    from limits.aio.storage import RedisStorage  # noqa: PLC0415  # as above
    from limits.aio.strategies import MovingWindowRateLimiter  # noqa: PLC0415  # as above

    limiter = MovingWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy"))
    item, times = RateLimitItemPerMinute(MANY), []
    for _ in range(count):
        began = time.perf_counter()
        for scope in SCOPES:
            await limiter.hit(item, scope)
        times.append(1000 * (time.perf_counter() - began))
    quota = RedisQuota(Store.from_url(url))
    own = []
    allowance = Allowance(starts=dict.fromkeys(SCOPES, MANY))
    for _ in range(count):
        ask, _scopes = allowance.ask({"owner": "anna", "key": "k", "ip": "i", "total": "all"})
        began = time.perf_counter()
        await quota.ask(ask)
        own.append(1000 * (time.perf_counter() - began))
    await quota.close()
    print(
        f"\nFour windows on Redis: `limits` {statistics.median(times):.2f} ms, in four steps; here {statistics.median(own):.2f} ms, in one"
    )


if __name__ == "__main__":
    asyncio.run(main())
