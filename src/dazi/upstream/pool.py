"""Several upstreams behind one model's name: who is asked, and what follows when it fails.

Laws:

- another is asked in its place only while no reader has seen anything of the answer; afterwards the failure is the end, with
  its own code, and what was said stands; unless continuation is on: then one that can goes on from exactly that text;
- an upstream that was refused for the request's own fault (400, 413, 422) is not replaced: all would refuse it;
- once an upstream speaks, its pieces go past the pool straight into the sink (`gate`);
- every place taken at an upstream is given back, whatever happens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from dazi.errors import DaziError, UpstreamError
from dazi.events import Usage
from dazi.upstream import Continues, Finish, Prompt, Sink
from dazi.upstream.balance import BALANCES, Seat
from dazi.upstream.gate import Gate, Said
from dazi.upstream.member import Clock, Member, Place
from dazi.upstream.response import fault

# What the request itself is to blame for: another upstream would say the same.
_OWN_FAULTS = frozenset({400, 413, 422})
# Codes that say nothing about an upstream's health: a request was wrong, or there were too many.
_INNOCENT = frozenset({"upstream_rejected", "upstream_rate_limited"})
# The least part of a wait that is left when it is spread.
_SPREAD = 0.5
# Seconds that an upstream rests which said "too many" without saying until when.
_REST = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How asking one upstream once ended, for whoever counts.

    `code`: `done`, a code of PROTOCOL.md 4.1, or `stopped` (by an abort, a time limit, or a full answer). `attempt`: 1 is the
    first for this answer. `is_retry`: the same upstream was asked for it before. `is_continuation`: it was to go on from what
    another had said. `seconds` of all, and until the `first_token` of any kind (None: there was none). `usage` as the
    upstream counted.
    """

    model: str
    upstream: str
    code: str
    attempt: int
    is_retry: bool
    is_continuation: bool
    seconds: float
    first_token: float | None
    usage: Usage | None

    @property
    def why(self) -> str:
        """Why it was asked: `first`, `retry` (itself again), `fallback` (in another's place) or `continuation`."""
        if self.is_continuation:
            return "continuation"
        if self.is_retry:
            return "retry"
        return "first" if self.attempt == 1 else "fallback"

    @property
    def between_tokens(self) -> float | None:
        """Mean seconds between two tokens, if it was told how many there were."""
        if self.first_token is None or self.usage is None or self.usage.completion_tokens < 2:
            return None
        return (self.seconds - self.first_token) / (self.usage.completion_tokens - 1)


Observer = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """See `plan.Routing`."""

    balance: str = "least"
    attempts: int = 3
    queue: float = 10.0
    backoff: float = 0.5
    retry_after: float = 20.0
    continuation: bool = False


class Pool:
    """An upstream made of several.

    Args:
        seats: who may be asked, each with the model's name there.
        rules: see `Rules`.
        observer: hears how each asking ended; must neither wait nor raise.
        clock: monotonic seconds.
        rng: spreads the back-off.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        rules: Rules | None = None,
        *,
        observer: Observer | None = None,
        clock: Clock = monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.seats = tuple(seats)
        self.rules = rules or Rules()
        self.observer = observer
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # spreads waits, keeps no secret
        self._balance = BALANCES[self.rules.balance]()

    def __repr__(self) -> str:
        return f"Pool({', '.join(seat.member.name for seat in self.seats)})"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Ask one upstream, and others in its place as far as the rules go."""
        return await _Run(self, prompt, sink).run()

    async def open(self) -> None:
        """Make every upstream ready."""
        for seat in self.seats:
            await seat.member.open()

    async def close(self) -> None:
        """Let every upstream go."""
        for seat in self.seats:
            await seat.member.close()

    async def find_seat(self, prompt: Prompt, seats: Collection[Seat]) -> tuple[Seat, Place]:
        """Choose one of these and take a place, waiting for one if need be. Raises `UpstreamError`."""
        give_up = self._clock() + self.rules.queue
        while True:
            free = [seat for seat in seats if seat.member.wait() <= 0]
            if free:
                seat = self._balance(free, prompt)
                return seat, seat.member.take()
            wait = min((seat.member.wait() for seat in seats), default=float("inf"))
            left = give_up - self._clock()
            if not seats or left <= 0 or left < wait < float("inf"):
                raise _nobody(seats, wait)
            await _wait_for_place(seats, min(wait, left))

    def now(self) -> float:
        """Tell the time by this pool's clock."""
        return self._clock()

    def spread(self, seconds: float) -> float:
        """Return a wait somewhat shorter, at random: those who failed together do not come back together."""
        return seconds * self._rng.uniform(_SPREAD, 1)


class _Run:
    """One answer being sought."""

    def __init__(self, pool: Pool, prompt: Prompt, sink: Sink) -> None:
        self._pool = pool
        self._prompt = prompt
        self._sink = sink
        self._said = Said(keeps=pool.rules.continuation)
        # Who was asked since all were, who was asked at all, and who need not be asked again.
        self._tried: list[Seat] = []
        self._asked: list[Seat] = []
        self._banned: list[Seat] = []
        self._rounds = 0

    async def run(self) -> Finish:
        problem: Exception | None = None
        for attempt in range(1, self._pool.rules.attempts + 1):
            try:
                seat, place = await self._next_seat()
            except UpstreamError as nobody:
                told = problem or nobody
                raise told from told.__cause__
            before = self._said.pieces
            try:
                return await self._ask(seat, place, attempt)
            except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; it goes on as it is, or another is asked
                if problem is None or not self._said.has_text or self._said.pieces > before:
                    problem = error  # else it broke off earlier, and this one could only not help
                if not self._may_go_on(error):
                    raise problem from problem.__cause__
                self._learn(seat, error)
        if problem is None:
            raise AssertionError("there is at least one attempt")
        raise problem

    async def _next_seat(self) -> tuple[Seat, Place]:
        able = [seat for seat in self._pool.seats if seat not in self._banned and self._is_able(seat)]
        fresh = [seat for seat in able if seat not in self._tried]
        if able and not fresh:
            await self._back_off()
            self._tried.clear()
            fresh = able
        return await self._pool.find_seat(self._prompt, fresh)

    def _is_able(self, seat: Seat) -> bool:
        if not self._said.has_text:
            return True
        upstream = seat.member.upstream
        return seat.member.bounds.continues and isinstance(upstream, Continues) and upstream.can_continue(self._prompt)

    async def _back_off(self) -> None:
        rules = self._pool.rules
        await asyncio.sleep(self._pool.spread(min(rules.backoff * 2**self._rounds, max(rules.backoff, 10.0))))
        self._rounds += 1

    async def _ask(self, seat: Seat, place: Place, attempt: int) -> Finish:
        member, turn = seat.member, _Turn(self._pool, seat, attempt)
        turn.is_retry = seat in self._asked
        turn.is_continuation = self._said.has_text
        self._asked.append(seat)
        gate = Gate(self._sink, self._said, turn.begin)
        deadline = asyncio.timeout(member.bounds.total)
        try:
            async with deadline:
                finish = await member.upstream.generate(self._prompt_for(seat), gate)
            gate.finish()
        except BaseException as error:  # raised again: whatever it is, the place is given back
            problem = _overdue(member) if deadline.expired() and isinstance(error, TimeoutError) else error
            turn.tell(self._settle(place, problem))
            if problem is error:
                raise
            raise problem from error
        finally:
            gate.shut()
        member.succeed(place)
        turn.tell("done", finish.usage)
        return finish

    def _settle(self, place: Place, problem: BaseException) -> str:
        """Give the place back after this; returns how the asking ended, in a word."""
        member = place.member
        match problem:
            case UpstreamError():
                if problem.code == "upstream_rate_limited" or problem.retry_after is not None:
                    member.rest(min(problem.retry_after or _REST, self._pool.rules.retry_after))
                (member.leave if problem.code in _INNOCENT else member.fail)(place)
                return problem.code
            case Exception() if not isinstance(problem, DaziError):  # a fault in a plug-in
                member.fail(place)
                return "internal"
        # An abort, the end of the log, an answer that is too long: nothing of this upstream's doing.
        member.leave(place)
        return "stopped"

    def _prompt_for(self, seat: Seat) -> Prompt:
        said = self._said.text if self._said.has_text else ""
        return replace(self._prompt, model=seat.model, said=said)

    def _may_go_on(self, error: Exception) -> bool:
        if isinstance(error, DaziError) and not isinstance(error, UpstreamError):
            return False
        if self._said.is_nothing:
            return not (isinstance(error, UpstreamError) and error.status in _OWN_FAULTS)
        return self._pool.rules.continuation and not self._said.has_calls

    def _learn(self, seat: Seat, error: Exception) -> None:
        self._tried.append(seat)
        if isinstance(error, UpstreamError) and not error.retryable:
            self._banned.append(seat)


class _Turn:
    """What is measured of one asking."""

    def __init__(self, pool: Pool, seat: Seat, attempt: int) -> None:
        self._pool = pool
        self._seat = seat
        self._attempt = attempt
        self._began = pool.now()
        self._first: float | None = None
        self.is_retry = False
        self.is_continuation = False

    def begin(self) -> None:
        """Hear the first piece."""
        self._first = self._pool.now()

    def tell(self, code: str, usage: Usage | None = None) -> None:
        """Tell the observer, if there is one, how it ended."""
        if self._pool.observer is None:
            return
        outcome = Outcome(
            model=self._seat.name,
            upstream=self._seat.member.name,
            code=code,
            attempt=self._attempt,
            is_retry=self.is_retry,
            is_continuation=self.is_continuation,
            seconds=self._pool.now() - self._began,
            first_token=None if self._first is None else self._first - self._began,
            usage=usage,
        )
        self._pool.observer(outcome)


def _overdue(member: Member) -> UpstreamError:
    limit = f"{member.bounds.total:g} s"
    return fault("upstream_timeout", f"The model's server took longer than {limit} for its answer.")


async def _wait_for_place(seats: Collection[Seat], seconds: float) -> None:
    """Wait until one of these has room, or that long."""
    waiter = asyncio.get_running_loop().create_future()
    members = {seat.member for seat in seats}
    for member in members:
        member.waiters.append(waiter)
    try:
        await asyncio.wait((waiter,), timeout=seconds)
    except asyncio.CancelledError:
        if waiter.done():  # the place that this one was called for is the next one's
            for member in members:
                member.wake()
        raise
    finally:
        for member in members:
            if waiter in member.waiters:
                member.waiters.remove(waiter)


def _nobody(seats: Collection[Seat], wait: float) -> UpstreamError:
    """Say why none can be asked."""
    if not seats:
        return fault("upstream_unavailable", "No upstream of this model can go on with this answer.")
    if all(seat.member.state != "closed" for seat in seats):
        when = f" The next try is in {wait:.0f} s." if wait < float("inf") else ""
        return fault(
            "upstream_unavailable", f"Every upstream of this model has failed too often and is left alone.{when}"
        )
    error = fault("upstream_rate_limited", "Every upstream of this model has as much to do as it may.")
    error.retry_after = wait if wait < float("inf") else None
    return error
