"""What is taken back at one node is taken back at every other: from who reads on, who resumes, who comes later, and after a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import Serve, Served
from tests.log.redis_server import redis_server
from tests.puppet import Puppet
from tests.web.wire import OPEN, Line, attach, start, text_of

from dazi.safety.plan import Safety
from dazi.settings import Settings

WORD = "违禁词"
SAFE = "今天天气"
JSON = {"accept": "application/json"}
ALL = (
    *("", "/markdown", "/events", "/events?mode=replace", "/events?encoding=utf8", "/events?format=openai"),
    "/events?after=0",
)


@pytest.fixture(params=["sqlite", "redis"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/log.db"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture
def settings(log: str, tmp_path: Path) -> Settings:
    words = tmp_path / "words.txt"
    words.write_text(f"{WORD}\n", encoding="utf-8")
    return Settings(log=log, safety=Safety(words=(str(words),), mode="show", window=4, overlap=3, delay=60))


@pytest.fixture(autouse=True)
async def _lines_are_closed() -> AsyncIterator[None]:
    yield
    for line in tuple(OPEN):
        await line.close()


def seen(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("log.db*"))


async def everything(served: Served, generation: str, *cursors: str) -> str:
    """Read an answer in every way there is, from every place; returns all that was told."""
    told = ""
    for path in (*ALL, *(f"/events?after={cursor}" for cursor in cursors)):
        for headers in ({}, JSON):
            answer = await served.client.get(f"/v1/generations/{generation}{path}", headers=headers)
            assert answer.status_code in {200, 204}, (path, answer.text)
            told += answer.text.encode().decode("unicode_escape") + answer.text
    return told


async def test_what_is_taken_back_at_one_node_is_gone_at_every_other(
    serve: Serve, puppet: Puppet, settings: Settings, tmp_path: Path
) -> None:
    one, other = [await serve({"m": puppet}, settings=settings) for _ in range(2)]
    here = await start(one.port)
    generation = (await here.frame()).event["generation"]
    there: list[Line] = [await attach(other.port, generation, query) for query in ("", "mode=replace", "profile=plain")]
    play = await puppet.play()
    play.say(f"{SAFE}很好。")
    await asyncio.gather(*(line.wait_bytes(seen(SAFE)) for line in there))
    play.say("我们去买违")
    await asyncio.gather(*(line.wait_bytes(seen("我们去买违")[-6:]) for line in (here, *there)))
    # Somebody's line breaks here, who has seen half of it.
    frames = await there[0].frames(len(there[0]._frames))
    cursor = frames[-1].id
    assert text_of(frames) == f"{SAFE}很好。我们去买违"
    play.say("禁词吧。")
    rest = await there[0].rest()
    # Told by a retraction, or, where the node reads on in the store, by what is there now.
    assert [frame.event["text"] for frame in rest if frame.type in {"retract", "snapshot"}][-1] == SAFE
    assert (rest[-1].type, rest[-1].event["finish_reason"]) == ("done", "content_filter")
    for line in (here, *there[1:]):
        assert text_of(await line.rest()) == SAFE
        assert WORD not in line.body.decode().encode().decode("unicode_escape")
    resumed = await (await attach(other.port, generation, f"after={cursor}")).rest()
    assert [frame.type for frame in resumed] == ["snapshot", "done"]
    assert text_of(resumed) == SAFE
    for served in (one, other):
        told = await everything(served, generation, cursor)
        assert SAFE in told
        assert "违" not in told
    await one.app.gateway.close()
    await other.app.gateway.close()
    told = await everything(await serve({"m": puppet}, settings=settings), generation, cursor)
    assert SAFE in told
    assert "违" not in told
    assert not [trace for trace in ("违".encode(), seen("违")) if trace in on_disk(tmp_path)]
