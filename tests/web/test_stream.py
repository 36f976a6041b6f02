"""Streams over real sockets: what a reader gets, whatever stands between it and the gateway."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.conftest import Serve, Served
from tests.puppet import Puppet, Scripted
from tests.waiting import until
from tests.web.conftest import WAYS, Clock, readers_gone, readers_of
from tests.web.wire import Line, attach, call, start, text_of

from dazi.events import Retract, Started, Text
from dazi.log import Draft, Record
from dazi.web import stream
from dazi.web.app import App
from dazi.web.stream import Reader, RequestResponseCycle

ServeBy = Callable[..., Awaitable[Served]]
every_way = pytest.mark.parametrize("way", WAYS)
EMOJI = "你好，世界 👨‍👩‍👧‍👦🇨🇳 e\u0301 \u2028 𠮷"


@pytest.fixture(autouse=True)
def no_task_fails_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


def members(served: Served) -> list[Reader]:
    return [reader for reader in readers_of(served)._readers if isinstance(reader, Reader)]


def readers_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("dazi")]


# Every way


@every_way
async def test_each_piece_arrives_before_the_next_is_said(serve_by: ServeBy, puppet: Puppet, way: str) -> None:
    served = await serve_by(way, puppet)
    line = await start(served.port)
    play = await puppet.play()
    assert line.status == 200
    assert [frame.type for frame in await line.frames(1)] == ["started"]
    text = ""
    for piece in [EMOJI, *EMOJI]:
        play.say(piece)
        frame = await line.frame()
        text += piece
        assert (frame.type, frame.event["text"], frame.event["n"]) == (
            "text",
            piece,
            len(text.encode("utf-16-le")) // 2,
        )
    play.finish()
    assert [frame.type for frame in await line.rest()] == ["done"]
    assert line.is_complete
    await readers_gone(served)


@every_way
@pytest.mark.parametrize(
    "query", ["", "mode=replace", "encoding=url&profile=plain", "mode=replace&encoding=utf8", "coalesce=0.02"]
)
async def test_the_text_is_whole_and_the_end_comes_once(serve_by: ServeBy, way: str, query: str) -> None:
    pieces = [character for _ in range(40) for character in EMOJI]
    served = await serve_by(way, Scripted(*pieces))
    line = await start(served.port, query)
    frames = await line.rest()
    assert text_of(frames) == "".join(pieces)
    assert [frame.type for frame in frames if frame.type in {"done", "failed", "aborted"}] == ["done"]
    assert frames[0].type == "started"
    assert line.is_complete
    await readers_gone(served)


@every_way
async def test_two_readers_each_get_all_and_one_leaving_changes_nothing(
    serve_by: ServeBy, puppet: Puppet, way: str
) -> None:
    served = await serve_by(way, puppet)
    first = await start(served.port)
    play = await puppet.play()
    generation = first.headers["dazi-generation"]
    second, third = await attach(served.port, generation), await attach(served.port, generation, "mode=replace")
    await until(lambda: len(readers_of(served)) == 3)
    play.say("one ")
    await first.wait_bytes(b"one ")
    await first.close()
    await until(lambda: len(readers_of(served)) == 2)
    play.say("two")
    play.finish()
    for line in (second, third):
        assert text_of(await line.rest()) == "one two"
        assert line.is_complete
    await readers_gone(served)


@every_way
async def test_a_disconnect_is_noticed_and_aborts_nothing(serve_by: ServeBy, puppet: Puppet, way: str) -> None:
    served = await serve_by(way, puppet)
    line = await start(served.port)
    play = await puppet.play()
    await line.frame()
    await line.close()
    await readers_gone(served)
    assert not served.app.gateway._attention._readers
    play.say("alone")
    play.finish()
    again = await attach(served.port, line.headers["dazi-generation"])
    assert text_of(await again.rest()) == "alone"
    assert not play._outcome.cancelled()
    await until(lambda: not readers_tasks())


@every_way
async def test_heartbeats_come_before_the_first_token_and_in_silence(
    serve_by: ServeBy, puppet: Puppet, clock: Clock, way: str
) -> None:
    served = await serve_by(way, puppet)
    line = await start(served.port, "heartbeat=3")
    play = await puppet.play()
    await line.frame()
    clock.tick(2)
    play.say("x")
    await line.frame()
    assert b"\n: " not in line.body
    clock.tick(2)
    play.say("y")
    await line.frame()
    assert b"\n: " not in line.body, "what is sent is a sign of life, too"
    clock.tick(3)
    await line.wait_bytes(b"\n: \n\n")
    clock.tick(3)
    await line.wait_bytes(b"\n: \n\n: \n\n")
    play.finish()
    assert (await line.rest())[-1].type == "done"
    await readers_gone(served)


@every_way
async def test_a_rotation_says_reconnect_and_the_next_line_goes_on(
    serve_by: ServeBy, puppet: Puppet, clock: Clock, way: str
) -> None:
    served = await serve_by(way, puppet)
    line = await start(served.port, "max=5&heartbeat=60")
    play = await puppet.play()
    play.say("a")
    frames = await line.frames(2)
    clock.tick(4)
    play.say("b")
    frames.append(await line.frame())
    clock.tick()
    last = await line.rest()
    assert [frame.type for frame in last] == ["reconnect"]
    assert line.body.endswith(b'\n\ndata: {"type":"reconnect"}\n\n')
    assert line.is_complete
    play.say("c")
    again = await attach(served.port, line.headers["dazi-generation"], headers={"Last-Event-ID": frames[-1].id})
    play.finish()
    assert text_of([*frames, *await again.rest()]) == "abc"
    await readers_gone(served)


@every_way
async def test_at_the_goodbye_every_reader_is_asked_to_attach_again(
    serve_by: ServeBy, puppet: Puppet, way: str
) -> None:
    served = await serve_by(way, puppet)
    first = await start(served.port)
    play = await puppet.play()
    generation = first.headers["dazi-generation"]
    play.say("before ")
    lines = [first, *[await attach(served.port, generation, query) for query in ("mode=replace", "profile=plain")]]
    for line in lines:
        await line.wait_bytes(b"before")
    closing = asyncio.create_task(served.app.gateway.close(drain=60))
    for line in lines:
        assert (await line.rest())[-1].type == "reconnect"
        assert line.is_complete
    again = await attach(served.port, generation)
    play.say("after")
    play.finish()
    assert text_of(await again.rest()) == "before after"
    await asyncio.wait_for(closing, 5)
    await readers_gone(served)


@every_way
async def test_a_reader_that_comes_behind_the_goodbye_is_asked_to_attach_again_at_once(
    serve_by: ServeBy, puppet: Puppet, way: str
) -> None:
    """Between the goodbye and the last moment of uvicorn's; what it reads runs on another node."""
    served = await serve_by(way, puppet)
    here = await start(served.port)
    (await puppet.play()).finish()
    await here.rest()
    log = served.app.gateway._log
    owner = (await log.read(here.headers["dazi-generation"])).owner
    elsewhere = Draft(owner, Started(generation="e" * 32, model="m", created=1))
    opened = await log.create(elsewhere)
    await log.append(opened.generation, (Text("so far", 6),), previous=1, epoch=opened.epoch)
    await served.app.gateway.close()
    for query in ("", "mode=replace", "profile=plain"):
        # The server closes behind it: uvicorn tells of its own shutdown only those whose line was to be kept.
        line = await attach(served.port, opened.generation, query, headers={"Connection": "close"})
        frames = await line.rest()
        assert text_of(frames) == "so far"
        assert frames[-1].type == "reconnect"
        assert line.is_complete
    await readers_gone(served)


@every_way
async def test_a_reader_that_falls_behind_gets_fewer_larger_frames(serve_by: ServeBy, puppet: Puppet, way: str) -> None:
    served = await serve_by(way, puppet)
    line = await start(served.port, receive_buffer=4096)
    play = await puppet.play()
    waiting = 0
    for _ in range(1000):
        play.say(*"一二三四五" * 100)
        await asyncio.sleep(0)
        waiting = max(waiting, *(unsent(reader._cycle) for reader in members(served) if reader._cycle), 0)
    play.finish()
    frames = await line.rest()
    assert text_of(frames) == "一二三四五" * 100_000
    assert frames[-1].type == "done"
    assert len(frames) < 500_000 / 4
    assert waiting < 128 * 1024
    assert line.is_complete
    await readers_gone(served)


def unsent(cycle: RequestResponseCycle) -> int:
    size: int = cycle.transport.get_write_buffer_size()
    return size


@every_way
async def test_a_reader_that_takes_nothing_is_dropped_and_may_come_back(
    serve_by: ServeBy, puppet: Puppet, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "STALL", 0.1)
    served = await serve_by(way, puppet)
    line = await start(served.port, receive_buffer=4096)
    play = await puppet.play()
    await line.frame()
    piece = "x" * 100_000
    for _ in range(40):
        play.say(piece)
    await readers_gone(served)
    left = await line.rest()
    assert way == "BaseHTTPMiddleware" or not line.is_complete  # that one ends politely what was broken off
    play.finish()
    seen = left[-1].id if left else "1-1"
    again = await attach(served.port, line.headers["dazi-generation"], headers={"Last-Event-ID": seen})
    assert text_of([*left, *await again.rest()]) == piece * 40
    caplog.clear()  # behind a middleware uvicorn has to be told by a broken response, which it notes
    await readers_gone(served)


@every_way
async def test_many_readers_in_every_format_all_get_the_same_text(serve_by: ServeBy, puppet: Puppet, way: str) -> None:
    served = await serve_by(way, puppet)
    first = await start(served.port)
    play = await puppet.play()
    generation = first.headers["dazi-generation"]
    dice = random.Random(7)
    formats = [
        f"mode={m}&encoding={e}&profile={p}"
        for m in ("append", "replace")
        for e in ("ascii", "utf8", "url")
        for p in ("full", "plain")
    ]
    formats += [f"coalesce={seconds}" for seconds in (0.001, 0.01, 0.01, 0.03)]
    count = 100 if way == "httptools" else 24
    lines = [first]
    pieces = [dice.choice(EMOJI) * dice.randrange(1, 9) for _ in range(count)]
    for number, piece in enumerate(pieces):
        play.say(piece)
        lines.append(await attach(served.port, generation, formats[number % len(formats)]))
    play.finish()
    for line in lines:
        assert text_of(await line.rest()) == "".join(pieces)
        assert line.is_complete
    await readers_gone(served)
    await until(lambda: not readers_tasks())


# The direct way


async def test_a_reader_that_keeps_up_needs_no_task(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    play = await puppet.play()
    await line.frame()
    for piece in "abc":
        play.say(piece)
        assert readers_tasks() == [f"dazi generation {line.headers['dazi-generation']}"]
        await line.frame()
    play.finish()
    await line.rest()


async def test_what_is_said_in_one_turn_is_one_write(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    play = await puppet.play()
    await line.frame()
    writes: list[bytes] = []
    (reader,) = members(served)
    write_by(reader, Recorder(reader._transport, writes))
    play.say("a", "b", "c")
    await line.frames(3)
    assert len(writes) == 1
    play.finish()
    await line.rest()


async def test_text_that_waits_keeps_its_place_before_all_else(served: Served, puppet: Puppet) -> None:
    line = await start(served.port, "coalesce=1")
    play = await puppet.play()
    play.say("a")
    await line.frames(2)
    play.say("b", "你", "好")
    play.think("hm")
    play.say("!", "?")
    began = asyncio.get_running_loop().time()
    play.finish()
    frames = await line.rest()
    assert asyncio.get_running_loop().time() - began < 0.9
    said = [(frame.id, frame.type, frame.event.get("text"), frame.event.get("n")) for frame in frames]
    assert said == [
        ("1-5", "text", "b你好", 4),
        ("1-6", "reasoning", "hm", 2),
        ("1-8", "text", "!?", 6),
        ("1-9", "done", None, 6),
    ]


async def test_text_that_waits_is_sent_before_the_goodbye(served: Served, puppet: Puppet) -> None:
    line = await start(served.port, "coalesce=1")
    play = await puppet.play()
    play.say("a")
    await line.frames(2)
    play.say("b", "c")
    readers_of(served).goodbye()
    assert [(frame.event.get("text"), frame.type) for frame in await line.rest()] == [
        ("bc", "text"),
        (None, "reconnect"),
    ]
    play.finish()


async def test_a_chunk_is_written_as_uvicorns_own_send_writes_it(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    play = await puppet.play()
    await line.frame()
    (reader,) = members(served)
    cycle = reader._cycle
    assert cycle is not None
    assert reader._is_chunked
    transport, bodies = cycle.transport, [b": a\n\n", b": b" * 5000]
    ours: list[bytes] = []
    theirs: list[bytes] = []
    for body in bodies:
        write_by(reader, Recorder(transport, ours))
        reader._frames = [body]
        reader.flush()
        write_by(reader, Recorder(transport, theirs))
        await cycle.send({"type": "http.response.body", "body": body, "more_body": True})
    assert ours == theirs
    write_by(reader, transport)
    play.finish()
    assert text_of(await line.rest()) == ""
    assert line.is_complete


async def test_a_record_that_is_heard_again_or_too_late_is_told_once(served: Served, puppet: Puppet) -> None:
    """A durable log shows a record after it can be read."""
    line = await start(served.port)
    play = await puppet.play()
    play.say("a", "b")
    frames = await line.frames(3)
    (reader,) = members(served)
    reader.on_record(Record(1, 1, 2, Text("a", 1)))
    reader.on_record(Record(1, 2, 3, Text("b", 2)))
    play.say("c")
    play.finish()
    frames += await line.rest()
    assert [frame.event.get("text") for frame in frames] == [None, "a", "b", "c", None]


class Recorder:
    """A transport that notes what is written."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:  # Any: the transport's own
        return getattr(self._transport, name)


def write_by(reader: Reader, transport: Any) -> None:  # Any: as much of a transport as is used
    """Let a reader, and uvicorn for it, write to another transport."""
    assert reader._cycle is not None
    reader._cycle.transport = reader._transport = transport


class Broken(Recorder):
    """A transport that cannot write any more."""

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        raise ValueError("broken")


async def test_an_error_in_one_reader_leaves_the_others_alone(served: Served, puppet: Puppet, clock: Clock) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    first = await start(served.port, "heartbeat=2")
    play = await puppet.play()
    generation = first.headers["dazi-generation"]
    lines = [first, *[await attach(served.port, generation, "heartbeat=2") for _ in range(4)]]
    await until(lambda: len(readers_of(served)) == 5)
    for line in lines:
        await line.frame()
    breaking = list(members(served))[:2]
    for reader in breaking:
        write_by(reader, Broken(reader._transport, []))
    play.say("a")
    await until(lambda: len(readers_of(served)) == 3)
    clock.tick(2)
    play.say("b")
    clock.tick(2)
    play.say("c")
    play.finish()
    texts = [text_of(await line.rest()) for line in lines]
    assert sorted(texts) == ["", "", "abc", "abc", "abc"]
    assert [str(error) for error in reported] == ["broken", "broken"]
    await readers_gone(served)


async def test_an_error_at_a_heartbeat_stops_no_clock(served: Served, puppet: Puppet, clock: Clock) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    lines = [await start(served.port, "heartbeat=1") for _ in range(4)]
    for line in lines:
        await line.frame()
    plays = [await puppet.play() for _ in lines]
    (reader, *_) = members(served)
    write_by(reader, Broken(reader._transport, []))
    clock.tick()
    await until(lambda: len(readers_of(served)) == 3)
    clock.tick()
    for play in plays:
        play.finish()
    for line in lines:
        await line.rest()
    assert sorted(line.body.count(b"\n: ") + line.body.count(b"\n\n: ") > 1 for line in lines) == [
        False,
        True,
        True,
        True,
    ]
    assert len(reported) == 1


async def test_a_middleware_that_breaks_ends_its_reader_alone(
    serve: Serve, puppet: Puppet, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile:
        def __init__(self, app: Any) -> None:
            self.app = app
            self.is_broken = False

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def own(message: Any) -> None:
                if self.is_broken and b"fragile" in scope["query_string"] + message.get("body", b""):
                    raise LookupError
                await send(message)

            await self.app(scope, receive, own)

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    wrapped: list[Fragile] = []

    def wrap(app: App) -> Fragile:
        wrapped.append(Fragile(app))
        return wrapped[0]

    served = await serve({"m": puppet}, wrap=wrap)
    first = await start(served.port)
    play = await puppet.play()
    second = await attach(served.port, first.headers["dazi-generation"])
    await first.frame()
    await second.frame()
    wrapped[0].is_broken = True
    play.say("fragile")
    await readers_gone(served)
    wrapped[0].is_broken = False
    play.say(" again")
    play.finish()
    for line in (first, second):
        await line.rest()
        assert not line.is_complete
    third = await attach(served.port, first.headers["dazi-generation"])
    assert text_of(await third.rest()) == "fragile again"
    assert [type(error) for error in reported] == [LookupError, LookupError]
    caplog.clear()


# Where to go on


async def finished(served: Served, puppet: Puppet, *pieces: str) -> str:
    line = await start(served.port)
    play = await puppet.play()
    play.say(*pieces)
    play.finish()
    await line.rest()
    return line.headers["dazi-generation"]


async def test_at_the_end_there_is_204_and_no_body(served: Served, puppet: Puppet) -> None:
    generation = await finished(served, puppet, "a")
    for query in ("after=1-3", "after=1-3&mode=replace", "after=1-3&profile=plain&encoding=url"):
        line = await attach(served.port, generation, query)
        assert line.status == 204
        assert line.headers["dazi-generation"] == generation
        assert "content-length" not in line.headers
        assert "transfer-encoding" not in line.headers
        await line.close()


async def test_every_position_before_the_end_goes_on_from_there(served: Served, puppet: Puppet) -> None:
    generation = await finished(served, puppet, *"abc")
    for position, rest in enumerate(["abc", "abc", "bc", "c", ""]):
        line = await attach(served.port, generation, f"after=1-{position}" if position else "after=0")
        frames = await line.rest()
        assert "".join(frame.event["text"] for frame in frames if frame.type == "text") == rest
        assert frames[-1].type == "done"
        assert frames[-1].id == "1-5"


@pytest.mark.parametrize("after", ["1-99", "2-3", "0-3", "1-0", "999999999-1"])
@pytest.mark.parametrize("mode", ["append", "replace"])
async def test_a_position_that_is_not_there_gets_a_snapshot_and_goes_on(
    served: Served, puppet: Puppet, after: str, mode: str
) -> None:
    line = await start(served.port)
    play = await puppet.play()
    play.say("ab")
    strange = await attach(served.port, line.headers["dazi-generation"], f"after={after}&mode={mode}")
    snapshot = await strange.frame()
    assert (snapshot.type, snapshot.id, snapshot.event["text"], snapshot.event["n"]) == ("snapshot", "1-2", "ab", 2)
    play.say("c")
    play.finish()
    assert text_of([snapshot, *await strange.rest()]) == "abc"
    over = await attach(served.port, line.headers["dazi-generation"], f"after={after}&mode={mode}")
    assert [frame.type for frame in await over.rest()] == ["snapshot", "done"]


async def test_last_event_id_beats_after(served: Served, puppet: Puppet) -> None:
    generation = await finished(served, puppet, *"abc")
    line = await attach(served.port, generation, "after=0", headers={"Last-Event-ID": "1-3"})
    assert [frame.event.get("text") for frame in await line.rest()] == ["c", None]


@pytest.mark.parametrize("seed", range(6))
async def test_a_reader_may_change_its_mode_and_format_at_every_cut(served: Served, puppet: Puppet, seed: int) -> None:
    dice = random.Random(seed)
    line = await start(served.port)
    play = await puppet.play()
    generation = line.headers["dazi-generation"]
    pieces = [dice.choice(EMOJI) for _ in range(60)]
    left = list(pieces)
    frames = [await line.frame()]
    while left:
        play.say(*[left.pop(0) for _ in range(min(len(left), dice.randrange(1, 9)))])
        frames.append(await line.frame())
        await line.close()
        query = f"mode={dice.choice(['append', 'replace'])}&profile={dice.choice(['full', 'plain'])}"
        line = await attach(served.port, generation, f"{query}&after={frames[-1].id}")
    play.finish()
    assert text_of([*frames, *await line.rest()]) == "".join(pieces)


async def test_what_was_retracted_is_never_sent_again(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    play = await puppet.play()
    generation = line.headers["dazi-generation"]
    play.say("SECRET")
    frames = await line.frames(2)
    log = served.app.gateway._log
    await log.append(generation, (Retract("sorry", 5, "policy"),), previous=2, epoch=1)
    frames.append(await line.frame())
    assert frames[-1].event == {"type": "retract", "text": "sorry", "n": 5, "reason": "policy"}
    for query in ("after=0", "after=1-1", "after=1-2", "after=0&mode=replace", "after=1-2&mode=replace&profile=plain"):
        late = await attach(served.port, generation, query)
        await late.wait_bytes(b"sorry")
        assert b"SECRET" not in late.body
        await late.close()
    await log.append(generation, (Text("!", 6),), previous=3, epoch=1)
    resumed = await attach(served.port, generation, "after=1-3")
    await served.client.post(f"/v1/generations/{generation}/abort")
    assert text_of([*frames, *await resumed.rest()]) == "sorry!"
    assert text_of([*frames, *await line.rest()]) == "sorry!"


# Starting with a key


async def test_the_same_start_attaches_and_goes_on_where_the_line_broke(served: Served, puppet: Puppet) -> None:
    first = await start(served.port, key="k")
    play = await puppet.play()
    play.say("ab")
    seen = await first.frames(2)
    await first.close()
    again = await start(served.port, key="k", headers={"Last-Event-ID": seen[-1].id})
    assert again.headers["dazi-generation"] == first.headers["dazi-generation"]
    play.say("c")
    play.finish()
    assert text_of([*seen, *await again.rest()]) == "abc"
    assert puppet.asked == 1
    over = await start(served.port, f"after={'1-4'}", key="k")
    assert over.status == 204


async def test_a_fresh_generation_is_told_from_its_start_whatever_position_came_with_it(
    served: Served, puppet: Puppet
) -> None:
    """A key that has expired stands for nothing any more, and neither does the position in what it stood for."""
    line = await start(served.port, "after=1-1", key="expired", headers={"Last-Event-ID": "1-1"})
    assert (await line.frame()).type == "started"
    (await puppet.play()).finish()
    await line.rest()


# What stands around the frames


async def test_a_stream_says_how_it_wants_to_be_handled(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    assert line.headers["content-type"] == "text/event-stream"
    assert line.headers["cache-control"] == "no-store, no-transform"
    assert line.headers["x-accel-buffering"] == "no"
    assert len(line.headers["dazi-generation"]) == 32
    assert "access-control-allow-origin" not in line.headers
    await line.frame()
    assert line.body.startswith(b"retry: ")
    (await puppet.play()).finish()
    await line.rest()


async def test_a_plain_stream_is_data_lines_alone(served: Served, puppet: Puppet, clock: Clock) -> None:
    line = await start(served.port, "profile=plain&heartbeat=1")
    play = await puppet.play()
    await line.frame()
    clock.tick(5)
    play.say("a")
    play.finish()
    frames = await line.rest()
    assert [frame.id for frame in frames] == ["1-2", "1-3"]
    assert all(block.startswith(b"data: {") for block in line.body.split(b"\n\n")[:-1])


async def test_head_gives_the_headers_and_does_not_wait_for_the_end(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    await puppet.play()
    path = f"/v1/generations/{line.headers['dazi-generation']}/events"
    response = await asyncio.wait_for(served.client.head(path), 5)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert (await served.client.head("/v1/models")).content == b""
    assert len(readers_of(served)) == 1


async def test_a_connection_serves_the_next_call_after_a_stream(served: Served, puppet: Puppet) -> None:
    for _ in range(3):
        request = asyncio.create_task(served.client.post("/v1/generations", json={"messages": [{"role": "user"}]}))
        (await puppet.play()).finish()
        response = await request
        assert response.status_code == 200
        assert response.text.count("data: ") == 2
    assert (await served.client.get("/v1/models")).status_code == 200


async def test_a_call_sent_behind_a_stream_is_answered_after_it(served: Served, puppet: Puppet) -> None:
    line = await start(served.port)
    line._writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    play = await puppet.play()
    await line.frame()
    play.say("a")
    play.finish()
    assert text_of(await line.rest()) == "a"
    async with asyncio.timeout(5):
        assert (await line._reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    await line.close()


async def test_the_stream_goes_to_whoever_asks_until_its_log_is_gone(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    generation = await finished(served, puppet, "a")
    served.app.gateway._log._forget_oldest()  # type: ignore[attr-defined]  # as if a day had passed
    line: Line = await call(served.port, "GET", f"/v1/generations/{generation}/events")
    assert line.status == 404
    await line.close()
