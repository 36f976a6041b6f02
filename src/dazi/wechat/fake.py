"""A WeChat for tests, and for developers without an appid: as its documents say, with its limits, in one ASGI app.

What it does: `wx.login` codes that work once and for five minutes (`POST /dev/codes`, which the real one has not, makes one),
`code2Session`, `stable_token` (the same token until shortly before its end, or another one by `force_refresh`, which ends the old), `msgSecCheck` v2 with the rule that a user
must have been there within two hours, and the limits of calls a minute. A text with `risky` or 违禁 in it is risky, one with
`review` or 疑似 is for review.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

_CODE_SECONDS = 300
_TOKEN_SECONDS = 7200
_HANDOVER_SECONDS = 300
# Of `force_refresh`: seconds between two, and how many a day.
_FORCED_SECONDS = 30
_FORCED_A_DAY = 20
_DAY = 24 * 3600
_VISIT_SECONDS = 2 * 3600
_MINUTE = 60
# A minute, as the documents have it: logins of one user, checks of one app, access tokens of one app.
LOGINS = 100
CHECKS = 4000
TOKENS = 10_000
MOST_CHARACTERS = 2500
_MAX_BODY = 64 * 1024

_Json = dict[str, Any]  # as on the wire
_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class _Code:
    appid: str
    openid: str
    until: float
    is_used: bool = False


class FakeWeChat:
    """The server, as an ASGI app.

    Args:
        apps: AppSecret by appid.
        clock: of seconds.
        checks: of one app, a minute.

    Attributes: `checks` (as given; may be changed), `calls` (how often each path was called), `blocked` (openids that are high-risk), `is_down` (whether it
    answers -1 to everything).
    """

    def __init__(
        self, apps: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic, checks: int = CHECKS
    ) -> None:
        self._apps = dict(apps)
        self.checks = checks
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        # By appid: the newest token and, until it ends too, the one before.
        self._tokens: dict[str, deque[tuple[str, float]]] = defaultdict(lambda: deque(maxlen=2))
        # By appid: when a refresh was forced last.
        self._forced: dict[str, float] = {}
        self._seen: dict[tuple[str, str], float] = {}
        self._lately: dict[str, deque[float]] = defaultdict(deque)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.blocked: set[str] = set()
        self.is_down = False

    def mint(self, user: str, appid: str | None = None) -> str:
        """Make a code, as `wx.login` would for this user (any name) in this app (by default the first)."""
        appid = appid or next(iter(self._apps))
        now = self._clock()
        self._codes = {code: one for code, one in self._codes.items() if one.until > now}
        code = secrets.token_urlsafe(24)
        openid = "o" + hashlib.sha256(f"{appid} {user}".encode()).hexdigest()[:27]
        self._codes[code] = _Code(appid, openid, now + _CODE_SECONDS)
        return code

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a call."""
        if scope["type"] != "http":
            return
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        self.calls[scope["path"]] += 1
        body = json.dumps(self._answer(scope["path"], query, await _read(receive))).encode()
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str, query: Mapping[str, str], body: _Json | None) -> _Json:
        if self.is_down:
            return _error(-1, "system error")
        return _error(47001, "data format error") if body is None else self._dispatch(path, query, body)

    def _dispatch(self, path: str, query: Mapping[str, str], body: _Json) -> _Json:
        match path:
            case "/sns/jscode2session":
                return self._code2session(query)
            case "/cgi-bin/stable_token":
                return self._stable_token(body)
            case "/wxa/msg_sec_check":
                return self._check(query, body)
            case "/dev/codes":
                return {"code": self.mint(str(body.get("user", "developer")), body.get("appid"))}
            case _:
                return _error(40066, "invalid url")

    def _code2session(self, query: Mapping[str, str]) -> _Json:
        appid, now = query.get("appid", ""), self._clock()
        if refusal := self._refuse_app(appid, query.get("secret", "")):
            return refusal
        code = self._codes.get(query.get("js_code", ""))
        if code is None or code.appid != appid or code.until < now:
            return _error(40029, "invalid code")
        if not self._is_allowed(f"login {code.openid}", LOGINS):
            return _error(45011, "api minute-quota reach limit  mustslower  retry next minute")
        # It stays known, so that the second use has an error of its own.
        if code.is_used:
            return _error(40163, "code been used")
        code.is_used = True
        if code.openid in self.blocked:
            return _error(40226, "code blocked")
        self._seen[appid, code.openid] = now
        return {"openid": code.openid, "session_key": secrets.token_urlsafe(16), "unionid": f"u{code.openid[1:]}"}

    def _stable_token(self, body: _Json) -> _Json:
        appid, now = str(body.get("appid", "")), self._clock()
        if refusal := self._refuse_app(appid, str(body.get("secret", ""))):
            return refusal
        if not self._is_allowed(f"token {appid}", TOKENS):
            return _error(45009, "reach max api minute quota limit")
        tokens = self._tokens[appid]
        if body.get("force_refresh") is True and tokens and now - self._forced.get(appid, -_DAY) >= _FORCED_SECONDS:
            if not self._is_allowed(f"force {appid}", _FORCED_A_DAY, seconds=_DAY):
                return _error(45009, "reach max api daily quota limit")
            self._forced[appid] = now
            tokens.clear()
        if not tokens or tokens[-1][1] - now <= _HANDOVER_SECONDS:
            tokens.append((secrets.token_urlsafe(64), now + _TOKEN_SECONDS))
        value, until = tokens[-1]
        return {"access_token": value, "expires_in": int(until - now)}

    def _check(self, query: Mapping[str, str], body: _Json) -> _Json:
        given = query.get("access_token", "")
        appid = next((appid for appid in self._apps if self._is_good(appid, given)), None)
        if appid is None:
            return _error(40001, "invalid credential, access_token is invalid or not latest")
        if not self._is_allowed(f"check {appid}", self.checks):
            return _error(45009, "reach max api daily quota limit")
        content, openid = body.get("content"), str(body.get("openid", ""))
        if not isinstance(content, str) or not content:
            return _error(44002, "empty post data")
        if body.get("version") != 2 or body.get("scene") not in (1, 2, 3, 4) or len(content) > MOST_CHARACTERS:
            return _error(47001, "data format error")
        if self._clock() - self._seen.get((appid, openid), float("-inf")) > _VISIT_SECONDS:
            return _error(40003, "invalid openid")
        suggest, label = _judge(content)
        result = {"suggest": suggest, "label": label}
        return {"errcode": 0, "errmsg": "ok", "result": result, "detail": [], "trace_id": secrets.token_hex(8)}

    def _refuse_app(self, appid: str, secret: str) -> _Json | None:
        if appid not in self._apps:
            return _error(40013, "invalid appid")
        return None if secrets.compare_digest(self._apps[appid], secret) else _error(40125, "invalid appsecret")

    def _is_good(self, appid: str, token: str) -> bool:
        return any(value == token and until > self._clock() for value, until in self._tokens[appid])

    def _is_allowed(self, what: str, most: int, *, seconds: float = _MINUTE) -> bool:
        calls, now = self._lately[what], self._clock()
        while calls and calls[0] <= now - seconds:
            calls.popleft()
        calls.append(now)
        return len(calls) <= most


def _judge(content: str) -> tuple[str, int]:
    if "risky" in content or "违禁" in content:
        return "risky", 20001
    if "review" in content or "疑似" in content:
        return "review", 10001
    return "pass", 100


def _error(number: int, message: str) -> _Json:
    return {"errcode": number, "errmsg": message}


async def _read(receive: _Receive) -> _Json | None:
    body = b""
    more = True
    while more and len(body) <= _MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        decoded = json.loads(body) if body else {}
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None
