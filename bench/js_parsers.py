"""Speed of the SDK's SSE parser beside other JavaScript parsers', on several engines, interleaved in one run for each.

usage: js_parsers.py [--milliseconds N] [--json]

The engines stand for what a parser runs on: Node with and without `TextDecoder` (browsers, DevTools; phones have none),
Node without its JIT, and QuickJS, which has neither: the phone's interpreter. There, the peers decode by the polyfill
`text-encoding`. Compare within one table only. `sdk/bench/sse.ts` has the workloads; a figure that is ✗ lost events.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

SDK = Path(__file__).parent.parent / "sdk"

# Sought in the rows for the last column.
PEER = "eventsource-parser 4"

# Seconds that one engine may take.
PATIENCE = 900.0

# Milliseconds of CPU, not of the wall: what else the machine does is no parser's fault.
NODE_CLOCK = "const now = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 };"


class Figure(TypedDict):
    """A workload, and events a second by parser; None where one did not give all events."""

    workload: str
    rates: dict[str, float | None]


class Bytes(TypedDict):
    """Milliseconds for 1 MiB in one line, byte by byte, and how many times as long as for a quarter of it."""

    milliseconds: float
    ratio: float


class Answer(TypedDict):
    """What an engine says."""

    figures: list[Figure]
    bytes: Bytes
    # OpenAI's events a second, one a chunk, that our decoder alone decodes: the bound of what any parser on it can do.
    decoding: float


def bundle() -> str:
    """Build the workloads and the parsers into one script, whose global is `suite`."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("js_parsers.py: npm is missing; install Node.js 20 or newer.")
    if not (SDK / "node_modules" / "eventsource-parser-1").is_dir():
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=SDK, check=True)
    return subprocess.run([npm, "run", "--silent", "bench"], cwd=SDK, check=True, capture_output=True, text=True).stdout


def run_node(code: str, expression: str, *, flags: tuple[str, ...] = (), hides: bool = True) -> str:
    """Run it in Node, with `TextDecoder` hidden where a phone has none."""
    hiding = "delete globalThis.TextDecoder;" if hides else ""
    script = f"{NODE_CLOCK} {hiding}{code}; process.stdout.write({expression})"
    command = [shutil.which("node") or "node", *flags, "-"]
    return subprocess.run(command, input=script, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def run_quickjs(code: str, expression: str) -> str:
    """Run it in QuickJS as it is, without WebAssembly around it (PyPI: quickjs)."""
    context = importlib.import_module("quickjs").Context()
    context.add_callable("now", lambda: time.process_time() * 1000)
    context.eval(code)
    return str(context.eval(expression))


ENGINES: dict[str, Callable[[str, str], str]] = {
    "Node, with TextDecoder": lambda code, expression: run_node(code, expression, hides=False),
    "Node, without TextDecoder": run_node,
    "Node without JIT, without TextDecoder": lambda code, expression: run_node(code, expression, flags=("--jitless",)),
    "QuickJS": run_quickjs,
}


def measure(milliseconds: int) -> tuple[dict[str, Answer], list[str]]:
    """Return what each engine answers, and the engines that are absent."""
    code = bundle()
    parts = f"figures: suite.measure(now, {milliseconds}), bytes: suite.byteByByte(now), decoding: suite.decodingAlone(now, {milliseconds})"
    expression = f"JSON.stringify({{{parts}}})"
    answers: dict[str, Answer] = {}
    absent = []
    for engine, run in ENGINES.items():
        try:
            answers[engine] = json.loads(run(code, expression))
        except ImportError:
            absent.append(engine)
    return answers, absent


def print_table(engine: str, answer: Answer) -> None:
    """Print Markdown: a workload a row, a parser a column, thousands of events a second."""
    names = list(answer["figures"][0]["rates"])
    print(f"\n#### {engine}, thousands of events a second\n")
    print(f"| | {' | '.join(names)} | dazi ÷ {PEER} |")
    print("|---|" + "---:|" * (len(names) + 1))
    for figure in answer["figures"]:
        cells = [_show(rate) for rate in figure["rates"].values()]
        print(f"| {figure['workload']} | {' | '.join(cells)} | {_versus(figure['rates'])} |")
    milliseconds, ratio = answer["bytes"]["milliseconds"], answer["bytes"]["ratio"]
    print(f"\ndazi, 1 MiB in one line, byte by byte: {milliseconds:,.0f} ms, {ratio:.1f} × as long as a quarter of it.")
    print(f"Its decoder alone, openai, an event a chunk: {_show(answer['decoding'])} thousand events a second.")


def _show(rate: float | None) -> str:
    return "✗" if rate is None else f"{rate / 1000:,.{0 if rate >= 10_000 else 1}f}"


def _versus(rates: dict[str, float | None]) -> str:
    ours, theirs = rates["dazi"], rates[PEER]
    return f"{ours / theirs:.1f}" if ours and theirs else "–"


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--milliseconds", type=int, default=1000, help="for each parser, workload and engine")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    answers, absent = measure(options.milliseconds)
    if options.json:
        print(json.dumps({"engines": answers, "absent": absent}))
        return
    for engine, answer in answers.items():
        print_table(engine, answer)
    if absent:
        print(f"\nNot installed, so not measured: {', '.join(absent)}.")


if __name__ == "__main__":
    main()
