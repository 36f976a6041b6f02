from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types of its own
from starlette.routing import Route
from tests.conftest import Serve, Served
from tests.puppet import Puppet, Scripted
from tests.web.test_requests import EVERYTHING
from tests.web.wire import HELLO, start

from dazi.errors import UpstreamError
from dazi.events import Retract, Usage
from dazi.web.calls import Endpoint
from dazi.web.openapi import document
from dazi.web.options import EVENTS_OPTIONS, START_OPTIONS

Json = dict[str, Any]  # Any: JSON
JSON = {"accept": "application/json"}


def valid(shape: str, value: object) -> bool:
    """Check a value against a shape of the document; says where it is wrong."""
    Draft202012Validator({"$ref": f"#/components/schemas/{shape}", "components": document()["components"]}).validate(
        value
    )
    return True


async def test_the_document_is_served(served: Served) -> None:
    response = await served.client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(json.dumps(document()))


def test_every_shape_is_a_schema_and_every_reference_leads_somewhere() -> None:
    shapes = document()["components"]["schemas"]
    for shape in shapes.values():
        Draft202012Validator.check_schema(shape)
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(document())))
    assert references <= shapes.keys()
    assert shapes.keys() - references <= {"Message", "Problem"}


async def test_every_route_is_described_and_everything_described_is_a_route(served: Served) -> None:
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in served.app._router.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint)
        for method in route.endpoint.methods
    }
    described = {(path, method) for path, methods in document()["paths"].items() for method in methods}
    assert described == routes


def parameters(path: str, method: str, place: str) -> set[str]:
    operation = document()["paths"][path][method]
    return {one["name"] for one in operation["parameters"] if one["in"] == place}


def test_every_option_is_described_and_everything_described_is_an_option() -> None:
    assert parameters("/v1/generations", "post", "query") == START_OPTIONS
    assert parameters("/v1/generations/{id}/events", "get", "query") == EVENTS_OPTIONS


@pytest.mark.parametrize(("path", "methods"), document()["paths"].items())
def test_every_name_in_a_path_is_a_parameter(path: str, methods: Json) -> None:
    for operation in methods.values():
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


async def test_what_needs_no_key_is_what_the_document_says(serve: Serve) -> None:
    served = await serve({"m": Scripted()})
    endpoints = {
        re.sub(r":\w+}", "}", route.path): route.endpoint
        for route in served.app._router.routes
        if isinstance(route, Route)
    }
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            assert (operation["security"] == []) == endpoints[path]._is_open, path  # type: ignore[attr-defined]  # each is an Endpoint


async def test_every_refusal_has_the_shape_described_for_its_path(served: Served) -> None:
    for path, methods in document()["paths"].items():
        refused = await served.client.delete(re.sub(r"{\w+}", "x", path))
        for operation in methods.values():
            shape = operation["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
            assert refused.status_code == 405
            assert valid(shape, refused.json())


# Bodies


def test_a_request_of_everything_is_valid_and_one_too_much_is_not() -> None:
    everything = {**HELLO, **EVERYTHING, "model": "m", "n": 1, "stream": True, "stream_options": {}}
    assert valid("ChatRequest", everything)
    assert EVERYTHING.keys() <= document()["components"]["schemas"]["ChatRequest"]["properties"].keys()
    wrongs: list[Json] = [{"frobnicate": 1}, {"temperature": 3}, {"messages": []}, {"messages": [{"content": "x"}]}]
    for wrong in wrongs:
        assert not Draft202012Validator(
            {"$ref": "#/components/schemas/ChatRequest", "components": document()["components"]}
        ).is_valid({**everything, **wrong})


async def test_what_is_answered_has_the_described_shape(served: Served, puppet: Puppet) -> None:
    client = served.client
    accepted = await client.post("/v1/generations", json=HELLO, headers=JSON)
    assert valid("Accepted", accepted.json())
    path = f"/v1/generations/{accepted.json()['generation']}"
    play = await puppet.play()
    play.say("好")
    play.think("hm")
    play.sink.tool_call(0, call_id="c", name="t", arguments="{}")
    assert valid("Generation", (await client.get(path)).json())
    for query in ("", "?mode=replace", "?after=9-9"):
        assert valid("Page", (await client.get(f"{path}/events{query}", headers=JSON)).json())
    play.finish(usage=Usage(1, 2, 3, reasoning_tokens=1, cached_tokens=0))
    assert valid("Page", (await client.get(f"{path}/events?after=1-4&wait=5", headers=JSON)).json())
    assert valid("Generation", (await client.get(path)).json())
    assert valid("End", (await client.post(f"{path}/abort")).json())
    assert valid("End", (await client.post("/v1/generations/abort", headers={"idempotency-key": "k"})).json())
    assert valid("Models", (await client.get("/v1/models")).json())
    assert valid("Model", (await client.get("/v1/models/m")).json())
    for health in ("/health/live", "/health/ready"):
        assert valid("Status", (await client.get(health)).json())
    for refused in ("/v1/generations/none", "/nothing", f"{path}/events?mode=x", f"{path}/events?after=x"):
        assert valid("Error", (await client.get(refused)).json())
    assert valid("OpenAIError", (await client.get("/v1/models/none")).json())


async def test_a_failure_and_an_abort_have_the_described_shape(served: Served, puppet: Puppet) -> None:
    for ending in ("fail", "abort"):
        accepted = await served.client.post("/v1/generations", json=HELLO, headers=JSON)
        path = f"/v1/generations/{accepted.json()['generation']}"
        play = await puppet.play()
        if ending == "fail":
            play.fail(UpstreamError("truncated", "It broke off.", retryable=True))
        else:
            await served.client.post(f"{path}/abort")
        page = (await served.client.get(f"{path}/events?after=1-1&wait=5", headers=JSON)).json()
        assert valid("Page", page)
        assert page["events"]
        assert valid("Generation", (await served.client.get(path)).json())


async def test_every_event_of_a_stream_has_the_described_shape(served: Served, puppet: Puppet) -> None:
    seen = set()
    for query in ("", "mode=replace"):
        line = await start(served.port, query)
        play = await puppet.play()
        play.think("hm")
        play.say("a")
        play.sink.tool_call(0, name="t")
        await line.wait_bytes(b"hm")
        log, generation = served.app.gateway._log, line.headers["dazi-generation"]
        await log.append(generation, (Retract("b", 1, "policy"),), previous=4, epoch=1)
        closing = asyncio.create_task(served.client.post(f"/v1/generations/{generation}/abort"))
        for frame in await line.rest():
            assert valid("Event", frame.event)
            seen.add(frame.type)
        await closing
    assert seen == {"started", "reasoning", "text", "tool_call", "retract", "snapshot", "aborted"}


async def test_a_completion_has_the_described_shape(served: Served, puppet: Puppet) -> None:
    asking = asyncio.create_task(served.client.post("/v1/chat/completions", json=HELLO))
    play = await puppet.play()
    play.say("a")
    play.finish(usage=Usage(1, 1, 2))
    assert valid("Completion", (await asking).json())
    asking = asyncio.create_task(served.client.post("/v1/chat/completions", json=HELLO))
    (await puppet.play()).fail(UpstreamError("truncated", "It broke off.", retryable=True))
    response = await asking
    assert response.status_code == 502
    assert valid("OpenAIError", response.json())
