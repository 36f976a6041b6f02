"""Log-in of a mini program's user (PROTOCOL.md, section 2.9)."""

from __future__ import annotations

import asyncio
import re

from msgspec import Struct
from starlette.datastructures import Headers

from dazi.errors import Forbidden, RequestError, Unavailable
from dazi.web.calls import Call, Reply, json_reply
from dazi.web.requests import decode, read_body
from dazi.web.tokens import Tokens
from dazi.wechat import Login, WeChat

_MAX_BODY = 4096
# Calls to WeChat at once; a log-in that cannot get through waits for one, so many seconds.
_AT_ONCE = 64
_PATIENCE = 5.0
# What the platform sets itself, and a page cannot.
_REFERER = re.compile(r"https://servicewechat\.com/([0-9A-Za-z]{1,64})/[^/]+/page-frame\.html")


class WeChatLogin(Struct, forbid_unknown_fields=True):
    """The body of a log-in: `wx.login`'s code, and of which app it is, if the gateway knows several."""

    code: str
    appid: str | None = None


class Sessions:
    """The handler.

    Args:
        wechat: who knows users, or None where no app is set.
        tokens: what they get.
        checks_referer: whether a call must come from a mini program of ours, by its `Referer`. A weak extra: anybody can
            send one.
    """

    def __init__(self, wechat: WeChat | None, tokens: Tokens, *, checks_referer: bool) -> None:
        self._wechat = wechat
        self._tokens = tokens
        self._checks_referer = checks_referer
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def create(self, call: Call) -> Reply:
        """Take a code for a token."""
        login = decode(await read_body(call.receive, call.headers, limit=_MAX_BODY), WeChatLogin)
        if self._wechat is None:
            raise RequestError(
                "This gateway knows no mini program.",
                remedy="Set DAZI_WECHAT_APPS and DAZI_SESSION_SECRETS.",
                code="not_possible",
                status=501,
            )
        if self._checks_referer:
            self._check_referer(call.headers, self._wechat.appids)
        user = await self._login(self._wechat, login)
        token, seconds = self._tokens.issue(user.appid, user.openid)
        return json_reply(200, {"token": token, "expires_in": seconds})

    async def _login(self, wechat: WeChat, login: WeChatLogin) -> Login:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(
                f"{_AT_ONCE} log-ins are waiting for WeChat, which is the limit.",
                remedy="Try again in a moment.",
                code="wechat_unavailable",
                retry_after=2,
            ) from None
        try:
            return await wechat.login(login.code, login.appid)
        finally:
            self._turns.release()

    def _check_referer(self, headers: Headers, appids: tuple[str, ...]) -> None:
        match = _REFERER.fullmatch(headers.get("referer", ""))
        if match is None or match[1] not in appids:
            raise Forbidden(
                f"The Referer {headers.get('referer', '')[:100]!r} is no mini program of this gateway's.",
                remedy="Add its appid to DAZI_WECHAT_APPS, or set DAZI_WECHAT_REFERER=false.",
                code="forbidden_referer",
                param="Referer",
            )
