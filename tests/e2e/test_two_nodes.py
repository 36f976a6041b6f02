"""The example of deploy/two-nodes, run: two gateways, one Redis, nginx before them."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count, cycle
from pathlib import Path
from time import monotonic

import httpx
import pytest
from tests.e2e.client import FORMATS, Format, Held, Question, Reception, chunks
from tests.e2e.conftest import Mock
from tests.e2e.mock_model import MockModel
from tests.e2e.nginx import nginx
from tests.e2e.process import PROGRAM, Dazi, environment
from tests.log.redis_server import RedisServer, redis_server
from tests.waiting import until

# What the machine may add to anything here, being busy.
PATIENCE = 20.0
ASK = {"messages": [{"role": "user", "content": "?"}]}


class Site:
    """Two nodes and the nginx before them; started by `of`."""

    def __init__(self, stack: AsyncExitStack, folder: Path, redis: RedisServer) -> None:
        self._stack = stack
        self._folder = folder
        self._redis = redis
        self.nodes: list[Dazi] = []
        self.environ: dict[str, str] = {}
        self.port = 0

    async def of(self, model: MockModel) -> None:
        self.environ = {"OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "m", "DAZI_LOG": self._redis.url}
        self.nodes = list(await asyncio.gather(self._node(), self._node()))
        self.port = await self._stack.enter_async_context(nginx([node.port for node in self.nodes], self._folder))

    async def restart(self, at: int) -> None:
        """Replace a node by the next process, on its port, as a deployment does."""
        port = self.nodes[at].port
        self.nodes[at].signal(signal.SIGTERM)
        assert await self.nodes[at].gone(PATIENCE) == 0
        self.nodes[at] = await self._node("--port", str(port))

    async def _node(self, *arguments: str) -> Dazi:
        node = await Dazi.run(*arguments, "--drain", "15", folder=self._folder, environ=self.environ)
        self._stack.push_async_callback(node.end)
        return await node.ready()


@pytest.fixture
def site(stack: AsyncExitStack, tmp_path: Path) -> Site:
    return Site(stack, tmp_path, stack.enter_context(redis_server()))


async def start(node: Dazi) -> str:
    answer = await node.client.post("/v1/generations", json=ASK, headers={"Accept": "application/json"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["generation"])


async def test_what_starts_on_one_node_is_read_and_stopped_on_the_other(
    site: Site, mock: Mock, record_property: Callable[[str, object], None]
) -> None:
    model = await mock(["你", "好", ""])
    await site.of(model)
    one, other = site.nodes
    path = f"/v1/generations/{await start(one)}"
    await model.wait_until(lambda model: model.waiting == 1, seconds=PATIENCE)
    held = Held()
    async with other.client.stream("GET", f"{path}/events") as stream:
        body = b""
        async for chunk in stream.aiter_raw():
            body += chunk
            held = Held()
            held.apply(Format().events(body))
            if held.text == "你好":
                break
    polled = await other.client.get(f"{path}/events?after={held.id}&wait=0", headers={"Accept": "application/json"})
    assert (polled.json()["events"], polled.json()["status"]) == ([], "running")
    polling = asyncio.create_task(
        other.client.get(f"{path}/events?after={held.id}&wait=20", headers={"Accept": "application/json"})
    )
    began = monotonic()
    assert (await other.client.post(f"{path}/abort")).json()["status"] == "aborted"
    # One second is what is promised, and what is printed; a busy machine gets more.
    await model.wait_until(lambda model: (model.open, model.aborted) == (0, 1), seconds=5)
    record_property("counts", f"the abort on one node reached the other's model after {monotonic() - began:.3f} s")
    assert [event["type"] for event in (await polling).json()["events"]] == ["aborted"]
    assert (await one.client.get(path)).json()["status"] == "aborted"


async def test_an_owner_is_erased_everywhere_by_a_call_at_any_node_and_by_the_command_line(
    site: Site, mock: Mock, tmp_path: Path
) -> None:
    model = await mock(["你", ""])
    await site.of(model)
    one, other = site.nodes

    async def admin(*words: str) -> str:
        command = (str(PROGRAM), "admin", *words)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment(site.environ), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return said.decode()

    async def by_call(_owner: str) -> str:
        return str((await other.client.post("/v1/generations/erase")).json()["erased"])

    async def by_command(owner: str) -> str:
        return await admin("erase", owner, "--yes")

    for number, erase in enumerate((by_call, by_command), 1):
        generation = await start(one)
        await model.wait_until(lambda model: model.waiting == 1, seconds=PATIENCE)
        found, status, _, owner, _ = (await admin("list")).split()
        assert (found, status) == (generation, "running")
        assert (await erase(owner)).startswith("1")
        await model.wait_until(lambda model: model.open == 0, seconds=PATIENCE)
        assert model.aborted == number
        for node in site.nodes:
            assert (await node.client.get(f"/v1/generations/{generation}")).status_code == 404
        assert await admin("list") == ""


async def test_a_reader_behind_nginx_goes_on_while_both_nodes_are_replaced(site: Site, mock: Mock) -> None:
    pieces = [f"{number} 字👩🏽‍🚀 " for number in range(60)]
    model = await mock([*pieces[:30], "", *pieces[30:]], pace=0.01)
    await site.of(model)
    following = [
        asyncio.create_task(Question(site.port, "k").follow(cycle([format_, *FORMATS]))) for format_ in FORMATS[:4]
    ]
    await model.wait_until(lambda model: model.waiting == 1, seconds=PATIENCE)
    runs = [(await ready(node))["running"] for node in site.nodes].index(1)
    await site.restart(1 - runs)
    replacing = asyncio.create_task(site.restart(runs))
    await until(lambda: "may finish" in site.nodes[runs].said, seconds=PATIENCE)
    model.release()
    await replacing
    for held in await asyncio.wait_for(asyncio.gather(*following), PATIENCE):
        held.prove()
        assert (held.text, held.ends[0]["type"]) == ("".join(pieces), "done")
    assert len(model.requests) == 1


async def test_rolling_both_nodes_under_load_loses_no_character(
    site: Site, mock: Mock, record_property: Callable[[str, object], None]
) -> None:
    """As deploy/ does it: one node after the other gets SIGTERM, and a successor on its port; the questions go on all the while."""
    pieces = [f"{number} 字👩🏽‍🚀𠮷 " for number in range(40)]
    model = await mock(pieces, pace=0.03)
    await site.of(model)
    over, helds, refused = asyncio.Event(), list[Held](), Counter[int]()

    async def person(number: int) -> None:
        for asked in count():
            if over.is_set():
                return
            question = Question(site.port, f"{number}-{asked}")
            helds.append(await question.follow(cycle(FORMATS[number % len(FORMATS) :] + FORMATS), refused=refused))

    people = [asyncio.create_task(person(number)) for number in range(16)]
    await until(lambda: len(helds) >= len(people), seconds=PATIENCE)
    for node in (0, 1):
        await site.restart(node)
    served_before = len(helds)
    await until(lambda: len(helds) >= served_before + len(people), seconds=PATIENCE)
    over.set()
    await asyncio.wait_for(asyncio.gather(*people), PATIENCE)
    for held in helds:
        held.prove()
        assert (held.text, [end["type"] for end in held.ends]) == ("".join(pieces), ["done"])
    assert len(model.requests) == len(helds)
    record_property(
        "counts",
        f"{len(helds)} answers, every one whole and asked for once; refused and asked again: {dict(refused)}",
    )


async def ready(node: Dazi) -> dict[str, int]:
    return dict((await node.client.get("/health/ready")).json())


async def test_nginx_passes_every_piece_on_as_it_comes(site: Site, mock: Mock) -> None:
    model = await mock(["first", "", "rest"])
    await site.of(model)
    request = (
        Question(site.port, "k").request(Held(), Format()).replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n", 1)
    )
    reception = Reception()
    async with asyncio.timeout(PATIENCE):
        async for chunk in chunks(site.port, request):
            reception.feed(chunk)
            if b'"first"' in reception.body:
                model.release()
    assert b'"rest"' in reception.body
    assert "content-encoding" not in reception.headers
    assert reception.is_whole


async def test_a_node_that_is_gone_costs_nobody_an_answer(site: Site, mock: Mock) -> None:
    await site.of(await mock(["a"]))
    site.nodes[0].signal(signal.SIGKILL)
    await site.nodes[0].gone()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", timeout=PATIENCE, trust_env=False) as client:
        for _ in range(6):
            answer = await client.post("/v1/generations", json=ASK)
            assert (answer.status_code, '"done"' in answer.text) == (200, True)
