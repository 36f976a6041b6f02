from __future__ import annotations

import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import metadata
from typing import Any

import msgspec
import pytest
from tests.upstream.mock_server import MockServer, Recorder, answers, delta, stream

from dazi.errors import ConfigError
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.build import build
from dazi.upstream.plan import Plan, Routing
from dazi.upstream.pool import Outcome
from dazi.upstream.presets import PRESETS

Mock = Callable[..., Awaitable[MockServer]]
PROMPT = Prompt("chat", [{"role": "user", "content": "Hi"}])
SECRET = "sk-N7fQ2xW9pL4v"


def plans(*tables: Mapping[str, Any]) -> tuple[Plan, ...]:
    return msgspec.convert([{"name": "a", "models": ["chat"], **table} for table in tables], tuple[Plan, ...])


def refusal(*tables: Mapping[str, Any], **environment: str) -> str:
    with pytest.raises(ConfigError) as raised:
        build(plans(*tables), environment=environment)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_every_preset_can_be_built() -> None:
    for preset in PRESETS:
        (pool,) = build(plans({"preset": preset, "url": "http://host/v1"}), environment={}).values()
        assert repr(pool) == "Pool(a)"


def test_a_model_that_several_serve_has_one_pool_and_one_upstream_one_health() -> None:
    pools = build(
        plans(
            {"name": "a", "preset": "deepseek", "models": {"chat": "deepseek-chat", "think": "deepseek-reasoner"}},
            {"name": "b", "preset": "vllm", "url": "http://host/v1", "weight": 3, "models": ["chat", "own"]},
        ),
        environment={},
    )
    assert list(pools) == ["chat", "think", "own"]
    assert [(seat.member.name, seat.model) for seat in pools["chat"].seats] == [("a", "deepseek-chat"), ("b", "chat")]
    assert pools["chat"].seats[0].member is pools["think"].seats[0].member


async def test_what_the_plan_says_is_what_is_sent(mock: Mock) -> None:
    server = await mock(answers(stream(delta(content="x"), delta("stop"), "[DONE]")))
    outcomes: list[Outcome] = []
    plan = {
        "preset": "qwen",
        "url": server.url,
        "key_env": "MY_KEY",
        "models": {"chat": "qwen-plus"},
        "headers": {"X-Team": "t"},
        "options": {"temperature": 0.1, "seed": 7},
    }
    pool = build(plans(plan), environment={"MY_KEY": SECRET}, observer=outcomes.append)["chat"]
    prompt = Prompt("chat", PROMPT.messages, {"temperature": 0.9, "thinking": {"type": "disabled"}})
    await pool.generate(prompt, Recorder())
    await pool.close()
    (request,) = server.requests
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.headers["X-Team"] == "t"
    asked = {name: request.json.get(name) for name in ("model", "temperature", "seed", "enable_thinking", "thinking")}
    assert asked == {"model": "qwen-plus", "temperature": 0.9, "seed": 7, "enable_thinking": False, "thinking": None}
    assert [(outcome.upstream, outcome.code) for outcome in outcomes] == [("a", "done")]


async def test_a_houses_usual_key_goes_to_its_own_address_alone(mock: Mock) -> None:
    server = await mock(answers(stream(delta("stop"))))
    plan = {"preset": "deepseek", "url": server.url}
    pool = build(plans(plan), environment={"DEEPSEEK_API_KEY": SECRET})["chat"]
    await pool.generate(PROMPT, Recorder())
    await pool.close()
    assert "Authorization" not in server.requests[0].headers


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown preset": ({"preset": "depseek"}, "preset='depseek'"),
    "nothing at all": ({}, "neither preset nor dialect"),
    "no address": ({"preset": "vllm"}, "has no url"),
    "another scheme": ({"preset": "vllm", "url": "ftp://x"}, "no http or https URL"),
    "a password in the address": ({"preset": "vllm", "url": f"http://u:{SECRET}@h/v1"}, "user name or password"),
    "two keys": ({"preset": "deepseek", "key": SECRET, "key_env": "X"}, "key_env='X'"),
    "no model": ({"preset": "deepseek", "models": []}, "serves no model"),
    "a model without a name": ({"preset": "deepseek", "models": {"x": ""}}, "without a name"),
    "a key that cannot be sent": ({"preset": "deepseek", "key": f"{SECRET}\n"}, "'a'"),
    "a variable that is not set": ({"preset": "deepseek", "key_env": "NO_SUCH"}, "NO_SUCH, which is not set"),
    "a plug-in that is none": ({"dialect": "nonesuch"}, "dialect='nonesuch'"),
    "a module that is none": ({"dialect": "no_such_module:make"}, "cannot be imported"),
    "a function that is none": ({"dialect": "dazi.errors:nothing"}, "cannot be imported"),
    "what is no function": ({"dialect": "dazi.upstream.plan:DIALECTS"}, "no function"),
    "what makes no upstream": ({"dialect": "builtins:dict"}, "made a dict"),
}


@pytest.mark.parametrize(("table", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_by_name(table: dict[str, Any], sentence: str) -> None:
    told = refusal(table)
    assert sentence in told
    assert "'a'" in told


def test_two_of_one_name_are_refused() -> None:
    assert "2 are named 'a'" in refusal({"preset": "deepseek"}, {"preset": "qwen"})


# Plug-ins


class Parrot:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        sink.text(f"{self.options['word']} {prompt.model}")
        return Finish()


async def typed(prompt: Prompt) -> AsyncIterator[str]:
    yield f"typed {prompt.model}"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("a_plugin")
    module.__dict__.update(make=Parrot, typed=typed, strict=lambda options: Parrot({"word": options["missing"]}))
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    return "a_plugin"


async def said(plan: Mapping[str, Any]) -> str:
    sink = Recorder()
    await build(plans(plan), environment={})["chat"].generate(PROMPT, sink)
    return sink.said


async def test_a_function_makes_an_upstream_of_its_options(module: str) -> None:
    assert await said({"dialect": f"{module}:make", "options": {"word": "hello"}}) == "hello chat"


async def test_an_async_generator_function_is_one(module: str) -> None:
    assert await said({"dialect": f"{module}:typed", "models": {"chat": "there"}}) == "typed there"


def test_options_that_a_plugin_refuses_are_named_not_shown(module: str) -> None:
    told = refusal({"dialect": f"{module}:strict", "options": {"token": SECRET}})
    assert "refused its options (url, key, token): KeyError" in told


async def test_an_entry_point_is_found_by_its_name(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("parrot", f"{module}:make", "dazi.upstreams")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == "dazi.upstreams" else [])
    assert await said({"dialect": "parrot", "options": {"word": "hi"}}) == "hi chat"
    assert "Installed plug-ins: parrot" in refusal({"dialect": "parot"})


def test_the_routing_is_the_pools() -> None:
    pool = build(plans({"preset": "deepseek"}), Routing(attempts=7, continuation=True), environment={})["chat"]
    assert (pool.rules.attempts, pool.rules.continuation) == (7, True)
