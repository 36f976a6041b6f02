"""The laws of `dazi.quota`, kept by every backend: one process's memory, a SQLite file, Redis, and a cluster of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.log.redis_server import RedisServer, redis_cluster, redis_server
from tests.waiting import eventually, until

from dazi.errors import StoreUnavailable
from dazi.log.redis.store import Store
from dazi.quota import Ask, Kind, Limit, Marks, Quota
from dazi.quota.memory import MemoryQuota
from dazi.quota.redis import RedisQuota
from dazi.quota.sqlite import SqliteQuota

# Opens one more view of the same counts, as another node would. A lease of no time is over at once.
Open = Callable[..., Quota]
SHARED = ("sqlite", "redis", "cluster")
ALL = ("memory", *SHARED)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    with redis_cluster() as servers:
        yield f"redis+cluster://127.0.0.1:{servers[0].port}"


@pytest.fixture
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[str], Open]]:
    prefix = secrets.token_hex(4)
    async with AsyncExitStack() as stack:

        def of(kind: str) -> Open:
            def make(lease: float) -> Quota:
                if kind == "memory":
                    return MemoryQuota(lease=lease)
                if kind == "sqlite":
                    return SqliteQuota(tmp_path / "counts", lease=lease)
                where = request.getfixturevalue(kind)
                url = where if isinstance(where, str) else where.url
                return RedisQuota(Store.from_url(url), lease=lease, prefix=prefix)

            def open_one(lease: float = 60) -> Quota:
                stack.push_async_callback((quota := make(lease)).close)
                return quota

            return open_one

        yield of


@pytest.fixture(params=ALL)
def backend(request: pytest.FixtureRequest, opener: Callable[[str], Open]) -> Open:
    return opener(request.param)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, opener: Callable[[str], Open]) -> Open:
    return opener(request.param)


class Names:
    """Names that no other test counts under: the servers outlive a test."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(4)

    def __call__(self, kind: Kind, name: str, most: int, window: float = 60) -> Limit:
        return Limit(kind, f"{name}:{self._mark}", most, window)

    def ask(self, owner: str = "anna", most: int = 1, *others: Limit, line: int = 0, line_of_owner: int = 0) -> Ask:
        return Ask(secrets.token_hex(8), (self("running", owner, most), *others), line, line_of_owner)


@pytest.fixture
def names() -> Names:
    return Names()


async def test_so_many_run_at_once_and_the_next_when_one_has_left(backend: Open, names: Names) -> None:
    quota = backend()
    one, two, three = (names.ask(most=2) for _ in range(3))
    assert [(await quota.ask(ask)).place for ask in (one, two, three)] == [0, 0, -1]
    await quota.leave(one)
    assert (await quota.ask(three)).place == 0


async def test_each_limit_of_an_ask_counts_and_the_one_that_is_reached_is_named(backend: Open, names: Names) -> None:
    quota = backend()
    ip = names("running", "ip", 2)
    for owner in ("anna", "bert"):
        assert (await quota.ask(names.ask(owner, 5, ip))).place == 0
    refused = await quota.ask(names.ask("carl", 5, ip))
    assert (refused.place, refused.limit) == (-1, 1)
    # What was refused counted against none of its limits.
    for _ in range(5):
        assert (await quota.ask(names.ask("carl", 5))).place == 0


async def test_an_ask_that_is_sent_again_changes_nothing(backend: Open, names: Names) -> None:
    quota = backend()
    ask = names.ask("anna", 1, names("starts", "anna", 9))
    assert [(await quota.ask(ask)).place for _ in range(5)] == [0] * 5
    waits = names.ask(line=3)
    assert [(await quota.ask(waits)).place for _ in range(3)] == [1] * 3
    await quota.leave(ask)
    assert (await quota.ask(waits)).place == 0
    assert (await quota.ask(names.ask("bert", 9, *[names("starts", "anna", 2)]))).place == 0


async def test_starts_are_counted_over_a_moving_window_which_says_when_there_is_room(
    backend: Open, names: Names
) -> None:
    quota = backend()
    starts = names("starts", "anna", 2, 0.4)
    asks = [Ask(secrets.token_hex(8), (starts,)) for _ in range(4)]
    first, second, third = [await quota.ask(ask) for ask in asks[:3]]
    assert (first.place, second.place, third.place, third.limit) == (0, 0, -1, 0)
    assert 0 < third.seconds <= 0.4

    async def has_room() -> bool:
        return (await quota.ask(asks[3])).place == 0

    await eventually(has_room)


async def test_tokens_are_counted_when_a_generation_leaves(backend: Open, names: Names) -> None:
    quota = backend()
    tokens = names("tokens", "anna", 100)
    for used in (60, 60):
        ask = names.ask("anna", 5, tokens)
        assert (await quota.ask(ask)).place == 0
        await quota.leave(ask, tokens=used)
    refused = await quota.ask(names.ask("anna", 5, tokens))
    assert (refused.place, refused.limit) == (-1, 1)
    assert (await quota.ask(names.ask("bert", 5, names("tokens", "bert", 100)))).place == 0


async def test_who_waits_is_served_in_the_order_of_arrival(backend: Open, names: Names) -> None:
    quota = backend()
    asks = [names.ask(line=9) for _ in range(4)]
    assert [(await quota.ask(ask)).place for ask in asks] == [0, 1, 2, 3]
    for at in range(3):
        await quota.leave(asks[at])
        waiting = asks[at + 1 :]
        assert (await quota.keep((), waiting)).places == tuple(range(len(waiting)))


async def test_one_owner_cannot_fill_the_places_before_another(backend: Open, names: Names) -> None:
    quota = backend()
    everybody = names("running", "all", 2)
    first, second = [names.ask("anna", 0, everybody, line=9) for _ in range(2)]
    annas = [names.ask("anna", 0, everybody, line=9) for _ in range(3)]
    bert = names.ask("bert", 0, everybody, line=9)
    for ask in (first, second, *annas, bert):
        await quota.ask(ask)
    await quota.leave(first)
    # Bert came last; but Anna runs one, and Bert none.
    assert (await quota.keep((), [*annas, bert])).places == (1, 2, 3, 0)
    await quota.leave(second)
    assert (await quota.keep((), [*annas, bert])).places == (0, 1, 2, 0)


async def test_who_cannot_use_a_place_does_not_stand_in_the_way(backend: Open, names: Names) -> None:
    quota = backend()
    everybody = names("running", "all", 2)
    anna, again = [names.ask("anna", 1, everybody, line=9) for _ in range(2)]
    assert [(await quota.ask(ask)).place for ask in (anna, again)] == [0, 1]
    assert (await quota.ask(names.ask("bert", 1, everybody, line=9))).place == 0


async def test_the_line_is_bounded_in_all_and_for_each_owner(backend: Open, names: Names) -> None:
    quota = backend()
    everybody = names("running", "all", 1)

    async def place(owner: str) -> int:
        return (await quota.ask(names.ask(owner, 0, everybody, line=3, line_of_owner=2))).place

    assert [await place("anna") for _ in range(4)] == [0, 1, 2, -1]
    assert [await place("bert") for _ in range(2)] == [3, -1]


async def test_who_leaves_the_line_gives_up_the_place_in_it(backend: Open, names: Names) -> None:
    quota = backend()
    runs, first, second = [names.ask(line=9) for _ in range(3)]
    for ask in (runs, first, second):
        await quota.ask(ask)
    await quota.leave(first)
    assert (await quota.keep((), [second])).places == (1,)
    await quota.leave(runs)
    assert (await quota.keep((), [second])).places == (0,)


async def test_a_place_that_is_not_renewed_is_free_and_one_that_is_stays(shared: Open, names: Names) -> None:
    """A node dies, another renews."""
    dead, alive = shared(0.5), shared()
    kept, lost = names.ask(most=2), names.ask(most=2)
    assert (await alive.ask(kept)).place == 0
    assert (await dead.ask(lost)).place == 0
    free = names.ask(most=2)

    async def is_free() -> bool:
        assert (await alive.keep([kept], ())).lost == ()
        return (await alive.ask(free)).place == 0

    await eventually(is_free)
    assert (await alive.ask(names.ask(most=2))).place == -1


async def test_who_waits_at_a_node_that_died_is_passed_over(shared: Open, names: Names) -> None:
    dead, alive = shared(0.3), shared()
    runs, waits, next_one = [names.ask(line=9) for _ in range(3)]
    await alive.ask(runs)
    assert (await dead.ask(waits)).place == 1
    await alive.ask(next_one)

    async def is_first() -> bool:
        return (await alive.keep([runs], [next_one])).places == (1,)

    await eventually(is_first)
    await alive.leave(runs)
    assert (await alive.keep((), [next_one])).places == (0,)


async def test_what_the_store_has_forgotten_is_told_and_told_again(
    redis: RedisServer, opener: Callable[[str], Open], names: Names
) -> None:
    quota = opener("redis")()
    runs, waits, second = [names.ask(line=9) for _ in range(3)]
    for ask in (runs, waits, second):
        await quota.ask(ask)
    redis.ask("FLUSHALL")
    assert (await quota.keep([runs], ())).lost == (runs.ticket,)
    assert (await quota.keep([runs], (), anew=True)).lost == ()
    assert (await quota.keep((), [waits, second])).places == (1, 2)
    assert (await quota.ask(names.ask())).place == -1


async def test_starts_at_once_on_several_nodes_never_exceed_a_limit(shared: Open, names: Names) -> None:
    nodes = [shared() for _ in range(4)]
    ip, starts = names("running", "ip", 7), names("starts", "all", 11)
    running: set[str] = set()
    most = 0

    async def start(at: int) -> int:
        nonlocal most
        ask = names.ask(f"owner {at % 3}", 3, ip, starts)
        # Until its turn comes, or nobody may start any more.
        while (verdict := await nodes[at % 4].ask(ask)).place and verdict.limit != 2:  # noqa: ASYNC110  # as any client
            await asyncio.sleep(0.005)
        if verdict.place == 0:
            running.add(ask.ticket)
            most = max(most, len(running))
            await asyncio.sleep(0.01 * (at % 3))
            # Counted down first: what is measured is never more than what the store allowed.
            running.discard(ask.ticket)
            await nodes[at % 4].leave(ask)
        return verdict.place

    places = await asyncio.gather(*map(start, range(80)))
    assert most <= 7
    assert places.count(0) == 11


@pytest.mark.parametrize("kind", SHARED)
async def test_marks_are_seen_by_other_nodes_until_their_time_is_over(
    kind: str, opener: Callable[[str], Open], names: Names
) -> None:
    one, other = opener(kind)(), opener(kind)()
    assert isinstance(one, SqliteQuota | RedisQuota)
    assert isinstance(other, SqliteQuota | RedisQuota)
    marks: Marks = one
    is_read, is_not = names("running", "read", 0).name, names("running", "not", 0).name
    await marks.mark([is_read], seconds=1)
    assert await other.marked([is_read, is_not]) == {is_read}

    async def is_over() -> bool:
        return not await other.marked([is_read])

    await eventually(is_over)


async def test_a_file_that_cannot_be_opened_is_an_unavailable_store(tmp_path: Path, names: Names) -> None:
    quota = SqliteQuota(tmp_path / "nowhere" / "counts")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await quota.ask(names.ask())
    await quota.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await quota.ask(names.ask())


async def test_a_file_of_another_boot_holds_no_places_but_the_tokens(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = names("tokens", "anna", 10)
    ask = names.ask("anna", 1, tokens)
    before = SqliteQuota(tmp_path / "counts")
    await before.ask(ask)
    await before.leave(ask, tokens=5)
    await before.ask(ask)
    await before.close()
    monkeypatch.setattr("dazi.quota.sqlite.boot", lambda: "another")
    after = SqliteQuota(tmp_path / "counts")
    again = names.ask("anna", 1, tokens)
    assert (await after.ask(again)).place == 0
    await after.leave(again, tokens=5)
    assert (await after.ask(names.ask("anna", 1, tokens))).limit == 1
    await after.close()


# Any history: every backend does what memory does.

OWNERS = ("anna", "bert", "carl")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(OWNERS), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 30), st.integers(0, 3)),
        st.tuples(st.just("keep"), st.booleans(), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS,
    most=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 9), st.integers(0, 4)),
    line=st.tuples(st.integers(0, 4), st.integers(0, 2)),
)
def test_any_history_is_judged_as_memory_judges_it(
    kind: str,
    opener: Callable[[str], Open],
    steps: list[tuple[str, str | int, int]],
    most: tuple[int, int, int, int],
    line: tuple[int, int],
) -> None:
    async def run() -> None:
        names, quota, model = Names(), opener(kind)(), MemoryQuota(lease=60)
        if isinstance(quota, SqliteQuota):
            quota._path = quota._path.with_name(secrets.token_hex(4))
        if isinstance(quota, RedisQuota):
            quota._base = f"{secrets.token_hex(4)}:{{quota}}:"
        asks: list[Ask] = []
        waiting: list[Ask] = []
        for verb, what, more in steps:
            if verb == "ask":
                others = (names("running", "all", most[1]), names("starts", f"{what}", most[2]))
                limits = (*others, *([names("tokens", f"{what}", most[3])] if more else []))
                asks.append(ask := names.ask(str(what), most[0], *limits, line=line[0], line_of_owner=line[1]))
                verdict, expected = await quota.ask(ask), await model.ask(ask)
                assert (verdict.place, verdict.limit) == (expected.place, expected.limit)
                if verdict.place > 0:
                    waiting.append(ask)
            elif verb == "leave" and asks:
                gone = asks.pop(int(what) % len(asks))
                waiting = [ask for ask in waiting if ask is not gone]
                await quota.leave(gone, tokens=more)
                await model.leave(gone, tokens=more)
            else:
                kept = await model.keep((), waiting)
                assert await quota.keep((), waiting) == kept
                waiting = [ask for ask, place in zip(waiting, kept.places, strict=True) if place]
        await quota.close()

    asyncio.run(run())


async def test_memory_forgets_what_is_past_its_time() -> None:
    now = 0.0
    quota = MemoryQuota(clock=lambda: now)
    for at in range(10_000):
        now += 1
        ask = Ask(f"{at}", (Limit("starts", f"owner {at}", 1, 60), Limit("tokens", f"day {at}", 1)))
        await quota.ask(ask)
        await quota.leave(ask, tokens=1)
        now += 100
    await until(lambda: len(quota._starts) < 5000)
    assert len(quota._spent) < 10_000
