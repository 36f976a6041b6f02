"""The API does what its description says, whatever is sent: schemathesis reads `/openapi.json` and tries, well-formed and not.

No server error, no answer that is not described, no body that is refused though it is good or taken though it is not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from tests.conftest import listening
from tests.puppet import Scripted

from dazi.cli.connections import Connection
from dazi.settings import Settings
from dazi.web.app import create_app
from dazi.wechat import FakeWeChat

load_all_checks()
# What is not described, because it is HTTP's own: `HEAD`, `OPTIONS`; and whose key it is, which is looked at elsewhere.
ELSEWHERE = {
    "unsupported_method",
    "ignored_auth",
    "object_level_authorization",
    "use_after_free",
    "ensure_resource_availability",
}
CHECKED: list[Any] = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in ELSEWHERE]


@contextmanager
def gateway() -> Iterator[str]:
    """Serve in a thread of its own: schemathesis does not wait as we do."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with listening(FakeWeChat({"wx1234567890abcd": "0f3c9a7e5d1b8246acf013579bd2468e"})) as wechat:
            settings = Settings(
                wechat_apps=("wx1234567890abcd:0f3c9a7e5d1b8246acf013579bd2468e",),
                wechat_url=f"http://127.0.0.1:{wechat}",
                session_secrets=("what signs the tokens of these tests 7f3a",),
                api_keys=(KEY,),
                admin_key=KEY,
            )
            app = create_app({"m": Scripted("hello", " 世界")}, settings=settings)
            async with listening(app, Connection) as port:
                ports.append(port)
                ready.set()
                await over.wait()
            await app._wechat.close()  # type: ignore[union-attr]  # there is one

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


KEY = "wombat-key-0f3c9a7e5d1b"


@dataclass
class Described:
    url: str
    operations: list[Any]  # Any: schemathesis' own


@pytest.fixture(scope="module")
def described() -> Iterator[Described]:
    with gateway() as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]  # a wrong one fails
        yield Described(url, operations)


def short(case: Case[Any]) -> Case[Any]:
    """Keep what is good and long from being long, errors from being events, and appids from being strangers'."""
    if case.path == "/v1/models/{name}":
        # Starlette's `path` ends at a line end: what follows makes it another path, which is not found as such.
        case.path_parameters = {"name": str(case.path_parameters["name"]).replace("%0A", "").replace("\n", "")}
    if isinstance(case.query, dict) and case.query.get("inband") == "1":
        del case.query["inband"]
    if isinstance(case.body, dict):
        # A whole number with a point is an integer to JSON Schema, and none to us.
        case.body.update(
            {name: int(value) for name, value in case.body.items() if isinstance(value, float) and value.is_integer()}
        )
    if case.path == "/v1/wechat/sessions" and isinstance(case.body, dict) and isinstance(case.body.get("appid"), str):
        del case.body["appid"]
    if case.path == "/v1/probe" and isinstance(case.query, dict):
        for name, most in (("ticks", 2), ("interval", 0.02), ("silence", 0.05)):
            if isinstance(value := case.query.get(name), int | float):
                case.query[name] = min(value, most)
        for name in ("ticks", "interval"):
            case.query.setdefault(name, 0.02 if name == "interval" else 1)
    if isinstance(case.query, dict) and isinstance(value := case.query.get("wait"), int | float):
        case.query["wait"] = min(value, 0.01)
    return case


def try_all(described: Described, examples: int, number: int) -> int:
    tried = 0
    for operation in described.operations:
        modes = [
            operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        ]

        @seed(number)
        @settings(
            max_examples=examples,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate, Phase.shrink],
        )
        @given(case=st.one_of(*modes))
        def check(case: Case[Any]) -> None:
            nonlocal tried
            tried += 1
            short(case).call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKED)

        check()
    return tried


def test_the_api_is_as_it_is_described(described: Described) -> None:
    assert len(described.operations) > 20
    assert try_all(described, 8, 20261127) > 100


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_api_is_as_it_is_described_at_length(
    described: Described, record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> None:
    number = int(request.config.getoption("--hypothesis-seed") or 1)
    tried = try_all(described, 400, number)
    record_property("counts", f"{tried} requests by schemathesis, seed {number}")
