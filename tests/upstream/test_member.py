from __future__ import annotations

import math

from dazi.upstream.demo import DemoUpstream
from dazi.upstream.member import LONGEST_COOLDOWN, Bounds, Member


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def member(clock: Clock, **bounds: float) -> Member:
    return Member("m", DemoUpstream(), Bounds(**bounds), clock=clock)  # type: ignore[arg-type]


def fail(member: Member) -> None:
    member.fail(member.take())


def test_one_with_all_its_places_taken_has_room_when_one_is_given_back() -> None:
    one = member(Clock(), concurrency=2)
    places = [one.take(), one.take()]
    assert one.wait() == math.inf
    one.leave(places[0])
    assert one.wait() == 0


def test_a_rate_lets_a_burst_through_and_then_one_at_a_time() -> None:
    clock = Clock()
    one = member(clock, rate=60)
    taken = 0
    while one.wait() <= 0:
        one.leave(one.take())
        taken += 1
    assert taken == 10
    assert math.isclose(one.wait(), 1)
    clock.now += 1
    assert one.wait() <= 0
    one.leave(one.take())
    assert one.wait() > 0


def test_a_rate_below_one_in_ten_seconds_is_kept() -> None:
    clock = Clock()
    one = member(clock, rate=2)
    one.leave(one.take())
    assert math.isclose(one.wait(), 30)


def test_over_an_hour_no_more_start_than_the_rate_allows() -> None:
    clock, started = Clock(), 0
    one = member(clock, rate=7)
    while clock.now < 3700:
        if one.wait() <= 0:
            one.leave(one.take())
            started += 1
        clock.now += 0.25
    assert 410 <= started <= 422


def test_after_failures_in_a_row_it_is_left_alone_then_tried_once() -> None:
    clock = Clock()
    one = member(clock, failures=3, cooldown=5)
    fail(one)
    fail(one)
    assert one.state == "closed"
    one.succeed(one.take())
    for _ in range(3):
        fail(one)
    assert (one.state, one.wait()) == ("open", 5)
    clock.now += 5
    assert (one.state, one.wait()) == ("half-open", 0)
    place = one.take()
    assert one.wait() == math.inf
    one.succeed(place)
    assert (one.state, one.wait()) == ("closed", 0)


def test_a_try_that_fails_doubles_the_cooldown_up_to_its_bound() -> None:
    clock = Clock()
    one = member(clock, failures=1, cooldown=5)
    waits = []
    for _ in range(7):
        fail(one)
        waits.append(one.wait())
        clock.now += one.wait()
    assert waits == [5, 10, 20, 40, LONGEST_COOLDOWN, LONGEST_COOLDOWN, LONGEST_COOLDOWN]
    one.succeed(one.take())
    fail(one)
    assert one.wait() == 5


def test_a_try_that_was_aborted_says_nothing_and_another_may_try() -> None:
    clock = Clock()
    one = member(clock, failures=1)
    fail(one)
    clock.now += 5
    one.leave(one.take())
    assert (one.state, one.wait()) == ("half-open", 0)


def test_those_that_began_before_it_broke_are_no_tries() -> None:
    clock = Clock()
    one = member(clock, failures=1, cooldown=5)
    old = [one.take(), one.take(), one.take()]
    one.fail(old[0])
    one.fail(old[1])
    assert one.wait() == 5
    clock.now += 5
    trying = one.take()
    one.leave(old[2])
    assert one.wait() == math.inf
    one.succeed(trying)
    assert one.wait() == 0


def test_zero_failures_is_never() -> None:
    one = member(Clock(), failures=0)
    for _ in range(100):
        fail(one)
    assert (one.state, one.wait()) == ("closed", 0)


def test_it_weighs_less_while_it_fails_and_never_nothing() -> None:
    one = member(Clock(), failures=0, weight=10)
    for _ in range(100):
        fail(one)
    assert one.weight == 1
    for _ in range(100):
        one.succeed(one.take())
    assert one.weight > 9.9


def test_a_rest_that_was_asked_for_is_never_shortened() -> None:
    one = member(Clock())
    one.rest(9)
    one.rest(2)
    assert one.wait() == 9
