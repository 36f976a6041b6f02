"""What is not about generations: health, and the chat page's log-in (PROTOCOL.md, sections 2 and 9)."""

from __future__ import annotations

from msgspec import Struct

from dazi.web.calls import Call, Desk, Reply, json_reply
from dazi.web.guard import COOKIE, COOKIE_SECONDS
from dazi.web.requests import decode, read_body

_MAX_BODY = 4096


class Login(Struct, forbid_unknown_fields=True):
    """The body of a log-in."""

    key: str


class Operations:
    """The handlers of these paths."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, _call: Call) -> Reply:
        """Tell that the process runs."""
        return json_reply(200, {"status": "live"})

    async def ready(self, _call: Call) -> Reply:
        """Tell whether new starts are taken."""
        await self._desk.gateway.check()
        gateway = self._desk.gateway
        facts = {"status": "ready", "running": gateway.running, "readers": len(self._desk.readers)}
        return json_reply(200, {**facts, "undurable": gateway.undurable} if gateway.undurable else facts)

    async def login(self, call: Call) -> Reply:
        """Give a cookie for a key."""
        login = decode(await read_body(call.receive, call.headers, limit=_MAX_BODY), Login)
        if not self._desk.keys:
            return Reply(204)
        owner = self._desk.keys.owner_of_key(login.key)
        return Reply(204, headers=[_cookie(call, self._desk.keys.cookie_for(owner), COOKIE_SECONDS)])

    async def logout(self, call: Call) -> Reply:
        """Take the cookie back."""
        return Reply(204, headers=[_cookie(call, "", 0)])


def _cookie(call: Call, value: str, seconds: int) -> tuple[bytes, bytes]:
    # Whoever says that it came by https gets a cookie that works by nothing else: a proxy's word needs no proof here.
    is_https = "https" in (call.scope["scheme"], call.headers.get("x-forwarded-proto", "").lower())
    secure = "; Secure" if is_https else ""
    path = call.scope.get("root_path", "") or "/"
    cookie = f"{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    return b"set-cookie", cookie.encode("latin-1")
