"""CPU a token, latency and memory of the gateway beside a bare pass-through, interleaved in one run.

usage: gateway.py [--streams N] [--tokens N] [--interval MS] [--rounds N] [--json]

The pass-through (aiohttp → bare ASGI on uvicorn) parses nothing, logs nothing and cannot resume; it is the floor for
Python. Both stand in front of the same paced upstream. Of each figure the best round counts: noise only ever adds.
Every token that the upstream wrote must arrive, one event a token, or the run fails.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

YARDSTICKS = Path(__file__).parent / "yardsticks"
# Ports that the yardsticks have built in, and ours.
UPSTREAM, RELAY, DAZI = 18801, 18805, 18806
FIGURES = ("cpu_us_per_token", "lat_ms_p50", "lat_ms_p99", "ttft_ms_p50", "rss_kib_per_stream", "bytes_per_token")


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for. `interval` is in milliseconds between two tokens of a stream."""

    streams: int = 300
    tokens: int = 100
    interval: int = 50
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured."""

    name: str
    port: int
    path: str
    command: tuple[str, ...]


RELAY_COMMAND = (
    *(sys.executable, "-m", "uvicorn", "relay_best:app", "--app-dir", str(YARDSTICKS)),
    *("--port", str(RELAY), "--log-level", "warning", "--no-access-log"),
)
DAZI_COMMAND = (
    *(str(Path(sys.executable).with_name("dazi")), "serve", "--model", "m"),
    *("--upstream", f"http://127.0.0.1:{UPSTREAM}/v1", "--port", str(DAZI)),
)
CONTENDERS = (
    Contender("pass-through", RELAY, "/", RELAY_COMMAND),
    Contender("dazi", DAZI, "/v1/generations", DAZI_COMMAND),
)


def measure(load: Load) -> dict[str, dict[str, float]]:
    """Run the rounds; returns the best of each figure, by contender. Raises `RuntimeError` if a token is missing."""
    with ExitStack() as stack:
        script = str(YARDSTICKS / "mock_upstream.py")
        upstream = (sys.executable, script, str(UPSTREAM), str(load.tokens), str(load.interval))
        stack.enter_context(running(upstream, UPSTREAM))
        processes = {rival: stack.enter_context(running(rival.command, rival.port)) for rival in CONTENDERS}
        rows = [row(rival, processes[rival], load) for _ in range(load.rounds) for rival in CONTENDERS]
    return {
        rival.name: {figure: best(figure, [row for row in rows if row["gateway"] == rival.name]) for figure in FIGURES}
        for rival in CONTENDERS
    }


def best(figure: str, rows: list[dict[str, Any]]) -> float:  # Any: the yardstick's JSON
    """Pick the least of the rounds; of memory the most, since a process grows only once."""
    return float((max if figure.startswith("rss") else min)(row[figure] for row in rows))


def row(rival: Contender, process: subprocess.Popen[bytes], load: Load) -> dict[str, Any]:  # Any: the yardstick's JSON
    """Measure one contender once."""
    command = [sys.executable, str(YARDSTICKS / "load.py"), rival.name, str(rival.port), str(load.streams), rival.path]
    result = subprocess.run([*command, "key", str(process.pid)], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(result.stdout)
    wanted = load.streams * load.tokens
    if figures["tokens"] != wanted:
        raise RuntimeError(f"{rival.name} delivered {figures['tokens']} of {wanted} tokens.")
    return figures


@contextmanager
def running(command: tuple[str, ...], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, from when it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_listening(process, port)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until something listens. Raises `RuntimeError` if the process ends before, or takes 30 s."""
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"Nothing listens on port {port}.")


def ratio(results: dict[str, dict[str, float]]) -> float:
    """Tell what a token costs here, in pass-throughs."""
    return results["dazi"]["cpu_us_per_token"] / results["pass-through"]["cpu_us_per_token"]


def table(results: dict[str, dict[str, float]]) -> str:
    """Draw the results as a Markdown table."""
    lines = ["| | " + " | ".join(FIGURES) + " |", "|---|" + "---:|" * len(FIGURES)]
    lines += [
        f"| {name} | " + " | ".join(f"{row[figure]:g}" for figure in FIGURES) + " |" for name, row in results.items()
    ]
    return "\n".join(lines)


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
        print(json.dumps({"results": results, "ratio": ratio(results)}))
        return
    print(table(results))
    print(f"\nA token costs {ratio(results):.2f} × the bare pass-through's CPU.")


if __name__ == "__main__":
    main()
