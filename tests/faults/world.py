"""Two gateways, what they share, a model, readers on lines that break, and the hand that breaks them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

import msgspec
from tests.e2e.process import Dazi
from tests.faultproxy import FaultProxy, LimitData, ResetPeer, Slicer, Timeout, Toxic, Toxics
from tests.faults.history import Fault, History, Reading, Said, Standing
from tests.faults.model import Model
from tests.faults.reader import Reader
from tests.log.redis_server import RedisServer, redis_server

# Seconds for whatever the world itself waits for: a loaded machine takes its time.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of.

    `log`: `sqlite`, or what Redis keeps: `always`, `everysec`, `none`. `faults`: names of `World`'s, done one after another,
    each when so many more frames were shown. `every`: how many. `lease`: seconds. `slots`: answers at once; each has
    `readers` readers, `pieces` pieces, `pace` seconds apart, one of them after a silence of up to `hush`. `cuts_redis`: whether
    the gateways' lines to Redis are cut, too; readers' always are.
    """

    log: str
    faults: tuple[str, ...]
    every: int = 150
    lease: float = 2.0
    slots: int = 3
    readers: int = 2
    pieces: int = 60
    pace: float = 0.02
    hush: float = 1.5
    cuts_redis: bool = False

    @property
    def name(self) -> str:
        """Tell it in a word."""
        cuts = ", lines to Redis cut" if self.cuts_redis else ""
        return f"{self.log}: {', '.join(self.faults)}{cuts}, every {self.every}"

    @property
    def wait(self) -> float:
        """Seconds that a reader may go without news: the longest stop, the lease, and what a busy machine adds."""
        return 3 * self.lease + 2 * self.lease + 8


class Node:
    """One gateway, on a port that it keeps when it is started again."""

    def __init__(self, name: str, folder: Path, environ: dict[str, str]) -> None:
        self.name = name
        self.port = 0
        # What its processes printed, once they have ended.
        self.said = ""
        self._folder = folder
        self._environ = environ
        self._dazi: Dazi | None = None

    @property
    def dazi(self) -> Dazi:
        """The process that runs."""
        assert self._dazi is not None
        return self._dazi

    async def start(self) -> None:
        """Start, and wait until it serves; again too."""
        self._dazi = await Dazi.run(*("--port", str(self.port)), folder=self._folder, environ=self._environ)
        await self._dazi.ready()
        self.port = self._dazi.port

    async def end(self) -> None:
        """Be sure that nothing is left of it."""
        if self._dazi is not None:
            await self._dazi.end()
            self.said += self._dazi.said
            self._dazi = None


class World:
    """A plan, run; `history` is what happened."""

    def __init__(self, plan: Plan, folder: Path, seed: int) -> None:
        self.plan = plan
        self.history = History(plan.name, seed)
        self._draw = Random(seed)
        self._folder = folder
        self._stack = AsyncExitStack()
        self._redis: RedisServer | None = None
        self._nodes: list[Node] = []
        self._ports: Sequence[int] = ()
        # Frames shown so far; how many of them shall be, and whether they were.
        self._frames = 0
        self._wanted = 0
        self._enough = asyncio.Event()
        # When every fault is done: no more questions, and lines that hold.
        self._is_over = False

    async def __aenter__(self) -> Self:
        plan = self.plan
        model = Model(self._heard, pieces=plan.pieces, pace=plan.pace, hush=plan.hush)
        await self._stack.enter_async_context(model)
        environ = {
            "OPENAI_BASE_URL": model.url,
            "OPENAI_MODEL": "m",
            "DAZI_LOG": await self._store(),
            "DAZI_LEASE": str(plan.lease),
            "DAZI_DRAIN": "20",
        }
        self._nodes = [Node(name, self._folder, environ) for name in ("A", "B")]
        for node in self._nodes:
            self._stack.push_async_callback(node.end)
        await asyncio.gather(*(node.start() for node in self._nodes))
        self._ports = [await self._front(node.port) for node in self._nodes]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def said(self) -> dict[str, str]:
        """What the gateways printed, when all is over."""
        return {node.name: node.said for node in self._nodes}

    async def _store(self) -> str:
        if self.plan.log == "sqlite":
            return "sqlite:///log.db"
        append_only = "" if self.plan.log == "none" else self.plan.log
        self._redis = self._stack.enter_context(redis_server(append_only=append_only))
        if not self.plan.cuts_redis:
            return self._redis.url
        proxy = FaultProxy(self._redis.port, self._redis_toxics)
        await self._stack.enter_async_context(proxy)
        return f"redis://127.0.0.1:{proxy.port}/0"

    async def _front(self, port: int) -> int:
        proxy = FaultProxy(port, self._toxics)
        await self._stack.enter_async_context(proxy)
        return proxy.port

    def _heard(self, key: str, text: str) -> None:
        self.history.said.append(Said(key, text))

    # How lines break

    def _toxics(self, _number: int) -> Toxics:
        if self._is_over or self._draw.random() < 0.2:
            return Toxics()
        after = int(2 ** self._draw.uniform(3, 15))
        kinds: Sequence[Callable[[int], Toxic]] = (LimitData, LimitData, ResetPeer, ResetPeer, Timeout)
        slices = [Slicer(40, 39, 0.0, Random(after))] if self._draw.random() < 0.2 else []
        if self._draw.random() < 0.1:
            return Toxics(up=[LimitData(after)])
        return Toxics(down=[*slices, self._draw.choice(kinds)(after)])

    def _redis_toxics(self, number: int) -> Toxics:
        """Break the gateways' own lines to Redis, both ways: an answer that is lost, a command that is cut."""
        if number < 4 or self._is_over:
            return Toxics()
        after = int(2 ** self._draw.uniform(8, 17))
        return Toxics(down=[ResetPeer(after)]) if self._draw.random() < 0.5 else Toxics(up=[LimitData(after)])

    # The run

    async def run(self) -> History:
        """Ask and answer until every fault is done, and everybody has come to an end."""
        async with asyncio.TaskGroup() as group:
            for slot in range(self.plan.slots):
                group.create_task(self._ask(slot), name=f"slot {slot}")
            await self._break()
            self._is_over = True
        await self._settle()
        return self.history

    async def _ask(self, slot: int) -> None:
        """Ask one question after another."""
        number = 0
        while not self._is_over:
            key = f"{slot}-{number}"
            readers = [self._reader(key, at) for at in range(self.plan.readers)]
            # One that hangs is no reason for the run to hang: it has told the checker enough by then.
            async with asyncio.timeout(_PATIENCE + len(self.plan.faults) * self.plan.wait):
                await asyncio.gather(*(reader.follow() for reader in readers))
            number += 1

    def _reader(self, key: str, at: int) -> Reader:
        reading = Reading(f"{key}/{at}", key, time.monotonic())
        self.history.readings.append(reading)
        return Reader(reading, self._ports, Random(f"{self.history.seed} {reading.reader}"), self._note)

    def _note(self) -> None:
        self._frames += 1
        if self._frames >= self._wanted:
            self._enough.set()

    async def _shown(self, more: int) -> None:
        """Wait until so many more frames were shown."""
        self._wanted = self._frames + more
        self._enough.clear()
        async with asyncio.timeout(_PATIENCE + self.plan.wait):
            await self._enough.wait()

    async def _settle(self) -> None:
        """Ask each node how every generation stands, once all have ended."""
        generations = sorted({reading.generation for reading in self.history.readings} - {""})
        for node in self._nodes:
            for generation in generations:
                status, text = await self._stands(node, generation)
                self.history.standings.append(Standing(node.name, generation, status, text))

    async def _stands(self, node: Node, generation: str) -> tuple[str, str]:
        """Tell how a generation stands; one whose end was lost gets another one, within the lease."""
        until = time.monotonic() + self.plan.wait
        while True:
            answer = await node.dazi.client.get(f"/v1/generations/{generation}")
            told = answer.json() if answer.status_code == 200 else {"status": str(answer.status_code), "text": ""}
            if told["status"] not in {"running", "503"} or time.monotonic() > until:
                return told["status"], told["text"]
            await asyncio.sleep(0.1)

    # What is broken

    async def _break(self) -> None:
        """Do the faults, each at the k-th frame after the one before."""
        for name in self.plan.faults:
            await self._shown(self.plan.every)
            await _FAULTS[name](self)
        await self._shown(self.plan.every)

    def _fault(self, kind: str, target: str, *, forgets: bool = False) -> None:
        self.history.faults.append(Fault(time.monotonic(), kind, target, forgets))

    async def kill(self) -> None:
        """Kill a gateway, and start it again at once."""
        node = self._draw.choice(self._nodes)
        self._fault("kill", node.name)
        await node.end()
        await node.start()

    async def pause(self, leases: float) -> None:
        """Stop a gateway's process for so many leases, and let it go on."""
        node = self._draw.choice(self._nodes)
        self._fault(f"pause {leases} leases", node.name)
        node.dazi.signal(signal.SIGSTOP)
        await asyncio.sleep(leases * self.plan.lease)
        node.dazi.signal(signal.SIGCONT)

    async def roll(self) -> None:
        """Replace one gateway after the other, as a deployment does."""
        for node in self._nodes:
            self._fault("roll", node.name)
            node.dazi.signal(signal.SIGTERM)
            await node.dazi.gone(_PATIENCE)
            await node.end()
            await node.start()

    async def kill_redis(self) -> None:
        """Kill Redis, take what its settings do not promise to keep, and start it again a little later."""
        assert self._redis is not None
        kept = self.plan.log
        self._fault("kill redis", kept, forgets=kept != "always")
        await asyncio.to_thread(self._redis.kill)
        if kept == "everysec":
            self._cut_tail(self._redis.folder)
        await asyncio.sleep(self._draw.uniform(0.1, 1.0))
        await asyncio.to_thread(self._redis.start)

    def _cut_tail(self, folder: Path) -> None:
        """Take off what a loss of power would: up to a second of what was written; `kill` alone leaves the system's cache."""
        newest = max(folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        size = newest.stat().st_size
        with newest.open("r+b") as file:
            file.truncate(max(0, size - self._draw.randint(1, 20_000)))


_FAULTS: dict[str, Callable[[World], Awaitable[None]]] = {
    "kill": World.kill,
    "pause 0.3": lambda world: world.pause(0.3),
    "pause 3": lambda world: world.pause(3),
    "roll": World.roll,
    "kill redis": World.kill_redis,
}


def keep(world: World, folder: Path) -> Path:
    """Write down what happened, and what the gateways said, for whoever wants to know what went wrong."""
    path, history = folder / "history.json", world.history
    for name, words in world.said.items():
        (folder / f"{name}.txt").write_text(words)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(history)))
    return path
