"""A burst of calls: a few a turn of the loop, in order, and what runs gets its turns between them."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from dazi.web.turnstile import A_TURN, Turnstile


async def _pass(turnstile: Turnstile, name: int, passed: list[int]) -> None:
    if not turnstile.is_free:
        await turnstile.wait()
    passed.append(name)


async def test_one_call_after_the_other_never_waits() -> None:
    turnstile = Turnstile()
    for _ in range(10 * A_TURN):
        assert turnstile.is_free
        await asyncio.sleep(0.001)


async def test_a_burst_goes_in_in_order_and_others_get_turns_between() -> None:
    turnstile, passed = Turnstile(), list[int]()
    tasks = [asyncio.create_task(_pass(turnstile, name, passed)) for name in range(50 * A_TURN)]
    seen = [0]
    while len(passed) < len(tasks):
        await asyncio.sleep(0)
        seen.append(len(passed))
    await asyncio.gather(*tasks)
    assert passed == list(range(50 * A_TURN))
    assert max(after - before for before, after in pairwise(seen)) <= A_TURN


async def test_who_goes_while_waiting_takes_nobodys_place() -> None:
    turnstile, passed = Turnstile(), list[int]()
    tasks = [asyncio.create_task(_pass(turnstile, name, passed)) for name in range(10 * A_TURN)]
    await asyncio.sleep(0)
    gone = set(range(A_TURN, 6 * A_TURN))
    for name in gone:
        tasks[name].cancel()
    for _ in range(8):
        await asyncio.sleep(0)
    assert passed == [name for name in range(10 * A_TURN) if name not in gone]


async def test_after_a_burst_it_is_free_again() -> None:
    turnstile, passed = Turnstile(), list[int]()
    await asyncio.gather(*(_pass(turnstile, name, passed) for name in range(5 * A_TURN)))
    await asyncio.sleep(0.01)
    assert turnstile.is_free
