from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.log.contract import covers_all, fold, proves_itself
from tests.log.redis_server import redis_server
from tests.puppet import Puppet, Scripted
from tests.waiting import until

from dazi.errors import (
    Closed,
    Conflict,
    LogError,
    NotFound,
    OutOfOrder,
    RequestError,
    StoreUnavailable,
    Unavailable,
    UpstreamError,
)
from dazi.events import Aborted, Done, End, Failed, Piece, Text
from dazi.log import START, Cursor, Draft, Observer, Opened, Page, Record
from dazi.log.memory import MemoryLog, _Generation
from dazi.log.redis import RedisLog
from dazi.log.sqlite import SqliteLog
from dazi.service import Gateway, Limits
from dazi.upstream import Finish, Prompt, Sink, Upstream

PROMPT = Prompt("m", [{"role": "user", "content": "hi"}])
LEASE = 0.06


class Store:
    """What several logs share, as nodes do: one memory, and whether it can be reached."""

    def __init__(self) -> None:
        self.memory = MemoryLog()
        self.is_down = False
        # Whether it can be read, and takes nothing.
        self.is_full = False
        # Whether an append is stored before its answer is lost.
        self.swallows_answers = False
        self.appends: list[int] = []
        self.stolen: set[str] = set()


class SlowLog:
    """A durable log to the gateway: no append at once, leases, and a store that fails when told to."""

    lease = LEASE

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_open = False
        self.renewed: list[Mapping[str, int]] = []
        self.sweeps = 0

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def create(self, draft: Draft) -> Opened:
        await self._take()
        return await self.store.memory.create(draft)

    async def find(self, owner: str, key: str) -> Opened:
        await self._reach()
        return await self.store.memory.find(owner, key)

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        self.store.appends.append(len(pieces))
        await self._take()
        if generation in self.store.stolen:
            raise OutOfOrder(generation, expected="2-9", got=f"{epoch}-{previous}")
        await self.store.memory.append(generation, pieces, previous=previous, epoch=epoch)
        if self.store.swallows_answers:
            self.store.swallows_answers = False
            raise StoreUnavailable("The answer was lost.")

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        await self._take()
        return await self.store.memory.end(generation, end, after=after)

    async def read(self, generation: str, after: Cursor = START) -> Page:
        await self._reach()
        return await self.store.memory.read(generation, after)

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        return self.store.memory.observe(generation, observer)

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        return self.store.memory.observe_end(generation, observer)

    async def renew(self, held: Mapping[str, int]) -> frozenset[str]:
        await self._reach()
        self.renewed.append(held)
        return frozenset(held) & self.store.stolen

    async def sweep(self) -> tuple[str, ...]:
        await self._reach()
        self.sweeps += 1
        return ()

    async def touch(self) -> None:
        await self._take()

    async def _take(self) -> None:
        await self._reach()
        if self.store.is_full:
            raise StoreUnavailable("The store is full.")

    async def _reach(self) -> None:
        await asyncio.sleep(0.001)
        if self.store.is_down:
            raise StoreUnavailable("The store is down.")


class ForgetfulLog(SlowLog):
    """A store that forgets what it took when it restarts."""

    def forget(self, generation: str, keep: int) -> None:
        """Keep `keep` positions alone; 0 forgets the log."""
        log = self.store.memory._logs.pop(generation)
        self.store.memory._keys.clear()
        if keep:
            shorter = self.store.memory._logs[generation] = _Generation(log.draft)
            shorter.observers = log.observers
            for event in [record.event for record in _singles(log)][1:keep]:
                shorter.store(event)

    async def forgotten(self, stored: Mapping[str, int]) -> frozenset[str]:
        await self._reach()
        logs = self.store.memory._logs
        return frozenset(one for one in stored if one not in logs or logs[one].position < stored[one])

    async def restore(self, draft: Draft, pieces: tuple[Piece, ...], *, epoch: int) -> None:
        await self._reach()
        opened = await self.store.memory.create(draft)
        position = (await self.store.memory.read(opened.generation)).head.position
        await self.store.memory.append(opened.generation, pieces[position - 1 :], previous=position, epoch=epoch)


def _singles(log: _Generation) -> Iterable[Record]:
    """Take the records of a log one by one, though it keeps them together."""
    for position in range(log.position):
        yield next(iter(log.after(position)))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


Node = Callable[..., Gateway]


@pytest.fixture
async def node(store: Store, puppet: Puppet) -> AsyncIterator[Node]:
    """Make a gateway over the shared store: `node(upstream, log, patience=…)`."""
    gateways: list[Gateway] = []

    def make(upstream: Upstream | None = None, log: SlowLog | None = None, patience: float = 0.5) -> Gateway:
        limits = Limits(window=0.002, patience=patience)
        gateways.append(Gateway(log or SlowLog(store), {"m": upstream or puppet}, limits=limits))
        return gateways[-1]

    yield make
    store.is_down = False
    for gateway in gateways:
        await gateway.close()


async def ended(gateway: Gateway, opened: Opened) -> Page:
    await asyncio.wait_for(gateway.ended("me", opened.generation), 5)
    return await gateway.read("me", opened.generation)


def said(page: Page) -> str:
    return fold(record.event for record in page.records).text


# Storing in groups


async def test_what_is_said_within_a_window_is_stored_together(node: Node, store: Store) -> None:
    gateway = node(Scripted(*"abcdefgh"))
    page = await ended(gateway, await gateway.start("me", PROMPT))
    assert (said(page), type(page.end)) == ("abcdefgh", Done)
    assert proves_itself(page.records)
    assert store.appends == [8]


async def test_what_is_said_while_a_group_is_stored_follows_it(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node()
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    for count in range(200):
        play.say(f"{count} ")
        await asyncio.sleep(0.0002)
    play.finish()
    page = await ended(gateway, opened)
    assert said(page) == "".join(f"{count} " for count in range(200))
    assert covers_all(page.records, after=0, head=202)
    assert sum(store.appends) == 200
    assert len(store.appends) < 100


async def test_an_end_comes_after_everything_that_was_said(node: Node) -> None:
    async with asyncio.timeout(5):
        for pieces in (["a"], ["a", "\ud83d"], []):
            gateway = node(Scripted(*pieces))
            page = await ended(gateway, await gateway.start("me", PROMPT))
            assert said(page) == "".join(pieces).replace("\ud83d", "\ufffd")


# Ends by others


async def test_an_abort_on_another_node_stops_the_upstream(node: Node, puppet: Puppet) -> None:
    here, there = node(), node()
    opened = await here.start("me", PROMPT)
    play = await puppet.play()
    play.say("a")
    await there.abort("me", opened.generation)
    await play.wait_released()
    page = await ended(here, opened)
    assert isinstance(page.end, Aborted)


async def test_an_abort_before_the_log_is_observed_is_noticed(
    node: Node, store: Store, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = store.memory.create

    async def create_and_abort(draft: Draft) -> Opened:
        opened = await create(draft)
        await store.memory.end(opened.generation, Aborted())
        return opened

    monkeypatch.setattr(store.memory, "create", create_and_abort)
    gateway = node()
    page = await ended(gateway, await gateway.start("me", PROMPT))
    await until(lambda: gateway.running == 0)
    assert (page.head.position, puppet.asked) == (2, 0)


async def test_a_writer_that_was_fenced_off_stops_and_tells_no_end(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node()
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    store.stolen.add(opened.generation)
    play.say("late")
    await play.wait_released()
    await until(lambda: gateway.running == 0)
    assert (await gateway.read("me", opened.generation)).head.position == 1
    with pytest.raises(LogError):
        play.sink.text("later")


async def test_a_lost_lease_stops_a_silent_upstream(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node()
    await gateway.open()
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    store.stolen.add(opened.generation)
    await play.wait_released()
    await until(lambda: gateway.running == 0)
    assert not (await gateway.read("me", opened.generation)).ended


# Upkeep


async def test_leases_are_renewed_while_a_generation_runs_and_no_longer(
    node: Node, store: Store, puppet: Puppet
) -> None:
    log = SlowLog(store)
    gateway = node(log=log)
    await gateway.open()
    assert log.is_open
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    await until(lambda: len(log.renewed) >= 3)
    assert log.renewed[-1] == {opened.generation: opened.epoch}
    play.finish()
    await ended(gateway, opened)
    await until(lambda: gateway.running == 0)
    renewals, sweeps = len(log.renewed), log.sweeps
    await until(lambda: log.sweeps > sweeps + 6)
    assert len(log.renewed) <= renewals + 1
    await gateway.close()
    assert not log.is_open


# Trouble with the store


async def test_a_short_outage_loses_nothing(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node(patience=5)
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a")
    await until(lambda: store.appends)
    store.is_down = True
    play.say("b")
    tried = len(store.appends)
    await until(lambda: len(store.appends) > tried + 1)
    play.say("c")
    store.is_down = False
    play.say("d")
    play.finish()
    page = await ended(gateway, opened)
    assert (said(page), type(page.end)) == ("abcd", Done)


async def test_an_append_whose_answer_was_lost_is_not_stored_twice(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node(patience=5)
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    store.swallows_answers = True
    play.say("a", "b")
    await until(lambda: not store.swallows_answers)
    play.say("c")
    play.finish()
    page = await ended(gateway, opened)
    assert (said(page), page.head.position) == ("abc", 5)
    assert proves_itself(page.records)


async def test_an_outage_beyond_patience_ends_the_generation_as_soon_as_that_can_be_told(
    node: Node, store: Store, puppet: Puppet
) -> None:
    gateway = node(patience=0.05)
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    append = store.memory.append

    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("The disk is full.")

    store.memory.append = broken  # type: ignore[method-assign]  # appends fail, ends do not
    play.say("a")
    await play.wait_released()
    page = await ended(gateway, opened)
    store.memory.append = append  # type: ignore[method-assign]
    assert isinstance(page.end, Failed)
    assert (page.end.code, page.end.retryable, said(page)) == ("store_lost", True, "")


async def test_a_store_that_fails_as_nobody_foresaw_never_costs_a_piece_silently(
    node: Node, store: Store, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = node()
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a")
    await until(lambda: store.memory._logs[opened.generation].position == 2)
    append = SlowLog.append

    async def fails(*_: object, **__: object) -> None:
        monkeypatch.setattr(SlowLog, "append", append)
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(SlowLog, "append", fails)
    play.say("b")
    await play.wait_released()
    page = await ended(gateway, opened)
    assert said(page) == "a"
    assert isinstance(page.end, Failed)
    assert page.end.code == "store_lost"


async def test_the_upkeep_survives_what_nobody_foresaw(
    node: Node, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SlowLog(store)
    sweep = log.sweep

    async def fails() -> tuple[str, ...]:
        monkeypatch.setattr(log, "sweep", sweep)
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(log, "sweep", fails)
    gateway = node(log=log)
    await gateway.open()
    await until(lambda: log.sweeps > 1)
    assert gateway._keeper is not None
    assert gateway._keeper.trouble == ""


async def test_an_upstream_that_ignores_the_loss_does_not_look_finished(node: Node, store: Store) -> None:
    class Deaf:
        async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
            sink.text("a")
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(5)
            return Finish()

    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("The disk is full.")

    store.memory.append = broken  # type: ignore[method-assign]
    gateway = node(Deaf(), patience=0.05)
    page = await ended(gateway, await gateway.start("me", PROMPT))
    assert isinstance(page.end, Failed)
    assert page.end.code == "store_lost"


async def test_without_a_store_starts_and_reads_are_refused_with_a_code(node: Node, store: Store) -> None:
    gateway = node()
    opened = await gateway.start("me", PROMPT, key="k")
    store.is_down = True
    calls = (
        lambda: gateway.start("me", PROMPT),
        lambda: gateway.start("me", PROMPT, key="k"),
        lambda: gateway.read("me", opened.generation),
        lambda: gateway.abort("me", opened.generation),
        lambda: gateway.abort_key("me", "other"),
        gateway.check,
    )
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            await call()
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("store_unavailable", 503, 2)
        assert "The store is down." in str(caught.value)
    store.is_down = False
    await gateway.check()


async def test_trouble_that_the_upkeep_met_is_told_until_it_is_over(node: Node, store: Store) -> None:
    gateway = node()
    await gateway.open()
    store.is_down = True
    await asyncio.wait_for(_until_unready(gateway), 5)
    store.is_down = False
    await asyncio.wait_for(_until_ready(gateway), 5)


async def test_a_store_that_can_be_read_and_takes_nothing_is_in_trouble_until_it_takes_something(
    node: Node, store: Store
) -> None:
    gateway = node()
    await gateway.open()
    store.is_full = True
    with pytest.raises(Unavailable):
        await gateway.start("me", PROMPT)
    await asyncio.sleep(3 * LEASE)
    with pytest.raises(Unavailable, match=r"The store is full\.") as caught:
        await gateway.check()
    assert caught.value.code == "store_unavailable"
    store.is_full = False
    await asyncio.wait_for(_until_ready(gateway), 5)


async def test_what_cannot_even_be_ended_is_shown_as_it_stands_and_nobody_waits_for_more(
    node: Node, store: Store, puppet: Puppet
) -> None:
    gateway = node(patience=0.1)
    await gateway.open()
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a")
    await until(lambda: store.memory._logs[opened.generation].position == 2)
    store.is_full = True
    play.say("b")
    await play.wait_released()
    await until(lambda: gateway.is_out_of_reach(opened.generation))
    page = await gateway.read("me", opened.generation)
    assert (said(page), page.ended) == ("a", False)
    assert await gateway.wait("me", opened.generation, START, seconds=0) == page
    for call in (
        gateway.wait("me", opened.generation, page.head, seconds=0),
        gateway.ended("me", opened.generation),
    ):
        with pytest.raises(Unavailable, match=r"The store is full\."):
            await call
    store.is_full = False
    await asyncio.wait_for(_until_ready(gateway), 5)
    assert said(await gateway.read("me", opened.generation)) == "a"


async def _until_unready(gateway: Gateway) -> None:
    while not gateway._keeper or not gateway._keeper.trouble:  # noqa: ASYNC110  # nothing announces it
        await asyncio.sleep(0.005)


async def _until_ready(gateway: Gateway) -> None:
    while True:
        try:
            return await gateway.check()
        except Unavailable:
            await asyncio.sleep(0.005)


async def test_a_goodbye_without_a_store_does_not_hang(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node()
    await gateway.start("me", PROMPT)
    play = await puppet.play()
    store.is_down = True
    await asyncio.wait_for(gateway.close(), 5)
    assert play.released.is_set()


# A store that forgets


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
async def test_what_the_store_forgot_is_restored_at_the_same_positions(
    node: Node, store: Store, puppet: Puppet, keep: int
) -> None:
    log = ForgetfulLog(store)
    gateway = node(log=log)
    opened = await gateway.start("me", PROMPT, key="k", fingerprint="f")
    play = await puppet.play()
    play.say("a", "b", "c")
    await until(lambda: sum(store.appends) == 3)
    await until(lambda: store.memory._logs[opened.generation].position == 4)
    log.forget(opened.generation, keep)
    play.say("d")
    play.finish()
    await until(lambda: gateway.running == 0)
    page = await gateway.read("me", opened.generation)
    assert type(page.end) is Done
    assert said(page) == "abcd"
    assert proves_itself(page.records)
    assert (await gateway.start("me", PROMPT, key="k", fingerprint="f")).generation == opened.generation


@pytest.mark.parametrize("keep", [0, 1, 3])
async def test_an_end_never_closes_less_than_was_stored(node: Node, store: Store, puppet: Puppet, keep: int) -> None:
    log = ForgetfulLog(store)
    gateway = node(log=log)
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a", "b", "c")
    await until(lambda: gateway._running[opened.generation].stored == 4)
    log.forget(opened.generation, keep)
    play.finish()
    await until(lambda: gateway.running == 0)
    page = await gateway.read("me", opened.generation)
    assert (said(page), type(page.end)) == ("abc", Done)
    assert proves_itself(page.records)


async def test_an_end_under_way_while_redis_loses_the_tail_comes_after_what_is_put_back(puppet: Puppet) -> None:
    with redis_server(append_only="always") as server:
        gateway = Gateway(RedisLog.from_url(server.url), {"m": puppet}, limits=Limits(window=0.002))
        opened = await gateway.start("me", PROMPT)
        play = await puppet.play()
        for count, piece in enumerate("abc"):
            play.say(piece)
            await until(partial(_has_stored, gateway, opened, count + 2))
        server.kill()
        server.cut(b"MULTI")
        play.finish()
        await asyncio.to_thread(server.start)
        await until(lambda: gateway.running == 0)
        page = await gateway.read("me", opened.generation)
        await gateway.close()
    assert (said(page), type(page.end)) == ("abc", Done)
    assert (page.head.position, page.end and page.end.n) == (5, 3)


def _has_stored(gateway: Gateway, opened: Opened, position: int) -> bool:
    return gateway._running[opened.generation].stored == position


@pytest.mark.parametrize("keep", [0, 2])
async def test_what_the_store_forgot_of_a_silent_model_is_put_back_by_itself(
    node: Node, store: Store, puppet: Puppet, keep: int
) -> None:
    log = ForgetfulLog(store)
    gateway = node(log=log)
    await gateway.open()
    opened = await gateway.start("me", PROMPT, key="k")
    play = await puppet.play()
    play.say("你好", "!")
    await until(lambda: gateway._running[opened.generation].stored == 3)
    log.forget(opened.generation, keep)
    await until(lambda: getattr(store.memory._logs.get(opened.generation), "position", 0) == 3)
    assert said(await gateway.read("me", opened.generation)) == "你好!"
    play.finish()
    assert said(await ended(gateway, opened)) == "你好!"


async def test_until_it_is_put_back_it_is_not_taken_for_gone(node: Node, store: Store, puppet: Puppet) -> None:
    log = ForgetfulLog(store)
    gateway = node(log=log)
    opened = await gateway.start("me", PROMPT, key="k", fingerprint="f")
    play = await puppet.play()
    log.forget(opened.generation, 0)
    assert (await gateway.start("me", PROMPT, key="k", fingerprint="f")).generation == opened.generation
    with pytest.raises(Conflict):
        await gateway.start("me", PROMPT, key="k", fingerprint="g")
    with pytest.raises(NotFound):
        await gateway.read("another", opened.generation)
    with pytest.raises(Unavailable, match="put back") as told:
        await gateway.read("me", opened.generation)
    assert told.value.code == "store_unavailable"
    await until(lambda: opened.generation in store.memory._logs)
    play.say("a")
    play.finish()
    assert said(await ended(gateway, opened)) == "a"
    assert puppet.asked == 1


async def test_a_log_that_ended_is_not_restored(node: Node, store: Store, puppet: Puppet) -> None:
    gateway = node(log=ForgetfulLog(store))
    opened = await gateway.start("me", PROMPT)
    play = await puppet.play()
    play.say("a")
    await gateway.abort("me", opened.generation)
    await play.wait_released()
    await until(lambda: gateway.running == 0)
    with pytest.raises(Closed):
        play.sink.text("b")
    assert Text("b", 2) not in [record.event for record in (await gateway.read("me", opened.generation)).records]


# Erasing


async def test_an_owner_is_erased_and_what_runs_is_stopped(puppet: Puppet) -> None:
    gateway = Gateway(MemoryLog(), {"m": puppet})
    mine, other = await gateway.start("me", PROMPT), await gateway.start("you", PROMPT)
    play = await puppet.play()
    assert await gateway.erase("me") == 1
    await play.wait_released()
    with pytest.raises(NotFound):
        await gateway.read("me", mine.generation)
    assert not (await gateway.read("you", other.generation)).ended
    await gateway.close()


async def test_a_log_that_cannot_erase_says_so(node: Node) -> None:
    with pytest.raises(RequestError) as caught:
        await node().erase("me")
    assert (caught.value.status, caught.value.code) == (501, "not_possible")


# Over a real file


class Talker:
    """An upstream that talks at random, and sometimes breaks."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        for count in range(self._dice.randrange(30)):
            sink.text(self._dice.choice(["a", "好", "😀", "\ud83d", "\ude00"]) * (1 + count % 3))
            await asyncio.sleep(self._dice.choice([0, 0, 0.001, 0.01]))
        if self._dice.random() < 0.2:
            raise UpstreamError("truncated", "x")
        return Finish()


@pytest.mark.parametrize("seed", range(4))
async def test_on_two_nodes_every_generation_ends_once_and_every_observer_hears_all_of_it(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    nodes = [Gateway(SqliteLog(tmp_path / "log.db"), {"m": Talker(dice)}) for _ in range(2)]
    for node in nodes:
        await node.open()
    heard: dict[str, list[Record]] = {}

    async def live(number: int) -> None:
        opened = await dice.choice(nodes).start("me", PROMPT, key=f"k{number % 20}", fingerprint="f")
        there = dice.choice(nodes)
        await there.read("me", opened.generation)
        records = heard.setdefault(f"{opened.generation} {number}", [])
        there.observe(opened.generation, records.append)
        await there.read("me", opened.generation)
        await asyncio.sleep(dice.random() * 0.1)
        if dice.random() < 0.3:
            await dice.choice(nodes).abort("me", opened.generation)
        await asyncio.wait_for(there.ended("me", opened.generation), 5)

    await asyncio.gather(*(live(number) for number in range(40)))
    await until(lambda: not any(node.running for node in nodes))
    # A node may read an end before its observers hear of it; hear of it they must.
    await until(lambda: all(records[-1].event.ends for records in heard.values() if records))
    for name, records in heard.items():
        page = await nodes[0].read("me", name.split()[0])
        assert [record.event.ends for record in page.records].count(True) == 1
        assert proves_itself(page.records)
        assert covers_all(page.records, after=0, head=page.head.position)
        if records:  # it had not ended before it could be observed
            assert covers_all(records, after=records[0].previous, head=page.head.position)
    for node in nodes:
        await node.close()
