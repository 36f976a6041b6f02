"""Several upstreams, from the settings to the reader: what fails is not seen, or is gone on from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.conftest import listening
from tests.e2e.client import Format, Question
from tests.e2e.conftest import Mock

from dazi.settings import load
from dazi.web.app import create_app

Answer = Callable[..., Awaitable[Any]]
# A chunk that breaks the answer off, as a server does that dies in mid-sentence: an error inside the stream.
BREAK = b'data: {"error": {"type": "overloaded"}}\n\n'


@asynccontextmanager
async def served(*upstreams: dict[str, Any], **settings: Any) -> AsyncIterator[int]:
    told = {
        "DAZI_UPSTREAMS": json.dumps(upstreams),
        **{f"DAZI_{name.upper()}": text for name, text in settings.items()},
    }
    async with listening(create_app(settings=load(environment=told).settings)) as port:
        yield port


def plan(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "preset": "vllm", "url": url, "models": ["chat"], **more}


async def test_what_refuses_is_not_seen(mock: Mock) -> None:
    sick, well = await mock(["never"], status=503), await mock(["你", "好"])
    async with served(plan("sick", sick.url, weight=1000), plan("well", well.url)) as port:
        held = await Question(port, "k").follow(iter([Format()]))
        held.prove()
    assert (held.text, held.ends[0]["type"]) == ("你好", "done")
    assert (len(sick.requests), len(well.requests)) == (1, 1)


@pytest.mark.parametrize("mode", ["append", "replace"])
async def test_what_breaks_off_is_gone_on_from(mock: Mock, mode: str) -> None:
    first, second = await mock(["Half a w", "or", BREAK]), await mock(["d, 完整", "。"])
    plans = plan("first", first.url, weight=1000), plan("second", second.url)
    async with served(*plans, routing='{"continuation": true}') as port:
        held = await Question(port, "k").follow(iter([Format(mode)]))
        held.prove()
    assert (held.text, held.ends[0]["type"]) == ("Half a word, 完整。", "done")
    (_, body), *more = second.requests
    assert (body["messages"][-1], more) == ({"role": "assistant", "content": "Half a wor"}, [])
    assert body["continue_final_message"] is True


async def test_without_continuation_it_ends_in_its_code(mock: Mock) -> None:
    first, second = await mock(["Half a w", "or", BREAK]), await mock(["d."])
    async with served(plan("first", first.url, weight=1000), plan("second", second.url)) as port:
        held = await Question(port, "k").follow(iter([Format()]))
        held.prove()
    assert (held.text, held.ends[0]["code"], second.requests) == ("Half a wor", "upstream_error", [])


async def test_what_an_upstream_takes_back_is_retracted(mock: Mock) -> None:
    said = [
        {"event": "message", "answer": "a sec"},
        {"event": "message", "answer": "ret"},
        {"event": "message_replace", "answer": "不行"},
        {"event": "message", "answer": "。"},
        {"event": "message_end", "metadata": {}},
    ]
    dify = await mock([f"data: {json.dumps(one)}\n\n".encode() for one in said])
    async with served({"name": "d", "preset": "dify", "url": dify.url, "models": ["chat"]}) as port:
        held = await Question(port, "k").follow(iter([Format()]))
        held.prove()
        address = f"http://127.0.0.1:{port}/v1/generations/{held.generation}/events"
        async with httpx.AsyncClient(trust_env=False) as client:
            again = (await client.get(address)).text
    assert (held.text, held.ends[0]["type"]) == ("不行。", "done")
    assert "ret" not in again.replace("retry", "").replace("retract", "")


async def test_the_models_are_those_that_the_settings_name_in_their_order(mock: Mock) -> None:
    model = await mock(["x"])
    plans = plan("a", model.url, models=["one", "two"]), plan("b", model.url, models={"three": "x"})
    async with served(*plans, model="three,one") as port, httpx.AsyncClient(trust_env=False) as client:
        listed = (await client.get(f"http://127.0.0.1:{port}/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["three", "one"]
