"""The bench's results as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gateway import Cell

COLUMNS = {
    "cpu_us": ("CPU µs a token", "{:.1f}"),
    "p50": ("latency p50, ms", "{:.1f}"),
    "p99": ("p99", "{:.1f}"),
    "p999": ("p99.9", "{:.1f}"),
    "first": ("first token p50, ms", "{:.0f}"),
    "kib": ("KiB a stream", "{:.1f}"),
    "peak_mib": ("peak MiB", "{:.0f}"),
    "bytes": ("bytes a token", "{:.0f}"),
    "each": ("events a token", "{:.2f}"),
}


def machine() -> str:
    """Describe the machine and what ran on it."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    parts = (
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        f"{os.cpu_count()} × {models[0] if models else platform.processor()}",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "aiohttp")),
        f"load average {load}",
    )
    return "; ".join(parts)


def by_load(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Group the cells that were measured together."""
    return [list(group) for _, group in groupby(cells, key=lambda cell: cell.load)]


def section(cells: list[Cell]) -> str:
    """Draw one load's table."""
    load = cells[0].load
    title = f"### {load.streams:,} streams × {1000 / load.interval:g} tokens a second ({load.tokens} each)"
    head = "| | " + " | ".join(name for name, _ in COLUMNS.values()) + " | |"
    lines = [f"\n{title}\n", head, "|---|" + "---:|" * len(COLUMNS) + "---|"]
    return "\n".join([*lines, *map(_row, cells)])


def _row(cell: Cell) -> str:
    if not cell.figures:
        return f"| {cell.way} | " + "– | " * len(COLUMNS) + f"{cell.broke} |"
    shown = [form.format(cell.figures[name]) for name, (_, form) in COLUMNS.items()]
    return f"| {cell.way} | " + " | ".join(shown) + (f" | ✗ {cell.broke} |" if cell.broke else " | |")
