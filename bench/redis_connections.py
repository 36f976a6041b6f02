"""What the Redis log costs: connections for many readers, and CPU for appends of batches of several sizes.

usage: redis_connections.py [--readers N] [--generations N] [--json]

Two nodes share one real Redis: one writes, the other reads, with `--readers` observers spread over `--generations` logs.
Every reader must hear every record, and the node's connections must stay within a bound that knows nothing of readers, or the
run fails. Then one node appends to many logs at once, as a busy gateway does; CPU is this process's and Redis's, each
for one append of 1, 10 and 100 pieces. Last, a read of what follows a position, which costs what follows, not what is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from dazi.events import Done, Started, Text
from dazi.log import Cursor, Draft, Opened, Record
from dazi.log.redis import RedisLog

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.log.redis_server import RedisServer, redis_server  # the path had to come first

# What a node may open at most: four connections for commands, and one for each of 16 shards.
BOUND = 20
BATCHES = (1, 10, 100)
# Logs that are written at once, and appends to each, when CPU is measured.
WRITERS = 50
APPENDS = 60
ROUNDS = 3
# Appends to the log that readers resume.
LENGTH = 2000
# Seconds for the slowest reader to hear the end.
PATIENCE = 60


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=2000)
    parser.add_argument("--generations", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with redis_server() as server:
        figures = {
            "connections_16_readers": await connections(server, 16, 16),
            f"connections_{arguments.readers}_readers": await connections(
                server, arguments.readers, arguments.generations
            ),
        }
        if max(figures.values()) > BOUND:
            raise SystemExit(f"connections grow with readers: {figures}")
        costs: dict[str, float] = {}
        for size in BATCHES:
            ours, redis = await append_cost(server, size)
            costs |= {f"append_{size}_cpu_us": ours, f"append_{size}_redis_cpu_us": redis}
        costs |= await resume_costs(server)
    if arguments.json:
        print(json.dumps({**figures, **costs}))
        return
    for name, figure in {**figures, **costs}.items():
        print(f"{name:32} {figure:8.0f}")


async def connections(server: RedisServer, readers: int, generations: int) -> int:
    """Count the connections of a node on which so many readers follow so many logs, all of which they must hear."""
    prefix = secrets.token_hex(4)
    writer = RedisLog.from_url(server.url, prefix=prefix)
    node = RedisLog.from_url(server.url, prefix=prefix)
    opened = [await begin(writer, at % 16) for at in range(generations)]
    heard: list[list[Record]] = [[] for _ in range(readers)]
    for at, records in enumerate(heard):
        generation = opened[at % generations].generation
        await node.read(generation)
        node.observe(generation, records.append)
    for turn in range(3):
        await asyncio.gather(*(append(writer, one, turn + 1, 1) for one in opened))
    await asyncio.gather(*(writer.end(one.generation, Done("stop")) for one in opened))
    async with asyncio.timeout(PATIENCE):
        while not all(records and records[-1].event.ends for records in heard):  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
    if any(record.position != later.previous for records in heard for record, later in pairwise(records)):
        raise SystemExit("a reader missed a record")
    await writer.close()
    count = server.connections()
    await node.close()
    return count


async def append_cost(server: RedisServer, size: int) -> tuple[float, float]:
    """Measure the CPU of one append of `size` pieces, in µs: here, and in Redis. The best of several rounds."""
    log = RedisLog.from_url(server.url, prefix=secrets.token_hex(4))
    rounds = [await append_round(log, server, size) for _ in range(ROUNDS)]
    await log.close()
    return min(ours for ours, _ in rounds), min(redis for _, redis in rounds)


async def append_round(log: RedisLog, server: RedisServer, size: int) -> tuple[float, float]:
    """Append to many logs at once; µs of CPU an append, here and in Redis."""
    opened = [await begin(log, at % 16) for at in range(WRITERS)]
    redis = psutil.Process(server.pid)
    began, redis_began = time.process_time(), sum(redis.cpu_times()[:2])
    await asyncio.gather(*(write(log, one, size) for one in opened))
    count = WRITERS * APPENDS / 1e6
    return (time.process_time() - began) / count, (sum(redis.cpu_times()[:2]) - redis_began) / count


async def resume_costs(server: RedisServer) -> dict[str, float]:
    """Measure reads after several positions of a log of `LENGTH` appends, in µs; the best of several rounds."""
    log = RedisLog.from_url(server.url, prefix=secrets.token_hex(4))
    opened = await begin(log, 0)
    for turn in range(LENGTH):
        await append(log, opened, turn + 1, 1)
    costs = {}
    for following in (LENGTH, LENGTH // 2, LENGTH // 20, 0):
        rounds = []
        for _ in range(5 * ROUNDS):
            began = time.perf_counter()
            await log.read(opened.generation, Cursor(opened.epoch, LENGTH + 1 - following))
            rounds.append((time.perf_counter() - began) * 1e6)
        costs[f"read_{following}_of_{LENGTH}_us"] = min(rounds)
    await log.close()
    return costs


async def write(log: RedisLog, opened: Opened, size: int) -> None:
    """Append batches, one after another."""
    for turn in range(APPENDS):
        await append(log, opened, 1 + turn * size, size)


async def append(log: RedisLog, opened: Opened, previous: int, size: int) -> None:
    """Append one batch of pieces of the usual length."""
    pieces: Sequence[Text] = [Text(" piece", 6 * (previous + at)) for at in range(size)]
    await log.append(opened.generation, tuple(pieces), previous=previous, epoch=opened.epoch)


async def begin(log: RedisLog, shard: int) -> Opened:
    """Make a log in a shard."""
    generation = f"{secrets.token_hex(16)[:-1]}{shard:x}"
    return await log.create(Draft("owner", Started(generation, "m", 1)))


if __name__ == "__main__":
    asyncio.run(main())
