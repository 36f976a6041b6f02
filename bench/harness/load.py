"""Open many chat streams through a gateway at once, and tell what that cost: the yardstick's method, with more figures.

usage: load.py PORT STREAMS PATH SECONDS PID [PID …]   (PIDs: the gateway's processes)

Prints one JSON object. Each token carries the clock at which the upstream wrote it. What has not ended after SECONDS is cut
off, and counts as missing.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

STAMP = re.compile(rb"@(\d+) ")
BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
# How often memory is looked at, in seconds.
_LOOK = 0.2


@dataclass(slots=True)
class Seen:
    """What arrived: latencies and times to first token in milliseconds, bytes, pieces of text (data lines with a stamp)."""

    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    size: int = 0
    events: int = 0


async def follow(port: int, path: str, seen: Seen) -> None:
    """Open one stream and read it to its end."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    begin = time.perf_counter_ns()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n".encode() + BODY)
    tail, is_first = b"", True
    newest, seam = 0, b""
    while data := await reader.read(65536):
        now = time.perf_counter_ns()
        seen.size += len(data)
        tail += data
        end = 0
        for match in STAMP.finditer(tail):
            stamp = int(match[1])
            end = match.end()
            if stamp <= newest:  # a snapshot tells it again
                continue
            newest = stamp
            if is_first:
                seen.first.append((now - begin) / 1e6)
                is_first = False
            seen.latencies.append((now - stamp) / 1e6)
        seen.events += (seam + data).count(b"data: {")
        seam = data[-6:]
        tail = tail[end:][-200:] if end else tail[-400:]
    writer.close()


async def measure(
    port: int, streams: int, path: str, seconds: float, processes: list[psutil.Process]
) -> dict[str, float]:
    """Run all streams; returns the figures."""
    seen = Seen()
    rss, cpu, begin = _memory(processes), cpu_of(processes), time.perf_counter()
    tasks = [asyncio.create_task(follow(port, path, seen)) for _ in range(streams)]
    peak = rss
    while any(not task.done() for task in tasks) and time.perf_counter() - begin < seconds:
        await asyncio.sleep(_LOOK)
        peak = max(peak, _memory(processes))
    used, wall = cpu_of(processes) - cpu, time.perf_counter() - begin
    for task in tasks:
        task.cancel()
    broken = sum(isinstance(result, BaseException) for result in await asyncio.gather(*tasks, return_exceptions=True))
    tokens = len(seen.latencies)
    return {
        "tokens": tokens,
        "broken": broken,
        "events": seen.events,
        "wall_s": wall,
        "cpu_us": used / max(tokens, 1) * 1e6,
        "p50": _quantile(seen.latencies, 0.5),
        "p99": _quantile(seen.latencies, 0.99),
        "p999": _quantile(seen.latencies, 0.999),
        "first": _quantile(seen.first, 0.5),
        "each": seen.events / max(tokens, 1),
        "bytes": seen.size / max(tokens, 1),
        "peak_mib": peak / 2**20,
        "kib": (peak - rss) / 1024 / streams,
    }


def cpu_of(processes: list[psutil.Process]) -> float:
    """Tell what processes have used, in seconds of CPU."""
    return sum(map(_seconds, processes))


def _seconds(process: psutil.Process) -> float:
    """Tell what a process has used: by Linux to the nanosecond for each thread, elsewhere in the system's ticks."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    exact = sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    times = process.cpu_times()
    # The one does not know threads that have ended, the other counts hundredths.
    return float(max(exact, times.user + times.system - 0.02))


def _memory(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


def _quantile(values: list[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")


def main() -> None:
    """Measure and print."""
    port, streams, path, seconds, *pids = sys.argv[1:]
    processes = [psutil.Process(int(pid)) for pid in pids]
    figures = uvloop.run(measure(int(port), int(streams), path, float(seconds), processes))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
