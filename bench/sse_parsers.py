"""Speed of `dazi.sse.Parser` beside the parsers of other Python libraries, interleaved in one run.

usage: sse_parsers.py [--rounds N] [--json]

Each parser turns the same chunks into events; the median of the rounds counts. Machines differ and are noisy: compare
within one table only. Peers that are not installed are named as absent; a figure with ✗ lost or made up events.
No I/O is measured: httpx-sse, for one, costs about as much again inside httpx.
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dazi.sse import Parser, encode

Count = Callable[[list[bytes]], int]

# A peer that needs longer than this for a shape (seconds) is not asked again: it is quadratic.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Chunks to parse, the events they hold, and what the figure counts: thousands of events, or megabytes, a second."""

    name: str
    chunks: list[bytes]
    events: int
    unit: str = "k events/s"

    def rate(self, seconds: float) -> float:
        """Turn a time into the figure that the unit names."""
        work = sum(map(len, self.chunks)) / 1e6 if self.unit == "MB/s" else self.events / 1e3
        return seconds if self.unit == "s" else work / seconds


# The peers: each counts the events of a list of chunks.


def count_dazi(chunks: list[bytes]) -> int:
    """Dazi's own."""
    feed = Parser().feed
    return sum(len(feed(chunk)) for chunk in chunks)


def load_httpx_sse() -> Count:
    """Load httpx-sse without httpx: the decoders that its `iter_sse` drives, behind the same text decoder."""
    decoders = importlib.import_module("httpx_sse._decoders")

    def count(chunks: list[bytes]) -> int:
        text = codecs.getincrementaldecoder("utf-8")("replace")
        lines, events = decoders.SSELineDecoder(), decoders.SSEDecoder()
        return sum(
            events.decode(line) is not None
            for chunk in chunks
            for line in lines.decode(text.decode(chunk))
            if line is not None
        )

    return count


def load_openai() -> Count:
    """Load the decoder inside the OpenAI SDK."""
    return _counting(importlib.import_module("openai._streaming").SSEDecoder)


def load_anthropic() -> Count:
    """Load the decoder inside the Anthropic SDK."""
    return _counting(importlib.import_module("anthropic._streaming").SSEDecoder)


def load_sseclient() -> Count:
    """Load sseclient-py."""
    client = importlib.import_module("sseclient").SSEClient
    return lambda chunks: _count_all(client(Chunks(chunks)).events())


def load_launchdarkly() -> Count:
    """Load the reader of launchdarkly-eventsource."""
    reader = importlib.import_module("ld_eventsource.reader")
    lines, events = reader._BufferedLineReader.lines_from, reader._SSEReader  # noqa: SLF001 - its only parts without I/O
    event = importlib.import_module("ld_eventsource.actions").Event
    return lambda chunks: sum(one.__class__ is event for one in events(lines(chunks)).events_and_comments())


class Chunks(list[bytes]):
    """What sseclient-py takes for a response."""

    def close(self) -> None:
        """Close nothing."""


def _counting(decoder: Callable[[], Any]) -> Count:  # Any: the SDKs' own classes, imported by name
    return lambda chunks: _count_all(decoder().iter_bytes(iter(chunks)))


def _count_all(events: Iterable[object]) -> int:
    return sum(1 for _ in events)


PEERS: dict[str, Callable[[], Count]] = {
    "httpx-sse, core": load_httpx_sse,
    "launchdarkly-eventsource": load_launchdarkly,
    "openai": load_openai,
    "anthropic": load_anthropic,
    "sseclient-py": load_sseclient,
}


# The shapes.


def _pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def openai_event(number: int) -> bytes:
    """Spell a token as OpenAI sends it: 265 bytes."""
    delta = {"index": 0, "delta": {"content": f" word{number % 10}"}, "logprobs": None, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-" + "A" * 29,
        "object": "chat.completion.chunk",
        "created": 1735689600,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [delta],
    }
    return encode(json.dumps(chunk, separators=(",", ":")))


def _anthropic_event(number: int) -> bytes:
    delta = {"type": "text_delta", "text": f" word{number % 10}"}
    data = json.dumps({"type": "content_block_delta", "index": 0, "delta": delta}, separators=(",", ":"))
    return encode(data, event="content_block_delta")


def _dazi_event(number: int) -> bytes:
    return encode(json.dumps({"type": "text", "text": "你好", "n": 2 * number}), id=f"1-{number}")


def make_shapes() -> list[Shape]:
    """Make the shapes that the table has as columns."""
    openai, tiny = [openai_event(number) for number in range(4000)], [encode("你")] * 20_000
    anthropic, dazi = [[make(number) for number in range(4000)] for make in (_anthropic_event, _dazi_event)]
    growing = b"".join(encode("x" * 2000 * number) for number in range(1, 101))
    shapes = [
        Shape(f"{name}, {cut}", chunks, len(events))
        for name, events in (("openai", openai), ("tiny", tiny), ("anthropic", anthropic), ("dazi", dazi))
        for cut, chunks in (("1 event", events), ("16 KiB", _pieces(b"".join(events), 16_384)))
    ]
    two_lines = [event.replace(b"data: ", b"data: {\ndata: ", 1) for event in openai]
    pinged = [chunk for event in openai for chunk in (b": ping\n\n", event)]
    return [
        *shapes,
        Shape("openai in two data lines, 1 event", two_lines, len(two_lines)),
        Shape("openai and pings in turn, 1 each", pinged, len(openai)),
        Shape("growing, 1400 B", _pieces(growing, 1400), 100, "MB/s"),
        Shape("growing, 16 KiB", _pieces(growing, 16_384), 100, "MB/s"),
        Shape("256 KiB byte by byte", _pieces(encode("x" * 2**18), 1), 1, "s"),
        Shape("1 MiB byte by byte", _pieces(encode("x" * 2**20), 1), 1, "s"),
        Shape("64 Ki data lines by 7", _pieces(b"data: x\n" * 2**16 + b"\n", 7), 1, "s"),
        Shape("1 MiB of tiny events", [encode("x") * (2**20 // 9)], 2**20 // 9, "s"),
    ]


# Measuring.


def load_peers() -> tuple[dict[str, Count], list[str]]:
    """Return what can be measured, and the names of what is absent."""
    present: dict[str, Count] = {"dazi": count_dazi}
    absent = []
    for name, load in PEERS.items():
        try:
            present[name] = load()
        except ImportError:
            absent.append(name)
    return present, absent


def time_once(count: Count, shape: Shape) -> tuple[float, bool]:
    """Return the seconds, and whether the number of events was right."""
    start = time.process_time()  # of this process alone: what else the machine does is no parser's fault
    events = count(shape.chunks)
    return time.process_time() - start, events == shape.events


def measure(peers: dict[str, Count], shape: Shape, rounds: int) -> dict[str, tuple[float, bool]]:
    """Return each peer's rate and whether it was right; peers take turns in every round."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    right = dict.fromkeys(peers, True)
    for _ in range(rounds):
        for name, count in peers.items():
            if times[name] and times[name][-1] > PATIENCE:
                continue
            seconds, correct = time_once(count, shape)
            times[name].append(seconds)
            right[name] = right[name] and correct
    return {name: (shape.rate(statistics.median(times[name])), right[name]) for name in peers}


def _show(figure: float, *, right: bool) -> str:
    return f"{figure:,.{0 if figure >= 10 else 3}f}{'' if right else ' ✗'}"


def print_table(shapes: list[Shape], results: list[dict[str, tuple[float, bool]]], absent: list[str]) -> None:
    """Print Markdown: a shape a row, a parser a column, and how many times faster Dazi is than the best other."""
    names = list(results[0])
    print(f"| chunks | unit | {' | '.join(names)} | dazi ÷ httpx-sse | dazi ÷ best other |")
    print("|---|---|" + "---:|" * (len(names) + 2))
    for shape, result in zip(shapes, results, strict=True):
        cells = [_show(figure, right=right) for figure, right in result.values()]
        print(f"| {shape.name} | {shape.unit} | {' | '.join(cells)} | {_versus(shape, result)} |")
    if absent:
        print(f"\nNot installed, so not measured: {', '.join(absent)}.")


def _versus(shape: Shape, result: dict[str, tuple[float, bool]]) -> str:
    def times_faster(other: float) -> float:
        return other / result["dazi"][0] if shape.unit == "s" else result["dazi"][0] / other

    others = {name: times_faster(figure) for name, (figure, right) in result.items() if name != "dazi" and right}
    httpx_sse = others.get("httpx-sse, core")
    return " | ".join(f"{ratio:.2f}" if ratio else "–" for ratio in (httpx_sse, min(others.values(), default=None)))


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    peers, absent = load_peers()
    shapes = make_shapes()
    results = [measure(peers, shape, options.rounds) for shape in shapes]
    if options.json:
        rows = [
            {
                "chunks": shape.name,
                "unit": shape.unit,
                "figures": {name: figure for name, (figure, _) in result.items()},
            }
            for shape, result in zip(shapes, results, strict=True)
        ]
        print(json.dumps({"python": sys.version.split()[0], "rounds": options.rounds, "absent": absent, "rows": rows}))
    else:
        print_table(shapes, results, absent)


if __name__ == "__main__":
    main()
