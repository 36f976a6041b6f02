"""The pool, over upstreams that do what they are told, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.upstream.mock_server import Recorder
from tests.web.virtual import in_virtual_time

from dazi.errors import Closed, GenerationError, UpstreamError
from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.balance import Seat
from dazi.upstream.member import Bounds, Member
from dazi.upstream.pool import Outcome, Pool, Rules
from dazi.upstream.response import fault

PROMPT = Prompt("m", [{"role": "user", "content": "Hi"}])
DONE = Finish("stop", Usage(completion_tokens=11))
Act = str | float | Exception | Finish | Callable[[Sink], None]


class Actor:
    """Plays one act after the other: says strings, waits for numbers, raises, finishes. The last play goes on for ever."""

    def __init__(self, *plays: Sequence[Act], continues: bool = False) -> None:
        self._plays = list(plays)
        self._continues = continues
        self.prompts: list[Prompt] = []
        self.running = 0

    def can_continue(self, _prompt: Prompt) -> bool:
        return self._continues

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.prompts.append(prompt)
        self.running += 1
        try:
            for act in self._plays.pop(0) if len(self._plays) > 1 else self._plays[0]:
                match act:
                    case str():
                        sink.text(act)
                    case float() | int():
                        await asyncio.sleep(act)
                    case Exception():
                        raise act
                    case Finish():
                        return act
                    case _:
                        act(sink)
        finally:
            self.running -= 1
        return DONE


def think(sink: Sink) -> None:
    sink.reasoning("hm")


def call(sink: Sink) -> None:
    sink.tool_call(0, call_id="c", name="f")


def refused(status: int, retry_after: float | None = None) -> UpstreamError:
    code = {429: "upstream_rate_limited", 401: "upstream_unauthorized", 503: "upstream_unavailable"}
    error = fault(code.get(status, "upstream_rejected"), f"The model's server answered {status}.")
    error.status, error.retry_after = status, retry_after
    return error


BROKEN = fault("truncated", "broke off")


class World:
    """A pool in virtual time."""

    def __init__(self, *actors: Actor, bounds: Sequence[Bounds] = (), **rules: Any) -> None:
        self.now: Callable[[], float] = asyncio.get_running_loop().time
        self.outcomes: list[Outcome] = []
        self.members = [
            Member(f"u{index}", actor, bounds[index] if bounds else Bounds(), clock=self.now)
            for index, actor in enumerate(actors)
        ]
        seats = [Seat(member, "m", f"there-{member.name}") for member in self.members]
        self.pool = Pool(seats, Rules(**rules), observer=self.outcomes.append, clock=self.now, rng=random.Random(1))
        self.sink = Recorder()

    async def ask(self) -> Finish:
        finish = await self.pool.generate(PROMPT, self.sink)
        self.check()
        return finish

    async def fail(self) -> Exception:
        with pytest.raises(Exception) as raised:  # noqa: PT011  # looked at by the caller
            await self.pool.generate(PROMPT, self.sink)
        self.check()
        return raised.value

    def check(self) -> None:
        """Every place is given back."""
        assert [member.outstanding for member in self.members] == [0] * len(self.members)

    @property
    def story(self) -> list[tuple[str, str]]:
        return [(outcome.upstream, outcome.code) for outcome in self.outcomes]


def play(test: Callable[[], Any]) -> Callable[[], None]:
    """Run the test in virtual time."""

    def run() -> None:
        in_virtual_time(test())

    run.__name__ = test.__name__
    return run


@play
async def test_the_model_is_asked_by_its_name_there() -> None:
    actor = Actor(["x"])
    world = World(actor)
    assert await world.ask() == DONE
    assert [prompt.model for prompt in actor.prompts] == ["there-u0"]
    assert world.sink.said == "x"


RETRYABLE = [
    fault("upstream_unreachable", ""),
    fault("upstream_timeout", ""),
    fault("upstream_garbage", ""),
    fault("upstream_redirected", ""),
    refused(503),
    refused(429),
    refused(401),
    refused(402),
    refused(404),
    BROKEN,
    RuntimeError("a plug-in's"),
]


@pytest.mark.parametrize("error", RETRYABLE, ids=lambda error: f"{getattr(error, 'code', 'internal')}")
@pytest.mark.parametrize("before", [[], [" ", "\n"], ["\ud83d"]], ids=["nothing", "blank", "half a character"])
def test_before_the_first_visible_character_another_is_asked(error: Exception, before: list[Act]) -> None:
    async def test() -> None:
        world = World(Actor([*before, error]), Actor(["x"]))
        assert await world.ask() == DONE
        assert world.sink.said == "x"
        assert [name for name, _ in world.story] == ["u0", "u1"]

    in_virtual_time(test())


@pytest.mark.parametrize("before", [["x"], [think], [call]], ids=["text", "reasoning", "a tool call"])
def test_afterwards_the_failure_is_the_end_and_what_was_said_stands(before: list[Act]) -> None:
    async def test() -> None:
        world = World(Actor([*before, BROKEN]), Actor(["y"]))
        assert await world.fail() is BROKEN
        assert (world.sink.said, world.story) == ("x" if before == ["x"] else "", [("u0", "truncated")])

    in_virtual_time(test())


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_request_itself_is_to_blame_for_is_the_end(status: int) -> None:
    async def test() -> None:
        world = World(Actor([refused(status)]), Actor(["y"]))
        error = await world.fail()
        assert isinstance(error, UpstreamError)
        assert error.status == status
        assert len(world.story) == 1
        assert world.members[0].state == "closed"

    in_virtual_time(test())


@pytest.mark.parametrize("error", [Closed("g"), GenerationError("too_long", "too long")])
def test_what_the_generations_own_log_says_is_the_end(error: Exception) -> None:
    async def test() -> None:
        world = World(Actor([error]), Actor(["y"]), bounds=[Bounds(failures=1)] * 2)
        assert await world.fail() is error
        assert world.story == [("u0", "stopped")]
        assert world.members[0].state == "closed"

    in_virtual_time(test())


@play
async def test_the_attempts_are_counted_and_the_last_failure_told() -> None:
    errors = [fault("upstream_timeout", "1"), refused(503), fault("upstream_garbage", "3")]
    world = World(*(Actor([error]) for error in errors), Actor(["never"]), attempts=3)
    assert await world.fail() is errors[2]
    assert len(world.story) == 3


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("continuation", [True, False])
def test_what_is_behind_a_failure_is_kept_for_the_operator(*, attempts: int, continuation: bool) -> None:
    async def test() -> None:
        error = fault("upstream_unreachable", "cannot be reached")
        error.__cause__ = OSError(111, "refused")
        world = World(Actor(["x", error]), attempts=attempts, continuation=continuation)
        assert await world.fail() is error
        assert isinstance(error.__cause__, OSError)

    in_virtual_time(test())


@play
async def test_the_same_one_is_asked_again_after_a_back_off_that_grows_and_is_spread() -> None:
    world = World(Actor([refused(503)]), attempts=4, backoff=1.0, queue=0)
    begin = world.now()
    await world.fail()
    assert 0.5 + 1 + 2 <= world.now() - begin <= 1 + 2 + 4
    assert [outcome.is_retry for outcome in world.outcomes] == [False, True, True, True]


@play
async def test_one_that_must_not_be_asked_again_is_not() -> None:
    world = World(Actor([refused(401)]), Actor([refused(503)], ["x"]), attempts=5)
    await world.ask()
    assert world.story == [
        ("u0", "upstream_unauthorized"),
        ("u1", "upstream_unavailable"),
        ("u1", "done"),
    ]


@pytest.mark.parametrize(("asked", "waited"), [(3.0, 3.0), (1000.0, 7.0), (None, 1.0)])
def test_a_retry_after_is_honoured_within_its_bound(asked: float | None, waited: float) -> None:
    async def test() -> None:
        world = World(Actor([refused(429, asked)], ["x"]), retry_after=7.0, backoff=0.0)
        begin = world.now()
        await world.ask()
        assert world.now() - begin == pytest.approx(waited, abs=0.01)
        assert world.members[0].state == "closed"

    in_virtual_time(test())


@play
async def test_a_server_that_is_down_and_says_for_how_long_is_left_alone_for_that() -> None:
    world = World(Actor([refused(503, 6)], ["x"]), backoff=0.0)
    await world.ask()
    assert world.now() == pytest.approx(6, abs=0.01)


@play
async def test_while_one_rests_the_other_is_asked() -> None:
    world = World(Actor([refused(429, 9)], ["x"]), Actor(["y"]))
    for _ in range(5):
        await world.ask()
    assert world.sink.said == "yyyyy"
    assert Counter(world.story) == {("u0", "upstream_rate_limited"): 1, ("u1", "done"): 5}


@play
async def test_one_that_fails_again_and_again_is_left_alone_and_found_well_again() -> None:
    sick = Actor(*[[refused(503)]] * 4, ["well"])
    bounds = [Bounds(failures=3, cooldown=5), Bounds()]
    world = World(sick, Actor(["y"]), bounds=bounds, balance="round_robin")
    for _ in range(20):
        await world.ask()
    assert len(sick.prompts) == 3
    await asyncio.sleep(5)
    for _ in range(4):
        await world.ask()
    assert len(sick.prompts) == 4
    await asyncio.sleep(10)
    for _ in range(4):
        await world.ask()
    assert len(sick.prompts) == 6
    assert "well" in world.sink.said


@play
async def test_when_all_are_left_alone_that_is_said_at_once() -> None:
    world = World(Actor([refused(503)]), bounds=[Bounds(failures=1, cooldown=30)], attempts=1, queue=10)
    await world.fail()
    begin = world.now()
    error = await world.fail()
    assert isinstance(error, UpstreamError)
    assert (error.code, error.retryable, world.now()) == ("upstream_unavailable", True, begin)
    assert "30 s" in str(error)


@play
async def test_one_that_is_full_is_waited_for_in_order_and_no_longer_than_the_queue() -> None:
    world = World(Actor([4, "x"]), bounds=[Bounds(concurrency=2)], queue=10)
    asking = [asyncio.create_task(world.pool.generate(PROMPT, Recorder())) for _ in range(8)]
    ends = await asyncio.gather(*asking, return_exceptions=True)
    world.check()
    codes = [end.code if isinstance(end, UpstreamError) else "done" for end in ends]
    assert codes == ["done"] * 6 + ["upstream_rate_limited"] * 2
    assert not world.members[0].waiters


@play
async def test_who_leaves_the_queue_leaves_no_place_taken() -> None:
    world = World(Actor([4, "x"]), bounds=[Bounds(concurrency=1)], queue=100)
    asking = [asyncio.create_task(world.pool.generate(PROMPT, Recorder())) for _ in range(5)]
    await asyncio.sleep(1)
    for task in asking[1:4]:
        task.cancel()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["Finish", *["CancelledError"] * 3, "Finish"]
    world.check()
    assert not world.members[0].waiters
    assert world.now() == pytest.approx(8)


@play
async def test_an_abort_gives_the_place_back_and_blames_nobody() -> None:
    actor = Actor(["x", 1000])
    world = World(actor, bounds=[Bounds(failures=1)])
    task = asyncio.create_task(world.pool.generate(PROMPT, world.sink))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.check()
    assert (actor.running, world.story, world.members[0].state) == (0, [("u0", "stopped")], "closed")


@play
async def test_the_whole_answer_has_a_limit_of_time() -> None:
    world = World(Actor(["x", 1000]), bounds=[Bounds(total=60)])
    error = await world.fail()
    assert isinstance(error, UpstreamError)
    assert (error.code, world.now(), world.sink.said) == ("upstream_timeout", 60, "x")


@play
async def test_times_are_told() -> None:
    world = World(Actor([2, think, 1, "x", 7]))
    await world.ask()
    (outcome,) = world.outcomes
    assert (outcome.model, outcome.upstream, outcome.code, outcome.attempt) == ("m", "u0", "done", 1)
    assert (outcome.seconds, outcome.first_token) == (10, 2)
    assert outcome.between_tokens == pytest.approx(0.8)


@play
async def test_an_upstream_in_two_pools_is_opened_once() -> None:
    class Opened(Actor):
        opened = closed = 0

        async def open(self) -> None:
            self.opened += 1

        async def close(self) -> None:
            self.closed += 1

    actor = Opened(["x"])
    member = Member("a", actor)
    pools = [Pool([Seat(member, name, name)]) for name in ("one", "two")]
    for pool in pools:
        await pool.open()
    for pool in pools:
        await pool.close()
    assert (actor.opened, actor.closed) == (1, 2)


# Balance


def shares(balance: str, weights: Sequence[float], count: int, seconds: float = 1.0) -> Counter[str]:
    async def test() -> Counter[str]:
        actors = [Actor([seconds, "x"]) for _ in weights]
        world = World(*actors, bounds=[Bounds(weight=weight) for weight in weights], balance=balance)
        prompts = [Prompt("m", [{"role": "user", "content": str(number)}]) for number in range(count)]
        await asyncio.gather(*(world.pool.generate(prompt, Recorder()) for prompt in prompts))
        world.check()
        return Counter(outcome.upstream for outcome in world.outcomes)

    return in_virtual_time(test())


@pytest.mark.parametrize("balance", ["least", "round_robin"])
def test_shares_follow_the_weights(balance: str) -> None:
    assert shares(balance, [1, 2, 3], 60) == {"u0": 10, "u1": 20, "u2": 30}


def test_conversations_are_spread_by_weight() -> None:
    found = shares("conversation", [1, 3], 2000)
    assert 420 <= found["u0"] <= 580


@play
async def test_a_slow_one_gets_less() -> None:
    world = World(Actor([10, "x"]), Actor([1, "y"]), balance="least")
    running: set[asyncio.Task[Finish]] = set()
    for _ in range(100):
        running.add(asyncio.create_task(world.pool.generate(PROMPT, Recorder())))
        await asyncio.sleep(0.5)
    await asyncio.gather(*running)
    found = Counter(outcome.upstream for outcome in world.outcomes)
    assert found["u1"] > 2 * found["u0"]


@play
async def test_a_conversation_stays_where_it_is_as_it_grows_and_only_its_own_moves() -> None:
    world = World(*(Actor(["x"]) for _ in range(5)), balance="conversation")
    opening = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    for turn in range(10):
        messages = [*opening, *({"role": "user", "content": str(turn)} for _ in range(turn))]
        await world.pool.generate(Prompt("m", messages), Recorder())
    home = {outcome.upstream for outcome in world.outcomes}
    assert len(home) == 1
    next(member for member in world.members if member.name in home).rest(1000)
    await world.pool.generate(Prompt("m", opening), Recorder())
    assert world.outcomes[-1].upstream not in home


# Continuation


@play
async def test_another_goes_on_from_the_exact_text() -> None:
    first = Actor(["Half a w", "or", BROKEN])
    second = Actor(["d, 完整的字", "😀."], continues=True)
    world = World(first, Actor(["no"]), second, continuation=True)
    assert await world.ask() == DONE
    assert second.prompts[0].said == "Half a wor"
    assert world.sink.said == "Half a word, 完整的字😀."
    assert [outcome.is_continuation for outcome in world.outcomes] == [False, True]


@play
async def test_who_says_the_end_again_is_not_heard_twice() -> None:
    said = "The quick brown fox jumps over the laz"
    for again in (said, said[12:], "fox jumps over the laz"):
        world = World(
            Actor([said, BROKEN]), Actor([again[:7], again[7:] + "y dog."], continues=True), continuation=True
        )
        await world.ask()
        assert world.sink.said == "The quick brown fox jumps over the lazy dog."


@play
async def test_it_may_break_off_more_than_once() -> None:
    actors = [Actor([piece, BROKEN], continues=True) for piece in ("one ", "two ", "three ")]
    world = World(*actors, Actor(["four"], continues=True), continuation=True, attempts=4)
    await world.ask()
    assert world.sink.said == "one two three four"


@play
async def test_when_nobody_can_go_on_the_break_is_the_end() -> None:
    helpless = Actor([refused(400)], continues=True)
    world = World(Actor(["x", BROKEN]), Actor(["no"]), helpless, continuation=True)
    assert await world.fail() is BROKEN
    assert (world.sink.said, len(helpless.prompts)) == ("x", 1)


@play
async def test_where_the_operator_forbids_it_one_does_not_go_on() -> None:
    other = Actor(["no"], continues=True)
    world = World(Actor(["x", BROKEN]), other, continuation=True, bounds=[Bounds(), Bounds(continues=False)])
    assert await world.fail() is BROKEN
    assert not other.prompts


@play
async def test_an_answer_with_a_tool_call_is_not_gone_on_with() -> None:
    world = World(Actor(["x", call, BROKEN]), Actor(["no"], continues=True), continuation=True)
    assert await world.fail() is BROKEN


@play
async def test_after_mere_thoughts_anybody_may_answer() -> None:
    world = World(Actor([think, BROKEN]), Actor([think, "x"]), continuation=True)
    await world.ask()
    assert (world.sink.thoughts, world.sink.said) == (["hm", "\n\nhm"], "x")
