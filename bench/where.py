"""Where a token's time goes, in Dazi and in the bare pass-through: the kernel's calls, Python, the loop, once all streams run.

usage: where.py [--rounds N]

Linux, with `perf` and the right to use it. 300 streams × 20 tokens a second, profiled from their second second to their fifth; in turn.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.gateway import Load, Stage, stage
from bench.harness.load import cpu_of
from bench.harness.rivals import PEERS, Way

_LOAD = Load(300, 100, 50)
_BEGIN, _SECONDS = 1.5, 3
_NAMES = ("bare pass-through", "Dazi")
# Rows: a name, and the symbols or libraries whose shares it is the sum of; what has a minus is taken off.
_ROWS: dict[str, tuple[str, ...]] = {
    "`read`": ("ksys_read",),
    "– of it acknowledging what came": ("__tcp_transmit_skb", "-tcp_write_xmit"),
    "`write`": ("ksys_write",),
    "waiting: `epoll`, switches": ("do_epoll_wait",),
    "the kernel, all": ("[kernel",),
    "Python": ("libpython",),
    "uvloop": ("loop.cpython",),
}
_LINE = re.compile(r"\s+([\d.]+)%\s+(?:[\d.]+%\s+)?(?:\[[k.]\]\s+)?(\S+)")


def shares(data: Path, *sort: str) -> dict[str, float]:
    """Read what shares of the time `perf` found, by name."""
    command = ("perf", "report", "-i", str(data), "-g", "none", *sort)
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (match for line in report.splitlines() if (match := _LINE.match(line)))
    return {match[2]: float(match[1]) / 100 for match in found}


def profile(here: Stage, way: Way, folder: Path) -> dict[str, float]:
    """Profile one way once; returns µs a token by row."""
    server = here.server(way.server)
    processes = [psutil.Process(pid) for pid in server.pids()]
    load = threading.Thread(target=here.measure, args=(way, _LOAD))
    load.start()
    time.sleep(_BEGIN)
    data = folder / "perf.data"
    used, began = cpu_of(processes), time.perf_counter()
    command = ("perf", "record", "-g", "-F", "1500", "-o", str(data), "-p", str(server.process.pid))
    subprocess.run((*command, "--", "sleep", str(_SECONDS)), stderr=subprocess.DEVNULL, check=True)
    tokens = (time.perf_counter() - began) * _LOAD.streams * 1000 / _LOAD.interval
    cost = (cpu_of(processes) - used) / tokens * 1e6
    load.join()
    found = shares(data, "--children", "--sort", "symbol") | shares(data, "--no-children", "--sort", "dso")
    return {"all": cost} | {row: cost * _sum(found, names) for row, names in _ROWS.items()}


def _sum(found: Mapping[str, float], names: tuple[str, ...]) -> float:
    total = 0.0
    for name in names:
        begin, sign = (name[1:], -1) if name.startswith("-") else (name, 1)
        total += sign * sum(share for symbol, share in found.items() if symbol.startswith(begin))
    return total


def _why_not() -> str:
    """Say why nothing can be profiled here, or nothing."""
    if shutil.which("perf") is None:
        return "perf is not installed (apt install linux-perf)."
    trial = subprocess.run(("perf", "record", "-o", os.devnull, "--", "true"), capture_output=True, check=False)
    return "perf may not be used here (see kernel.perf_event_paranoid)." if trial.returncode else ""


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ways = [way for way in PEERS if way.name in _NAMES]
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in ways}
    if problem := _why_not():
        print(f"Nothing was profiled: {problem}")
        return
    with stage() as here, here.upstream(_LOAD), tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for way in ways:
                found[way.name].append(profile(here, way, Path(folder)))
    print("| µs a token | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
    for row in ("all", *_ROWS):
        cells = (f"{median(one[row] for one in rounds):.1f}" for rounds in found.values())
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
