"""Session tokens: what a mini program's user shows instead of a key.

Laws: HS256 alone, whatever a token says of itself; a token names its secret by `kid`, must not have expired, and is of this
issuer, audience and type; any node with the same secrets takes it. The first secret signs, all verify, so that secrets can
be changed without a log-out.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jwt

from dazi.credentials import weakness
from dazi.errors import ConfigError, Unauthorized

SHORTEST_SECRET = 32
_ALGORITHM = "HS256"
_TYPE = "dazi-session+jwt"
_ISSUER = _AUDIENCE = "dazi"
_CLAIMS = ("exp", "iat", "iss", "aud", "sub")
# No key is ever taken from a token's header, and no extension that must be understood is.
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})
_MOST_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """Whose token it is: the `owner` of generations, and the user as WeChat knows them."""

    owner: str
    appid: str
    openid: str


class Tokens:
    """Makes and checks tokens.

    Args:
        secrets: each at least 32 characters; the first signs. Raises `ConfigError`.
        seconds: how long a token is good.
        clock: of Unix seconds: tokens are of several machines.
    """

    def __init__(self, secrets: Sequence[str], *, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._secrets = {_kid(secret): secret.encode() for secret in map(_checked, secrets)}
        self._seconds = seconds
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def issue(self, appid: str, openid: str) -> tuple[str, int]:
        """Make a token for a user; returns it, and for how many seconds it is good."""
        kid, secret = next(iter(self._secrets.items()))
        now = int(self._clock())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": owner_of(appid, openid),
            "iat": now,
            "exp": now + int(self._seconds),
            "appid": appid,
            "openid": openid,
        }
        return jwt.encode(claims, secret, _ALGORITHM, headers={"kid": kid, "typ": _TYPE}), int(self._seconds)

    def verify(self, token: str) -> Session:
        """Check a token; tells whose it is. Raises `Unauthorized`."""
        try:
            claims = self._claims(token)
            return Session(str(claims["sub"]), str(claims["appid"]), str(claims["openid"]))
        except jwt.ExpiredSignatureError:
            raise Unauthorized(
                "This session has expired.",
                remedy="Call wx.login, and POST /v1/wechat/sessions with its code.",
                code="session_expired",
            ) from None
        except (jwt.PyJWTError, KeyError, ValueError):
            raise Unauthorized(
                "This session token is not valid.", remedy="Call wx.login, and POST /v1/wechat/sessions with its code."
            ) from None

    @staticmethod
    def is_ours(token: str) -> bool:
        """Whether a token says of itself that it is a session's."""
        try:
            return jwt.get_unverified_header(token[:_MOST_CHARACTERS]).get("typ") == _TYPE
        except jwt.PyJWTError:
            return False

    def _claims(self, token: str) -> dict[str, object]:
        if len(token) > _MOST_CHARACTERS:
            raise ValueError
        header = jwt.get_unverified_header(token)
        if header.get("typ") != _TYPE or not _REFUSED_HEADERS.isdisjoint(header):
            raise ValueError
        claims = jwt.decode(
            token,
            self._secrets[header["kid"]],
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False},
        )
        if not isinstance(claims["exp"], int):
            raise ValueError  # noqa: TRY004  # a token that is not ours, like all others
        if claims["exp"] <= self._clock():
            raise jwt.ExpiredSignatureError
        return dict(claims)


def owner_of(appid: str, openid: str) -> str:
    """Make the owner of a user's generations; the openid cannot be read from it."""
    return f"wx:{hashlib.sha256(f'dazi owner {appid} {openid}'.encode()).hexdigest()[:32]}"


def _kid(secret: str) -> str:
    return hashlib.sha256(f"dazi kid {secret}".encode()).hexdigest()[:8]


def _checked(secret: str) -> str:
    if why := weakness(secret, least=SHORTEST_SECRET):
        raise ConfigError(
            f"A secret of {len(secret)} characters in session_secrets (DAZI_SESSION_SECRETS) is {why}. "
            "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return secret
