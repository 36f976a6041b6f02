"""Log-in, from wx.login's code to a generation of one's own: two gateways, a fake WeChat, real sockets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import jwt
import pytest
from msgspec.structs import replace
from tests.conftest import Serve, Served, listening
from tests.puppet import Puppet
from tests.web.wire import HELLO

from dazi.errors import ConfigError
from dazi.settings import Settings, check
from dazi.wechat import FakeWeChat

APP, APP_SECRET = "wx1234567890abcd", "an-app-secret-of-32-characters-x"
SECRET = "the signing secret of these tests, long"
JSON = {"accept": "application/json"}


@pytest.fixture
def fake() -> FakeWeChat:
    return FakeWeChat({APP: APP_SECRET})


@pytest.fixture
async def settings(fake: FakeWeChat) -> AsyncIterator[Settings]:
    async with listening(fake) as port:
        yield Settings(
            wechat_apps=(f"{APP}:{APP_SECRET}",), wechat_url=f"http://127.0.0.1:{port}", session_secrets=(SECRET,)
        )


async def log_in(served: Served, code: str, **headers: str) -> dict[str, str]:
    response = await served.client.post("/v1/wechat/sessions", json={"code": code}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["expires_in"] == 7200
    return {"Authorization": f"Bearer {response.json()['token']}"}


async def test_a_user_logs_in_and_has_generations_that_nobody_else_sees(
    serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings
) -> None:
    served = await serve({"m": puppet}, settings=settings)
    anna, bert = [await log_in(served, fake.mint(name)) for name in ("anna", "bert")]
    started = await served.client.post("/v1/generations", json=HELLO, headers={**anna, **JSON})
    assert started.status_code == 202
    path = f"/v1/generations/{started.json()['generation']}"
    assert (await served.client.get(path, headers=anna)).status_code == 200
    assert (await served.client.get(path, headers=bert)).status_code == 404
    assert (await served.client.get(path)).status_code == 401
    again = await log_in(served, fake.mint("anna"))
    assert (await served.client.get(path, headers=again)).status_code == 200


async def test_an_upstream_hears_who_asks_and_shows_it_to_nobody(
    serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings
) -> None:
    key = "a-key-of-a-server-123"
    served = await serve({"m": puppet}, settings=replace(settings, api_keys=(key,)))
    anna = await log_in(served, fake.mint("anna"))
    await served.client.post("/v1/generations", json=HELLO, headers={**anna, **JSON})
    asker = (await puppet.play()).prompt.asker
    assert asker.owner.startswith("wx:")
    assert (asker.appid, asker.openid[:1]) == (APP, "o")
    assert asker.openid not in repr(asker)
    await served.client.post("/v1/generations", json=HELLO, headers={"Authorization": f"Bearer {key}", **JSON})
    asker = (await puppet.play()).prompt.asker
    assert asker.owner.startswith("key:")
    assert (asker.appid, asker.openid) == ("", "")


async def test_a_token_is_good_at_another_node(
    serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings
) -> None:
    one, two = await serve({"m": puppet}, settings=settings), await serve({"m": puppet}, settings=settings)
    anna = await log_in(one, fake.mint("anna"))
    assert (await two.client.post("/v1/generations", json=HELLO, headers={**anna, **JSON})).status_code == 202


async def test_keys_go_on_to_work_beside_it(serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings) -> None:
    key = "a-key-of-a-server-123"
    served = await serve({"m": puppet}, settings=replace(settings, api_keys=(key,)))
    await log_in(served, fake.mint("anna"))
    bearer = {"Authorization": f"Bearer {key}", **JSON}
    assert (await served.client.post("/v1/generations", json=HELLO, headers=bearer)).status_code == 202


async def test_a_used_code_is_refused(serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings) -> None:
    served = await serve({"m": puppet}, settings=settings)
    code = fake.mint("anna")
    await log_in(served, code)
    response = await served.client.post("/v1/wechat/sessions", json={"code": code})
    assert (response.status_code, response.json()["error"]["code"]) == (401, "wechat_bad_code")


async def test_no_secret_is_told_or_logged(
    serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="dazi")
    served = await serve({"m": puppet}, settings=settings)
    code = fake.mint("anna")
    response = await served.client.post("/v1/wechat/sessions", json={"code": code})
    token = response.json()["token"]
    fake.is_down = True
    failed = await served.client.post("/v1/wechat/sessions", json={"code": code})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(("dazi", "uvicorn")))
    for secret in (code, token, APP_SECRET, SECRET):
        assert secret not in ours
        assert secret == token or secret not in response.text + failed.text
    assert "session_key" not in response.text + str(jwt.decode(token, options={"verify_signature": False}))


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        (f"https://servicewechat.com/{APP}/12/page-frame.html", 200),
        (f"https://servicewechat.com/{APP}/devtools/page-frame.html", 200),
        ("https://servicewechat.com/wxother/1/page-frame.html", 403),
        ("https://evil.example/", 403),
        ("", 403),
    ],
)
async def test_the_referer_can_be_asked_for(
    referer: str, status: int, serve: Serve, puppet: Puppet, fake: FakeWeChat, settings: Settings
) -> None:
    served = await serve({"m": puppet}, settings=replace(settings, wechat_referer=True))
    body = {"code": fake.mint("anna")}
    response = await served.client.post(
        "/v1/wechat/sessions", json=body, headers={"referer": referer} if referer else {}
    )
    assert response.status_code == status


async def test_without_a_mini_program_there_is_no_log_in(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    response = await served.client.post("/v1/wechat/sessions", json={"code": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (501, "not_possible")
    assert "DAZI_WECHAT_APPS" in response.json()["error"]["remedy"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wechat_apps": ("wx1",), "session_secrets": (SECRET,)}, "appid:AppSecret"),
        ({"wechat_apps": (f"{APP}:{APP_SECRET}",)}, "token_urlsafe"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_the_secret(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        check(Settings(**changes))  # type: ignore[arg-type]  # some of its fields
    assert APP_SECRET not in str(caught.value)


def test_log_in_alone_guards_a_gateway_that_listens_to_the_network() -> None:
    check(Settings(host="0.0.0.0", wechat_apps=(f"{APP}:{APP_SECRET}",), session_secrets=(SECRET,)))
