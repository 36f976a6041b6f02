"""What a token costs with one worker process and with several, on SQLite and on Redis, in turn in one run.

usage: workers.py [--rounds N] [--workers 1,2] [--streams N] [--tokens N] [--interval MS]

Workers share nothing but the log, so they scale as far as a token costs the same with many of them as with one; that is what this
shows, and all that it can where the load and the upstream take cores of their own (a machine of two). Of each figure the best
round counts; every token must arrive.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.gateway import SCALE, Cell, Load, compare, stage
from bench.harness import report
from bench.harness.rivals import Way, on_workers

COLUMNS = ("cpu_us", "p50", "p99", "first")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1,2", help="how many, by comma")
    parser.add_argument("--streams", type=int, default=SCALE.streams)
    parser.add_argument("--tokens", type=int, default=SCALE.tokens)
    parser.add_argument("--interval", type=float, default=SCALE.interval)
    arguments = parser.parse_args()
    load = Load(arguments.streams, arguments.tokens, arguments.interval)
    ways = [on_workers(log, int(count)) for log in ("SQLite", "Redis") for count in arguments.workers.split(",")]
    print(report.machine(), flush=True)
    with stage() as here:
        cells = compare(
            here, load, [Way("Dazi, memory", "dazi", "/v1/generations", merges=True), *ways], arguments.rounds
        )
    print(f"\n{load.streams:,} streams × {1000 / load.interval:g} tokens a second\n")
    print(
        "| | "
        + " | ".join(report.COLUMNS[name][0] for name in COLUMNS)
        + " | |\n|---|"
        + "---:|" * len(COLUMNS)
        + "---|"
    )
    for cell in cells:
        print(row(cell))


def row(cell: Cell) -> str:
    """Draw one line of the table."""
    shown = [report.COLUMNS[name][1].format(cell.figures[name]) for name in COLUMNS if cell.figures]
    return f"| {cell.way} | {' | '.join(shown)} | {cell.broke} |"


if __name__ == "__main__":
    main()
