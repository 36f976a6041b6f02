"""Rounds over real sockets: what is read when, and that nothing is left."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Self

import pytest

from dazi.upstream import rounds as module
from dazi.upstream.rounds import Rounds

WINDOW = 0.02
# The most that anything here may take.
SOON = 2.0


class Listener:
    """One end of a pair of sockets, which takes part, and the other end, which speaks."""

    def __init__(self, rounds: Rounds, name: str, told: list[str], stack: ExitStack) -> None:
        self.rounds = rounds
        self.name = name
        self.told = told
        self.on_data: Callable[[], None] = lambda: None
        self.mine, self.other = (stack.enter_context(end) for end in socket.socketpair())
        self.mine.setblocking(False)

    def join(self) -> Self:
        self.rounds.join(self.mine.fileno(), self)
        return self

    def data_received(self, data: bytes) -> None:
        self.told.append(f"{self.name} {data.decode()}")
        self.on_data()

    def leave_rounds(self) -> None:
        self.told.append(f"{self.name} leaves")
        self.rounds.leave(self.mine.fileno(), self)


Listen = Callable[[str], Listener]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def rounds() -> Rounds:
    return Rounds(WINDOW)


@pytest.fixture
def listen(rounds: Rounds, told: list[str]) -> Iterator[Listen]:
    """Make connections that take part, by their names."""
    with ExitStack() as stack:
        yield lambda name: Listener(rounds, name, told, stack).join()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.001)


async def test_what_arrives_waits_and_is_read_in_a_row(listen: Listen, told: list[str]) -> None:
    listeners = [listen(name) for name in "ab"]
    for letter in "xyz":
        for listener in listeners:
            listener.other.send(letter.encode())
        await asyncio.sleep(0)
    assert told == []
    await until(lambda: len(told) >= 2)
    assert sorted(told) == ["a xyz", "b xyz"]


async def test_the_end_of_a_round_comes_after_all_that_it_read(listen: Listen, told: list[str], rounds: Rounds) -> None:
    rounds.at_end(partial(told.append, "waited"))
    for name in "abc":
        listener = listen(name)
        listener.on_data = partial(rounds.at_end, partial(told.append, f"{name} ends"))
        listener.other.send(b"!")
    await until(lambda: len(told) >= 7)
    assert sorted(told[:3]) == ["a !", "b !", "c !"]
    assert sorted(told[3:]) == ["a ends", "b ends", "c ends", "waited"]


async def test_who_comes_between_rounds_waits_for_the_next_at_most(rounds: Rounds) -> None:
    began = time.monotonic()
    ended = asyncio.Event()
    rounds.at_end(ended.set)
    await asyncio.sleep(0)
    assert not ended.is_set()
    async with asyncio.timeout(SOON):
        await ended.wait()
    assert time.monotonic() - began >= WINDOW * 0.9  # uvloop counts whole milliseconds


async def test_without_a_window_nobody_waits_and_nobody_takes_part() -> None:
    rounds, ended = Rounds(0), asyncio.Event()
    rounds.at_end(ended.set)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ended.is_set()
    assert not rounds.reads


async def test_more_than_a_round_reads_at_once_are_all_read(
    listen: Listen, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 2)
    names = [str(number) for number in range(7)]
    for name in names:
        listen(name).other.send(b".")
    await until(lambda: len(told) >= len(names))
    assert sorted(told) == [f"{name} ." for name in names]


async def test_one_that_ends_is_given_back_and_others_go_on(listen: Listen, told: list[str]) -> None:
    gone, stays = listen("gone"), listen("stays")
    gone.other.close()
    stays.other.send(b"1")
    await until(lambda: len(told) >= 2)
    stays.other.send(b"2")
    await until(lambda: len(told) >= 3)
    assert sorted(told[:2]) == ["gone leaves", "stays 1"]
    assert told[2:] == ["stays 2"]


async def test_one_that_was_let_go_by_another_is_not_read(listen: Listen, told: list[str]) -> None:
    listeners = {name: listen(name) for name in "ab"}
    for name, listener in listeners.items():
        listener.on_data = listeners["ba"["ab".index(name)]].leave_rounds
        listener.other.send(b"!")
    await until(lambda: len(told) >= 2)
    await asyncio.sleep(3 * WINDOW)
    assert told in (["a !", "b leaves"], ["b !", "a leaves"])


async def test_leaving_with_a_descriptor_that_is_anothers_by_now_changes_nothing(
    listen: Listen, told: list[str], rounds: Rounds
) -> None:
    old = listen("old")
    descriptor = old.mine.detach()
    socket.close(descriptor)
    new = listen("new")
    assert new.mine.fileno() == descriptor
    rounds.leave(descriptor, old)
    new.other.send(b"!")
    await until(lambda: bool(told))
    assert told == ["new !"]


async def test_nothing_is_left_when_nobody_takes_part(listen: Listen, told: list[str], rounds: Rounds) -> None:
    only = listen("only")
    only.other.send(b"!")
    await until(lambda: bool(told))
    only.leave_rounds()
    await until(lambda: rounds._timer is None)
    assert rounds._poll is None
