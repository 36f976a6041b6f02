"""Every call of PROTOCOL.md but its streams: what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.conftest import Serve, Served, listening
from tests.puppet import Play, Puppet, Scripted
from tests.waiting import until
from tests.web.wire import HELLO, start

from dazi.errors import StoreUnavailable, UpstreamError
from dazi.events import Retract, Usage
from dazi.service import Limits
from dazi.settings import Settings
from dazi.sse import Parser
from dazi.web.app import MAX_BODY, create_app

PROTOCOL = (Path(__file__).parents[2] / "PROTOCOL.md").read_text("utf-8")
ALICE, BOB = "alice-k3y-N7fQ2xW9pL4v", "bob-s3cr3t-M8gR5tY1zC6d"
SECRET = "what nobody may read in a log"
JSON = {"accept": "application/json"}
Json = dict[str, Any]  # Any: JSON


async def begin(served: Served, **options: Any) -> str:  # Any: httpx's
    """Start a generation without following it; returns its id."""
    headers = {**JSON, **options.pop("headers", {})}
    response = await served.client.post("/v1/generations", json=HELLO, headers=headers, **options)
    assert response.status_code == 202, response.text
    return str(response.json()["generation"])


async def playing(served: Served, puppet: Puppet, **options: Any) -> tuple[str, Play]:  # Any: httpx's
    return await begin(served, **options), await puppet.play()


async def ended(served: Served, generation: str) -> Json:
    """Wait for the end; returns the answer."""
    await served.client.get(f"/v1/generations/{generation}/events?after=1-1&wait=9", headers=JSON)
    await until(lambda: served.app.gateway.running == 0)
    answer: Json = (await served.client.get(f"/v1/generations/{generation}")).json()
    return answer


@pytest.fixture
async def guarded(serve: Serve, puppet: Puppet) -> Served:
    return await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB), hosts=("ai.example",)))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# Start


async def test_a_start_that_wants_json_is_accepted_at_once(served: Served, puppet: Puppet) -> None:
    response = await served.client.post("/v1/generations", json=HELLO, headers=JSON)
    body = response.json()
    assert response.status_code == 202
    assert body == {
        "generation": response.headers["dazi-generation"],
        "status": "running",
        "events": f"/v1/generations/{body['generation']}/events",
    }
    assert response.headers["cache-control"] == "no-store"
    assert (await puppet.play()).prompt.messages == HELLO["messages"]


async def test_the_same_start_is_accepted_again_with_its_status(served: Served, puppet: Puppet) -> None:
    key = {"idempotency-key": "k"}
    generation, play = await playing(served, puppet, headers=key)
    play.finish()
    await ended(served, generation)
    again = await served.client.post("/v1/generations", json=HELLO, headers={**JSON, **key})
    assert (again.json()["generation"], again.json()["status"]) == (generation, "done")
    assert puppet.asked == 1


async def test_the_model_and_the_options_reach_the_upstream(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"first": Scripted("wrong"), "second": puppet})
    body = {**HELLO, "model": "second", "temperature": 0.5, "stream": False, "n": 1}
    await served.client.post("/v1/generations", json=body, headers=JSON)
    prompt = (await puppet.play()).prompt
    assert (prompt.model, prompt.options) == ("second", {"temperature": 0.5})


async def test_stream_decides_nothing_here(served: Served, puppet: Puppet) -> None:
    body = {**HELLO, "stream": True}
    assert (await served.client.post("/v1/generations", json=body, headers=JSON)).status_code == 202
    (await puppet.play()).finish()


async def test_the_path_to_attach_to_knows_where_the_app_is_mounted(puppet: Puppet) -> None:
    app = Starlette(routes=[Mount("/ai", create_app({"m": puppet}, settings=Settings()))])
    async with (
        listening(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        accepted = await client.post("/ai/v1/generations", json=HELLO, headers=JSON)
        assert accepted.json()["events"].startswith("/ai/v1/generations/")
        (await puppet.play()).finish()
        polled = await client.get(accepted.json()["events"], params={"wait": 5, "after": "1-1"}, headers=JSON)
        assert polled.json()["status"] == "done"


# Poll


async def poll(served: Served, generation: str, **query: Any) -> Json:  # Any: query parameters
    response = await served.client.get(f"/v1/generations/{generation}/events", params=query, headers=JSON)
    assert response.status_code == 200, response.text
    assert response.headers["dazi-generation"] == generation
    body: Json = response.json()
    assert body["generation"] == generation
    return body


async def test_polls_one_after_another_tell_everything_once(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    told, after, text = [], "0", ""
    for piece in ("你", "好", "👩🏽‍🚀"):
        play.say(piece)
        page = await poll(served, generation, after=after, wait=5)
        told += page["events"]
        after = page["next"]
        assert page["status"] == "running"
    play.finish(usage=Usage(1, 2, 3))
    page = await poll(served, generation, after=after, wait=5)
    told += page["events"]
    assert [event["type"] for event in told] == ["started", "text", "text", "text", "done"]
    assert [event["id"] for event in told] == [f"1-{position}" for position in range(1, 6)]
    for event in told[1:-1]:
        text += event["text"]
        assert event["n"] == len(text.encode("utf-16-le")) // 2
    assert text == "你好👩🏽‍🚀"
    assert (page["status"], page["next"]) == ("done", "1-5")
    assert told[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert (await poll(served, generation, after=page["next"], wait=25)) == {**page, "events": []}


async def test_a_poll_waits_until_something_comes(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    waiting = asyncio.create_task(poll(served, generation, after="1-1", wait=25))
    await until(lambda: served.app.gateway._attention._readers)
    assert not waiting.done()
    play.say("a")
    assert [event["text"] for event in (await waiting)["events"]] == ["a"]


async def test_a_poll_without_a_wait_answers_at_once(served: Served, puppet: Puppet) -> None:
    generation, _ = await playing(served, puppet)
    page = await poll(served, generation, after="1-1")
    assert (page["events"], page["status"], page["next"]) == ([], "running", "1-1")


async def test_what_came_at_once_is_polled_as_one_piece(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say(*"abc")
    page = await poll(served, generation, after="1-2")
    assert page["events"] == [{"id": "1-4", "type": "text", "text": "bc", "n": 3}]


async def test_a_poll_from_a_strange_position_gets_a_snapshot_first(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say("ab")
    for after in ("1-99", "7-1"):
        page = await poll(served, generation, after=after, wait=25)
        assert page["events"] == [{"id": "1-2", "type": "snapshot", "text": "ab", "n": 2}]
        assert page["next"] == "1-2"
    play.finish()
    await ended(served, generation)
    assert [event["type"] for event in (await poll(served, generation, after="7-1"))["events"]] == ["snapshot", "done"]


async def test_a_poll_in_replace_mode_gets_the_whole_text(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say("ab")
    first = await poll(served, generation, mode="replace")
    assert [event["type"] for event in first["events"]] == ["started", "snapshot"]
    assert (await poll(served, generation, mode="replace", after=first["next"]))["events"] == []
    play.say("c")
    play.finish()
    await ended(served, generation)
    last = await poll(served, generation, mode="replace", after=first["next"], wait=25)
    assert [(event["type"], event.get("text"), event["id"]) for event in last["events"]] == [
        ("snapshot", "abc", "1-3"),
        ("done", None, "1-4"),
    ]
    assert (await poll(served, generation, mode="replace", after=last["next"], wait=25))["events"] == []


async def test_what_was_retracted_is_not_polled(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say(SECRET)
    retraction = Retract("sorry", 5, "policy")
    await served.app.gateway._log.append(generation, (retraction,), previous=2, epoch=1)
    for query in ({"after": "0"}, {"after": "1-1"}, {"after": "1-2"}, {"after": "1-2", "mode": "replace"}):
        page = await poll(served, generation, **query)
        assert SECRET not in json.dumps(page)
        assert page["events"][-1]["text"] == "sorry"
    live = await poll(served, generation, after="1-3")
    assert live["events"] == []


@pytest.mark.parametrize(("encoding", "is_ascii"), [("ascii", True), ("url", True), ("utf8", False)])
async def test_the_encoding_applies_to_a_poll(served: Served, puppet: Puppet, encoding: str, *, is_ascii: bool) -> None:
    generation, play = await playing(served, puppet)
    play.say("好\u2028")
    path = f"/v1/generations/{generation}/events?encoding={encoding}"
    response = await served.client.get(path, headers=JSON)
    assert response.headers["content-type"] == "application/json"
    assert response.content.isascii() is is_ascii
    assert response.json()["events"][1]["text"] == "好\u2028"


async def test_a_poll_ignores_what_is_of_streams_alone(served: Served, puppet: Puppet) -> None:
    generation, _ = await playing(served, puppet)
    assert (await poll(served, generation, heartbeat=5, max=9, profile="plain", inband=1))["status"] == "running"


# Read


async def test_the_answer_as_it_stands(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.think("hm")
    play.say("你好")
    play.sink.tool_call(0, call_id="c", name="t", arguments="{}")
    response = await served.client.get(f"/v1/generations/{generation}")
    created = response.json()["created"]
    assert response.headers["dazi-generation"] == generation
    assert response.json() == {
        "generation": generation,
        "model": "m",
        "status": "running",
        "text": "你好",
        "reasoning": "hm",
        "tool_calls": [{"type": "tool_call", "index": 0, "call_id": "c", "name": "t", "arguments": "{}"}],
        "n": 2,
        "crc32": 1352841281,
        "created": created,
        "usage": None,
        "finish_reason": None,
        "error": None,
        "ai_generated": True,
        "next": "1-4",
    }
    play.finish("tool_calls", Usage(1, 2, 3))
    answer = await ended(served, generation)
    assert (answer["status"], answer["finish_reason"], answer["usage"]["total_tokens"]) == ("done", "tool_calls", 3)
    assert answer["next"] == "1-5"


async def test_a_failed_answer_tells_why(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say("half")
    play.fail(UpstreamError("truncated", "It broke off.", retryable=True))
    answer = await ended(served, generation)
    assert (answer["status"], answer["text"]) == ("failed", "half")
    assert answer["error"] == {"code": "truncated", "message": "It broke off.", "retryable": True}


# Abort


async def test_an_abort_tells_the_end_that_won(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.say("half")
    response = await served.client.post(f"/v1/generations/{generation}/abort")
    await play.wait_released()
    assert response.status_code == 200
    assert response.json() == {
        "generation": generation,
        "status": "aborted",
        "end": {"type": "aborted", "n": 4, "crc32": zlib.crc32(b"half"), "ai_generated": True},
    }
    assert response.headers["dazi-generation"] == generation
    again = await served.client.post(f"/v1/generations/{generation}/abort")
    assert again.json() == response.json()


async def test_an_abort_after_the_end_tells_that(served: Served, puppet: Puppet) -> None:
    generation, play = await playing(served, puppet)
    play.finish()
    await ended(served, generation)
    response = await served.client.post(f"/v1/generations/{generation}/abort")
    assert (response.json()["status"], response.json()["end"]["finish_reason"]) == ("done", "stop")


async def test_an_abort_by_key_also_before_its_start(served: Served, puppet: Puppet) -> None:
    key = {"idempotency-key": "k"}
    early = await served.client.post("/v1/generations/abort", headers=key)
    assert (early.status_code, early.json()["status"]) == (200, "aborted")
    line = await start(served.port, key="k")
    frames = await line.rest()
    assert [frame.type for frame in frames] == ["started", "aborted"]
    assert line.headers["dazi-generation"] == early.json()["generation"] == early.headers["dazi-generation"]
    assert puppet.asked == 0


async def test_an_abort_takes_no_body_and_minds_none(served: Served, puppet: Puppet) -> None:
    generation, _ = await playing(served, puppet)
    response = await served.client.post(f"/v1/generations/{generation}/abort", content=b"whatever")
    assert response.json()["status"] == "aborted"


# Models, health, the page


async def test_the_models_are_listed_the_default_first(serve: Serve) -> None:
    served = await serve({"b": Scripted(), "a": Scripted()})
    body = (await served.client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["b", "a"]
    assert all(model["object"] == "model" for model in body["data"])


async def test_health_tells_live_and_ready_and_who_is_there(served: Served, puppet: Puppet) -> None:
    assert (await served.client.get("/health/live")).json() == {"status": "live"}
    line = await start(served.port)
    play = await puppet.play()
    await line.frame()
    assert (await served.client.get("/health/ready")).json() == {"status": "ready", "running": 1, "readers": 1}
    closing = asyncio.create_task(served.app.gateway.close(drain=60))
    await until(lambda: served.app.gateway.is_closing)
    assert (await served.client.get("/health/live")).status_code == 200
    assert (await served.client.get("/health/ready")).status_code == 503
    play.finish()
    await closing


async def test_the_page_runs_no_script_but_its_own_files(served: Served) -> None:
    page = await served.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    for name in re.findall(r'(?:src|href)="/?(page/[^"]+)"', page.text):
        assert (await served.client.get(f"/{name}")).status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2fapp.py", "%2e%2e%2fapp.py", "..%2f..%2f..%2fetc%2fpasswd", "index.html%00", "page.py"]
)
async def test_the_page_has_no_other_files(served: Served, name: str) -> None:
    response = await served.client.get(f"/page/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


# Who may


async def test_without_a_key_nobody_gets_in_and_with_one_everybody_to_their_own(
    guarded: Served, puppet: Puppet
) -> None:
    paths = ["/v1/models", "/v1/generations/x", "/v1/generations/x/events", "/v1/models/m"]
    for path in paths:
        response = await guarded.client.get(path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
    for path in ["/v1/generations", "/v1/generations/abort", "/v1/generations/x/abort", "/v1/chat/completions"]:
        assert (await guarded.client.post(path, json=HELLO)).status_code == 401, path
    for path in ["/", "/health/live", "/health/ready", "/openapi.json"]:
        assert (await guarded.client.get(path)).status_code == 200, path
    assert (await guarded.client.get("/v1/models", headers=bearer(ALICE))).status_code == 200
    assert puppet.asked == 0


async def test_what_is_anothers_answers_as_if_it_never_was(guarded: Served, puppet: Puppet) -> None:
    generation, _ = await playing(guarded, puppet, headers=bearer(ALICE))
    nobody = "0" * 32

    async def answers(owner: str, one: str) -> list[tuple[int, str]]:
        calls = [
            guarded.client.get(f"/v1/generations/{one}", headers=bearer(owner)),
            guarded.client.get(f"/v1/generations/{one}/events", headers=bearer(owner)),
            guarded.client.get(f"/v1/generations/{one}/events?after=1-1&wait=9", headers={**JSON, **bearer(owner)}),
            guarded.client.get(f"/v1/generations/{one}/events?format=openai", headers=bearer(owner)),
            guarded.client.get(f"/v1/generations/{one}/events?mode=replace&inband=1", headers=bearer(owner)),
            guarded.client.head(f"/v1/generations/{one}/events", headers=bearer(owner)),
            guarded.client.post(f"/v1/generations/{one}/abort", headers=bearer(owner)),
        ]
        responses = await asyncio.gather(*calls)
        assert all("dazi-generation" not in response.headers for response in responses)
        return [(response.status_code, response.text.replace(one, "<id>")) for response in responses]

    hidden = await answers(BOB, generation)
    assert hidden == await answers(BOB, nobody) == await answers(ALICE, nobody)
    assert [status for status, _ in hidden] == [404, 404, 404, 404, 200, 404, 404]
    assert guarded.app.gateway.running == 1


async def test_the_pages_cookie_lets_in_and_out(guarded: Served) -> None:
    client = guarded.client
    for wrong in ({"key": "wrong"}, {"key": ALICE + "x"}):
        refused = await client.post("/login", json=wrong)
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers
    response = await client.post("/login", json={"key": ALICE})
    cookie = response.headers["set-cookie"]
    assert response.status_code == 204
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # over plain HTTP the browser would drop it
    assert ALICE not in cookie
    assert (await client.get("/v1/models")).status_code == 200
    gone = await client.post("/logout")
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert (await client.get("/v1/models")).status_code == 401


async def test_without_keys_a_log_in_needs_none(served: Served) -> None:
    response = await served.client.post("/login", json={"key": "whatever"})
    assert response.status_code == 204
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("host", "status"), [("ai.example", 200), ("localhost", 200), ("evil.example", 403), ("127.0.0.1.evil", 403)]
)
async def test_the_host_is_checked_on_every_path(guarded: Served, host: str, status: int) -> None:
    for path in ("/", "/health/live", "/openapi.json", "/page/page.js"):
        assert (await guarded.client.get(path, headers={"host": host})).status_code == status
    response = await guarded.client.get("/v1/models", headers={"host": host, **bearer(ALICE)})
    assert response.status_code == status


async def test_a_page_elsewhere_cannot_call_and_one_on_the_list_can(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(origins=("https://app.example",)))
    evil, app = {"origin": "https://evil.example"}, {"origin": "https://app.example"}
    refused = await served.client.post("/v1/generations", json=HELLO, headers=evil)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_origin")
    assert "access-control-allow-origin" not in refused.headers
    preflight = {**app, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    allowed = await served.client.options("/v1/generations", headers=preflight)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    assert (await served.client.options("/v1/generations", headers={**preflight, **evil})).status_code == 403
    for response in (
        await served.client.get("/v1/models", headers=app),
        await served.client.get("/v1/generations/none", headers=app),
        await served.client.post("/v1/generations", json=HELLO, headers={**app, **JSON}),
    ):
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert response.headers["vary"] == "Origin"
    assert puppet.asked == 1


async def test_a_form_elsewhere_cannot_start_anything(served: Served, puppet: Puppet) -> None:
    """A cross-site form or script needs no preflight for these types."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = await served.client.post(
            "/v1/generations", content=json.dumps(HELLO), headers={"content-type": kind}
        )
        assert response.status_code == 415
    assert puppet.asked == 0


# Refusals


Provoke = Callable[[Serve, Puppet, pytest.MonkeyPatch], Awaitable[httpx.Response]]


def on_start(**options: Any) -> Provoke:  # Any: httpx's
    async def provoke(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
        served = await serve({"m": puppet})
        return await served.client.request(**{"method": "POST", "url": "/v1/generations", **options})

    return provoke


async def conflict(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet})
    key = {"idempotency-key": "k"}
    await begin(served, headers=key)
    return await served.client.post("/v1/generations", json={**HELLO, "seed": 1}, headers=key)


async def no_key(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet}, settings=Settings(api_keys=(ALICE,)))
    return await served.client.get("/v1/generations/any")


async def closing(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet})
    await served.app.gateway.close()
    return await served.client.post("/v1/generations", json=HELLO)


async def too_many(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet}, limits=Limits(running=1))
    await begin(served)
    return await served.client.post("/v1/generations", json=HELLO)


def over(**limits: int) -> Provoke:
    async def provoke(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
        served = await serve({"m": puppet}, limits=Limits(**limits))
        await begin(served)
        (await puppet.play()).say("12")
        return await served.client.post("/v1/generations", json=HELLO)

    return provoke


def limited(starts: int, **limits: int) -> Provoke:
    """Start so often, one after another's end or not, until settings of these values refuse it."""

    async def provoke(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
        served = await serve({"m": puppet}, settings=Settings(**limits))  # type: ignore[arg-type]  # some of its fields
        for _started in range(starts):
            await begin(served)
        if "tokens_per_day" in limits:
            (await puppet.play()).finish(usage=Usage(1, 1, 2))
            await until(lambda: served.app.gateway.running == 0)
        return await served.client.post("/v1/generations", json=HELLO)

    return provoke


async def full(serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet})
    await begin(served)
    monkeypatch.setattr(served.app.gateway._log, "_max_bytes", 1)
    return await served.client.post("/v1/generations", json=HELLO)


async def no_admin_key(serve: Serve, puppet: Puppet, _: pytest.MonkeyPatch) -> httpx.Response:
    served = await serve({"m": puppet}, settings=Settings(api_keys=(ALICE,)))
    return await served.client.get("/metrics", headers=bearer(ALICE))


def breaking(error: Exception) -> Provoke:
    async def provoke(serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
        served = await serve({"m": puppet})

        async def read(*_: object) -> None:
            raise error

        monkeypatch.setattr(served.app.gateway._log, "owner", read)  # what a log is asked first
        return await served.client.get("/v1/generations/any")

    return provoke


PROVOCATIONS: dict[str, Provoke] = {
    "bad_json": on_start(content=b"{", headers={"content-type": "application/json"}),
    "bad_position": on_start(json=HELLO, headers={"last-event-id": "nowhere"}),
    "bad_option": on_start(json=HELLO, params={"mode": "sideways"}),
    "bad_idempotency_key": on_start(url="/v1/generations/abort"),
    "unauthorized": no_key,
    "forbidden_host": on_start(json=HELLO, headers={"host": "evil.example"}),
    "forbidden_origin": on_start(json=HELLO, headers={"origin": "https://evil.example"}),
    "not_found": on_start(method="GET", url="/v1/generations/none"),
    "unknown_model": on_start(json={**HELLO, "model": "none"}),
    "method_not_allowed": on_start(method="DELETE"),
    "idempotency_conflict": conflict,
    "body_too_large": on_start(content=b" " * (MAX_BODY + 1), headers={"content-type": "application/json"}),
    "unsupported_media_type": on_start(content=b"{}"),
    "unknown_field": on_start(json={**HELLO, "frobnicate": 1}),
    "invalid_field": on_start(json={**HELLO, "temperature": 9}),
    "internal": breaking(LookupError(SECRET)),
    "store_unavailable": breaking(StoreUnavailable("It is away.")),
    "shutting_down": closing,
    "too_many_generations": too_many,
    "log_full": full,
    "owner_limit": over(owner_characters=2),
    "too_many_running": limited(1, running_per_owner=1),
    "queue_full": limited(2, running_total=1, queue=1),
    "too_many_starts": limited(1, starts_per_minute=1),
    "tokens_used_up": limited(1, tokens_per_day=2),
    "memory_limit": over(total_characters=2),
    "admin_closed": no_admin_key,
}
# A backend's own, the probes' and WeChat's: shown where those are tested.
ELSEWHERE = {
    "issuer_unavailable",
    "not_possible",
    "too_many_probes",
    "session_expired",
    "forbidden_referer",
    "wechat_bad_code",
    "wechat_blocked",
    "wechat_misconfigured",
    "wechat_rate_limited",
    "wechat_unavailable",
    "wechat_user_absent",
}


def documented() -> dict[str, int]:
    table = PROTOCOL.split("## 6. Errors")[1].split("## 7.")[0]
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", table, re.MULTILINE)
    return {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def test_every_documented_code_is_provoked_here() -> None:
    assert documented().keys() - ELSEWHERE == PROVOCATIONS.keys()


@pytest.mark.parametrize("code", PROVOCATIONS)
async def test_a_refusal_has_its_code_status_value_and_remedy(
    code: str, serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await PROVOCATIONS[code](serve, puppet, monkeypatch)
    error = response.json()["error"]
    assert (error["code"], error["status"], response.status_code) == (code, documented()[code], documented()[code])
    assert response.headers["content-type"] == "application/json"
    assert error["message"].endswith(".")
    assert ("ratelimit" in response.headers) == (response.status_code == 429 and code != "owner_limit")
    assert error["remedy"].endswith((".", "?"))
    assert error["retryable"] == (response.status_code in {429, 503})
    assert error.keys() <= {"code", "message", "remedy", "status", "retryable", "param", "retry_after"}
    assert response.headers.get("retry-after") == (str(error["retry_after"]) if "retry_after" in error else None)
    assert SECRET not in caplog.text + response.text


async def test_what_broke_is_logged_by_kind_and_place(
    serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await PROVOCATIONS["internal"](serve, puppet, monkeypatch)
    assert "LookupError" in caplog.text
    assert "gateway.py" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/generations", "POST"), ("/v1/generations/x", "GET"), ("/v1/generations/x/abort", "POST"), ("/", "GET")],
)
async def test_a_method_that_is_not_possible_is_refused_and_the_possible_named(
    served: Served, method: str, path: str, allowed: str
) -> None:
    response = await served.client.request(method, path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (405, "method_not_allowed")
    assert method in error["message"]
    assert allowed in error["remedy"]
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/generations/", "//", "/v1/generations/x/y", "/%00", "/V1/models"]
)
async def test_a_path_that_is_not_ours_is_not_found(served: Served, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        response = await served.client.request(method, f"http://127.0.0.1:{served.port}{path}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found"), method


@pytest.mark.parametrize(
    "generation", ["x", "%00", "a%0d%0aX-Evil:1", "..", "%2e%2e", "你好", "x" * 5000, "'--", "0" * 32]
)
async def test_no_id_breaks_anything(served: Served, generation: str) -> None:
    for path in (f"/v1/generations/{generation}", f"/v1/generations/{generation}/events"):
        response = await served.client.get(path)
        assert response.status_code == 404
        assert "x-evil" not in response.headers


async def test_head_is_get_without_its_body(served: Served) -> None:
    for path in ("/v1/models", "/", "/health/live", "/openapi.json"):
        head, get = await served.client.head(path), await served.client.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))


async def test_a_web_socket_is_closed_with_a_word(serve: Serve) -> None:
    app = (await serve({"m": Scripted()})).app
    sent: list[Any] = []  # Any: ASGI messages

    async def send(message: Any) -> None:  # Any: ASGI's
        sent.append(message)

    async def receive() -> Any:  # Any: ASGI's
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/"}, receive, send)
    assert sent[0]["type"] == "websocket.close"


# In band


def events_of(response: httpx.Response, *, is_quoted: bool = False) -> list[Json]:
    return [json.loads(unquote(event.data) if is_quoted else event.data) for event in Parser().feed(response.content)]


@pytest.mark.parametrize("code", sorted(set(PROVOCATIONS) - {"bad_option", "internal", "store_unavailable"}))
@pytest.mark.parametrize(
    "query", ["inband=1", "inband=1&profile=plain", "inband=1&encoding=url", "inband=1&encoding=utf8&profile=plain"]
)
async def test_in_band_the_same_refusal_is_an_event_of_a_stream(
    code: str, query: str, serve: Serve, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpx.AsyncClient, "build_request", asking(query))
    response = await PROVOCATIONS[code](serve, puppet, monkeypatch)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    (event,) = events_of(response, is_quoted="encoding=url" in query)
    assert (event["type"], event["code"], event["status"]) == ("error", code, documented()[code])
    assert event["message"]
    assert event["remedy"]
    assert b"id:" not in response.content
    assert b"event:" not in response.content


def asking(query: str) -> Callable[..., httpx.Request]:
    """Put options into every request of a client."""
    build = httpx.AsyncClient.build_request

    def build_request(client: httpx.AsyncClient, method: str, url: str, **options: Any) -> httpx.Request:
        request = build(client, method, url, **options)
        if "application/json" not in request.headers["accept"]:
            request.url = request.url.copy_with(
                query="&".join(filter(None, [request.url.query.decode(), query])).encode()
            )
        return request

    return build_request


async def test_a_bad_option_in_band_is_told_as_far_as_the_others_are_understood(served: Served) -> None:
    path = "/v1/generations?inband=1&mode=sideways&encoding=url&profile=plain"
    response = await served.client.post(path, json=HELLO)
    assert response.content.startswith(b"data: %7B%22type%22%3A%22error%22")
    (event,) = events_of(response, is_quoted=True)
    assert (event["code"], event["param"]) == ("bad_option", "mode")


async def test_a_poll_is_refused_by_status_even_in_band(served: Served) -> None:
    response = await served.client.get("/v1/generations/none/events?inband=1", headers=JSON)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


async def test_what_starts_well_is_told_as_ever_in_band(served: Served, puppet: Puppet) -> None:
    line = await start(served.port, "inband=1")
    play = await puppet.play()
    play.finish()
    assert [frame.type for frame in await line.rest()] == ["started", "done"]
