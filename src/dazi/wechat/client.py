"""Calls to api.weixin.qq.com. The only file here that knows httpx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from dazi.wechat.refusals import refusal_of, unavailable, unknown_app

URL = "https://api.weixin.qq.com"
# msgSecCheck takes no more characters at once.
MOST_CHARACTERS = 2500
_TIMEOUT = 5.0
# WeChat makes the next token five minutes before the end of this one, and takes both meanwhile.
_AHEAD = 300.0
# Errors that say that an access token is not good any more.
_STALE = frozenset({40001, 40014, 42001})

_Json = dict[str, Any]  # what WeChat answers


@dataclass(frozen=True, slots=True)
class Login:
    """Who logged in. The `session_key` that comes with it is not kept."""

    appid: str
    openid: str
    unionid: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What msgSecCheck v2 says: `suggest` is the verdict, `label` WeChat's number of the reason (100: nothing found)."""

    suggest: Literal["pass", "review", "risky"]
    label: int


@dataclass(slots=True)
class _Token:
    value: str = ""
    until: float = 0.0


class WeChat:
    """A client for some apps.

    Args:
        apps: AppSecret by appid, the default first.
        url: where WeChat is; a `FakeWeChat` for tests and for developers without an appid.
        clock: of monotonic seconds.
    """

    def __init__(self, apps: Mapping[str, str], *, url: str = URL, clock: Callable[[], float] = time.monotonic) -> None:
        self._apps = dict(apps)
        self._clock = clock
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, follow_redirects=False)
        self._tokens = {appid: _Token() for appid in self._apps}
        self._fetching = {appid: asyncio.Lock() for appid in self._apps}

    @property
    def appids(self) -> tuple[str, ...]:
        """The apps, the default first."""
        return tuple(self._apps)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.aclose()

    async def login(self, code: str, appid: str | None = None) -> Login:
        """Take a code of `wx.login` for who logged in. A code works once, for five minutes. Raises `RequestError`."""
        appid = self._known(appid)
        query = {"appid": appid, "secret": self._apps[appid], "js_code": code, "grant_type": "authorization_code"}
        answer = await self._call("GET", "/sns/jscode2session", params=query)
        if (number := answer.get("errcode", 0)) or not isinstance(answer.get("openid"), str):
            raise refusal_of(number)
        return Login(appid, answer["openid"], answer.get("unionid"))

    async def check(self, text: str, *, openid: str, appid: str | None = None, scene: int = 2) -> Verdict:
        """Ask msgSecCheck v2 what it thinks of at most 2,500 characters. The user must have been there within two hours.

        `scene`: 1 profile, 2 comment, 3 forum, 4 social log. Raises `RequestError`.
        """
        appid = self._known(appid)
        body = {"version": 2, "openid": openid, "scene": scene, "content": text[:MOST_CHARACTERS]}
        for _ in range(2):
            token = await self.access_token(appid)
            answer = await self._call("POST", "/wxa/msg_sec_check", params={"access_token": token}, json=body)
            if answer.get("errcode") not in _STALE:
                break
            self._tokens[appid].until = 0.0
        # `errcode` 0 means that the call worked, and nothing more: the verdict is `result.suggest`.
        if number := answer.get("errcode", 0):
            raise refusal_of(number)
        result = answer.get("result", {})
        suggest = result.get("suggest")
        if suggest not in ("pass", "review", "risky"):
            raise refusal_of(-1)
        return Verdict(suggest, int(result.get("label", 100)))

    async def access_token(self, appid: str | None = None) -> str:
        """Return an access token, from `stable_token`: the same for all workers and machines. Raises `RequestError`."""
        appid = self._known(appid)
        token = self._tokens[appid]
        async with self._fetching[appid]:
            if token.until <= self._clock():
                body = {"grant_type": "client_credential", "appid": appid, "secret": self._apps[appid]}
                answer = await self._call("POST", "/cgi-bin/stable_token", json=body)
                if (number := answer.get("errcode", 0)) or not isinstance(answer.get("access_token"), str):
                    raise refusal_of(number)
                token.value = answer["access_token"]
                token.until = self._clock() + max(1.0, float(answer.get("expires_in", 7200)) - _AHEAD)
        return token.value

    def _known(self, appid: str | None) -> str:
        if appid is None:
            return next(iter(self._apps))
        if appid not in self._apps:
            raise unknown_app(appid)
        return appid

    async def _call(self, method: str, path: str, **request: Any) -> _Json:  # noqa: ANN401  # httpx's
        try:
            response = await self._http.request(method, path, **request)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            # Not the error's own words: they hold the URL, and that the secret and the code.
            raise unavailable(type(error).__name__) from None
        if response.status_code != 200 or not isinstance(answer, dict):
            raise unavailable(f"status {response.status_code}")
        return answer
