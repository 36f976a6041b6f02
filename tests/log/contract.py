"""The laws of `dazi.log`, which every backend keeps: subclass `LogContract`, or
`ClockedLogContract`, as a test class with a fixture `backend`.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.waiting import until

from dazi.errors import Closed, LogError, OutOfOrder, Unknown
from dazi.events import (
    Aborted,
    Answer,
    Done,
    End,
    Event,
    Failed,
    Piece,
    Reasoning,
    Retract,
    Snapshot,
    Started,
    Text,
    ToolCall,
)
from dazi.log import START, Append, AppendsTogether, Cursor, Draft, Log, Opened, Page, Record, TellsOwner

# One of everything that has ever been cut, counted or escaped wrongly.
SAMPLES = (
    "a",
    "好",
    "𠮷",
    "👩🏽‍🚀",
    "🇨🇳",
    "\u2028",
    "\u0085",
    "\0",
    "\r\n",
    "e\u0301",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
)
LOST = Failed("producer_lost", "The server stopped.", retryable=True)


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation: how to open an empty log of it."""

    open: Callable[..., Awaitable[Log]]


def draft(owner: str = "owner", key: str | None = None, fingerprint: str = "") -> Draft:
    started = Started(generation=secrets.token_hex(16), model="m", created=1_700_000_000)
    return Draft(owner, started, key=key, fingerprint=fingerprint)


def units(text: str) -> int:
    """Count UTF-16 units, in another way than the code does."""
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def stamped(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Give the pieces the `n` that a writer would."""
    said = thought = 0
    result: list[Piece] = []
    for piece in pieces:
        match piece:
            case Text(text=text):
                said += units(text)
                result.append(Text(text, said))
            case Reasoning(text=text):
                thought += units(text)
                result.append(Reasoning(text, thought))
            case Retract(text=text, reason=reason):
                said = units(text)
                result.append(Retract(text, said, reason))
            case _:
                result.append(piece)
    return tuple(result)


def texts(*pieces: str) -> tuple[Piece, ...]:
    return stamped(Text(piece) for piece in pieces)


def proves_itself(records: Iterable[Record]) -> bool:
    """Whether each text's `n` is the length of the answer with it; from the start of a log."""
    answer = Answer()
    for record in records:
        answer.fold(record.event)
        if isinstance(record.event, Text) and record.event.n != units(answer.text):
            return False
    return True


def fold(events: Iterable[Event | Snapshot]) -> Answer:
    answer = Answer()
    for event in events:
        answer.fold(event)
    return answer


def standing(answer: Answer) -> tuple[object, ...]:
    """Everything that two readers of one log must agree on."""
    return (answer.text, answer.n, answer.reasoning, answer.tool_calls, answer.end)


def covers_all(records: Sequence[Record], *, after: int, head: int) -> bool:
    """Whether the records cover the positions after `after`, up to `head`, each once."""
    edges = [after, *(edge for record in records for edge in (record.previous, record.position)), head]
    return all(left == right for left, right in zip(edges[::2], edges[1::2], strict=True)) and all(
        earlier.position < later.position for earlier, later in pairwise(records)
    )


async def begin(log: Log, **of_draft: str) -> Opened:
    return await log.create(draft(**of_draft))


async def write(log: Log, opened: Opened, pieces: Sequence[Piece], *, previous: int = 1) -> int:
    """Append the pieces; returns the last position."""
    await log.append(opened.generation, tuple(pieces), previous=previous, epoch=opened.epoch)
    return previous + len(pieces)


async def whole(log: Log, opened: Opened) -> Page:
    return await log.read(opened.generation)


async def outcome(call: Awaitable[object]) -> object:
    """Return what came of a call: its result, or the error of the log."""
    try:
        return await call
    except LogError as error:
        return error


PIECE_TEXT = st.lists(st.sampled_from(SAMPLES) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4).map(
    "".join
)
PIECES: st.SearchStrategy[Piece] = st.one_of(
    PIECE_TEXT.map(Text),
    PIECE_TEXT.map(Text),
    PIECE_TEXT.map(Reasoning),
    st.builds(
        ToolCall,
        st.integers(0, 2),
        call_id=st.none() | st.just("call"),
        name=st.none() | st.just("tool"),
        arguments=PIECE_TEXT,
    ),
    st.builds(Retract, PIECE_TEXT | st.just(""), st.just(0), st.just("policy")),
)
UNRETRACTED = PIECES.filter(lambda piece: not isinstance(piece, Retract))
ENDS: tuple[End, ...] = (Done("stop"), LOST, Aborted())
lasting = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class LogContract:
    """Every test gets `backend`, from the fixture of the subclass."""

    # Creating and finding

    async def test_a_new_log_holds_started_at_position_1(self, backend: Backend) -> None:
        log = await backend.open()
        it = draft()
        opened = await log.create(it)
        page = await whole(log, opened)
        assert opened.created
        assert opened.generation == it.started.generation
        assert page.records == (Record(opened.epoch, 0, 1, it.started),)
        assert (page.owner, page.head, page.end, page.matched, page.ended) == (
            "owner",
            Cursor(opened.epoch, 1),
            None,
            True,
            False,
        )

    async def test_of_many_creates_with_one_key_one_wins_and_all_get_it(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await asyncio.gather(*(begin(log, key="k", fingerprint=f"f{count}") for count in range(20)))
        assert [one.created for one in opened].count(True) == 1
        assert len({(one.generation, one.fingerprint, one.epoch) for one in opened}) == 1

    async def test_the_finder_gets_the_fingerprint_of_the_first(self, backend: Backend) -> None:
        log = await backend.open()
        await begin(log, key="k", fingerprint="first")
        assert (await begin(log, key="k", fingerprint="second")).fingerprint == "first"
        assert (await log.find("owner", "k")).fingerprint == "first"
        assert not (await log.find("owner", "k")).created

    async def test_without_a_key_every_create_is_another_log(self, backend: Backend) -> None:
        log = await backend.open()
        opened = [await begin(log), await begin(log)]
        assert [one.created for one in opened] == [True, True]
        assert opened[0].generation != opened[1].generation

    async def test_a_key_is_its_owners(self, backend: Backend) -> None:
        log = await backend.open()
        mine = await begin(log, owner="me", key="k")
        yours = await begin(log, owner="you", key="k")
        assert mine.generation != yours.generation
        assert (await log.find("me", "k")).generation == mine.generation
        assert (await whole(log, yours)).owner == "you"

    @pytest.mark.parametrize("key", ["", ":", "k:", "{0}", "*", "%", "a/../b", "\x7f", "键"])
    async def test_no_key_is_taken_for_another(self, backend: Backend, key: str) -> None:
        log = await backend.open()
        opened = await begin(log, owner="a", key=key)
        with pytest.raises(Unknown):
            await log.find("a", "k")
        with pytest.raises(Unknown):
            await log.find("a:", key)
        assert (await log.find("a", key)).generation == opened.generation

    async def test_a_log_tells_whose_one_is_without_reading_it(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await log.create(draft("somebody:else 键"))
        assert isinstance(log, TellsOwner)
        assert await log.owner(opened.generation) == "somebody:else 键"
        for nobodys in ("0" * 32, "nothing", ""):
            with pytest.raises(Unknown):
                await log.owner(nobodys)

    async def test_what_never_was_is_unknown_to_every_verb(self, backend: Backend) -> None:
        log = await backend.open()
        with pytest.raises(Unknown):
            await log.find("owner", "k")
        with pytest.raises(Unknown):
            await log.read("nothing")
        with pytest.raises(Unknown):
            await log.append("nothing", texts("a"), previous=1, epoch=1)
        with pytest.raises(Unknown):
            await log.end("nothing", Aborted())
        with pytest.raises(Unknown):
            log.observe("nothing", lambda _: None)

    # Appending

    @pytest.mark.parametrize(("previous", "epoch"), [(0, 0), (1, 0), (3, 0), (99, 0), (-1, 0), (2, 1), (2, -1)])
    async def test_an_append_that_does_not_continue_is_refused_and_leaves_nothing(
        self, backend: Backend, previous: int, epoch: int
    ) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, texts("a"))
        before = await whole(log, opened)
        seen: list[Record] = []
        log.observe(opened.generation, seen.append)
        with pytest.raises(OutOfOrder) as caught:
            await log.append(opened.generation, texts("b", "c"), previous=previous, epoch=opened.epoch + epoch)
        assert caught.value.expected == f"{opened.epoch}-2"
        assert caught.value.got == f"{opened.epoch + epoch}-{previous}"
        assert await whole(log, opened) == before
        assert seen == []

    async def test_of_two_writers_at_one_position_one_wins_whole(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        mine, yours = texts("m1", "m2", "m3"), texts("y1", "y2", "y3")
        results = await asyncio.gather(
            outcome(write(log, opened, mine)), outcome(write(log, opened, yours)), outcome(write(log, opened, mine))
        )
        assert results.count(4) == 1
        assert [type(result) for result in results if result != 4] == [OutOfOrder, OutOfOrder]
        assert fold(record.event for record in (await whole(log, opened)).records).text in {"m1m2m3", "y1y2y3"}

    async def test_a_thousand_events_in_one_go_are_all_there_in_order(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        seen: list[Record] = []
        log.observe(opened.generation, seen.append)
        pieces = texts(*(f"{SAMPLES[count % len(SAMPLES)]}{count} " for count in range(1000)))
        assert await write(log, opened, pieces) == 1001
        page = await whole(log, opened)
        assert page.head.position == 1001
        assert covers_all(page.records, after=0, head=1001)
        assert proves_itself(page.records)
        assert fold(record.event for record in page.records).text == fold(pieces).text
        for position in range(1, 1001, 37):
            rest = (await log.read(opened.generation, Cursor(opened.epoch, position))).records
            assert covers_all(rest, after=position, head=1001)
            assert standing(fold([*pieces[: position - 1], *(one.event for one in rest)])) == standing(fold(pieces))
            assert proves_itself([Record(1, 0, position, fold(pieces[: position - 1]).snapshot()), *rest])  # type: ignore[arg-type]  # a snapshot folds, too
        assert covers_all(seen, after=1, head=1001)
        assert fold(record.event for record in seen).text == fold(pieces).text

    async def test_what_gathered_in_a_long_outage_is_stored_in_one_go(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        seen: list[Record] = []
        log.observe(opened.generation, seen.append)
        # Of changing kinds, so that hardly anything flows together.
        some = (ToolCall(0, arguments="{"), Text("a"), Reasoning("b"), ToolCall(1, arguments="}"))
        pieces = stamped(some * 3000)
        assert await write(log, opened, pieces) == 12_001
        page = await whole(log, opened)
        assert covers_all(page.records, after=0, head=12_001)
        assert standing(fold(record.event for record in page.records)) == standing(fold(pieces))
        for position in (1, 999, 1000, 1001, 1002, 6000, 12_000):
            rest = (await log.read(opened.generation, Cursor(opened.epoch, position))).records
            assert covers_all(rest, after=position, head=12_001)
        assert covers_all(seen, after=1, head=12_001)
        last = await write(log, opened, (Retract("", 0, "policy"),), previous=12_001)
        assert last == (await log.end(opened.generation, Done("stop"))).position - 1
        answer = fold(record.event for record in (await whole(log, opened)).records)
        assert (answer.text, len(answer.reasoning)) == ("", 3000)

    # Ending

    @pytest.mark.parametrize("end", ENDS)
    async def test_after_the_end_nothing_follows(self, backend: Backend, end: End) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, texts("a"))
        record = await log.end(opened.generation, end)
        ended = await whole(log, opened)
        assert (record.previous, record.position) == (2, 3)
        assert type(record.event) is type(end)
        assert ended.records[-1] == record
        assert ended.end == record.event
        with pytest.raises(Closed):
            await log.append(opened.generation, texts("b"), previous=3, epoch=opened.epoch)
        with pytest.raises(Closed):
            await log.append(opened.generation, texts("b"), previous=2, epoch=opened.epoch)
        with pytest.raises(Closed):
            await log.end(opened.generation, Done("stop"))
        assert await whole(log, opened) == ended

    @pytest.mark.parametrize(("position", "epoch"), [(1, 0), (3, 0), (0, 0), (-1, 0), (2, 1), (2, -1)])
    async def test_an_end_that_does_not_continue_is_refused_and_leaves_nothing(
        self, backend: Backend, position: int, epoch: int
    ) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, texts("a"))
        before = await whole(log, opened)
        seen: list[Record] = []
        log.observe(opened.generation, seen.append)
        after = Cursor(opened.epoch + epoch, position)
        with pytest.raises(OutOfOrder) as caught:
            await log.end(opened.generation, Done("stop"), after=after)
        assert (caught.value.expected, caught.value.got) == (f"{opened.epoch}-2", f"{after.epoch}-{after.position}")
        assert await whole(log, opened) == before
        assert seen == []
        record = await log.end(opened.generation, Done("stop"), after=before.head)
        assert (record.previous, record.position) == (2, 3)
        with pytest.raises(Closed):
            await log.end(opened.generation, Done("stop"), after=before.head)

    async def test_of_many_ends_at_once_the_first_wins(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        seen: list[Record] = []
        log.observe(opened.generation, seen.append)
        results = await asyncio.gather(*(outcome(log.end(opened.generation, ENDS[at % 3])) for at in range(12)))
        won = [result for result in results if isinstance(result, Record)]
        assert len(won) == 1
        assert all(isinstance(result, Closed) for result in results if result not in won)
        assert seen == won
        assert (await whole(log, opened)).records[-1] == won[0]

    async def test_an_end_among_appends_leaves_no_gap_and_nothing_behind_it(self, backend: Backend) -> None:
        for turn in range(8):
            log = await backend.open()
            opened = await begin(log)
            pieces = texts(*"abcdefgh")
            calls = [log.append(opened.generation, (pieces[at],), previous=at + 1, epoch=1) for at in range(8)]
            tasks = [asyncio.ensure_future(outcome(call)) for call in calls]
            tasks.insert(turn, asyncio.ensure_future(outcome(log.end(opened.generation, Aborted()))))
            results = await asyncio.gather(*tasks)
            page = await whole(log, opened)
            assert isinstance(results[turn], Record)
            assert covers_all(page.records, after=0, head=page.head.position)
            assert page.records[-1] == results[turn]
            assert "abcdefgh".startswith(fold(record.event for record in page.records).text)

    @given(pieces=st.lists(PIECES, max_size=12), end=st.sampled_from(ENDS))
    @lasting
    async def test_the_end_proves_the_text(self, backend: Backend, pieces: list[Piece], end: End) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, stamped(pieces))
        record = await log.end(opened.generation, end)
        text = fold(stamped(pieces)).text
        assert isinstance(record.event, End)
        assert record.event.n == units(text)
        assert record.event.crc32 == zlib.crc32(text.encode())
        assert record.event.ai_generated is True

    @pytest.mark.parametrize(
        ("pieces", "n", "crc32"),
        [
            ([], 0, 0),
            ([Text("hello")], 5, 907060870),
            ([Text("你"), Text("好")], 2, 1352841281),
            ([Text("👩🏽‍🚀")], 7, 2554592694),
            ([Text("bad"), Retract("", 0, "policy")], 0, 0),
            ([Text("bad"), Retract("好", 0, "policy"), Text("a")], 2, 1955098790),
            ([Reasoning("hmm"), Text("a"), ToolCall(0, arguments="{}")], 1, 3904355907),
        ],
    )
    async def test_the_proof_is_what_node_computes(
        self, backend: Backend, pieces: list[Piece], n: int, crc32: int
    ) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, stamped(pieces))
        event = (await log.end(opened.generation, Done("stop"))).event
        assert isinstance(event, Done)
        assert (event.n, event.crc32) == (n, crc32)

    # Reading

    @given(pieces=st.lists(UNRETRACTED, max_size=25), data=st.data())
    @lasting
    async def test_after_every_position_the_rest_completes_what_was_there(
        self, backend: Backend, pieces: list[Piece], data: st.DataObject
    ) -> None:
        log, opened, events = await self._written(backend, pieces, data)
        for position in range(1, len(events) + 1):
            page = await log.read(opened.generation, Cursor(opened.epoch, position))
            assert page.matched
            assert covers_all(page.records, after=position, head=len(events))
            completed = fold([*events[:position], *(record.event for record in page.records)])
            assert standing(completed) == standing(fold(events))

    @given(pieces=st.lists(PIECES, max_size=25), data=st.data())
    @lasting
    async def test_a_position_before_a_retraction_starts_over(
        self, backend: Backend, pieces: list[Piece], data: st.DataObject
    ) -> None:
        log, opened, events = await self._written(backend, pieces, data)
        retracted = max((at for at, event in enumerate(events, 1) if isinstance(event, Retract)), default=0)
        for position in range(len(events) + 1):
            page = await log.read(opened.generation, Cursor(opened.epoch, position) if position else START)
            assert page.matched == (position >= retracted)
            before = events[:position] if page.matched else []
            completed = fold([*before, *(record.event for record in page.records)])
            assert standing(completed) == standing(fold(events))
            assert page.matched or proves_itself(page.records)
            assert page.head == Cursor(opened.epoch, len(events))

    async def _written(
        self, backend: Backend, pieces: list[Piece], data: st.DataObject
    ) -> tuple[Log, Opened, list[Event]]:
        """Write the pieces in batches of any size, and perhaps an end."""
        log = await backend.open()
        opened = await begin(log)
        rest, previous = stamped(pieces), 1
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            previous = await write(log, opened, rest[:size], previous=previous)
            rest = rest[size:]
        events: list[Event] = [(await whole(log, opened)).records[0].event, *stamped(pieces)]
        if data.draw(st.booleans()):
            events.append((await log.end(opened.generation, Done("stop"))).event)
        return log, opened, events

    async def test_a_position_that_is_not_there_starts_over(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, texts("a", "b"))
        for strange in [(0, 4), (0, 10**18), (1, 2), (1, 0), (-1, 2), (0, 0)]:
            epoch, position = opened.epoch + strange[0], strange[1]
            page = await log.read(opened.generation, Cursor(epoch, position))
            assert not page.matched, strange
            assert page.records == (await whole(log, opened)).records

    async def test_at_the_head_there_is_nothing_yet(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        await write(log, opened, texts("a"))
        page = await log.read(opened.generation, Cursor(opened.epoch, 2))
        assert (page.matched, page.records, page.ended) == (True, (), False)

    async def test_after_the_end_there_is_nothing_more(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        record = await log.end(opened.generation, Aborted())
        page = await log.read(opened.generation, Cursor(opened.epoch, 2))
        assert (page.matched, page.records, page.end) == (True, (), record.event)

    async def test_what_was_retracted_is_never_read_again(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        first = stamped([Text("SECRET"), Reasoning("fine"), Text("SECRET"), Retract("sorry", 0, "policy")])
        second = stamped([*first, Text("SECRET"), ToolCall(0, name="t"), Text("SECRET"), Retract("", 0, "policy")])
        await write(log, opened, second)
        await log.end(opened.generation, Done("stop"))
        for position in range(12):
            page = await log.read(opened.generation, Cursor(opened.epoch, position) if position else START)
            assert "SECRET" not in str(page)
        answer = fold(record.event for record in (await whole(log, opened)).records)
        assert (answer.text, answer.reasoning, answer.tool_calls) == ("", "fine", (ToolCall(0, name="t"),))

    async def test_two_readers_each_get_all(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        readers = [asyncio.create_task(follow(log, opened.generation)) for _ in range(2)]
        previous = 1
        for piece in texts(*"0123456789"):
            previous = await write(log, opened, (piece,), previous=previous)
            await asyncio.sleep(0)
        await log.end(opened.generation, Done("stop"))
        assert [fold(events).text for events in await asyncio.gather(*readers)] == ["0123456789"] * 2

    async def test_a_reader_that_races_with_the_start_misses_nothing(self, backend: Backend) -> None:
        log = await backend.open()

        async def resume() -> list[Event]:
            while isinstance(found := await outcome(log.find("owner", "k")), Unknown):  # noqa: ASYNC110  # no event is there yet
                await asyncio.sleep(0)
            assert isinstance(found, Opened)
            return await follow(log, found.generation)

        readers = [asyncio.create_task(resume()) for _ in range(5)]
        await asyncio.sleep(0)
        opened = await begin(log, key="k")
        await write(log, opened, texts("a", "b"))
        await log.end(opened.generation, Done("stop"))
        for events in await asyncio.gather(*readers):
            assert isinstance(events[0], Started)
            assert fold(events).text == "ab"

    # Observing

    async def test_an_observer_hears_each_record_once_and_in_order(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        seen: list[Record] = []
        await write(log, opened, texts("before"))
        log.observe(opened.generation, seen.append)
        previous = 2
        for piece in stamped([Text("a"), Reasoning("b"), ToolCall(1, arguments="c"), Retract("d", 0, "r")]):
            previous = await write(log, opened, (piece,), previous=previous)
        await log.end(opened.generation, Done("stop"))
        await heard(seen)
        assert covers_all(seen, after=2, head=7)
        assert [type(record.event) for record in seen] == [Text, Reasoning, ToolCall, Retract, Done]

    async def test_what_an_observer_hears_can_be_read_already(self, backend: Backend) -> None:
        """Stored before shown."""
        log = await backend.open()
        opened = await begin(log)
        reads: list[asyncio.Task[Page]] = []
        heads: list[int] = []

        def observer(record: Record) -> None:
            heads.append(record.position)
            reads.append(asyncio.get_running_loop().create_task(log.read(opened.generation)))

        log.observe(opened.generation, observer)
        await write(log, opened, texts("a", "b"))
        await log.end(opened.generation, Done("stop"))
        pages = await asyncio.gather(*reads)
        assert all(page.head.position >= head for page, head in zip(pages, heads, strict=True))

    async def test_a_stopped_observer_hears_no_more_and_the_others_do(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        left: list[Record] = []
        stayed: list[Record] = []
        stop = log.observe(opened.generation, left.append)
        log.observe(opened.generation, stayed.append)
        await write(log, opened, texts("a"))
        stop()
        stop()
        await write(log, opened, texts("b"), previous=2)
        await log.end(opened.generation, Done("stop"))
        await heard(stayed)
        assert [record.position for record in left] == [2]
        assert covers_all(stayed, after=1, head=4)

    async def test_who_observes_the_end_hears_nothing_else(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        left: list[Record] = []
        stayed: list[Record] = []
        stop = log.observe_end(opened.generation, left.append)
        log.observe_end(opened.generation, stayed.append)
        await write(log, opened, texts("a"))
        stop()
        stop()
        end = await log.end(opened.generation, Done("stop"))
        await heard(stayed)
        assert stayed == [end]
        assert not left

    async def test_an_observers_error_stays_in_it(self, backend: Backend) -> None:
        log = await backend.open()
        opened = await begin(log)
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
        seen: list[Record] = []
        broken = ValueError("broken")

        def observer(_: Record) -> None:
            raise broken

        log.observe(opened.generation, observer)
        log.observe(opened.generation, seen.append)
        log.observe(opened.generation, observer)
        await write(log, opened, texts("a", "b"))
        await log.end(opened.generation, Done("stop"))
        await heard(seen)
        assert covers_all(seen, after=1, head=4)
        assert reported
        assert set(reported) == {broken}


class TogetherContract:
    """The laws of `AppendsTogether`, to be mixed in."""

    async def test_appends_together_each_count_for_themselves(self, backend: Backend) -> None:
        log = await backend.open()
        assert isinstance(log, AppendsTogether)
        good, late, ended, twice = [await begin(log) for _ in range(4)]
        await log.end(ended.generation, Aborted())
        seen: dict[str, list[Record]] = {one.generation: [] for one in (good, late, ended, twice)}
        for generation, records in seen.items():
            log.observe(generation, records.append)
        first, second = texts("好", "a")
        appends = [
            Append(good.generation, texts("a", "好"), 1, good.epoch),
            Append(late.generation, texts("b"), 7, late.epoch),
            Append(ended.generation, texts("c"), 2, ended.epoch),
            Append("nothing", texts("d"), 1, 1),
            Append(twice.generation, (first,), 1, twice.epoch),
            Append(twice.generation, (second,), 2, twice.epoch),
            Append(late.generation, texts("e"), 1, late.epoch + 1),
        ]
        outcomes = await log.append_all(appends)
        assert [type(one) for one in outcomes] == [
            *(type(None), OutOfOrder, Closed, Unknown, type(None), type(None), OutOfOrder),
        ]
        assert fold(record.event for record in (await whole(log, good)).records).text == "a好"
        assert fold(record.event for record in (await whole(log, twice)).records).text == "好a"
        assert (await whole(log, late)).head.position == 1
        await until(lambda: seen[twice.generation] and seen[twice.generation][-1].position == 3)
        assert covers_all(seen[good.generation], after=1, head=3)
        assert seen[late.generation] == seen[ended.generation] == []
        end = (await log.end(twice.generation, Done("stop"))).event
        assert isinstance(end, Done)
        assert end.crc32 == zlib.crc32("好a".encode())

    async def test_hundreds_of_logs_are_appended_to_together_again_and_again(self, backend: Backend) -> None:
        log = await backend.open()
        assert isinstance(log, AppendsTogether)
        logs = await asyncio.gather(*(begin(log) for _ in range(300)))
        pieces = texts(*"abc")
        for at, piece in enumerate(pieces):
            outcomes = await log.append_all([Append(one.generation, (piece,), 1 + at, one.epoch) for one in logs])
            assert outcomes == [None] * 300
        assert await log.append_all([]) == []
        pages = await asyncio.gather(*(whole(log, one) for one in logs))
        assert {fold(record.event for record in page.records).text for page in pages} == {"abc"}
        ends = await asyncio.gather(*(log.end(one.generation, Done("stop")) for one in logs))
        assert {(end.position, getattr(end.event, "crc32", 0)) for end in ends} == {(5, zlib.crc32(b"abc"))}


class ClockedLogContract(LogContract):
    """The laws again, and those of expiring, for a log whose clock is told: `open(ttl=…, clock=…)`."""

    async def test_an_ended_log_is_kept_for_its_time_and_then_gone(self, backend: Backend) -> None:
        log, clock = await self._expiring(backend)
        opened = await begin(log, key="k", fingerprint="f")
        clock.now += 1000
        await log.end(opened.generation, Done("stop"))
        clock.now += 9.9
        assert (await whole(log, opened)).ended
        assert not (await begin(log, key="k")).created
        clock.now += 0.1
        with pytest.raises(Unknown):
            await whole(log, opened)
        with pytest.raises(Unknown):
            await log.find("owner", "k")

    async def test_a_running_log_does_not_expire(self, backend: Backend) -> None:
        log, clock = await self._expiring(backend)
        opened = await begin(log, key="k")
        clock.now += 10**6
        await write(log, opened, texts("a"))
        assert (await log.find("owner", "k")).generation == opened.generation

    async def test_a_key_is_free_again_when_its_log_is_gone(self, backend: Backend) -> None:
        log, clock = await self._expiring(backend)
        opened = await begin(log, key="k")
        await log.end(opened.generation, Done("stop"))
        clock.now += 10
        again = await begin(log, key="k")
        assert again.created
        assert again.generation != opened.generation
        clock.now += 10**6
        assert (await log.find("owner", "k")).generation == again.generation

    async def _expiring(self, backend: Backend) -> tuple[Log, Clock]:
        clock = Clock()
        return await backend.open(ttl=10, clock=clock), clock


async def follow(log: Log, generation: str) -> list[Event]:
    """Read a log to its end as a reader does: observe, then read again whenever it grew."""
    grown = asyncio.Event()
    stop = log.observe(generation, lambda _: grown.set())
    events: list[Event] = []
    cursor = START
    while True:
        grown.clear()
        page = await log.read(generation, cursor)
        events += [record.event for record in page.records]
        cursor = page.head
        if page.ended:
            stop()
            return events
        await asyncio.wait_for(grown.wait(), 5)


async def heard(records: list[Record]) -> None:
    """Wait until the end was shown: a durable log shows after its commit."""
    await until(lambda: records and records[-1].event.ends)
