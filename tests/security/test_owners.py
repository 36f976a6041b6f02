"""A generation is its owner's: for anybody else every call on it answers as if it never was.

MCP Ruby SDK CVE-2026-33946, oatpp-mcp CVE-2025-6515, new-api CVE-2026-30886: ids of others' streams were good for whoever had one.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import Serve, Served
from tests.log.redis_server import RedisServer, redis_server
from tests.puppet import PATIENCE, Puppet
from tests.security.conftest import ALICE, BOB
from tests.security.raw import HELLO, Answer, exchange, parsed, request, start

from dazi.settings import Settings

KINDS = ("memory", "sqlite", "redis")
# What is never told to anybody else.
ANSWER = "narwhal-answer"
PROMPT = b'{"messages":[{"role":"user","content":"walrus"}]}'


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path}/log.db"
        case "redis":
            server: RedisServer = request.getfixturevalue("redis")
            server.ask("FLUSHALL")
            return server.url
    return "memory://"


every_log = pytest.mark.parametrize("log", KINDS, indirect=True)


class Lines:
    """A few connections that are kept, for many requests: `ask` uses whichever is free."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._all: list[asyncio.StreamWriter] = []

    async def open(self, count: int) -> None:
        for _ in range(count):
            line = await asyncio.open_connection("127.0.0.1", self._port)
            self._all.append(line[1])
            self._free.put_nowait(line)

    async def close(self) -> None:
        for writer in self._all:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._all), return_exceptions=True)

    async def ask(self, probe: Probe, generation: str) -> Answer:
        reader, writer = await self._free.get()
        writer.write(probe.about(generation, self._key))
        async with asyncio.timeout(PATIENCE * 6):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            body = b"" if probe.method == "HEAD" else await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        (answer,) = parsed(
            head.replace(b"content-length: %d" % length, b"x-length: %d" % length)
            if probe.method == "HEAD"
            else head + body
        )
        return answer


class Probe:
    """One way to get at somebody's generation; `{}` in its path is the id."""

    def __init__(self, name: str, method: str, path: str, *headers: tuple[str, str]) -> None:
        self.name = name
        self.method = method
        self._path = path
        self._headers = headers

    def about(self, generation: str, key: str) -> bytes:
        headers = [("Authorization", f"Bearer {key}"), *self._headers]
        whole = request(self.method, self._path.format(generation), headers)
        return whole.replace(b"Connection: close\r\n", b"")


JSON = ("Accept", "application/json")
PROBES = [
    Probe("read", "GET", "/v1/generations/{}"),
    Probe("stream", "GET", "/v1/generations/{}/events"),
    Probe("resume", "GET", "/v1/generations/{}/events", ("Last-Event-ID", "1-1")),
    Probe("resume from nowhere", "GET", "/v1/generations/{}/events?after=9-9"),
    Probe("replace", "GET", "/v1/generations/{}/events?mode=replace"),
    Probe("poll", "GET", "/v1/generations/{}/events", JSON),
    Probe("long poll", "GET", "/v1/generations/{}/events?after=1-1&wait=25", JSON),
    Probe("openai", "GET", "/v1/generations/{}/events?format=openai"),
    Probe("abort", "POST", "/v1/generations/{}/abort"),
    Probe("export", "GET", "/v1/generations/{}/markdown"),
    Probe("head", "HEAD", "/v1/generations/{}/events"),
    Probe("head of the answer", "HEAD", "/v1/generations/{}"),
    Probe("in band", "GET", "/v1/generations/{}/events?inband=1"),
    Probe("probe", "GET", "/v1/probe/{}"),
]


@asynccontextmanager
async def between_two(serve: Serve, log: str) -> AsyncIterator[tuple[Served, Lines, list[str]]]:
    """A gateway, Bob's connections, and Alice's generations: running, done and aborted ones."""
    puppet = Puppet()
    served = await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB), log=log))
    ids = []
    for end in ("running", "done", "aborted", "running", "done"):
        begun = await served.client.post(
            "/v1/generations",
            content=PROMPT,
            headers={"Content-Type": "application/json", "Accept": "application/json", **key_of(ALICE)},
        )
        ids.append(str(begun.json()["generation"]))
        play = await puppet.play()
        play.say(ANSWER)
        await served.client.get(
            f"/v1/generations/{ids[-1]}/events?after=1-1&wait=9",
            headers={"Accept": "application/json", **key_of(ALICE)},
        )
        if end == "done":
            play.finish()
            await served.client.get(
                f"/v1/generations/{ids[-1]}/events?after=1-2&wait=9",
                headers={"Accept": "application/json", **key_of(ALICE)},
            )
        if end == "aborted":
            await served.client.post(f"/v1/generations/{ids[-1]}/abort", headers=key_of(ALICE))
    lines = Lines(served.port, BOB)
    await lines.open(8)
    try:
        yield served, lines, ids
    finally:
        await lines.close()


def key_of(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def shape(answer: Answer, generation: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Return what of an answer could differ, without the id that was asked for and the time of day."""
    headers = tuple((name, value) for name, value in answer.headers if name != "date")
    return answer.status, headers, answer.body.replace(generation.encode(), b"<id>")


async def probe_all(serve: Serve, log: str, count: int) -> Counter[str]:
    """Make so many probes of others' generations, and of some that never were; all must answer alike."""
    rng = random.Random(7)
    tried: Counter[str] = Counter()
    async with between_two(serve, log) as (served, lines, ids):
        nobody = {probe.name: shape(await lines.ask(probe, "0" * 32), "0" * 32) for probe in PROBES}
        assert {name for name, (status, _, _) in nobody.items() if status != 404} == {"in band"}

        async def one(_: int) -> None:
            probe = rng.choice(PROBES)
            generation = rng.choice(ids) if rng.random() < 0.8 else f"{rng.getrandbits(128):032x}"
            answer = await lines.ask(probe, generation)
            assert shape(answer, generation) == nobody[probe.name], (probe.name, answer)
            assert ANSWER.encode() not in answer.body
            tried[probe.name] += generation in ids

        for at in range(0, count, 200):
            await asyncio.gather(*map(one, range(at, min(at + 200, count))))
        await others_verbs(lines, served, ids)
        # And it is all still there, as it was.
        for generation, status in zip(ids, ("running", "done", "aborted", "running", "done"), strict=True):
            answer = (await served.client.get(f"/v1/generations/{generation}", headers=key_of(ALICE))).json()
            assert (answer["status"], answer["text"]) == (status, ANSWER)
    return tried


async def others_verbs(lines: Lines, served: Served, ids: list[str]) -> None:
    """What is not about an id: erasing, and keys of one owner's, touch nothing of another's."""
    erased = await lines.ask(Probe("erase", "POST", "/v1/generations/erase"), "")
    assert (erased.status, erased.json) == (200, {"erased": 0})
    key = ("Idempotency-Key", "alices-own")
    begun = await served.client.post(
        "/v1/generations",
        content=HELLO,
        headers={"Content-Type": "application/json", "Accept": "application/json", **key_of(ALICE), key[0]: key[1]},
    )
    aborted = await lines.ask(Probe("abort by key", "POST", "/v1/generations/abort", key), "")
    assert aborted.json["generation"] not in {begun.json()["generation"], *ids}
    (attached,) = (
        answer.json for answer in parsed(await exchange(served.port, start(("Authorization", f"Bearer {BOB}"), key)))
    )
    assert attached["generation"] == aborted.json["generation"]
    assert attached["status"] == "aborted"
    mine = (await served.client.get(f"/v1/generations/{begun.json()['generation']}", headers=key_of(ALICE))).json()
    assert mine["status"] == "running"


@every_log
async def test_what_is_anothers_answers_as_what_never_was(serve: Serve, log: str) -> None:
    tried = await probe_all(serve, log, 600)
    assert set(tried) == {probe.name for probe in PROBES}


@pytest.mark.full
@every_log
async def test_ten_thousand_probes_find_nothing(
    serve: Serve, log: str, record_property: Callable[[str, object], None]
) -> None:
    tried = await probe_all(serve, log, 12_700)
    assert sum(tried.values()) >= 10_000
    record_property(
        "counts", f"{sum(tried.values())} probes of others' generations, all as if they never were: {dict(tried)}"
    )


async def test_ids_are_random(serve: Serve) -> None:
    async with between_two(serve, "memory://") as (_, _, ids):
        assert len({generation[:4] for generation in ids}) > 1
        assert all(len(generation) == 32 and int(generation, 16) >= 0 for generation in ids)


@pytest.mark.alone
@every_log
async def test_the_time_does_not_tell_what_is_there(serve: Serve, log: str) -> None:
    """Also of a long answer, which a log that reads before it asks whose it is would read for nobody."""
    puppet = Puppet()
    served = await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB), log=log))
    begun = await served.client.post(
        "/v1/generations",
        content=PROMPT,
        headers={"Content-Type": "application/json", "Accept": "application/json", **key_of(ALICE)},
    )
    theirs = str(begun.json()["generation"])
    play = await puppet.play()
    for at in range(3000):
        play.sink.tool_call(at % 7, arguments=f"[{at}] {ANSWER}")
    play.finish()
    await served.client.get(
        f"/v1/generations/{theirs}/events?after=1-3001&wait=20", headers={"Accept": "application/json", **key_of(ALICE)}
    )
    # Another node has never heard of it.
    there = (
        served if log == "memory://" else await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB), log=log))
    )
    lines = Lines(there.port, BOB)
    await lines.open(1)
    rng = random.Random(11)
    try:
        for probe in (PROBES[0], PROBES[5], PROBES[8]):
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(200):
                is_theirs = rng.random() < 0.5
                generation = theirs if is_theirs else f"{rng.getrandbits(128):032x}"
                began = time.perf_counter()
                answer = await lines.ask(probe, generation)
                times[is_theirs].append(time.perf_counter() - began)
                assert answer.status == 404
            assert 0.25 < chance_of_longer(times[True], times[False]) < 0.75, (
                probe.name,
                {k: statistics.median(v) for k, v in times.items()},
            )
    finally:
        await lines.close()


def chance_of_longer(ones: list[float], others: list[float]) -> float:
    """Return the chance that one of these took longer than one of those: Mann and Whitney's U, as a share; 0.5 is no difference."""
    return statistics.mean((one > other) + 0.5 * (one == other) for one in ones for other in others)
