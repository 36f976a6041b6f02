from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.log.contract import PIECES, fold, stamped, standing

from dazi.events import Aborted, Done, Event, Piece, Reasoning, Retract, Snapshot, Started, Text
from dazi.log import START, Cursor, Draft, Page
from dazi.log.memory import MemoryLog
from dazi.service.views import Part, append_view, replace_view

STARTED = Started("g", "m", 1)


class Story:
    """A log of these pieces."""

    def __init__(self, *pieces: Piece, is_over: bool) -> None:
        self._log = MemoryLog()
        asyncio.run(self._tell(stamped(pieces), is_over=is_over))
        self.whole = self.page(START)

    async def _tell(self, pieces: tuple[Piece, ...], *, is_over: bool) -> None:
        opened = await self._log.create(Draft("me", STARTED))
        await self._log.append("g", pieces, previous=1, epoch=opened.epoch)
        self.events: list[Event] = [STARTED, *pieces]
        if is_over:
            self.events.append((await self._log.end("g", Done("stop"))).event)

    def page(self, after: Cursor) -> Page:
        return asyncio.run(self._log.read("g", after))

    def cursors(self) -> list[Cursor]:
        positions = [Cursor(1, position) for position in range(1, len(self.events) + 1)]
        return [START, *positions, Cursor(1, len(self.events) + 1), Cursor(2, 2), Cursor(0, 2)]

    def held_at(self, cursor: Cursor) -> list[Event]:
        """What a reader at the cursor has folded; one that is nowhere has who knows what."""
        return self.events[: cursor.position] if cursor.epoch < 2 else [Text("stale", 5), Reasoning("stale", 5)]


STORIES = st.builds(
    lambda pieces, is_over: Story(*pieces, is_over=is_over), st.lists(PIECES, max_size=8), st.booleans()
)


def told(parts: list[Part]) -> list[Event | Snapshot]:
    return [event for _, event in parts]


@given(STORIES)
def test_what_append_tells_completes_what_was_held(story: Story) -> None:
    for cursor in story.cursors():
        parts = list(append_view(story.page(cursor)))
        assert standing(fold([*story.held_at(cursor), *told(parts)])) == standing(fold(story.events))


@given(STORIES)
def test_what_replace_tells_completes_what_was_held(story: Story) -> None:
    for cursor in story.cursors():
        parts = list(replace_view(story.whole, cursor))
        if cursor == Cursor(1, len(story.events)) and story.whole.ended:
            continue  # there a reader is answered 204 before any view is taken
        assert standing(fold([*story.held_at(cursor), *told(parts)])) == standing(fold(story.events))
        assert [type(event) for event in told(parts)].count(Snapshot) <= 1


@given(STORIES)
def test_every_part_carries_the_last_position_it_covers(story: Story) -> None:
    for cursor in story.cursors():
        for parts in (list(append_view(story.page(cursor))), list(replace_view(story.whole, cursor))):
            assert not parts or parts[-1][0] == story.whole.head
            assert [place for place, _ in parts] == sorted({place for place, _ in parts})


@given(STORIES)
def test_a_reader_may_go_on_from_any_part_in_either_mode(story: Story) -> None:
    for parts in (list(append_view(story.whole)), list(replace_view(story.whole, START))):
        for count, (place, _) in enumerate(parts[:-1], start=1):
            held = told(parts[:count])
            assert standing(fold([*held, *told(list(append_view(story.page(place))))])) == standing(fold(story.events))
            assert standing(fold([*held, *told(list(replace_view(story.whole, place)))])) == standing(
                fold(story.events)
            )


def kinds(parts: list[Part]) -> list[type[Event | Snapshot]]:
    return [type(event) for event in told(parts)]


@pytest.mark.parametrize("strange", [Cursor(1, 9), Cursor(2, 1), Cursor(0, 1)])
def test_a_strange_position_gets_a_snapshot_in_both_modes_also_before_the_first_word(strange: Cursor) -> None:
    silent = Story(is_over=False)
    assert list(append_view(silent.page(strange))) == [(Cursor(1, 1), Snapshot("", 0))]
    assert list(replace_view(silent.whole, strange)) == [(Cursor(1, 1), Snapshot("", 0))]


def test_before_a_retraction_append_tells_a_snapshot() -> None:
    story = Story(Text("bad"), Retract("good", 4, "policy"), Text("!"), is_over=True)
    parts = list(append_view(story.page(Cursor(1, 2))))
    assert kinds(parts) == [Snapshot, Done]
    assert told(parts)[0] == Snapshot("good!", 5)
    assert parts[0][0] == Cursor(1, 4)


def test_at_the_head_there_is_nothing_to_tell() -> None:
    story = Story(Text("a"), is_over=False)
    head = Cursor(1, 2)
    assert list(append_view(story.page(head))) == []
    assert list(replace_view(story.whole, head)) == []


def test_replace_tells_the_start_only_to_who_is_at_the_start() -> None:
    story = Story(Text("a"), Text("b"), is_over=True)
    assert kinds(list(replace_view(story.whole, START))) == [Started, Snapshot, Done]
    assert kinds(list(replace_view(story.whole, Cursor(1, 1)))) == [Snapshot, Done]
    assert kinds(list(replace_view(story.whole, Cursor(1, 3)))) == [Done]


def test_replace_has_no_snapshot_of_nothing() -> None:
    assert kinds(list(replace_view(Story(is_over=False).whole, START))) == [Started]
    assert kinds(list(replace_view(Story(is_over=True).whole, START))) == [Started, Done]


def test_replace_can_insist_on_the_last_snapshot() -> None:
    over, running = Story(Text("a"), is_over=True), Story(Text("a"), is_over=False)
    assert kinds(list(replace_view(over.whole, START, insists=True))) == [Started, Snapshot, Snapshot, Done]
    assert kinds(list(replace_view(over.whole, Cursor(1, 2), insists=True))) == [Snapshot, Done]
    assert kinds(list(replace_view(running.whole, START, insists=True))) == [Started, Snapshot]
    assert kinds(list(replace_view(running.whole, Cursor(1, 2), insists=True))) == []


def test_an_abort_without_a_word_is_told_in_both_modes() -> None:
    log = MemoryLog()

    async def abort() -> Page:
        await log.create(Draft("me", STARTED))
        await log.end("g", Aborted())
        return await log.read("g")

    page = asyncio.run(abort())
    assert kinds(list(append_view(page))) == [Started, Aborted]
    assert kinds(list(replace_view(page, START))) == [Started, Aborted]
