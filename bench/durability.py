"""What durability costs: CPU a token, in the gateway and in its store, and added latency, for each log, interleaved in one run.

usage: durability.py [--streams N] [--tokens N] [--interval MS] [--rounds N] [--json]

One gateway for each log (memory; SQLite with both kinds of `fsync`; Redis with `appendfsync always`, at several windows) stands in front of the same
paced upstream. Of each figure the best round counts: noise only ever adds. Every token that the upstream wrote must arrive,
or the run fails. What is printed is the table of docs/durability.md.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.harness import report  # the path had to come first
from tests.log.redis_server import redis_server
from tests.servers import free_port

YARDSTICKS = Path(__file__).parent / "yardsticks"
DAZI = str(Path(sys.executable).with_name("dazi"))
FIGURES = ("cpu_us_per_token", "store_us_per_token", "lat_ms_p50", "lat_ms_p99", "ttft_ms_p50")
# Seconds for a server to listen.
PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for. `interval` is in milliseconds between two tokens of a stream."""

    streams: int = 300
    tokens: int = 100
    interval: int = 50
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Contender:
    """A log, as settings, and the window in milliseconds."""

    name: str
    log: str
    fsync: str = "full"
    window: int = 10


CONTENDERS = (
    Contender("memory", "memory://"),
    Contender("SQLite, `fsync` `full`", "sqlite:///full.db"),
    Contender("SQLite, `fsync` `normal`", "sqlite:///normal.db", fsync="normal"),
    *(Contender(f"Redis `always`, `window` {window / 1000:g}", "redis", window=window) for window in (5, 10, 30, 100)),
)


def measure(load: Load) -> dict[str, dict[str, float]]:
    """Run the rounds; returns the best of each figure, by contender. Raises `RuntimeError` if a token is missing."""
    with ExitStack() as stack:
        # Where the code lies, since a temporary folder may be no disk.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dazi-bench-", dir=Path(__file__).parent))
        redis = stack.enter_context(redis_server(append_only="always"))
        upstream = free_port()
        script = (
            sys.executable,
            str(YARDSTICKS / "mock_upstream.py"),
            *map(str, (upstream, load.tokens, load.interval)),
        )
        stack.enter_context(running(script, upstream, folder))
        nodes = {}
        for one in CONTENDERS:
            port = free_port()
            log = redis.url if one.log == "redis" else one.log
            nodes[one] = port, stack.enter_context(running(command(one, log, port, upstream), port, folder))
        store = psutil.Process(redis.pid)
        rows = [row(one, *nodes[one], store, load) for _ in range(load.rounds) for one in CONTENDERS]
    return {
        one.name: {figure: min(row[figure] for row in rows if row["gateway"] == one.name) for figure in FIGURES}
        for one in CONTENDERS
    }


def command(one: Contender, log: str, port: int, upstream: int) -> tuple[str, ...]:
    """Write the command of a contender's gateway; what has no flag is set by `env`."""
    settings = (f"DAZI_FSYNC={one.fsync}", f"DAZI_WINDOW={one.window / 1000}")
    return (
        *("env", *settings, DAZI, "serve", "--model", "m", "--log", log),
        *("--upstream", f"http://127.0.0.1:{upstream}/v1", "--port", str(port)),
    )


def row(
    one: Contender, port: int, process: subprocess.Popen[bytes], store: psutil.Process, load: Load
) -> dict[str, Any]:  # Any: the yardstick's JSON
    """Measure one contender once."""
    words = (
        sys.executable,
        str(YARDSTICKS / "load.py"),
        one.name,
        str(port),
        str(load.streams),
        "/v1/generations",
        "key",
    )
    before = sum(store.cpu_times()[:2])
    result = subprocess.run([*words, str(process.pid)], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(result.stdout)
    wanted = load.streams * load.tokens
    if figures["tokens"] != wanted:
        raise RuntimeError(f"{one.name} delivered {figures['tokens']} of {wanted} tokens.")
    spent = sum(store.cpu_times()[:2]) - before
    return {**figures, "store_us_per_token": round(spent / wanted * 1e6, 1) if one.log == "redis" else 0.0}


def line(one: Contender, figures: dict[str, float]) -> str:
    """Draw one line of the table."""
    cpu, store, *waits = (figures[figure] for figure in FIGURES)
    stored = f"{store:.0f}" if one.log == "redis" else "–" if one.log == "memory://" else "in the gateway"
    return f"| {one.name} | {cpu:.0f} | {stored} | " + " | ".join(f"{wait:.1f}" for wait in waits) + " |"


@contextmanager
def running(words: tuple[str, ...], port: int, folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, from when it listens. Raises `RuntimeError` if it does not."""
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + PATIENCE
        while not listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{words!r} does not listen on {port}.")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def listens(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in Load.__slots__:
        parser.add_argument(f"--{name}", type=int, default=getattr(Load(), name))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    results = measure(Load(**arguments))
    if as_json:
        print(json.dumps(results))
        return
    print(f"{report.machine()}\n")
    print("| | CPU µs a token, gateway | store | added latency p50, ms | p99, ms | first token p50, ms |")
    print("|---|" + "---:|" * len(FIGURES))
    for one in CONTENDERS:
        print(line(one, results[one.name]))


if __name__ == "__main__":
    main()
