"""The stories of `vectors/resume` and `vectors/replace`: what a log holds, and how a client's lines break on the way.

`python -m tests.web.scenarios` writes the vectors anew; a test re-enacts them and finds them as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from tests.puppet import Puppet
from tests.web.conftest import readers_of_app
from tests.web.virtual import DirectWire, in_virtual_time

from dazi.events import Aborted, Done, End, Event, Failed, Piece, Reasoning, Retract, Started, Text, ToolCall, Usage
from dazi.log import Draft
from dazi.settings import Settings
from dazi.web.app import create_app

VECTORS = Path(__file__).parents[2] / "vectors"
GENERATION = "00112233445566778899aabbccddeeff"
STARTED = Started(GENERATION, "m", 1_700_000_000)
DONE, LOST = Done("stop"), Failed("producer_lost", "The server that wrote this answer was stopped.", retryable=True)
# Longer than any reader's window between two snapshots, and shorter than its heartbeat.
BEAT = 1.0
Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Line:
    """One connection: opened when the log holds `opened` events, and gone when it holds `closed`.

    `cut`: the line breaks in front of this piece of the body, or `inside` bytes into it. `last_event_id` overrides what
    the client would send. `says_goodbye`: the server asks to attach again. `silence`: seconds without a word, at the end.
    """

    opened: int
    closed: int
    query: str = ""
    cut: bytes | None = None
    inside: int = 0
    last_event_id: str | None = None
    says_goodbye: bool = False
    silence: float = 0


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    events: tuple[Event, ...]
    lines: tuple[Line, ...]
    why: str = ""


def told(*pieces: str | Piece | End) -> tuple[Event, ...]:
    """A log of these: `n` and the proof are counted here, apart from the code."""
    text = thought = ""
    events: list[Event] = [STARTED]
    for piece in (Text(piece) if isinstance(piece, str) else piece for piece in pieces):
        match piece:
            case Text():
                text += piece.text
                events.append(Text(piece.text, _units(text)))
            case Reasoning():
                thought += piece.text
                events.append(Reasoning(piece.text, _units(thought)))
            case Retract():
                text = piece.text
                events.append(Retract(text, _units(text), piece.reason))
            case ToolCall():
                events.append(piece)
            case _:
                proof = {"n": _units(text), "crc32": zlib.crc32(text.encode()), "ai_generated": True}
                events.append(msgspec.structs.replace(piece, **proof))
    return tuple(events)


def _units(text: str) -> int:
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


ANSWER = told("你", "好，", "世界", "。👩🏽‍🚀", " Hello", DONE)
LAST = len(ANSWER)
PLAIN, URL, UTF8, REPLACE = "profile=plain", "encoding=url", "encoding=utf8", "mode=replace"

RESUME = (
    Story("nothing breaks", ANSWER, (Line(1, LAST),)),
    Story("nothing breaks, and all was said before", ANSWER, (Line(LAST, LAST),), "one frame covers several positions"),
    Story("cut between two frames", ANSWER, (Line(1, 4, cut=b"id: 1-4"), Line(4, LAST))),
    Story("cut between id and data", ANSWER, (Line(1, 4, cut=b'data: {"type":"text","text":"\\u4e16'), Line(4, LAST))),
    Story("cut inside an id", ANSWER, (Line(1, 4, cut=b"id: 1-4", inside=5), Line(4, LAST))),
    Story("cut inside an escape", ANSWER, (Line(1, 4, cut=b"\\u4e16", inside=3), Line(4, LAST))),
    Story(
        "cut before the blank line",
        ANSWER,
        (Line(1, 4, cut=b'"n":5}\n', inside=7), Line(4, LAST)),
        "a block without its blank line is no event yet",
    ),
    Story(
        "cut inside a character",
        ANSWER,
        (Line(1, 4, UTF8, cut="界".encode(), inside=1), Line(4, LAST, UTF8)),
        "raw UTF-8 breaks inside a character; its event comes again whole",
    ),
    Story("cut inside an emoji", ANSWER, (Line(1, 5, UTF8, cut="🏽".encode(), inside=2), Line(5, LAST, UTF8))),
    Story("cut inside a surrogate pair's escapes", ANSWER, (Line(1, 5, cut=b"\\udc69"), Line(5, LAST))),
    Story("cut inside a percent escape", ANSWER, (Line(1, 4, URL, cut=b"%E4%B8%96", inside=4), Line(4, LAST, URL))),
    Story("cut in the first line", ANSWER, (Line(1, 2, cut=b"retry", inside=3), Line(2, LAST))),
    Story("cut before the first event", ANSWER, (Line(1, 2, cut=b"id: 1-1"), Line(2, LAST))),
    Story("cut inside the first event", ANSWER, (Line(1, 2, cut=b"generation"), Line(2, LAST))),
    Story("cut behind the first event", ANSWER, (Line(1, 2, cut=b"id: 1-2"), Line(2, LAST))),
    Story("cut inside the end", ANSWER, (Line(1, LAST, cut=b"finish_reason"), Line(LAST, LAST))),
    Story(
        "cut behind the end's data", ANSWER, (Line(1, LAST, cut=b'"ai_generated":true}', inside=20), Line(LAST, LAST))
    ),
    Story("attached again after the end", ANSWER, (Line(1, LAST), Line(LAST, LAST)), "204: there is nothing more"),
    Story(
        "cut three times",
        ANSWER,
        (
            Line(1, 2, cut=b"id: 1-2", inside=9),
            Line(3, 4, cut=b"id: 1-4", inside=9),
            Line(5, 6, cut=b"id: 1-6"),
            Line(6, LAST),
        ),
    ),
    Story(
        "away while much was said", ANSWER, (Line(1, 2), Line(LAST, LAST)), "the pieces come as one, and n still fits"
    ),
    Story(
        "cut inside a heartbeat", ANSWER, (Line(1, 3, "heartbeat=1", cut=b": \n\n", inside=1, silence=3), Line(3, LAST))
    ),
    Story("heartbeats mean nothing", ANSWER, (Line(1, LAST - 1, "heartbeat=1", silence=3), Line(LAST - 1, LAST))),
    Story(
        "filled up",
        ANSWER,
        (Line(1, 4, "padding=64", cut=b'"p":"..', inside=7), Line(4, LAST, "padding=64", says_goodbye=True)),
    ),
    Story(
        "filled up, plain and percent-encoded",
        ANSWER,
        (Line(1, 5, f"padding=128&{PLAIN}&{URL}"), Line(LAST, LAST, f"padding=32&{UTF8}")),
    ),
    Story("asked to attach again", ANSWER, (Line(1, 4, says_goodbye=True), Line(4, LAST))),
    Story("asked to attach again, plain", ANSWER, (Line(1, 4, PLAIN, says_goodbye=True), Line(4, LAST, PLAIN))),
    Story(
        "plain frames have their id inside", ANSWER, (Line(1, 4, PLAIN, cut=b'"n":5}', inside=5), Line(4, LAST, PLAIN))
    ),
    Story(
        "plain and percent-encoded",
        ANSWER,
        (Line(1, 4, f"{PLAIN}&{URL}", cut=b"%E7%95%8C", inside=8), Line(4, LAST, f"{PLAIN}&{URL}")),
    ),
    Story(
        "reasoning and tool calls",
        told(
            Reasoning("先想"),
            Reasoning("一想"),
            "答",
            ToolCall(0, call_id="call_a", name="search"),
            ToolCall(1, call_id="call_b", name="open", arguments="{"),
            ToolCall(0, arguments='{"q":"天'),
            "案",
            ToolCall(0, arguments='气"}'),
            ToolCall(1, arguments="}"),
            Done("tool_calls", Usage(3, 5, 8, reasoning_tokens=2)),
        ),
        (Line(1, 3, cut=b"id: 1-3", inside=9), Line(3, 6), Line(8, 9, PLAIN), Line(10, 11)),
    ),
    Story(
        "withdrawn while the client listens",
        told("不该", "说的", Retract("抱歉", 0, "policy"), "。", DONE),
        (Line(1, 6),),
    ),
    Story(
        "withdrawn while the client is away",
        told("不该", "说的", Retract("抱歉", 0, "policy"), "。", DONE),
        (Line(1, 3), Line(5, 6)),
        "what was withdrawn is not sent again: a snapshot stands for all so far",
    ),
    Story(
        "withdrawn just before the cut",
        told("不该", "说的", Retract("抱歉", 0, "policy"), "。", DONE),
        (Line(1, 4, cut=b'"reason"'), Line(4, 6)),
    ),
    Story("a position of another epoch", ANSWER, (Line(1, 4), Line(4, LAST, last_event_id="2-4"))),
    Story("a position beyond the head", ANSWER, (Line(1, 4), Line(4, LAST, last_event_id="1-400"))),
    Story("a position beyond the end", ANSWER, (Line(1, 4), Line(LAST, LAST, last_event_id="1-400"))),
    Story("failed in the middle", told("说到一半", LOST), (Line(1, 2, cut=b"\\u4e00"), Line(2, 3))),
    Story("aborted before a word", told(Aborted()), (Line(1, 2),)),
    Story("aborted in the middle", told("说到", Aborted(Usage(1, 1, 2))), (Line(1, 2), Line(3, 3))),
    Story("nothing said", told(DONE), (Line(1, 1, cut=b"model"), Line(2, 2))),
    Story(
        "line ends and other traps in the text",
        told("a\nb", "\r\n", "\u2028", "\u2029\u0085", 'data: {"}\n\n', "id: 9-9\n", "\0\ufeff", DONE),
        (Line(1, 5, cut=b"id: 1-5", inside=20), Line(5, 7, UTF8), Line(9, 9, f"{URL}&{PLAIN}")),
    ),
    Story(
        "one letter at a time",
        told(*"🏴󠁧󠁢󠁳󠁣󠁴󠁿👨‍👩‍👧‍👦e\u0301", DONE),
        (Line(1, 6, cut=b"id: 1-6"), Line(9, 14, UTF8), Line(18, 18)),
    ),
)

REPLACES = (
    Story("nothing breaks", ANSWER, (Line(1, LAST, REPLACE),)),
    Story("all was said before", ANSWER, (Line(LAST, LAST, REPLACE),)),
    Story("filled up", ANSWER, (Line(1, 4, f"{REPLACE}&padding=256"), Line(4, LAST, REPLACE))),
    Story("cut inside a snapshot", ANSWER, (Line(1, 4, REPLACE, cut=b"id: 1-4", inside=30), Line(4, LAST, REPLACE))),
    Story("cut between two snapshots", ANSWER, (Line(1, 4, REPLACE, cut=b"id: 1-4"), Line(4, LAST, REPLACE))),
    Story("cut inside the end", ANSWER, (Line(1, LAST, REPLACE, cut=b"finish"), Line(LAST, LAST, REPLACE))),
    Story(
        "cut inside a character",
        ANSWER,
        (Line(1, 4, f"{REPLACE}&{UTF8}", cut="世".encode(), inside=2), Line(4, LAST, f"{REPLACE}&{UTF8}")),
    ),
    Story("attached again after the end", ANSWER, (Line(1, LAST, REPLACE), Line(LAST, LAST, REPLACE))),
    Story(
        "plain, for parsers that drop what a cut goes through",
        ANSWER,
        (Line(1, LAST, f"{REPLACE}&{PLAIN}"),),
        "the last snapshot comes twice",
    ),
    Story(
        "plain, cut and resumed",
        ANSWER,
        (Line(1, 3, f"{REPLACE}&{PLAIN}", cut=b"\\uff0c"), Line(4, LAST, f"{REPLACE}&{PLAIN}")),
    ),
    Story(
        "percent-encoded",
        ANSWER,
        (Line(1, 5, f"{REPLACE}&{URL}", cut=b"%F0%9F", inside=4), Line(5, LAST, f"{REPLACE}&{URL}")),
    ),
    Story("from append to replace", ANSWER, (Line(1, 3), Line(4, LAST, REPLACE))),
    Story("from replace to append", ANSWER, (Line(1, 3, REPLACE), Line(4, LAST))),
    Story(
        "back and forth",
        ANSWER,
        (Line(1, 2, REPLACE), Line(3, 3), Line(4, 5, f"{REPLACE}&{PLAIN}"), Line(6, LAST, URL)),
    ),
    Story("a position of another epoch", ANSWER, (Line(1, 3, REPLACE), Line(3, LAST, REPLACE, last_event_id="7-3"))),
    Story(
        "a strange position before the first word",
        ANSWER,
        (Line(1, 2, REPLACE, last_event_id="1-9"), Line(2, LAST, REPLACE)),
    ),
    Story(
        "withdrawn",
        told("不该", "说的", Retract("抱歉", 0, "policy"), "。", DONE),
        (Line(1, 3, REPLACE), Line(4, 6, REPLACE)),
    ),
    Story(
        "reasoning and tool calls",
        told(
            Reasoning("想"),
            "答",
            ToolCall(0, call_id="call_a", name="t", arguments="{"),
            ToolCall(0, arguments="}"),
            DONE,
        ),
        (Line(1, 4, REPLACE), Line(5, 6, REPLACE)),
    ),
    Story("asked to attach again", ANSWER, (Line(1, 4, REPLACE, says_goodbye=True), Line(4, LAST, REPLACE))),
    Story("aborted before a word", told(Aborted()), (Line(1, 2, REPLACE),)),
    Story("failed in the middle", told("说到一半", LOST), (Line(1, 2, REPLACE), Line(3, 3, REPLACE))),
)


# A client that trusts nothing but the frames


@dataclass(slots=True)
class Held:
    """What a client holds. Its parser is as simple as the frames: whole blocks, a `data:` line, perhaps an `id:` line."""

    id: str = ""
    text: str = ""
    reasoning: str = ""
    calls: dict[int, Json] = field(default_factory=dict)
    end: Json | None = None

    def take(self, body: bytes, query: str) -> None:
        for block in body.split(b"\n\n")[:-1]:
            lines = dict(line.decode().split(": ", 1) for line in block.split(b"\n") if b": " in line)
            if "data" in lines:
                data = unquote(lines["data"]) if "encoding=url" in query else lines["data"]
                event: Json = json.loads(data)
                self.id = lines.get("id") or event.get("id") or self.id
                self._fold({name: value for name, value in event.items() if name not in {"id", "p"}})

    def _fold(self, event: Json) -> None:
        match event["type"]:
            case "text":
                self.text += event["text"]
            case "reasoning":
                self.reasoning += event["text"]
            case "tool_call":
                self._join(event)
            case "retract":
                self.text = event["text"]
            case "snapshot":
                self.text, self.reasoning = event["text"], event.get("reasoning", "")
                self.calls = {}
                for call in event.get("tool_calls", []):
                    self._join(call)
            case "done" | "failed" | "aborted":
                self.end = event

    def _join(self, piece: Json) -> None:
        call = self.calls.setdefault(piece["index"], {"index": piece["index"], "arguments": ""})
        call.update({name: piece[name] for name in ("call_id", "name") if name in piece})
        call["arguments"] += piece.get("arguments", "")

    def state(self) -> Json:
        return {
            "id": self.id,
            "text": self.text,
            "n": _units(self.text),
            "crc32": zlib.crc32(self.text.encode()),
            "reasoning": self.reasoning,
            "tool_calls": [dict(self.calls[index]) for index in sorted(self.calls)],
            "end": self.end,
        }


# The gateway's part


class Stage:
    """A gateway whose one generation says what the story says, an event a beat."""

    def __init__(self, events: Iterable[Json]) -> None:
        self._events = [msgspec.convert(event, Event) for event in events]
        self._said = 0
        self._app = create_app({"m": Puppet()}, settings=Settings())

    async def enact(self, connection: Mapping[str, Any]) -> tuple[int, bytes]:
        """Play one connection; returns its status and everything that was sent."""
        await self._say(connection["opened"])
        wire = DirectWire()
        headers = {"last-event-id": connection["last_event_id"]} if connection["last_event_id"] else {}
        path = f"/v1/generations/{GENERATION}/events"
        call = asyncio.create_task(wire.get(self._app, path, connection["query"], headers))
        await asyncio.sleep(BEAT)
        while self._said < connection["closed"]:
            await self._say(self._said + 1)
            await asyncio.sleep(BEAT)
        await asyncio.sleep(connection.get("silence", 0))
        if connection.get("says_goodbye"):
            readers_of_app(self._app).goodbye()
            await asyncio.sleep(BEAT)
        wire.leave()
        await call
        return wire.status, re.sub(rb"^retry: \d+\n\n", b"retry: 1000\n\n", wire.body)

    async def _say(self, upto: int) -> None:
        log = self._app.gateway._log
        for position, event in enumerate(self._events[self._said : upto], start=self._said + 1):
            if isinstance(event, Started):
                await log.create(Draft("local", event))
            elif isinstance(event, End):
                await log.end(GENERATION, event)
            else:
                await log.append(GENERATION, (event,), previous=position - 1, epoch=1)
        self._said = max(self._said, upto)


# Writing the vectors


async def write_case(story: Story) -> Json:
    case: Json = {
        "name": story.name,
        "why": story.why,
        "log": msgspec.to_builtins(list(story.events)),
        "connections": [],
    }
    stage, held = Stage(case["log"]), Held()
    for line in story.lines:
        connection = _connection(line, held)
        connection["status"], body = await stage.enact(connection)
        connection["body"] = body.decode()
        arrived = body[: _cut_at(body, line)]
        if line.cut is not None:
            connection["cut"] = len(arrived)
        held.take(arrived, line.query)
        connection["state"] = held.state()
        case["connections"].append(connection)
    return case if story.why else {name: value for name, value in case.items() if name != "why"}


def _connection(line: Line, held: Held) -> Json:
    extras = {"silence": line.silence, "says_goodbye": line.says_goodbye}
    return {
        "query": line.query,
        "last_event_id": held.id if line.last_event_id is None else line.last_event_id,
        "opened": line.opened,
        "closed": line.closed,
        **{name: value for name, value in extras.items() if value},
    }


def _cut_at(body: bytes, line: Line) -> int:
    return len(body) if line.cut is None else body.index(line.cut) + line.inside


def cases(folder: str) -> Iterator[Json]:
    for story in {"resume": RESUME, "replace": REPLACES}[folder]:
        yield in_virtual_time(write_case(story))


def main() -> None:
    for folder in ("resume", "replace"):
        path = VECTORS / folder / "stories.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(cases(folder)), indent=1, ensure_ascii=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
