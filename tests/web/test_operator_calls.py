from __future__ import annotations

import json
import logging

import pytest
from tests.conftest import Serve
from tests.puppet import Puppet
from tests.waiting import until
from tests.web.wire import HELLO

from dazi.settings import Settings

KEY, ADMIN = "a-key-of-a-user-123", "the-operators-own-key-9"
USER, OPERATOR = {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {ADMIN}"}
JSON = {"accept": "application/json"}
PATHS = ("/metrics", "/admin/state", "/admin/generations", "/admin/generations/any")


@pytest.fixture
def settings() -> Settings:
    return Settings(api_keys=(KEY,), admin_key=ADMIN)


@pytest.mark.parametrize("path", PATHS)
async def test_no_users_key_opens_the_operators_side(
    path: str, serve: Serve, puppet: Puppet, settings: Settings
) -> None:
    served = await serve({"m": puppet}, settings=settings)
    assert (await served.client.get(path, headers=USER)).status_code == 401
    assert (await served.client.get(path)).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_key_of_its_own_it_is_closed_to_everybody(path: str, serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(api_keys=(KEY,)))
    for headers in ({}, USER, OPERATOR):
        response = await served.client.get(path, headers=headers)
        assert response.status_code == 403
        assert "DAZI_ADMIN_KEY" in response.json()["error"]["remedy"]


async def test_the_operators_key_opens_nobodys_generations(serve: Serve, puppet: Puppet, settings: Settings) -> None:
    served = await serve({"m": puppet}, settings=settings)
    assert (await served.client.post("/v1/generations", json=HELLO, headers=OPERATOR)).status_code == 401


async def test_the_state_tells_what_runs_and_how_things_ended_and_not_what_was_said(
    serve: Serve, puppet: Puppet, settings: Settings
) -> None:
    served = await serve({"m": puppet}, settings=settings)
    started = await served.client.post("/v1/generations", json=HELLO, headers={**USER, **JSON})
    generation = started.json()["generation"]
    play = await puppet.play()
    play.say("a secret answer", " goes on")
    state = (await served.client.get("/admin/state", headers=OPERATOR)).json()
    (running,) = state["running"]
    assert (running["generation"], running["model"], running["pieces"], running["readers"]) == (generation, "m", 2, 0)
    assert (state["begun"], state["pieces"]) == (1, 2)
    play.finish()
    await until(lambda: served.app.gateway.running == 0)
    state = (await served.client.get("/admin/state", headers=OPERATOR)).json()
    assert state["reasons"] == {"done": 1}
    assert state["ends"][0]["generation"] == generation
    listed = await served.client.get("/admin/generations", headers=OPERATOR)
    assert listed.json()["generations"][0]["status"] == "done"
    assert "secret" not in json.dumps(state) + listed.text
    assert KEY not in json.dumps(state) + listed.text


async def test_an_operator_stops_anybodys_generation(serve: Serve, puppet: Puppet, settings: Settings) -> None:
    served = await serve({"m": puppet}, settings=settings)
    started = await served.client.post("/v1/generations", json=HELLO, headers={**USER, **JSON})
    play = await puppet.play()
    response = await served.client.post(f"/admin/generations/{started.json()['generation']}/abort", headers=OPERATOR)
    assert response.json()["status"] == "aborted"
    await play.wait_released()
    assert (await served.client.post("/admin/generations/none/abort", headers=OPERATOR)).status_code == 404


@pytest.mark.parametrize(("settings", "status"), [(Settings(), 403), (Settings(admin_shows_text=True), 200)])
async def test_an_answer_is_shown_only_where_that_is_switched_on(
    settings: Settings, status: int, serve: Serve, puppet: Puppet
) -> None:
    served = await serve({"m": puppet}, settings=settings)
    started = await served.client.post("/v1/generations", json=HELLO, headers=JSON)
    (await puppet.play()).say("an answer")
    response = await served.client.get(f"/admin/generations/{started.json()['generation']}")
    assert response.status_code == status
    assert ("an answer" in response.text) == settings.admin_shows_text


async def test_the_log_says_more_when_told_so(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    logger = logging.getLogger("dazi")
    before = logger.level
    try:
        response = await served.client.post("/admin/log-level", json={"level": "debug"})
        assert response.json() == {"log_level": "debug"}
        assert logger.level == logging.DEBUG
        refused = await served.client.post("/admin/log-level", json={"level": "loud"})
        assert (refused.status_code, "'loud'" in refused.text) == (422, True)
    finally:
        logger.setLevel(before)
