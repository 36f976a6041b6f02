"""Calls to api.weixin.qq.com."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dazi.errors import NoAnswer, RequestError
from dazi.outside import Outside
from dazi.wechat.refusals import refusal_of, unavailable, unknown_app

URL = "https://api.weixin.qq.com"
# Seconds for a connection, and for each piece of an answer; and for a whole call, however slowly it drips.
_TIMEOUT = 5.0
_WHOLE_CALL = 10.0
# Bytes of an answer; the longest in the documents have a thousand.
_MAX_ANSWER = 64 * 1024
# WeChat makes the next token five minutes before the end of this one, and takes both meanwhile. Seconds until it is asked again,
# where it does not give it.
_AHEAD = 300.0
_AGAIN = 15.0
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
    """`until`: when the next is asked for. `ends`: when this one is good no more."""

    value: str = ""
    until: float = 0.0
    ends: float = 0.0


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
        self._outside = Outside(base=url, timeout=_TIMEOUT, most_bytes=_MAX_ANSWER)
        self._tokens = {appid: _Token() for appid in self._apps}
        self._fetching = {appid: asyncio.Lock() for appid in self._apps}

    @property
    def appids(self) -> tuple[str, ...]:
        """The apps, the default first."""
        return tuple(self._apps)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._outside.close()

    async def login(self, code: str, appid: str | None = None) -> Login:
        """Take a code of `wx.login` for who logged in. A code works once, for five minutes. Raises `RequestError`."""
        appid = self._known(appid)
        query = {"appid": appid, "secret": self._apps[appid], "js_code": code, "grant_type": "authorization_code"}
        answer = await self._call("GET", "/sns/jscode2session", params=query)
        if (number := answer.get("errcode", 0)) or not isinstance(answer.get("openid"), str):
            raise refusal_of(number)
        return Login(appid, answer["openid"], answer.get("unionid"))

    async def check(self, text: str, *, openid: str, appid: str | None = None, scene: int = 2) -> Verdict:
        """Ask msgSecCheck v2 what it thinks of at most 2,500 characters: it refuses more. The user must have been there within two hours.

        `scene`: 1 profile, 2 comment, 3 forum, 4 social log. Raises `RequestError`.
        """
        appid = self._known(appid)
        body = {"version": 2, "openid": openid, "scene": scene, "content": text}
        for _ in range(2):
            token = await self.access_token(appid)
            answer = await self._call("POST", "/wxa/msg_sec_check", params={"access_token": token}, json=body)
            if answer.get("errcode") not in _STALE:
                break
            self._forget(appid, token)
        # `errcode` 0 means that the call worked, and nothing more: the verdict is `result.suggest`.
        if number := answer.get("errcode", 0):
            raise refusal_of(number)
        result = answer.get("result")
        suggest, label = (result.get("suggest"), result.get("label", 100)) if isinstance(result, dict) else (None, 100)
        if suggest not in ("pass", "review", "risky") or not isinstance(label, int):
            raise unavailable("no verdict")
        return Verdict(suggest, label)

    async def access_token(self, appid: str | None = None) -> str:
        """Return an access token, from `stable_token`: the same for all workers and machines. Raises `RequestError`."""
        appid = self._known(appid)
        token = self._tokens[appid]
        async with self._fetching[appid]:
            if token.until <= self._clock():
                try:
                    await self._fetch(appid, token)
                except RequestError:
                    # That was ahead of time: until its end the old one will do.
                    if token.ends <= self._clock():
                        raise
                    token.until = self._clock() + _AGAIN
        return token.value

    async def _fetch(self, appid: str, token: _Token) -> None:
        body = {"grant_type": "client_credential", "appid": appid, "secret": self._apps[appid]}
        answer = await self._call("POST", "/cgi-bin/stable_token", json=body)
        if (number := answer.get("errcode", 0)) or not isinstance(answer.get("access_token"), str):
            raise refusal_of(number)
        token.value = answer["access_token"]
        seconds, now = answer.get("expires_in", 7200), self._clock()
        token.ends = now + (seconds if isinstance(seconds, int) else 0)
        token.until = max(now + 1.0, token.ends - _AHEAD)

    def _forget(self, appid: str, value: str) -> None:
        """Forget an access token that WeChat refused, unless another has taken its place meanwhile."""
        token = self._tokens[appid]
        if token.value == value:
            token.until = token.ends = 0.0

    def _known(self, appid: str | None) -> str:
        if appid is None:
            return next(iter(self._apps))
        if appid not in self._apps:
            raise unknown_app(appid)
        return appid

    async def _call(self, method: str, path: str, **fields: Any) -> _Json:  # noqa: ANN401  # those of `Outside.call`
        try:
            status, body = await self._outside.call(method, path, seconds=_WHOLE_CALL, **fields)
            answer = json.loads(body)
        except NoAnswer as error:
            raise unavailable(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise unavailable(type(error).__name__) from None
        if status != 200 or not isinstance(answer, dict):
            raise unavailable(f"status {status}")
        if not isinstance(answer.get("errcode", 0), int):
            raise unavailable("an errcode that is no number")
        return answer
