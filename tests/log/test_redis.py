from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Cut
from tests.log.contract import (
    Backend,
    LogContract,
    TogetherContract,
    begin,
    covers_all,
    draft,
    fold,
    outcome,
    stamped,
    texts,
    units,
    whole,
    write,
)
from tests.log.redis_server import RedisServer, redis_cluster, redis_sentinel, redis_server
from tests.waiting import A_SECOND, until

from dazi.errors import Closed, ConfigError, OutOfOrder, StoreUnavailable, Unknown
from dazi.events import Aborted, Done, Failed, Piece, Reasoning, Retract, Text
from dazi.log import Append, Cursor, Leases, Log, Record, Restores, Shelf
from dazi.log.redis import RedisLog
from dazi.log.redis.appends import Writing
from dazi.log.redis.scripts import Script
from dazi.log.redis.store import Argument, Store


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with redis_server() as one:
        yield one


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster() as servers:
        yield servers


class _Opener:
    """Opens empty logs: each has keys of its own, and all of a test share their connections."""

    count = 0

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: Store | None = None
        self.logs: list[RedisLog] = []

    async def __call__(self, *, prefix: str = "", **options: float) -> RedisLog:
        _Opener.count += 1
        self.store = self.store or Store.from_url(self.url)
        log = RedisLog(self.store, prefix=prefix or f"test{_Opener.count}", **options)
        self.logs.append(log)
        return log

    async def close(self) -> None:
        await asyncio.gather(*(log.close() for log in self.logs))


@pytest.fixture
async def opener(server: RedisServer) -> AsyncIterator[_Opener]:
    opener = _Opener(server.url)
    yield opener
    await opener.close()


class TestRedisLog(LogContract, TogetherContract):
    @pytest.fixture
    def backend(self, opener: _Opener) -> Backend:
        return Backend(opener)


class TestRedisCluster(LogContract, TogetherContract):
    @pytest.fixture
    async def backend(self, cluster: list[RedisServer]) -> AsyncIterator[Backend]:
        opener = _Opener(f"redis+cluster://127.0.0.1:{cluster[0].port},127.0.0.1:{cluster[1].port}")
        yield Backend(opener)
        await opener.close()


@asynccontextmanager
async def nodes(url: str, count: int = 2, **options: float) -> AsyncIterator[list[RedisLog]]:
    """Open the same logs as several nodes do, each with its own connections."""
    _Opener.count += 1
    logs = [RedisLog.from_url(url, prefix=f"test{_Opener.count}", **options) for _ in range(count)]
    try:
        yield logs
    finally:
        await asyncio.gather(*(log.close() for log in logs))


async def comes_true(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until what is asked again and again is true."""
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110  # Redis has no event for it
            await asyncio.sleep(0.01)


async def fails(call: Awaitable[object], error: type[Exception]) -> bool:
    return isinstance(await outcome(call), error)


async def succeeds(call: Awaitable[object]) -> bool:
    return not await fails(call, Exception)


def test_it_has_every_power_of_a_shared_log(server: RedisServer) -> None:
    log: Log = RedisLog.from_url(server.url)
    assert isinstance(log, Leases)
    assert isinstance(log, Restores)
    assert isinstance(log, Shelf)


# Creating


async def test_of_fifty_creates_on_five_nodes_one_wins(server: RedisServer) -> None:
    async with nodes(server.url, 5) as logs:
        opened = await asyncio.gather(*(begin(logs[at % 5], key="k") for at in range(50)))
    assert [one.created for one in opened].count(True) == 1
    assert len({one.generation for one in opened}) == 1


def test_of_creates_in_many_processes_one_wins(server: RedisServer) -> None:
    program = f"""
import asyncio, secrets
from dazi.events import Started
from dazi.log import Draft
from dazi.log.redis import RedisLog
async def main():
    log = RedisLog.from_url("{server.url}", prefix="processes")
    started = [Started(secrets.token_hex(16), "m", 1) for _ in range(20)]
    opened = await asyncio.gather(*(log.create(Draft("owner", one, key=str(at))) for at, one in enumerate(started)))
    await log.close()
    print(*(one.generation + "=" + str(one.created) for one in opened))
asyncio.run(main())
"""
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    columns = zip(*(process.communicate(timeout=30)[0].split() for process in running), strict=True)
    for column in columns:
        assert len({one.partition("=")[0] for one in column}) == 1
        assert sum(one.endswith("=True") for one in column) == 1


async def test_a_create_sent_again_after_a_lost_answer_is_still_ours(opener: _Opener) -> None:
    log = await opener()
    keyed, free = draft(key="k"), draft()
    assert [(await log.create(it)).created for it in (keyed, keyed, free, free)] == [True] * 4


# Appending


async def test_a_call_whose_answer_was_lost_is_not_done_twice(opener: _Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await opener()
    opened = await begin(log)
    await write(log, opened, texts("warm"))
    assert opener.store is not None
    honest = opener.store._send
    cuts = 1

    async def cutting(commands: Sequence[tuple[Argument, ...]]) -> Sequence[object]:
        nonlocal cuts
        answers = await honest(commands)
        if cuts:
            cuts -= 1
            raise Cut
        return answers

    monkeypatch.setattr(opener.store, "_send", cutting)
    assert await write(log, opened, texts("a", "b"), previous=2) == 4
    cuts = 1
    record = await log.end(opened.generation, Done("stop"))
    page = await whole(log, opened)
    assert page.records[-1] == record
    assert page.head.position == 5
    assert fold(record.event for record in page.records).text == "warmab"


async def test_appends_of_many_logs_are_one_command_and_no_notice_where_nobody_else_listens(
    server: RedisServer,
) -> None:
    async with nodes(server.url, recheck=60) as (writer, reader):
        logs = [await begin(writer) for _ in range(100)]
        for one in logs:
            writer.observe(one.generation, lambda _: None)
        base = f"{writer._places.prefix}:{{{int(logs[0].generation[-1], 16)}}}"
        await writer.append_all([Append(one.generation, texts("a"), 1, 1) for one in logs])
        before = _calls(server, "evalsha")
        await writer._appends.store([Writing(Append(one.generation, (Text("b", 2),), 2, 1)) for one in logs])
        # Those that look after what is observed, three a shard, may have come between.
        assert _calls(server, "evalsha") - before < 100
        assert server.ask("EXISTS", f"{base}:news") == "0"
        await reader.read(logs[0].generation)
        seen: list[Record] = []
        reader.observe(logs[0].generation, seen.append)
        await until(lambda: reader._followers.position(logs[0].generation) == Cursor(1, 3))
        await comes_true(lambda: _is_heard(server, f"{base}:gen:{logs[0].generation}"))
        await write(writer, logs[0], (Text("c", 3),), previous=3)
        assert server.ask("XLEN", f"{base}:news") == "1"
        await until(lambda: seen and seen[-1].position == 4)


async def _is_heard(server: RedisServer, key: str) -> bool:
    return server.ask("HEXISTS", key, "heard") == "1"


def _calls(server: RedisServer, command: str) -> int:
    stats = server.ask("INFO", "commandstats").partition(f"cmdstat_{command}:calls=")[2]
    return int(stats.partition(",")[0])


async def test_an_append_by_another_node_continues_the_proof(server: RedisServer) -> None:
    async with nodes(server.url) as (one, other):
        opened = await begin(one)
        pieces = texts("你", "好", "👩🏽‍🚀")
        await one.append(opened.generation, pieces[:1], previous=1, epoch=1)
        await other.append(opened.generation, pieces[1:2], previous=2, epoch=1)
        await one.append(opened.generation, pieces[2:], previous=3, epoch=1)
        end = (await other.end(opened.generation, Done("stop"))).event
    assert isinstance(end, Done)
    assert (end.n, end.crc32) == (units(fold(pieces).text), zlib.crc32(fold(pieces).text.encode()))


async def test_scripts_are_loaded_again_when_redis_has_forgotten_them(server: RedisServer, opener: _Opener) -> None:
    log = await opener()
    opened = await begin(log)
    server.ask("SCRIPT", "FLUSH")
    await write(log, opened, texts("a"))
    assert (await whole(log, opened)).head.position == 2


async def test_a_retraction_leaves_nothing_of_what_was_said_in_redis(server: RedisServer, opener: _Opener) -> None:
    log = await opener()
    opened = await begin(log)
    await write(log, opened, stamped([Text("SECRET"), Reasoning("fine"), Text("SECRET")]))
    await write(log, opened, (Retract("", 0, "policy"),), previous=4)
    key = f"{log._places.prefix}:{{{int(opened.generation[-1], 16)}}}:log:{opened.generation}"
    stored = server.ask("XRANGE", key, "-", "+")
    assert "SECRET" not in stored
    assert "fine" in stored


# Following from another node


async def test_a_reader_elsewhere_hears_each_record_once_and_in_order(server: RedisServer) -> None:
    async with nodes(server.url) as (writer, reader):
        opened = await begin(writer)
        await reader.read(opened.generation)
        seen: list[Record] = []
        stop = reader.observe(opened.generation, seen.append)
        previous = 1
        for at in range(200):
            previous = await write(writer, opened, (Text(f"{at} ", 0),), previous=previous)
        await writer.end(opened.generation, Done("stop"))
        await until(lambda: seen and seen[-1].event.ends)
        stop()
    assert covers_all(seen, after=1, head=202)
    assert fold(record.event for record in seen).text == "".join(f"{at} " for at in range(200))


@pytest.mark.alone
async def test_an_abort_elsewhere_is_heard_by_the_writer_within_a_second(server: RedisServer) -> None:
    async with nodes(server.url, recheck=60) as (writer, other):
        opened = await begin(writer)
        seen: list[Record] = []
        stop = writer.observe(opened.generation, seen.append)
        await write(writer, opened, texts("a"))
        await other.end(opened.generation, Aborted())
        await until(lambda: seen[-1].event.ends, seconds=A_SECOND)
        stop()
    assert covers_all(seen, after=1, head=3)


async def test_a_reader_ends_although_every_notice_is_lost(server: RedisServer) -> None:
    async with nodes(server.url, recheck=0.05) as (writer, reader):

        async def deaf(_shard: int, after: str) -> tuple[str, list[tuple[str, int]]]:
            await asyncio.sleep(0.01)
            return after, []

        reader.notices = deaf  # type: ignore[method-assign,assignment]  # deaf on purpose
        opened = await begin(writer)
        await reader.read(opened.generation)
        seen: list[Record] = []
        stop = reader.observe(opened.generation, seen.append)
        await write(writer, opened, texts("a", "b"))
        await until(lambda: seen)
        await writer.end(opened.generation, Done("stop"))
        await until(lambda: seen[-1].event.ends)
        stop()
    assert covers_all(seen, after=1, head=4)


async def test_a_reader_ends_although_the_notification_stream_is_deleted(server: RedisServer) -> None:
    async with nodes(server.url, recheck=0.05) as (writer, reader):
        opened = await begin(writer)
        await reader.read(opened.generation)
        seen: list[Record] = []
        stop = reader.observe(opened.generation, seen.append)
        news = f"{writer._places.prefix}:{{{int(opened.generation[-1], 16)}}}:news"
        previous = 1
        for piece in texts(*"abcdefgh"):
            previous = await write(writer, opened, (piece,), previous=previous)
            server.ask("DEL", news)
        await writer.end(opened.generation, Done("stop"))
        server.ask("DEL", news)
        await until(lambda: seen and seen[-1].event.ends)
        stop()
    assert covers_all(seen, after=1, head=10)


async def test_connections_do_not_grow_with_generations_or_readers(server: RedisServer) -> None:
    before = server.connections()
    async with nodes(server.url) as (writer, reader):
        counts: list[int] = []
        seen: list[Record] = []
        for _ in range(3):
            opened = await asyncio.gather(*(begin(writer) for _ in range(200)))
            for one in opened:
                await reader.read(one.generation)
                for _ in range(3):
                    reader.observe(one.generation, seen.append)
            await asyncio.gather(*(write(writer, one, texts("a")) for one in opened))
            await until(lambda: len(seen) == 600 * (len(counts) + 1), seconds=20)
            counts.append(server.connections() - before)
    # Each node: four for commands; the reader also one for each of 16 shards.
    assert max(counts) <= 4 + 4 + 16


# Leases


async def test_a_log_whose_writer_is_gone_is_ended_once_by_any_number_of_sweepers(server: RedisServer) -> None:
    async with nodes(server.url, 6, lease=0.1) as logs:
        opened = [await begin(logs[0]) for _ in range(10)]
        for one in opened:
            await write(logs[0], one, texts("kept"))
        swept: list[str] = []
        while len(swept) < 10:
            for ended in await asyncio.gather(*(log.sweep() for log in logs)):
                swept += ended
        assert sorted(swept) == sorted(one.generation for one in opened)
        assert not any(await asyncio.gather(*(log.sweep() for log in logs)))
        for one in opened:
            page = await whole(logs[1], one)
            assert page.head == Cursor(2, 3)
            assert isinstance(page.end, Failed)
            assert (page.end.code, page.end.retryable, page.end.n) == ("producer_lost", True, 4)
            assert (await logs[2].read(one.generation, Cursor(1, 2))).matched
            assert not (await logs[2].read(one.generation, Cursor(2, 2))).matched


async def test_a_writer_that_slept_through_its_lease_is_fenced_off(server: RedisServer) -> None:
    async with nodes(server.url, lease=0.05) as (sleeper, other):
        it = draft()
        opened = await sleeper.create(it)
        await comes_true(other.sweep)
        assert await sleeper.renew({opened.generation: 1}) == {opened.generation}
        assert isinstance(await outcome(write(sleeper, opened, texts("late"))), Closed)
        assert isinstance(await outcome(sleeper.end(opened.generation, Done("stop"))), Closed)
        assert isinstance(await outcome(sleeper.restore(it, texts("late"), epoch=1)), Closed)


async def test_leases_that_ran_out_while_redis_was_away_can_be_renewed_still() -> None:
    with redis_server() as server:
        async with nodes(server.url, lease=1) as (writer, other):
            lives, dead = await begin(writer), await begin(writer)
            assert await other.sweep() == ()
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(1.2)
            server.signal(signal.SIGCONT)
            assert await other.sweep() == ()
            assert await writer.renew({lives.generation: 1}) == frozenset()
            swept: tuple[str, ...] = ()
            while not swept:
                swept = await other.sweep()
                await writer.renew({lives.generation: 1})
            assert swept == (dead.generation,)


async def test_a_log_whose_lease_was_deleted_is_ended_all_the_same(server: RedisServer) -> None:
    async with nodes(server.url, lease=0.2) as (writer, other):
        dead, lives, done = [await begin(writer) for _ in range(3)]
        await write(writer, dead, texts("kept"))
        await writer.end(done.generation, Done("stop"))

        async def is_swept() -> bool:
            for shard in range(16):
                server.ask("DEL", f"{writer._places.prefix}:{{{shard}}}:leases")
            assert await writer.renew({lives.generation: 1}) == frozenset()
            swept = await other.sweep()
            assert swept in {(), (dead.generation,)}
            return bool(swept)

        await comes_true(is_swept)
        page = await whole(other, dead)
        assert isinstance(page.end, Failed)
        assert (page.end.code, page.end.n, page.head.epoch) == ("producer_lost", 4, 2)
        assert await write(writer, lives, texts("a")) == 2


async def test_a_log_that_nothing_but_its_lease_tells_of_is_ended_all_the_same(server: RedisServer) -> None:
    async with nodes(server.url, lease=0.05) as (writer, other):
        opened = await begin(writer)
        base = f"{writer._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
        server.ask("DEL", f"{base}:expiry", f"{base}:shelf")
        await comes_true(other.sweep)
        assert (await whole(other, opened)).ended


async def test_a_lease_that_is_renewed_holds(server: RedisServer) -> None:
    async with nodes(server.url, lease=0.2) as (writer, other):
        opened = await begin(writer)
        until_time = time.monotonic() + 0.6
        while time.monotonic() < until_time:
            assert await writer.renew({opened.generation: opened.epoch}) == frozenset()
            assert await other.sweep() == ()
            await asyncio.sleep(0.02)
        assert await write(writer, opened, texts("a")) == 2
        assert await writer.renew({opened.generation: 7, "nothing": 1}) == {opened.generation, "nothing"}


# Expiring


async def test_an_ended_log_expires_with_its_key_and_leaves_nothing(server: RedisServer) -> None:
    async with nodes(server.url, 1, ttl=0.2) as (log,):
        opened, running = await begin(log, key="k"), await begin(log, key="running")
        await log.end(opened.generation, Done("stop"))
        assert not (await begin(log, key="k")).created
        await comes_true(lambda: fails(whole(log, opened), Unknown))
        assert isinstance(await outcome(log.find("owner", "k")), Unknown)
        await log.sweep()
        again = await begin(log, key="k")
        assert again.created
        assert (await log.find("owner", "running")).generation == running.generation
        for one in (again, running):
            await log.end(one.generation, Done("stop"))
        keys = f"{log._places.prefix}:*"
        await until(lambda: "gen:" not in server.ask("KEYS", keys))
        await log.sweep()
        left = server.ask("KEYS", keys)
    assert all(line.endswith((":news", ":swept")) for line in left.split() if log._places.prefix in line), left


# Trouble with the store


async def test_a_store_that_is_not_there_is_told_at_once() -> None:
    log = RedisLog.from_url("redis://:sesame@127.0.0.1:1/0")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await begin(log)
    await log.close()
    assert time.monotonic() - began < 1
    assert "sesame" not in str(caught.value)


async def test_a_call_that_comes_as_every_lane_ends_is_answered() -> None:
    store = Store.from_url("redis://127.0.0.1:1/0")
    gate = asyncio.Event()

    async def send(commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        await gate.wait()
        return [b"done"] * len(commands)

    store._send = send
    script = Script("return 1")
    calls = []
    for _ in range(8):  # the first four fill the lanes
        calls.append(asyncio.ensure_future(store.call(script, [])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    gate.set()
    for _ in range(20):
        calls.append(asyncio.ensure_future(store.call(script, [])))
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [b"done"] * 28
    await store.close()


async def test_a_line_that_is_cut_under_the_pen_is_tried_again_and_then_told(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(server.url) as (log, _):
        opened = await begin(log)
        send = log._store._send
        failures = 1

        async def cut(commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
            nonlocal failures
            if failures and commands:
                failures -= 1
                raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
            return await send(commands)

        monkeypatch.setattr(log._store, "_send", cut)
        await write(log, opened, texts("a"))
        failures = 2
        with pytest.raises(StoreUnavailable):
            await write(log, opened, texts("b"), previous=2)


async def test_who_observes_what_has_ended_hears_nothing_and_nothing_fails(server: RedisServer) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with nodes(server.url) as (writer, reader):
        opened = await begin(writer)
        await writer.end(opened.generation, Done("stop"))
        await reader.read(opened.generation)
        heard: list[Record] = []
        reader.observe(opened.generation, heard.append)
        follower = reader._followers._followers[opened.generation]
        await until(lambda: follower.ended)
    gc.collect()
    assert (heard, faults) == ([], [])


async def test_a_store_that_hangs_is_told_soon_and_comes_back_by_itself() -> None:
    with redis_server() as server:
        async with nodes(server.url, 1) as (log,):
            opened = await begin(log)
            server.signal(signal.SIGSTOP)
            began = time.monotonic()
            results = await asyncio.gather(*(outcome(write(log, opened, texts("a"))) for _ in range(20)))
            assert time.monotonic() - began < 3
            assert all(isinstance(result, StoreUnavailable) for result in results)
            server.signal(signal.SIGCONT)
            await comes_true(lambda: succeeds(whole(log, opened)))
            head = (await whole(log, opened)).head.position
            assert await outcome(write(log, opened, texts("b"), previous=head)) == head + 1


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
)
async def test_a_store_that_takes_no_writes_leaves_the_log_as_it_is(
    trouble: tuple[str, ...], cure: tuple[str, ...]
) -> None:
    with redis_server() as server:
        async with nodes(server.url, 1) as (log,):
            opened = await begin(log)
            await write(log, opened, texts("a"))
            assert server.ask(*trouble) == "OK"
            for call in (
                write(log, opened, texts("b"), previous=2),
                write(log, opened, (Retract("", 0, "policy"),), previous=2),
                log.end(opened.generation, Aborted()),
                begin(log, key="k"),
                log.touch(),
            ):
                assert isinstance(await outcome(call), StoreUnavailable)
            assert server.ask(*cure) == "OK"
            await log.touch()
            page = await whole(log, opened)
            assert (page.head.position, page.ended) == (2, False)
            assert fold(record.event for record in page.records).text == "a"
            assert await write(log, opened, texts("ab"), previous=2) == 3


@pytest.mark.parametrize("append_only", ["always", "everysec", ""])
async def test_after_a_crash_of_redis_the_writer_goes_on_and_readers_miss_nothing(append_only: str) -> None:
    with redis_server(append_only=append_only) as server:
        async with nodes(server.url, recheck=0.05) as (writer, reader):
            it = draft(key="k", fingerprint="f")
            opened = await writer.create(it)
            pieces = texts(*(f"{at} " for at in range(40)))
            await reader.read(opened.generation)
            seen: list[Record] = []
            stop = reader.observe(opened.generation, seen.append)
            await write(writer, opened, pieces[:20])
            await until(lambda: seen and seen[-1].position == 21)
            server.kill()
            assert isinstance(await outcome(write(writer, opened, pieces[20:], previous=21)), StoreUnavailable)
            server.start()
            result = await outcome(write(writer, opened, pieces[20:], previous=21))
            if not append_only:
                assert isinstance(result, Unknown)
                await writer.restore(it, pieces[:20], epoch=1)
                result = await write(writer, opened, pieces[20:], previous=21)
            assert result == 41
            for position in (1, 7, 20, 21, 30):
                page = await reader.read(opened.generation, Cursor(1, position))
                assert page.matched
                assert covers_all(page.records, after=position, head=41)
            await writer.end(opened.generation, Done("stop"))
            await until(lambda: seen[-1].event.ends)
            stop()
            assert covers_all(seen, after=1, head=42)
            assert fold(record.event for record in seen).text == fold(pieces).text
            assert (await reader.find("owner", "k")) == replace(opened, created=False)


async def test_a_lost_tail_is_put_back_at_the_same_positions(server: RedisServer) -> None:
    async with nodes(server.url) as (log, other):
        it = draft()
        opened = await log.create(it)
        pieces: tuple[Piece, ...] = stamped(
            [Text("bad"), Reasoning("why"), Retract("", 0, "policy"), Text("a"), Text("b")]
        )
        for at, piece in enumerate(pieces):
            await write(log, opened, (piece,), previous=at + 1)
        key = f"{log._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
        server.ask("XDEL", f"{key}:log:{opened.generation}", "6-0")
        server.ask("HSET", f"{key}:gen:{opened.generation}", "position", "5", "n", "1", "crc", "3904355907")
        with pytest.raises(OutOfOrder) as caught:
            await write(log, opened, texts("c"), previous=6)
        assert caught.value.expected == "1-5"
        assert isinstance(await outcome(log.restore(it, pieces[:3], epoch=1)), OutOfOrder)
        assert isinstance(await outcome(log.restore(it, pieces, epoch=2)), OutOfOrder)
        await log.restore(it, pieces, epoch=1)
        await write(log, opened, (Text("c", 3),), previous=6)
        end = (await other.end(opened.generation, Done("stop"))).event
        answer = fold(record.event for record in (await whole(other, opened)).records)
        assert (answer.text, answer.reasoning) == ("abc", "why")
        assert isinstance(end, Done)
        assert (end.n, end.crc32) == (3, 891568578)
        assert "bad" not in server.ask("XRANGE", f"{key}:log:{opened.generation}", "-", "+")


def test_redis_does_the_half_of_a_script_that_it_lost_at_its_second_start() -> None:
    """Redis's own way, for which a lost log is looked for in the places where the next test puts it."""
    with redis_server(append_only="everysec") as server:
        server.ask("EVAL", "for _, name in ipairs(KEYS) do redis.call('SET', name, 'said') end", "3", "a", "b", "c")
        _lose_tail(server, b"$1\r\nc")
        assert server.ask("KEYS", "*") == "*0"
        server.ask("EVAL", "for _, name in ipairs(KEYS) do redis.call('SET', name, 'said') end", "2", "d", "e")
        server.kill()
        server.start()
        assert {*server.ask("KEYS", "*").split()} - {"*4", "$1"} == {"a", "b", "d", "e"}


def _lose_tail(server: RedisServer, mark: bytes) -> None:
    """Kill Redis, take what its file has from the last `mark` on, and start it again."""
    server.kill()
    server.cut(mark)
    server.start()


@pytest.mark.parametrize("lost", [b"ZADD", b"XADD", b"HSET", b"PEXPIREAT"])
async def test_half_a_create_is_swept_or_was_never_there(lost: bytes) -> None:
    """Wherever Redis lost the rest of it, nothing is left running for ever."""
    with redis_server(append_only="always") as server:
        async with nodes(server.url, lease=0.1) as (log, other):
            opened = await begin(log, key="k")
            written = max(server.folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime).read_bytes()
            if lost not in written:
                pytest.fail(f"Redis writes no {lost!r} for a log that is made")
            _lose_tail(server, lost)
            assert isinstance(await outcome(whole(log, opened)), Unknown)
            # What it does together with the half is of another log.
            another = await begin(log, key="another")
            server.kill()
            server.start()

            async def has_ended() -> bool:
                await other.sweep()
                return (await whole(other, another)).ended and (
                    await fails(whole(other, opened), Unknown) or (await whole(other, opened)).ended
                )

            await comes_true(has_ended)


@pytest.mark.parametrize("half", ["the hash", "the Stream"])
async def test_a_log_of_which_half_is_lost_is_put_back_or_forgotten(server: RedisServer, half: str) -> None:
    async with nodes(server.url, lease=0.1) as (log, other):
        it, left = draft(key="k"), draft()
        runs, dead = await log.create(it), await log.create(left)
        for opened in (runs, dead):
            await write(log, opened, texts("a", "b"))
            key = f"{log._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
            if half == "the hash":
                server.ask("HSET", f"{key}:gen:{opened.generation}", "position", "7")
            else:
                server.ask("XADD", f"{key}:log:{opened.generation}", "7-0", "t", "half")
            assert isinstance(await outcome(whole(other, opened)), Unknown)
            assert isinstance(await outcome(other.end(opened.generation, Done("stop"))), Unknown)
        await log.restore(it, stamped(texts("a", "b")), epoch=1)
        assert await write(log, runs, (Text("c", 3),), previous=3) == 4
        await log.end(runs.generation, Done("stop"))
        assert fold(record.event for record in (await whole(other, runs)).records).text == "abc"

        async def is_forgotten() -> bool:
            assert await other.sweep() == ()
            key = f"{log._places.prefix}:{{{int(dead.generation[-1], 16)}}}"
            return server.ask("EXISTS", f"{key}:gen:{dead.generation}", f"{key}:log:{dead.generation}") == "0"

        await comes_true(is_forgotten)


async def test_an_end_whose_entry_is_lost_is_told_all_the_same(server: RedisServer) -> None:
    async with nodes(server.url) as (log, other):
        opened = await begin(log)
        await write(log, opened, texts("a"))
        await log.end(opened.generation, Done("stop"))
        key = f"{log._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
        server.ask("XDEL", f"{key}:log:{opened.generation}", "3-0")
        page = await whole(other, opened)
        assert page.ended
        assert covers_all(page.records, after=0, head=3)
        assert (await other.read(opened.generation, Cursor(1, 2))).ended


async def test_who_observes_what_runs_again_hears_it_though_its_end_was_told_here(server: RedisServer) -> None:
    async with nodes(server.url, recheck=0.05) as (writer, reader):
        it = draft()
        opened = await writer.create(it)
        await reader.read(opened.generation)
        seen: list[Record] = []
        stalled = reader.observe(opened.generation, seen.append)
        await writer.end(opened.generation, Done("stop"))
        await until(lambda: seen and seen[-1].event.ends)
        # The store loses that end, while one who heard it is still there.
        key = f"{writer._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
        server.ask("DEL", f"{key}:gen:{opened.generation}", f"{key}:log:{opened.generation}")
        await writer.restore(it, (), epoch=1)
        await reader.read(opened.generation)
        again: list[Record] = []
        stop = reader.observe(opened.generation, again.append)
        await write(writer, opened, texts("a"))
        await until(lambda: again)
        assert [record.position for record in again] == [2]
        stalled()
        await write(writer, opened, texts("b"), previous=2)
        await until(lambda: len(again) == 2)
        stop()


async def test_observers_of_a_log_that_nobody_puts_back_are_told(server: RedisServer) -> None:
    async with nodes(server.url, lease=0.2, recheck=0.05) as (writer, reader):
        opened = await begin(writer)
        await write(writer, opened, texts("a"))
        await reader.read(opened.generation)
        seen: list[Record] = []
        stop = reader.observe(opened.generation, seen.append)
        key = f"{writer._places.prefix}:{{{int(opened.generation[-1], 16)}}}"
        server.ask("DEL", f"{key}:gen:{opened.generation}", f"{key}:log:{opened.generation}")
        await until(lambda: seen)
        stop()
        assert isinstance(await outcome(whole(reader, opened)), Unknown)
    assert [record.event.ends for record in seen] == [True]
    assert isinstance(seen[0].event, Failed)
    assert (seen[0].event.code, seen[0].previous, seen[0].epoch) == ("store_lost", 2, 2)


# The shelf


async def test_logs_are_listed_newest_first_by_owner_or_all(opener: _Opener) -> None:
    log = await opener()
    made = []
    for at in range(6):
        made.append(await begin(log, owner=f"owner{at % 2}"))
        await asyncio.sleep(0.002)
    await write(log, made[4], texts("SECRET"))
    await log.end(made[4].generation, Done("stop"))
    everything = await log.list()
    assert [one.generation for one in everything] == [one.generation for one in reversed(made)]
    assert [one.generation for one in await log.list(limit=2)] == [made[5].generation, made[4].generation]
    mine = await log.list(owner="owner0")
    assert [one.generation for one in mine] == [made[at].generation for at in (4, 2, 0)]
    assert (mine[0].status, mine[0].position, mine[0].owner, mine[0].model) == ("done", 3, "owner0", "m")
    assert mine[1].status == "running"
    assert "SECRET" not in str(everything)


async def test_erasing_an_owner_ends_what_runs_and_leaves_nothing_of_it(server: RedisServer, opener: _Opener) -> None:
    log = await opener()
    it = draft(owner="me", key="k")
    running = await log.create(it)
    done, yours = await begin(log, owner="me"), await begin(log, owner="you", key="k")
    await write(log, done, texts("SECRET"))
    await log.end(done.generation, Done("stop"))
    seen: list[Record] = []
    stop = log.observe(running.generation, seen.append)
    assert await log.erase("me") == 2
    assert [type(record.event) for record in seen] == [Aborted]
    stop()
    for one in (running, done):
        assert isinstance(await outcome(whole(log, one)), Unknown)
    assert isinstance(await outcome(log.find("me", "k")), Unknown)
    assert isinstance(await outcome(log.restore(it, texts("back"), epoch=1)), Closed)
    assert await log.list(owner="me") == ()
    assert [one.generation for one in await log.list()] == [yours.generation]
    assert await log.erase("me") == 0
    left = server.ask("KEYS", f"{log._places.prefix}:*").split()
    # Only that it was: so that a writer cannot restore it.
    assert {key.split(":")[2] for key in left if done.generation in key} == {"gone"}


# URLs


async def test_a_master_is_found_through_its_sentinel() -> None:
    with redis_sentinel() as (url, _master):
        async with nodes(url) as (writer, reader):
            opened = await begin(writer)
            await reader.read(opened.generation)
            seen: list[Record] = []
            stop = reader.observe(opened.generation, seen.append)
            await write(writer, opened, texts("a"))
            await until(lambda: seen)
            stop()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis://",
        "redis://:sesame@:6379",
        "redis://:sesame@host:port",
        "redis://:sesame@host/first",
        "redis+sentinel://:sesame@host:1",
        "redis+sentinel://:sesame@host:1/master/x",
        "redis+cluster://:sesame@host:1,",
    ],
)
def test_a_wrong_url_is_refused_with_the_remedy_and_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="Use redis://") as caught:
        RedisLog.from_url(url)
    assert "sesame" not in str(caught.value)


def test_without_the_package_the_command_that_installs_it_is_named() -> None:
    program = "import sys; sys.modules['redis'] = None; import dazi.log.redis"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert "pip install 'dazi[redis]'" in result.stderr
