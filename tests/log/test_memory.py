from __future__ import annotations

import tracemalloc

import pytest
from tests.log.contract import (
    Backend,
    Clock,
    ClockedLogContract,
    begin,
    covers_all,
    draft,
    fold,
    proves_itself,
    texts,
    whole,
    write,
)

from dazi.errors import Closed, OutOfOrder, Unavailable, Unknown
from dazi.events import Done, Retract, Text, ToolCall
from dazi.log import Cursor, Opened, Record
from dazi.log.memory import MemoryLog


async def open_memory(**options: object) -> MemoryLog:
    return MemoryLog(**options)  # type: ignore[arg-type]  # the contract's own


class TestMemoryLog(ClockedLogContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return Backend(open_memory)


# The power to append at once


async def test_an_append_at_once_is_shown_before_it_returns() -> None:
    log = MemoryLog()
    opened = await begin(log)
    seen: list[Record] = []
    log.observe(opened.generation, seen.append)
    log.append_nowait(opened.generation, Text("a", 1), previous=1, epoch=opened.epoch)
    assert seen == [Record(opened.epoch, 1, 2, Text("a", 1))]


async def test_an_append_at_once_keeps_the_laws_of_append() -> None:
    log = MemoryLog()
    opened = await begin(log)
    with pytest.raises(OutOfOrder):
        log.append_nowait(opened.generation, Text("a", 1), previous=2, epoch=opened.epoch)
    with pytest.raises(Unknown):
        log.append_nowait("nothing", Text("a", 1), previous=1, epoch=opened.epoch)
    await log.end(opened.generation, Done("stop"))
    with pytest.raises(Closed):
        log.append_nowait(opened.generation, Text("a", 1), previous=2, epoch=opened.epoch)


# Room


async def ended(log: MemoryLog, size: int, key: str) -> Opened:
    opened = await begin(log, key=key)
    await write(log, opened, texts("x" * size))
    await log.end(opened.generation, Done("stop"))
    return opened


async def test_the_oldest_end_is_forgotten_first_when_room_is_needed() -> None:
    log = MemoryLog(max_bytes=100_000)
    running = await begin(log, key="running")
    await write(log, running, texts("r" * 20_000))
    first, second = await ended(log, 30_000, "first"), await ended(log, 30_000, "second")
    third = await ended(log, 30_000, "third")
    await begin(log)
    with pytest.raises(Unknown):
        await whole(log, first)
    with pytest.raises(Unknown):
        await log.find("owner", "first")
    assert (await begin(log, key="first")).created
    assert (await whole(log, second)).ended
    assert (await whole(log, third)).ended
    assert not (await whole(log, running)).ended


async def test_when_only_running_logs_are_left_a_new_one_is_refused() -> None:
    log = MemoryLog(max_bytes=50_000)
    running = await begin(log, key="running")
    await write(log, running, texts("r" * 60_000))
    with pytest.raises(Unavailable) as caught:
        await log.create(draft())
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("log_full", 503, True)
    assert not (await begin(log, key="running")).created
    await log.end(running.generation, Done("stop"))
    assert (await begin(log)).created


async def test_a_full_log_still_takes_what_runs() -> None:
    log = MemoryLog(max_bytes=10_000)
    opened = await begin(log)
    last = await write(log, opened, texts("x" * 20_000))
    await write(log, opened, texts("y" * 20_000), previous=last)
    assert (await whole(log, opened)).head.position == 3


async def test_room_is_given_back_when_logs_expire() -> None:
    clock = Clock()
    log = MemoryLog(max_bytes=100_000, ttl=10, clock=clock)
    for count in range(50):
        await ended(log, 90_000, f"k{count}")
        clock.now += 10
    await write(log, await begin(log), texts("x" * 90_000))
    assert (await begin(log)).created


# The shelf


async def test_the_list_shows_the_newest_first_and_nothing_of_what_was_said() -> None:
    log = MemoryLog()
    first, second = await begin(log, owner="a"), await begin(log, owner="b")
    await write(log, second, texts("SECRET"))
    await log.end(first.generation, Done("stop"))
    listed = await log.list()
    assert [(one.generation, one.owner, one.status, one.position) for one in listed] == [
        (second.generation, "b", "running", 2),
        (first.generation, "a", "done", 2),
    ]
    assert [one.generation for one in await log.list(owner="a")] == [first.generation]
    assert len(await log.list(limit=1)) == 1
    assert "SECRET" not in str(listed)


async def test_an_owner_is_erased_whole_and_what_runs_is_ended_first() -> None:
    log = MemoryLog()
    done, running = await ended(log, 10, "done"), await begin(log, key="running")
    other = await begin(log, owner="other")
    seen: list[Record] = []
    log.observe(running.generation, seen.append)
    assert await log.erase("owner") == 2
    assert seen[-1].event.ends
    for one in (done, running):
        with pytest.raises(Unknown):
            await whole(log, one)
    assert (await begin(log, key="done")).created
    assert not (await whole(log, other)).ended
    assert await log.erase("nobody") == 0


# Memory


def bytes_kept_of(pieces: int) -> int:
    log = MemoryLog()

    async def fill() -> Opened:
        opened = await begin(log)
        for count in range(pieces):
            piece = Text(f"语言模型{count:06}", 10 * (count + 1))
            log.append_nowait(opened.generation, piece, previous=count + 1, epoch=opened.epoch)
        return opened

    coroutine = fill()
    tracemalloc.start()
    with pytest.raises(StopIteration):
        coroutine.send(None)  # no loop, whose own memory would be counted
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept


def test_a_long_running_answer_costs_about_its_own_length() -> None:
    text_alone = 20_000 * len("语言模型000000") * 2
    assert bytes_kept_of(20_000) < 2.5 * text_alone


async def test_pieces_of_tool_calls_are_weighed_as_the_objects_they_are() -> None:
    log = MemoryLog(max_bytes=1_000_000)
    opened = await begin(log)
    await write(log, opened, tuple(ToolCall(0, arguments="x") for _ in range(20_000)))
    with pytest.raises(Unavailable):
        await begin(log)


async def test_reading_while_writing_changes_nothing() -> None:
    log = MemoryLog()
    opened = await begin(log)
    previous = 1
    for piece in texts(*"abcdefgh"):
        previous = await write(log, opened, (piece,), previous=previous)
        page = await log.read(opened.generation, Cursor(opened.epoch, previous - 1))
        assert fold(record.event for record in page.records).text == piece.text  # type: ignore[union-attr]  # all are texts
    assert fold(record.event for record in (await whole(log, opened)).records).text == "abcdefgh"


async def test_texts_on_both_sides_of_a_retraction_do_not_flow_together() -> None:
    log = MemoryLog()
    opened = await begin(log)
    await write(log, opened, (Text("ab", 2), Retract("c", 1, "policy"), Text("d", 2), Text("e", 3)))
    events = [record.event for record in (await whole(log, opened)).records[1:]]
    assert events == [Retract("c", 1, "policy"), Text("de", 3)]


async def test_a_piece_that_is_longer_than_a_record_is_read_whole() -> None:
    log = MemoryLog()
    opened = await begin(log)
    pieces = texts("a", "好" * 5000, "b", "𠮷" * 5000)
    await write(log, opened, pieces)
    records = (await whole(log, opened)).records
    assert covers_all(records, after=0, head=5)
    assert proves_itself(records)
    assert fold(record.event for record in records).text == fold(pieces).text
