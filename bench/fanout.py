"""One generation with many readers: CPU µs a token and reader, and how late the last of them hears it.

usage: fanout.py [--readers N] [--tokens N] [--interval MS] [--rounds N] [--json]

Every reader must get every token, or the run fails. The text is encoded once; what is left is a write for each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.gateway import Load, stage
from bench.harness.load import STAMP

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()


async def head_of(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send a request; returns the stream, behind the head of its response, and that. Let go of its writer, it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def follow(reader: asyncio.StreamReader, late: list[float]) -> int:
    """Read to the end; returns how many tokens came, and tells how late each was, in milliseconds."""
    count, tail = 0, b""
    while data := await reader.read(65536):
        now = time.perf_counter_ns()
        tail += data
        end = 0
        for match in STAMP.finditer(tail):
            late.append((now - int(match[1])) / 1e6)
            count += 1
            end = match.end()
        tail = tail[end:]
    return count


async def measure(port: int, pid: int, readers: int, load: Load) -> dict[str, float]:
    """Start one generation, attach the readers, and follow it to its end."""
    process = psutil.Process(pid)
    start = f"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
    first, writer, head = await head_of(port, start.encode() + BODY)
    generation = head.lower().partition(b"dazi-generation: ")[2].split(b"\r\n")[0].decode()
    attach = (
        f"GET /v1/generations/{generation}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    late: list[float] = []
    attached = await asyncio.gather(*(head_of(port, attach) for _ in range(readers - 1)))
    begin = sum(process.cpu_times()[:2])
    counts = await asyncio.gather(*(follow(reader, late) for reader, _, _ in [(first, writer, head), *attached]))
    if set(counts) != {load.tokens}:
        raise RuntimeError(f"of {load.tokens} tokens readers got {sorted(set(counts))}")
    used = sum(process.cpu_times()[:2]) - begin
    ranked = sorted(late)
    return {
        "cpu_us_per_token_and_reader": used / load.tokens / readers * 1e6,
        "late_ms_p50": ranked[len(ranked) // 2],
        "late_ms_p99": ranked[int(len(ranked) * 0.99)],
    }


def main() -> None:
    """Measure and print the best of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--interval", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = Load(1, arguments.tokens, arguments.interval)
    with stage() as here, here.upstream(load):
        server = here.server("dazi")
        rows = [
            uvloop.run(measure(server.port, server.process.pid, arguments.readers, load))
            for _ in range(arguments.rounds)
        ]
    best = {name: min(row[name] for row in rows) for name in rows[0]}
    print(json.dumps(best) if arguments.json else f"{arguments.readers} readers of one generation: {best}")


if __name__ == "__main__":
    main()
