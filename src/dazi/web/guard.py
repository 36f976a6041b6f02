"""Who may come in: hosts, origins, keys and the chat page's cookie (PROTOCOL.md, section 9).

Laws: decisions use the ASGI scope alone; keys are held as hashes and never told or logged; a secret is never read from a
URL; without keys there is one owner, `local`, and only names of this machine are hosts, so that a web page elsewhere
cannot reach a gateway on a developer's machine by rebinding its own name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from dazi.credentials import weakness
from dazi.errors import ConfigError, Forbidden, Unauthorized
from dazi.upstream import Asker
from dazi.web.tokens import Tokens

LOCAL_OWNER = "local"
COOKIE = "dazi_session"
COOKIE_SECONDS = 30 * 24 * 3600
SHORTEST_KEY = 16
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# A Host header: a name, or an IPv6 address in brackets, and perhaps a port (RFC 9110, 7.2). Nothing else has a name.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^][:/?#@\\,\s]+))(?::[0-9]*)?", re.IGNORECASE)


class Keys:
    """The API keys of a gateway, as hashes, and the session tokens that it takes. Without any of both, everybody is `local`.

    Args:
        keys: each at least 16 characters, or `sha256:` and the hash of one in hexadecimal, as `dazi keys new` prints it.
            Raises `ConfigError` for a short or publicly known one.
        tokens: what users of mini programs show instead.
        setting: where the keys come from, for that error.
        secrets: with which cookies are signed, beside the key's hash: the first signs, all verify. Whoever can read the hashes of
            keys in a configuration could sign by those alone.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        tokens: Tokens | None = None,
        *,
        setting: str = "api_keys (DAZI_API_KEYS)",
        secrets: Sequence[str] = ("",),
    ) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._owners: dict[bytes, str] = {}
        self._hashes: dict[str, bytes] = {}
        self._tokens = tokens
        for key in keys:
            digest = _digest_of(key, setting)
            owner = f"key:{digest.hex()[:16]}"
            self._owners[digest] = owner
            self._hashes[owner] = digest

    def __bool__(self) -> bool:
        return bool(self._owners) or bool(self._tokens)

    def asker_of(self, headers: Headers) -> Asker:
        """Tell whose request this is. Raises `Unauthorized`."""
        if not self:
            return Asker(LOCAL_OWNER)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._asker_of_key(key.strip())
        owner = self._owner_of_cookie(headers.get("cookie", ""))
        return Asker(owner, key=owner)

    def owner_of(self, headers: Headers) -> str:
        """Tell whose generations this request may see. Raises `Unauthorized`."""
        return self.asker_of(headers).owner

    def owner_of_key(self, key: str) -> str:
        """Tell whose key, or token, this is. Raises `Unauthorized`."""
        return self._asker_of_key(key).owner

    def _asker_of_key(self, key: str) -> Asker:
        if self._tokens and key.count(".") == 2:
            session = self._tokens.verify(key)
            return Asker(session.owner, session.appid, session.openid, key=f"app:{session.appid}")
        owner = self._owners.get(hashlib.sha256(key.encode()).digest())
        if owner is None:
            raise Unauthorized("This API key is not known.", remedy="Use one of the gateway's DAZI_API_KEYS.")
        return Asker(owner, key=owner)

    def is_session(self, token: str) -> bool:
        """Whether a token would be a session's of this gateway."""
        return bool(self._tokens) and Tokens.is_ours(token)

    def cookie_for(self, owner: str) -> str:
        """Make a cookie's value, which proves `owner` for `COOKIE_SECONDS` and does not hold the key."""
        claim = f"{owner}|{int(time.time()) + COOKIE_SECONDS}"
        return f"{claim}|{self._sign(owner, claim, self._secrets[0])}"

    def _owner_of_cookie(self, cookies: str) -> str:
        # Not the standard library's parser: it gives up on all cookies where another server's is not to its taste.
        owner, _, rest = cookie_parser(cookies).get(COOKIE, "").partition("|")
        expires, _, signature = rest.partition("|")
        if owner in self._hashes and self._is_signed(owner, expires, signature):
            if int(expires) > time.time():
                return owner
            raise Unauthorized("This session has expired.", remedy="Log in again.")
        raise Unauthorized("No API key came with the request.", remedy="Send the header Authorization: Bearer <key>.")

    def _is_signed(self, owner: str, expires: str, signature: str) -> bool:
        signs = [self._sign(owner, f"{owner}|{expires}", secret) for secret in self._secrets]
        return any(hmac.compare_digest(signature.encode(), sign.encode()) for sign in signs)

    def _sign(self, owner: str, claim: str, secret: bytes) -> str:
        return hmac.new(self._hashes[owner] + secret, claim.encode(), hashlib.sha256).hexdigest()


class Doors:
    """Which hosts and origins may be used.

    Args:
        hosts: names this gateway is reached by; `*` for any. Names of this machine are always allowed.
        origins: origins of other sites whose pages may call it, such as `https://app.example.com`.
    """

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = _LOCAL_HOSTS | {host.lower() for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Check Host and Origin; returns the CORS headers of the answer. Raises `Forbidden`."""
        host = headers.get("host", "")
        if "*" not in self._hosts and _name_of(host) not in self._hosts:
            raise Forbidden(
                f"The host {host[:100]!r} is not allowed.",
                remedy="Add it to DAZI_HOSTS, or use http://127.0.0.1.",
                code="forbidden_host",
                param="Host",
            )
        origin = headers.get("origin")
        if origin is None or origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}:
            return []
        if origin.lower() not in self._origins:
            raise Forbidden(
                f"The origin {origin[:100]!r} is not allowed.",
                remedy="Add it to DAZI_ORIGINS.",
                code="forbidden_origin",
                param="Origin",
            )
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"Dazi-Generation, Retry-After, RateLimit, RateLimit-Policy"),
            (b"vary", b"Origin"),
        ]


def preflight(headers: Headers, cors: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Answer a preflight of an allowed origin."""
    wanted = headers.get("access-control-request-headers", "")
    allowed = {"authorization", "content-type", "idempotency-key", "last-event-id", "accept", "cache-control"}
    names = [name for name in (part.strip().lower() for part in wanted.split(",")) if name in allowed]
    return [
        *cors,
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", ", ".join(names).encode()),
        (b"access-control-max-age", b"600"),
    ]


def _name_of(host: str) -> str:
    """Return the name in a Host header, without port and brackets; "" if there is none."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def _digest_of(key: str, setting: str) -> bytes:
    """Return a key's hash; of one that is given as its hash, that. Raises `ConfigError`."""
    scheme, colon, digits = key.partition(":")
    if colon and scheme == "sha256":
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            raise ConfigError(f"A sha256: entry in {setting} is no hash. Make one with: dazi keys new")
        return bytes.fromhex(digits)
    _check_strength(key, setting)
    return hashlib.sha256(key.encode()).digest()


def _check_strength(key: str, setting: str) -> None:
    if why := weakness(key, least=SHORTEST_KEY):
        raise ConfigError(f"A key of {len(key)} characters in {setting} is {why}. Make one with: dazi keys new")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"A key in {setting} holds characters a header cannot carry. Use visible ASCII.")
