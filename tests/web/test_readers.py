"""Readers in virtual time: pace, growth and patience, to the millisecond and without waiting."""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from tests.web.virtual import Wire, in_virtual_time

from dazi.events import status_of
from dazi.log.memory import MemoryLog
from dazi.service import Gateway
from dazi.sse import Parser
from dazi.upstream import Prompt
from dazi.upstream.demo import DemoUpstream
from dazi.web.course import Course
from dazi.web.frames import Mode, Profile, framer_of
from dazi.web.readers import Readers
from dazi.web.replace import reader_of
from dazi.web.stream import STALL

PROMPT = Prompt("demo", [])


def events(wire: Wire) -> list[dict[str, Any]]:  # Any: JSON
    return [json.loads(event.data) for event in Parser().feed(wire.body)]


class Show:
    """A gateway whose demo types a text, and its readers."""

    def __init__(self, text: str, pace: float) -> None:
        self.gateway = Gateway(MemoryLog(), {"demo": DemoUpstream(pace=pace, text=text)})
        self.readers = Readers()
        self.gateway.on_closing(self.readers.goodbye)

    async def begin(self) -> str:
        return (await self.gateway.start("me", PROMPT)).generation

    async def serve(
        self, generation: str, wire: Wire, *, mode: Mode = "append", profile: Profile = "full", **course: Any
    ) -> None:
        framer = framer_of("ascii", profile)
        whole = Course(owner="me", generation=generation, framer=framer, mode=mode, **course)
        await reader_of(self.gateway, whole, wire.send, self.readers).serve(wire.receive, [])


def read(text: str, pace: float, wire: Callable[[], Wire] = Wire, **course: Any) -> Wire:  # Any: those of `Course`
    """Type a text to one reader, and return what went over its wire."""

    async def run() -> Wire:
        show, line = Show(text, pace), wire()
        await show.serve(await show.begin(), line, **course)
        await show.gateway.close()
        assert len(show.readers) == 0
        return line

    return in_virtual_time(run())


def snapshots(wire: Wire) -> list[str]:
    return [event["text"] for event in events(wire) if event["type"] == "snapshot"]


CHINESE = "春眠不觉晓，处处闻啼鸟。"


# Coalescing


def test_text_waits_for_the_window_and_the_first_piece_does_not() -> None:
    wire = read(CHINESE * 20, pace=1000, coalesce=0.05)
    times = [at for at, body in wire.bodies if b'"text"' in body]
    assert times[0] < 0.01
    assert min(later - earlier for earlier, later in pairwise(times[:-1])) > 0.049
    texts = [event["text"] for event in events(wire) if event["type"] == "text"]
    assert "".join(texts) == CHINESE * 20
    assert len(texts) < len(CHINESE)
    assert wire.is_complete


# Replace mode


def test_a_snapshot_is_the_beginning_of_the_next() -> None:
    wire = read(CHINESE * 20, pace=100, mode="replace")
    texts = snapshots(wire)
    assert texts[-1] == CHINESE * 20
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert len(texts) > 10
    assert wire.is_complete


def test_snapshots_keep_their_distance_and_the_first_word_is_at_once() -> None:
    wire = read(CHINESE * 20, pace=1000, mode="replace")
    times = [at for at, body in wire.bodies if b"snapshot" in body]
    assert times[0] < 0.06
    gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
    assert min(gaps) > 0.049


def test_the_end_waits_for_no_snapshots_turn() -> None:
    wire = read(CHINESE * 500, pace=math.inf, mode="replace")
    assert snapshots(wire) == [CHINESE * 500]
    assert wire.bodies[-1][0] < 0.01
    assert [event["type"] for event in events(wire)] == ["started", "snapshot", "done"]


@pytest.mark.parametrize("pace", [30, 200])
def test_twice_the_text_is_about_twice_the_bytes(pace: float) -> None:
    """Every snapshot is the whole text, yet the sum does not grow with the square."""
    sizes = [len(read(CHINESE * count, pace, mode="replace").body) for count in (250, 500, 1000)]
    assert sizes[1] < 2.7 * sizes[0]
    assert sizes[2] < 2.7 * sizes[1]


def test_a_slow_line_gets_the_newest_and_skips_what_was_overtaken() -> None:
    async def take(body: bytes) -> None:
        await asyncio.sleep(len(body) / 2000)

    slow = read(CHINESE * 30, 100, lambda: Wire(take), mode="replace")
    fast = read(CHINESE * 30, 100, mode="replace")
    assert snapshots(slow)[-1] == CHINESE * 30
    assert len(snapshots(slow)) < len(snapshots(fast)) / 2
    assert slow.is_complete


def test_to_a_plain_reader_the_last_snapshot_comes_twice() -> None:
    wire = read(CHINESE, pace=50, mode="replace", profile="plain", forgets=True)
    assert snapshots(wire)[-2:] == [CHINESE, CHINESE]
    assert events(wire)[-1]["type"] == "done"


def test_a_reader_that_left_leaves_no_timer_behind() -> None:
    async def run() -> None:
        show, wire = Show(CHINESE * 1000, pace=2000), Wire()
        generation = await show.begin()
        serving = asyncio.create_task(show.serve(generation, wire, mode="replace"))
        await asyncio.sleep(2)
        wire.left.set()
        await serving
        loop = asyncio.get_running_loop()
        left = [timer for timer in loop._scheduled if not timer.cancelled() and "ReplaceReader" in repr(timer)]  # type: ignore[attr-defined]  # asyncio's own
        assert left == []
        await show.gateway.close()

    in_virtual_time(run())


# Slow and absent


def test_a_slow_line_gets_fewer_larger_pieces_and_all_of_them() -> None:
    async def take(_: bytes) -> None:
        await asyncio.sleep(0.5)

    text = CHINESE * 100
    slow, fast = read(text, 200, lambda: Wire(take)), read(text, 200)
    for wire in (slow, fast):
        pieces = [event for event in events(wire) if event["type"] == "text"]
        assert "".join(piece["text"] for piece in pieces) == text
        assert pieces[-1]["n"] == len(text)
        assert events(wire)[-1]["crc32"] == zlib.crc32(text.encode())
        assert wire.is_complete
    assert len(events(slow)) < len(events(fast)) / 3


def test_no_body_is_larger_than_a_slice_however_much_is_owed() -> None:
    async def take(_: bytes) -> None:
        await asyncio.sleep(1)

    wire = read(CHINESE * 20_000, math.inf, lambda: Wire(take))
    assert len(wire.bodies) < 100
    assert max(len(body) for _, body in wire.bodies) <= 32 * 1024
    assert "".join(event.get("text", "") for event in events(wire)) == CHINESE * 20_000


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_line_that_takes_a_little_all_the_time_is_not_dropped(mode: Mode) -> None:
    async def take(body: bytes) -> None:
        await asyncio.sleep(len(body) / 2000)

    wire = read(CHINESE * 3000, math.inf, lambda: Wire(take), mode=mode)
    assert wire.bodies[-1][0] > 2 * STALL
    assert wire.is_complete
    assert "".join(event.get("text", "") for event in events(wire)) == CHINESE * 3000


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_line_that_takes_nothing_is_dropped_when_the_limit_is_over(mode: Mode) -> None:
    async def take(body: bytes) -> None:
        if CHINESE[0].encode("unicode-escape") in body:
            await asyncio.Event().wait()

    async def run() -> None:
        show, wire = Show(CHINESE * 10, pace=10), Wire(take)
        generation = await show.begin()
        await show.serve(generation, wire, mode=mode)
        assert STALL <= asyncio.get_running_loop().time() < STALL + 2
        assert not wire.is_complete
        assert len(show.readers) == 0
        again = Wire()
        await show.serve(generation, again, mode=mode)
        assert again.is_complete
        await show.gateway.close()

    in_virtual_time(run())


# The clock


def heartbeats(wire: Wire) -> list[int]:
    return [round(at) for at, body in wire.bodies if body == b": \n\n"]


def test_a_heartbeat_comes_after_each_silence_of_its_length() -> None:
    wire = read("abc", pace=1 / 35, heartbeat=10)
    assert heartbeats(wire) == [10, 20, 30, 45, 55, 65]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_rotation_comes_when_it_was_asked_for(mode: Mode) -> None:
    wire = read("abcdefghij" * 10, pace=1, max=50, mode=mode)
    assert events(wire)[-1] == {"type": "reconnect"}
    assert 49 <= wire.bodies[-1][0] <= 51
    assert wire.is_complete


def test_a_reader_that_does_not_attach_stays_through_rotation_and_goodbye() -> None:
    async def run() -> None:
        show, wire = Show("abc", pace=1 / 10), Wire()
        serving = asyncio.create_task(show.serve(await show.begin(), wire, max=5, attaches=False))
        await asyncio.sleep(12)
        await show.gateway.close(drain=60)
        await serving
        assert [event["type"] for event in events(wire)] == ["started", "text", "text", "done"]
        assert wire.is_complete

    in_virtual_time(run())


def test_a_reader_that_leaves_ends_nothing_unless_its_course_says_so() -> None:
    async def end_after_leaving(**course: Any) -> tuple[str, str]:  # Any: those of `Course`
        show, wire = Show("0123456789", pace=1), Wire()
        generation = await show.begin()
        serving = asyncio.create_task(show.serve(generation, wire, **course))
        await asyncio.sleep(2.2)
        wire.left.set()
        await serving
        await asyncio.sleep(10)
        answer, _ = await show.gateway.answer("me", generation)
        await show.gateway.close()
        return status_of(answer.end), answer.text

    assert in_virtual_time(end_after_leaving()) == ("done", "0123456789")
    assert in_virtual_time(end_after_leaving(grace=1.5)) == ("aborted", "012345")
    assert in_virtual_time(end_after_leaving(grace=60)) == ("done", "0123456789")
