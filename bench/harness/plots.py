"""The bench's results as plots, SVG written by hand: no dependency for three pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from bench.gateway import Cell

_COLOURS = ("#1f9d55", "#2563eb", "#6b7280", "#d97706", "#db2777", "#7c3aed", "#0891b2")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 400, 60, 50
Line = tuple[str, Sequence[tuple[float, float]]]


def draw(cells: Sequence[Cell]) -> dict[str, str]:
    """Draw what there is enough of, by name."""
    tens = [cell for cell in cells if cell.load.interval == 100 and cell.figures and "worker" not in cell.way]
    pictures = {}
    if tens:
        axis = "streams at 10 tokens a second"
        pictures["cpu"] = chart("CPU µs a token (less is better)", axis, _lines(tens, "cpu_us"))
        pictures["latency"] = chart("added latency p99, ms (less is better)", axis, _lines(tens, "p99"))
    return pictures


def _lines(cells: Iterable[Cell], figure: str) -> list[Line]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        if cell.figures[figure] > 0:
            lines.setdefault(cell.way, []).append((cell.load.streams, cell.figures[figure]))
    return list(lines.items())


def chart(title: str, axis: str, lines: Sequence[Line]) -> str:
    """Draw lines over two logarithmic axes."""
    points = [point for _, line in lines for point in line if math.isfinite(point[1])]
    across = _Scale([x for x, _ in points], _LEFT, _WIDTH - 190)
    up = _Scale([y for _, y in points], _HEIGHT - _BOTTOM, 40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 22, title, size=15),
        _text((_LEFT + _WIDTH - 190) / 2, _HEIGHT - 12, axis, anchor="middle"),
        *(_rule(_LEFT, _WIDTH - 190, up.at(tick), tick) for tick in up.ticks()),
        *(
            _text(across.at(x), _HEIGHT - _BOTTOM + 18, f"{x:,.0f}", anchor="middle")
            for x in sorted({x for x, _ in points})
        ),
        *(_drawn(index, line, across, up) for index, line in enumerate(lines)),
    ]
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """A logarithmic axis from one place to another."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        values = [value for value in values if value > 0]
        self._low, self._high = math.log10(min(values)), math.log10(max(values))
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        steps = (10.0**power * digit for power in range(-2, 6) for digit in (1, 2, 5))
        return [step for step in steps if self._low <= math.log10(step) <= self._high]


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, fill: str = "#111") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{escape(words)}</text>'
    )


def _rule(left: float, right: float, y: float, value: float) -> str:
    line = f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>'
    return line + _text(left - 6, y + 4, f"{value:g}", anchor="end")


def _drawn(index: int, line: Line, across: _Scale, up: _Scale) -> str:
    name, points = line
    colour = _COLOURS[index % len(_COLOURS)]
    places = [(across.at(x), up.at(y)) for x, y in points if math.isfinite(y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    key = _text(_WIDTH - 165, 60 + 22 * index, name, fill=colour)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{key}'
