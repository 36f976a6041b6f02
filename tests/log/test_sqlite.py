from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.log.contract import (
    Backend,
    Clock,
    ClockedLogContract,
    TogetherContract,
    begin,
    covers_all,
    draft,
    fold,
    follow,
    outcome,
    proves_itself,
    stamped,
    texts,
    whole,
    write,
)
from tests.waiting import A_SECOND, until

from dazi.errors import Closed, ConfigError, OutOfOrder, StoreUnavailable, Unavailable, Unknown
from dazi.events import Aborted, Done, Failed, Reasoning, Retract, Text
from dazi.log import Append, Cursor, Leases, Log, Opened, Record, Shelf
from dazi.log.sqlite import SqliteLog, file, tables
from dazi.log.sqlite.journal import Journal, Moment
from dazi.log.sqlite.threads import LATEST

Open = Callable[..., Awaitable[SqliteLog]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Open a log, `log.db` unless told otherwise: `await opened("other.db", ttl=…)`."""
    logs: list[SqliteLog] = []

    async def start(name: str = "log.db", **options: object) -> SqliteLog:
        logs.append(SqliteLog(tmp_path / name, **options))  # type: ignore[arg-type]  # its own
        await logs[-1].open()
        return logs[-1]

    yield start
    for log in logs:
        await log.close()


@pytest.fixture
def backend(opened: Open) -> Backend:
    """Open one log a test, or one for each set of options: ids are random, so it is empty to those who ask."""
    logs: list[SqliteLog] = []

    async def open_sqlite(**options: object) -> SqliteLog:
        if options or not logs:
            logs.append(await opened(f"{len(logs)}.db", **options))
        return logs[-1]

    return Backend(open_sqlite)


class TestSqliteLog(ClockedLogContract, TogetherContract):
    pass


def said(records: tuple[Record, ...]) -> str:
    return fold(record.event for record in records).text


def sql(path: Path, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


# What is kept


async def test_a_log_is_there_when_its_file_is_opened_again(opened: Open) -> None:
    log = await opened()
    one = await begin(log, key="k", fingerprint="f")
    await write(log, one, stamped([Text("你"), Reasoning("hm"), Text("\0\u2028😀")]))
    end = await log.end(one.generation, Done("stop"))
    page = await whole(log, one)
    await log.close()
    again = await opened()
    assert await whole(again, one) == page
    assert page.end == end.event
    assert (await again.find("owner", "k")).fingerprint == "f"


async def test_it_has_the_powers_of_a_durable_log(opened: Open) -> None:
    log = await opened()
    assert isinstance(log, Leases)
    assert isinstance(log, Shelf)


async def test_appends_of_one_turn_are_one_commit_and_one_row_each(opened: Open, tmp_path: Path) -> None:
    log = await opened()
    logs = [await begin(log) for _ in range(50)]
    frames = (tmp_path / "log.db-wal").stat().st_size
    version = await log._ask(_data_version)
    await asyncio.gather(*(write(log, one, texts(*"abcdefgh")) for one in logs))
    assert await log._ask(_data_version) == version + 1
    assert (tmp_path / "log.db-wal").stat().st_size > frames
    assert sql(tmp_path / "log.db", "SELECT count(*) FROM head WHERE position = 9") == [(50,)]
    assert sql(tmp_path / "log.db", "SELECT count(*) FROM part") == [(100,)]


async def test_a_commit_writes_pages_by_the_commit_and_not_by_the_log(opened: Open, tmp_path: Path) -> None:
    log = await opened()
    logs = [await begin(log) for _ in range(64)]
    piece = texts("x" * 20)
    for at in range(50):  # so long that with an index by log each would have pages of its own
        await log.append_all([Append(one.generation, piece, at + 1, 1) for one in logs])
    await asyncio.to_thread(log._empty_wal)
    await log.append_all([Append(one.generation, piece, 51, 1) for one in logs])
    assert (tmp_path / "log.db-wal").stat().st_size / 4096 < len(logs) / 4


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


async def test_a_long_log_is_read_from_everywhere_in_it(opened: Open) -> None:
    """More parts than are taken at a time."""
    log = await opened()
    one = await begin(log)
    pieces = texts(*(f"{count} " for count in range(2500)))
    await asyncio.gather(
        *(log.append(one.generation, (piece,), previous=at, epoch=1) for at, piece in enumerate(pieces, 1))
    )
    for position in (1, 2, 1000, 1499, 1500, 1501, 2000, 2499, 2500, 2501):
        page = await log.read(one.generation, Cursor(1, position))
        assert covers_all(page.records, after=position, head=2501)
        assert said(page.records) == "".join(f"{count} " for count in range(position - 1, 2500))
    assert said((await whole(log, one)).records) == "".join(f"{count} " for count in range(2500))
    await write(log, one, (Retract("", 0, "policy"),), previous=2501)
    assert said((await whole(log, one)).records) == ""
    await log.end(one.generation, Aborted())
    assert await log.erase("owner") == 1
    assert await log._ask(lambda connection: connection.execute("SELECT count(*) FROM part").fetchone()) == (0,)


async def test_a_commit_that_fails_leaves_no_belief_in_it(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await opened()
    one = await begin(log)
    await write(log, one, texts("a"))
    flush = Journal._flush

    def fails(*arguments: object) -> None:
        flush(*arguments)  # type: ignore[arg-type]  # what came
        monkeypatch.setattr(Journal, "_flush", flush)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Journal, "_flush", fails)
    with pytest.raises(StoreUnavailable):
        await write(log, one, texts("b"), previous=2)
    assert await write(log, one, texts("ab"), previous=2) == 3
    assert (await whole(log, one)).head.position == 3


async def test_an_append_in_the_middle_of_a_row_is_cut_out_of_it(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    await write(log, one, texts(*"abcdefgh"))
    page = await log.read(one.generation, Cursor(1, 4))
    assert (said(page.records), page.records[0].previous, page.matched) == ("defgh", 4, True)


async def test_only_the_user_may_read_the_file(opened: Open, tmp_path: Path) -> None:
    await begin(await opened())
    assert {oct((tmp_path / name).stat().st_mode & 0o777) for name in os.listdir(tmp_path)} == {"0o600"}  # noqa: PTH208  # in the loop


# Two logs on one file, as two processes have


async def test_a_reader_on_one_follows_what_another_writes(opened: Open) -> None:
    here, there = await opened(), await opened()
    one = await begin(here)
    reading = asyncio.create_task(follow(there, one.generation))
    hearing: list[Record] = []
    there.observe(one.generation, hearing.append)
    await whole(there, one)
    previous = 1
    for piece in texts(*"0123456789"):
        previous = await write(here, one, (piece,), previous=previous)
        await asyncio.sleep(random.Random(previous).random() * 0.03)
    await here.end(one.generation, Done("stop"))
    assert fold(await asyncio.wait_for(reading, 5)).text == "0123456789"
    await until(lambda: hearing and hearing[-1].event.ends)
    assert covers_all(hearing, after=1, head=12)


@pytest.mark.alone
async def test_an_abort_there_is_heard_here_within_a_second(opened: Open) -> None:
    here, there = await opened(), await opened()
    one = await begin(here)
    seen: list[Record] = []
    here.observe(one.generation, seen.append)
    await write(here, one, texts("a"))
    await there.end(one.generation, Aborted())
    await until(lambda: seen and seen[-1].event.ends, seconds=A_SECOND)
    assert [record.position for record in seen] == [2, 3]
    with pytest.raises(Closed):
        await write(here, one, texts("b"), previous=2)


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_races_every_observer_hears_the_same_once_and_in_order(opened: Open, seed: int) -> None:
    dice = random.Random(seed)
    nodes = [await opened() for _ in range(3)]
    one = await begin(nodes[0])
    heard: list[list[Record]] = [[] for _ in nodes]
    for node, records in zip(nodes, heard, strict=True):
        node.observe(one.generation, records.append)
        await whole(node, one)
    previous = 1
    for piece in texts(*"abcdefghijklmnopqrst"):
        previous = await write(dice.choice(nodes), one, (piece,), previous=previous)
        await asyncio.sleep(dice.choice([0, 0, 0.005, 0.03]))
    ends = await asyncio.gather(*(outcome(node.end(one.generation, Done("stop"))) for node in nodes))
    assert sum(isinstance(end, Record) for end in ends) == 1
    for records in heard:
        await until(partial(_has_ended, records))
        assert covers_all(records, after=1, head=22)
        assert said(tuple(records)) == "abcdefghijklmnopqrst"


def _has_ended(records: list[Record]) -> bool:
    return bool(records) and records[-1].event.ends


async def test_a_key_is_one_logs_on_all_of_them(opened: Open) -> None:
    nodes = [await opened() for _ in range(3)]
    found = await asyncio.gather(*(begin(node, key="k") for node in nodes for _ in range(5)))
    assert [one.created for one in found].count(True) == 1
    assert len({one.generation for one in found}) == 1


async def test_who_observes_nothing_does_not_look(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    stop = log.observe(one.generation, lambda _: None)
    await whole(log, one)
    assert log._watcher
    assert log._watcher._attended
    stop()
    await whole(log, one)
    assert not log._watcher._attended


async def test_who_follows_what_is_silent_asks_the_shared_memory_alone_and_not_often(opened: Open) -> None:
    """However many follow, and however long: what is counted are statements, and the most there can be of them."""
    here, there = await opened(), await opened()
    logs = [await begin(here) for _ in range(20)]
    stops = [there.observe(one.generation, lambda _: None) for one in logs for _ in range(10)]
    await whole(there, logs[-1])
    asked: list[str] = []
    began = asyncio.get_running_loop().time()
    await there._ask(lambda connection: connection.set_trace_callback(asked.append))
    await asyncio.sleep(1)
    await there._ask(lambda connection: connection.set_trace_callback(None))
    passed = asyncio.get_running_loop().time() - began
    assert set(asked) == {"PRAGMA data_version"}
    # Soon after there was something, then at the slowest pace.
    assert 0 < len(asked) <= passed / LATEST + 6
    for stop in stops:
        stop()


# Leases


async def test_what_is_not_renewed_is_ended_by_whoever_sweeps(opened: Open) -> None:
    clock = Clock()
    here, there = await opened(clock=clock, lease=8), await opened(clock=clock, lease=8)
    lost, held = await begin(here), await begin(here)
    last = await write(here, lost, texts("a", "b"))
    clock.now += 7.9
    assert await here.renew({held.generation: held.epoch}) == frozenset()
    assert await there.sweep() == ()
    clock.now += 0.1
    swept = await asyncio.gather(there.sweep(), here.sweep(), there.sweep())
    assert sorted(swept) == [(), (), (lost.generation,)]
    page = await whole(there, lost)
    assert isinstance(page.end, Failed)
    assert (page.end.code, page.end.retryable, said(page.records)) == ("producer_lost", True, "ab")
    assert page.head == Cursor(lost.epoch + 1, last + 1)
    assert proves_itself(page.records)
    with pytest.raises(Closed):
        await write(here, lost, texts("c"), previous=last)
    assert await here.renew({lost.generation: lost.epoch, held.generation: held.epoch}) == {lost.generation}


async def test_a_reader_of_a_lost_log_goes_on_to_its_end(opened: Open) -> None:
    clock = Clock()
    log = await opened(clock=clock, lease=1)
    one = await begin(log)
    await write(log, one, texts("a", "b"))
    clock.now += 1
    await log.sweep()
    page = await log.read(one.generation, Cursor(one.epoch, 2))
    assert (page.matched, said(page.records), page.records[-1].epoch) == (True, "b", one.epoch + 1)
    assert not (await log.read(one.generation, Cursor(one.epoch, 4))).matched
    assert (await log.read(one.generation, Cursor(one.epoch + 1, 4))).matched


async def test_a_writer_of_another_epoch_is_refused(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    with pytest.raises(OutOfOrder):
        await log.append(one.generation, texts("a"), previous=1, epoch=one.epoch + 1)


@pytest.mark.parametrize("change", ["renewed = 1e12", "renewed = -1e12", "lease = 0"])
async def test_a_lease_that_somebody_took_away_is_none(opened: Open, tmp_path: Path, change: str) -> None:
    clock = Clock()
    log = await opened(clock=clock, lease=8)
    one, held = await begin(log), await begin(log)
    sql(tmp_path / "log.db", f"UPDATE log SET {change} WHERE generation = ?", one.generation)  # noqa: S608  # our own words
    clock.now += 1
    assert await log.sweep() == (one.generation,)
    assert await log.renew({held.generation: held.epoch}) == frozenset()


async def test_another_boot_ends_every_lease(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    log = await opened(clock=clock, lease=1000)
    one = await begin(log)
    await log.close()
    monkeypatch.setattr(file, "boot", lambda: "another")
    clock.now = 5.0
    log = await opened(clock=clock, lease=1000)
    assert await log.sweep() == (one.generation,)


async def test_another_boot_keeps_a_log_for_what_is_left_of_its_time(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    log = await opened(clock=clock, ttl=1000)
    one = await begin(log)
    await log.end(one.generation, Done("stop"))
    clock.now += 400
    await log.sweep()
    await log.close()
    monkeypatch.setattr(file, "boot", lambda: "another")
    clock.now = 10_000.0
    log = await opened(clock=clock, ttl=1000)
    clock.now += 599
    assert (await whole(log, one)).ended
    clock.now += 2
    with pytest.raises(Unknown):
        await whole(log, one)


# Forgetting


async def test_what_expired_leaves_the_file_and_gives_its_room_back(opened: Open, tmp_path: Path) -> None:
    clock = Clock()
    log = await opened(clock=clock, ttl=10)
    sizes = []
    for _ in range(4):
        logs = await asyncio.gather(*(begin(log) for _ in range(60)))
        await asyncio.gather(*(write(log, one, texts("x" * 20_000)) for one in logs))
        await asyncio.gather(*(log.end(one.generation, Done("stop")) for one in logs))
        sizes.append(await log._ask(_pages))
        clock.now += 10
        await log.sweep()
    assert max(sizes) < 1.5 * sizes[0]
    assert await log._ask(_pages) < sizes[0] / 4
    assert sql(tmp_path / "log.db", "SELECT count(*) FROM part") == [(0,)]


async def test_a_long_commit_leaves_no_long_file_behind(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_CHECKPOINT", 50)
    clock = Clock()
    log = await opened(clock=clock, ttl=10)
    logs = await asyncio.gather(*(begin(log) for _ in range(40)))
    await asyncio.gather(*(write(log, one, texts("x" * 50_000)) for one in logs))
    await asyncio.gather(*(log.end(one.generation, Done("stop")) for one in logs))
    clock.now += 10
    await log.sweep()
    assert _bytes(tmp_path) > 2_000_000
    # The next commit begins the write-ahead log anew.
    await begin(log)
    assert _bytes(tmp_path) < 500_000


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def test_what_is_erased_is_nowhere_in_the_files(opened: Open, tmp_path: Path) -> None:
    log = await opened()
    mine = [await begin(log, owner="me", key=f"{count}") for count in range(120)]
    yours = await begin(log, owner="you")
    await asyncio.gather(*(write(log, one, texts("SECRET")) for one in [*mine, yours]))
    for one in mine[:100]:
        await log.end(one.generation, Done("stop"))
    heard: list[Record] = []
    log.observe(mine[-1].generation, heard.append)
    assert await log.erase("me") == 120
    assert heard[-1].event.ends
    assert await log.erase("me") == 0
    assert await log.list(owner="me") == ()
    with pytest.raises(Unknown):
        await whole(log, mine[0])
    with pytest.raises(Unknown):
        await log.find("me", "3")
    assert said((await whole(log, yours)).records) == "SECRET"
    await log.erase("you")
    await log.close()
    assert [name for name in os.listdir(tmp_path) if b"SECRET" in (tmp_path / name).read_bytes()] == []  # noqa: PTH208  # in the loop


async def test_the_shelf_shows_the_newest_first_and_nothing_of_what_was_said(opened: Open) -> None:
    log = await opened()
    first, second = await begin(log, owner="a"), await begin(log, owner="b")
    await write(log, second, texts("SECRET"))
    await log.end(first.generation, Aborted())
    listed = await log.list()
    assert [(one.generation, one.owner, one.status, one.position) for one in listed] == [
        (second.generation, "b", "running", 2),
        (first.generation, "a", "aborted", 2),
    ]
    assert [one.generation for one in await log.list(owner="a")] == [first.generation]
    assert len(await log.list(limit=1)) == 1
    assert "SECRET" not in str(listed)


async def test_what_was_retracted_is_not_in_the_tables(opened: Open, tmp_path: Path) -> None:
    log = await opened()
    one = await begin(log)
    last = await write(log, one, stamped([Text("SECRET"), Reasoning("fine")]))
    await write(log, one, stamped([Text("SECRET"), Retract("sorry", 0, "policy"), Text("!")]), previous=last)
    assert "SECRET" not in str(sql(tmp_path / "log.db", "SELECT body FROM part"))
    assert said((await whole(log, one)).records) == "sorry!"


async def test_a_full_file_refuses_new_logs_and_takes_what_runs(opened: Open) -> None:
    log = await opened(max_bytes=500_000)
    running = await begin(log, key="running")
    last = await write(log, running, texts("x" * 600_000))
    with pytest.raises(Unavailable) as caught:
        await log.create(draft())
    assert (caught.value.code, caught.value.status) == ("log_full", 503)
    assert not (await begin(log, key="running")).created
    await write(log, running, texts("y"), previous=last)
    await log.end(running.generation, Done("stop"))
    await log.erase("owner")
    assert (await begin(log)).created


# Upgrades


async def test_an_older_file_is_upgraded_in_place_once(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened()
    one = await begin(log)
    await write(log, one, texts("a"))
    await log.close()
    monkeypatch.setattr(file, "STEPS", (*file.STEPS, ("ALTER TABLE log ADD COLUMN extra TEXT DEFAULT 'new'",)))
    logs = await asyncio.gather(*(opened() for _ in range(4)))
    assert said((await whole(logs[0], one)).records) == "a"
    assert sql(tmp_path / "log.db", "SELECT extra FROM log") == [("new",)]
    assert sql(tmp_path / "log.db", "PRAGMA user_version") == [(len(file.STEPS),)]


async def test_an_upgrade_that_fails_changes_nothing(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await begin(await opened())
    broken = (*file.STEPS, ("ALTER TABLE log ADD COLUMN extra TEXT", "NONSENSE"))
    with monkeypatch.context() as patch:
        patch.setattr(file, "STEPS", broken)
        with pytest.raises(ConfigError, match=r"log\.db failed: .*NONSENSE"):
            await opened()
    assert sql(tmp_path / "log.db", "PRAGMA user_version") == [(2,)]
    assert (await whole(await opened(), one)).head.position == 1


async def test_the_first_versions_file_can_be_opened_for_ever(opened: Open, tmp_path: Path) -> None:
    """The file that version 1 made, as SQL."""
    script = (Path(__file__).parent / "sqlite_v1.sql").read_text("utf-8")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript(script)
    log = await opened()
    page = await log.read("0123456789abcdef0123456789abcdef")
    assert (said(page.records), type(page.end)) == ("你好", Done)
    assert proves_itself(page.records)
    assert (await log.read("0123456789abcdef0123456789abcdef", Cursor(1, 2))).records[0].previous == 2


async def test_what_the_first_version_left_running_goes_on(opened: Open, tmp_path: Path) -> None:
    script = (Path(__file__).parent / "sqlite_v1.sql").read_text("utf-8")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript(script)
        connection.executescript(
            """DELETE FROM entry WHERE position = 4; UPDATE log SET ended = NULL, "end" = NULL;
               INSERT INTO log SELECT 2, 'ff' || substr(generation, 3), owner, 'other', fingerprint, model, created, 1, 0, renewed,
                   lease, NULL, NULL FROM log;
               INSERT INTO entry SELECT id + 10, 2, previous, position, epoch, writer, n, crc32, body FROM entry;"""
        )
    log = await opened()
    one = Opened("ff23456789abcdef0123456789abcdef", 1, created=False, fingerprint="f")
    assert await write(log, one, (Text("!", 3),), previous=3) == 4
    end = await log.end(one.generation, Done("stop"))
    page = await whole(log, one)
    assert (said(page.records), page.records[-1]) == ("你好!", end)
    assert isinstance(end.event, Done)
    assert end.event.crc32 == zlib.crc32("你好!".encode())
    assert [other.position for other in await log.list()] == [5, 3]


# Files that will not do


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing/log\.db cannot be opened: No such file or directory\. Make its"):
        await SqliteLog(tmp_path / "missing" / "log.db").open()


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened: Is a directory"):
        await SqliteLog(tmp_path).open()


async def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n" * 1000, "utf-8")
    with pytest.raises(ConfigError, match="is not a SQLite database"):
        await SqliteLog(path).open()
    assert path.read_text("utf-8") == "dear diary\n" * 1000


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    sql(tmp_path / "log.db", "CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="database of another program"):
        await SqliteLog(tmp_path / "log.db").open()
    assert sql(tmp_path / "log.db", "SELECT name FROM sqlite_schema") == [("theirs",)]


async def test_a_newer_file_is_left_alone(opened: Open, tmp_path: Path) -> None:
    await (await opened()).close()
    sql(tmp_path / "log.db", "PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer Dazi"):
        await opened()


async def test_a_locked_file_is_told(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_BUSY", 0.2)
    log = await opened()
    one = await begin(log)
    with closing(_locked(tmp_path / "log.db")):
        with pytest.raises(StoreUnavailable, match="is locked by another program"):
            await write(log, one, texts("a"))
        assert not (await whole(log, one)).ended
    assert await write(log, one, texts("a")) == 2


async def test_a_full_disk_is_told_and_recovers(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    with file_size_limited():
        with pytest.raises(StoreUnavailable, match=r"log\.db .*\(SQLITE_(FULL|IOERR)"):
            await write(log, one, texts("x" * 3_000_000))
        assert (await whole(log, one)).head.position == 1
    with file_size_limited(1000), pytest.raises(StoreUnavailable):
        await log.touch()
    await log.touch()
    assert await write(log, one, texts("x" * 3_000_000)) == 2


@contextmanager
def file_size_limited(size: int = 1_000_000) -> Iterator[None]:
    """Let no file be written beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_file_that_became_read_only_is_told(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    assert log._committer
    log._committer._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match=r"is read-only \(SQLITE_READONLY"):
        await write(log, one, texts("a"))
    log._committer._connection.execute("PRAGMA query_only = OFF")
    assert await write(log, one, texts("a")) == 2


async def test_a_closed_log_says_so(opened: Open) -> None:
    log = await opened()
    one = await begin(log)
    await log.close()
    await log.close()
    for call in (log.create(draft()), whole(log, one), log.end(one.generation, Done("stop"))):
        with pytest.raises(StoreUnavailable, match="is not open"):
            await call


async def test_what_was_begun_is_finished_before_it_closes(opened: Open, tmp_path: Path) -> None:
    log = await opened()
    one = await begin(log)
    writing = [asyncio.create_task(write(log, one, (piece,), previous=at)) for at, piece in enumerate(texts(*"ab"), 1)]
    await asyncio.sleep(0)
    await log.close()
    assert await asyncio.gather(*writing) == [2, 3]
    assert sql(tmp_path / "log.db", "SELECT max(position) FROM head") == [(3,)]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("dazi")]


# Processes that die, or sleep too long


@dataclass(frozen=True, slots=True)
class Child:
    """A process that writes when told to, by lines of its standard input: see `child.py`."""

    process: asyncio.subprocess.Process

    async def tell(self, line: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n".encode())
        return (await asyncio.wait_for(self.process.stdout.readline(), 10)).decode().strip()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.mark.parametrize("dies", [False, True])
async def test_a_process_stopped_in_mid_commit_is_told_of_and_hinders_no_reader(
    opened: Open, child: Child, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    monkeypatch.setattr(file, "_BUSY", 0.3)
    log = await opened()
    one = await begin(log)
    await write(log, one, texts("a"))
    assert await child.tell("commit") == "committing"
    child.process.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match="is locked by another program"):
        await write(log, one, texts("ab"), previous=2)
    # From then on nobody waits long to be told.
    monkeypatch.setattr(file, "_BUSY", 600)
    for call in (begin(log), log.renew({one.generation: 1}), write(log, one, texts("ab"), previous=2)):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, 10)
    assert said((await asyncio.wait_for(whole(log, one), 10)).records) == "a"
    if dies:
        await child.kill()
    else:
        child.process.send_signal(signal.SIGCONT)
        assert await child.tell("go on") == "committed"
    assert await write(log, one, texts("ab"), previous=2) == 3
    assert (await log.list())[0].model == ("m" if dies else "changed")


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).parent / "sqlite_child.py"), str(tmp_path / "log.db")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    yield Child(process)
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    await process.wait()


@pytest.mark.parametrize("seed", range(3))
async def test_everything_that_was_shown_before_a_kill_is_there(opened: Open, child: Child, seed: int) -> None:
    dice = random.Random(seed)
    generation = await child.tell("create")
    log = await opened(lease=0.5)
    shown: list[Record] = []
    log.observe(generation, shown.append)
    await log.read(generation)
    assert child.process.stdin
    child.process.stdin.write(b"race\n")
    enough = dice.randrange(5, 60)
    await until(lambda: len(shown) >= enough)
    await child.kill()
    page = await log.read(generation)
    assert said(page.records).startswith(said(tuple(shown)))
    assert proves_itself(page.records)
    await until_swept(log, generation)
    page = await log.read(generation)
    assert isinstance(page.end, Failed)
    assert (page.end.code, page.end.n) == ("producer_lost", len(said(page.records)))
    assert [record.event.ends for record in page.records].count(True) == 1


async def until_swept(log: Log, generation: str) -> None:
    assert isinstance(log, Leases)
    async with asyncio.timeout(10):
        while generation not in await log.sweep():  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.02)


async def test_a_process_that_sleeps_beyond_its_lease_wakes_up_fenced_off(opened: Open, child: Child) -> None:
    generation = await child.tell("create")
    assert await child.tell("append a") == "stored"
    log = await opened(lease=0.5)
    os.kill(child.process.pid, signal.SIGSTOP)
    await until_swept(log, generation)
    os.kill(child.process.pid, signal.SIGCONT)
    assert await child.tell("append b") == "Closed"
    assert await child.tell("renew") == "lost"
    assert said((await log.read(generation)).records) == "a"


async def test_a_process_that_sleeps_less_than_its_lease_goes_on(opened: Open, child: Child) -> None:
    generation = await child.tell("create")
    log = await opened(lease=0.5)
    os.kill(child.process.pid, signal.SIGSTOP)
    assert await log.sweep() == ()
    os.kill(child.process.pid, signal.SIGCONT)
    assert await child.tell("renew") == "held"
    assert await child.tell("append a") == "stored"
    assert said((await log.read(generation)).records) == "a"


# Cost


async def test_the_rest_after_a_position_is_read_without_what_is_before(opened: Open) -> None:
    """Shown by the rows that are decoded: time would be noise."""
    log = await opened()
    one = await begin(log)
    previous, pieces = 1, texts(*(f"{count} " for count in range(3000)))
    for at in range(0, 3000, 10):
        previous = await write(log, one, pieces[at : at + 10], previous=previous)
    steps = {at: await log._ask(partial(_steps, one=one, position=at)) for at in (1, 1500, 2950)}
    assert steps[2950] < steps[1500] / 5 < steps[1]
    assert steps[1] > 10 * steps[2950]


def _steps(connection: sqlite3.Connection, one: Opened, position: int) -> int:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 10)
    tables.read(connection, one.generation, Cursor(1, position), Moment(0, 0, -1))
    connection.set_progress_handler(None, 0)
    return count
