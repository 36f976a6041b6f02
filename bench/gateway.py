"""Dazi and its peers side by side in one run, in front of one paced mock upstream: CPU, latency, memory, bytes.

usage: gateway.py [--full] [--rounds N] [--only NAMES] [--out FOLDER] [--install-litellm]

Each cell is a number of streams at a rate of tokens; all rivals take turns in every cell, so that a noisy moment meets more than
one. Of each figure the best round counts, since noise only adds; of memory the most. CPU is user and system time of the rival's
processes for each token that arrived. A rival that lost tokens, or whose p99 passed a second, is marked ✗: it broke there.
Prints Markdown; FOLDER gets it with JSON and plots.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.harness import plots, report
from bench.harness.rivals import (
    HERE,
    LITELLM,
    MODES,
    PEERS,
    SERVERS,
    WORKERS,
    YARDSTICKS,
    Absent,
    Running,
    Way,
    program,
    running,
)
from tests.servers import free_port

Figures = dict[str, float]
# Seconds that a cell may take beyond what its pace needs until its streams are cut off.
_SLACK = 25.0


@dataclass(frozen=True, slots=True)
class Load:
    """One cell: so many streams, each of so many tokens, one every `interval` milliseconds."""

    streams: int = 300
    tokens: int = 100
    interval: float = 50

    @property
    def seconds(self) -> float:
        """How long it takes when nothing is slow."""
        return self.tokens * self.interval / 1000


@dataclass(frozen=True, slots=True)
class Cell:
    """What one rival did under one load; `broke` says how, or is empty."""

    load: Load
    way: str
    figures: Figures
    broke: str = ""


# The load that the targets are about; then more and more streams; then higher and higher rates.
MAIN = Load()
STREAMS = tuple(Load(streams, 40, 100) for streams in (1, 10, 100, 1000, 3000))
RATES = tuple(Load(100, int(2500 / interval), interval) for interval in (20, 10, 5))
SCALE = Load(600, 60, 100)
FULL_STREAMS = tuple(Load(streams, 100, 100) for streams in (1, 10, 100, 300, 1000, 3000))
FULL_RATES = tuple(Load(100, int(10_000 / interval), interval) for interval in (50, 20, 10, 5, 2))


class Stage:
    """The servers that run, started when they are first asked for, and the upstream, another for each load."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, Running] = {}
        # Why a server could not be started.
        self._absent: dict[str, str] = {}
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dazi-bench-")))
        self._upstream = free_port()

    @contextmanager
    def upstream(self, load: Load) -> Iterator[None]:
        """Run the upstream for this load."""
        script = str(YARDSTICKS / "mock_upstream.py")
        command = (sys.executable, script, str(self._upstream), str(load.tokens), str(load.interval))
        with program(command, self._upstream):
            yield

    def server(self, name: str) -> Running:
        """Start a server, unless it runs. Raises `Absent`."""
        if name in self._absent:
            raise Absent(self._absent[name])
        if name not in self._servers:
            try:
                self._servers[name] = self._started(name)
            except (Absent, RuntimeError) as reason:
                self._absent[name] = str(reason)[:200]
                raise Absent(self._absent[name]) from None
        return self._servers[name]

    def _started(self, name: str) -> Running:
        folder = self._folder / name
        folder.mkdir()
        named = {"redis": self._redis(folder)} if name.startswith("redis") else {}
        return self._stack.enter_context(running(SERVERS[name], self._upstream, folder, **named))

    def measure(self, way: Way, load: Load) -> Figures:
        """Send the load through a way once. Raises `Absent`."""
        server = self.server(way.server)
        command = [sys.executable, str(HERE / "harness" / "load.py"), str(server.port), str(load.streams), way.path]
        command += [str(load.seconds + _SLACK), *map(str, server.pids())]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        figures: Figures = json.loads(result.stdout)
        return figures

    def _redis(self, folder: Path) -> str:
        port = free_port()
        command = ("redis-server", "--port", str(port), "--save", "", "--appendonly", "yes", "--dir", str(folder))
        try:
            self._stack.enter_context(program((*command, "--appendfsync", "always"), port))
        except FileNotFoundError:
            raise Absent("redis-server is not installed (apt install redis-server)") from None
        return f"redis://127.0.0.1:{port}/0"


@contextmanager
def stage() -> Iterator[Stage]:
    """Make room for servers; they end with it."""
    with ExitStack() as stack:
        yield Stage(stack)


def compare(here: Stage, load: Load, ways: Iterable[Way], rounds: int) -> list[Cell]:
    """Let all ways take turns under one load."""
    rows: dict[Way, list[Figures]] = {way: [] for way in ways}
    faults: dict[Way, str] = {}
    with here.upstream(load):
        for _ in range(rounds):
            for way, figures in rows.items():
                try:
                    figures.append(here.measure(way, load))
                except (Absent, subprocess.CalledProcessError) as reason:
                    faults[way] = str(reason).splitlines()[0]
    return [_cell(load, way, figures, faults.get(way, "")) for way, figures in rows.items()]


def _cell(load: Load, way: Way, rows: Sequence[Figures], absent: str) -> Cell:
    if not rows:
        return Cell(load, way.name, {}, absent)
    figures = {
        name: (max if name in {"kib", "peak_mib", "tokens"} else min)(row[name] for row in rows) for name in rows[0]
    }
    return Cell(load, way.name, figures, _fault(load, way, figures))


def _fault(load: Load, way: Way, figures: Figures) -> str:
    wanted = load.streams * load.tokens
    if figures["tokens"] < wanted:
        return f"{figures['tokens']:.0f} of {wanted} tokens in {load.seconds + _SLACK:.0f} s"
    if figures["events"] < wanted and not way.merges and way.server != "litellm":  # which sends some as it likes
        return f"{figures['events']:.0f} events for {wanted} tokens"
    return f"p99 {figures['p99'] / 1000:.1f} s" if figures["p99"] > 1000 else ""


def ratio(cells: Sequence[Cell], way: str = "Dazi", to: str = "bare pass-through") -> float:
    """Tell what a token costs one way, by what it costs another."""
    costs = {cell.way: cell.figures["cpu_us"] for cell in cells if cell.figures}
    return costs[way] / costs[to]


def run(*, full: bool, rounds: int, only: frozenset[str]) -> list[Cell]:
    """Measure everything."""
    ways = [way for way in (*PEERS, *MODES) if not only or way.server in only]
    peers = [way for way in PEERS if way in ways]
    rated = [way for way in ways if way in PEERS or "coalesce" in way.name]
    workers = [way for way in WORKERS if not only or way.server in only]
    with stage() as here:
        cells = _told(here, MAIN, ways, rounds)
        for load in FULL_STREAMS if full else STREAMS:
            cells += _told(here, load, peers, rounds if full else 1)
        for load in FULL_RATES if full else RATES:
            cells += _told(here, load, rated, rounds if full else 1)
        return cells + _told(here, SCALE, workers, rounds)


def _told(here: Stage, load: Load, ways: Sequence[Way], rounds: int) -> list[Cell]:
    if not ways:
        return []
    cells = compare(here, load, ways, rounds)
    print(report.section(cells), flush=True)
    return cells


def install_litellm() -> None:
    """Make LiteLLM's virtual environment: some 150 packages."""
    subprocess.run([sys.executable, "-m", "venv", str(LITELLM)], check=True)
    subprocess.run([str(LITELLM / "bin" / "pip"), "install", "-q", "litellm[proxy]"], check=True)


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="longer cells, more of them, every round in each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="servers, by comma: " + ",".join(SERVERS))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--install-litellm", action="store_true")
    arguments = parser.parse_args()
    if arguments.install_litellm and not LITELLM.exists():
        install_litellm()
    machine = report.machine()  # with its load before the bench's own
    print(machine, flush=True)
    cells = run(full=arguments.full, rounds=arguments.rounds, only=frozenset(filter(None, arguments.only.split(","))))
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = f"{machine}\n\n" + "\n".join(report.section(group) for group in report.by_load(cells))
    (arguments.out / "gateway.md").write_text(text)
    (arguments.out / "gateway.json").write_text(
        json.dumps({"machine": machine, "cells": [asdict(cell) for cell in cells]})
    )
    for name, picture in plots.draw(cells).items():
        (arguments.out / f"{name}.svg").write_text(picture)
    print(f"Kept in {arguments.out}")


if __name__ == "__main__":
    main()
