"""Tokens of a company's own issuer: a signed JWT, checked by the public keys that the issuer publishes (RFC 7515, 7517, 7519).

Laws: the operator says where the keys are, who issues, for whom, and which algorithms count, all of them asymmetric; nothing in a
token changes that: a header that names a key or an address (`jwk`, `jku`, `x5u`, `x5c`) is not looked at, one that must be understood
(`crit`) is refused, and a key works for its own kind of algorithm alone. Keys are fetched when they are needed, kept for a while, and an
unknown `kid` asks for them again only now and then, however many tokens name one. No redirect is followed, and no answer is read
beyond its limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from dazi.errors import ConfigError, NoAnswer, Unauthorized, Unavailable
from dazi.outside import Outside
from dazi.upstream import Asker

logger = logging.getLogger("dazi.web")

# By algorithm, the kind of key that it takes.
ALGORITHMS: Mapping[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
# Seconds for which keys are good without a look, and for which old ones do while the issuer cannot be reached.
_FRESH = 600.0
_STALE = 24 * 3600.0
# Seconds between two looks at the issuer, for a `kid` that is not known or after a look that failed.
_PAUSE = 10.0
_TIMEOUT = 5.0
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_MOST_CHARACTERS = 8192
_SHORTEST_RSA = 2048
# Seconds that clocks may differ.
_LEEWAY = 30
_MOST_OWNER = 255
# What a token for an API may call itself (RFC 9068), or that it is a JWT; one of another kind is none of ours.
_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_Json = dict[str, Any]  # Any: JSON of others


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens count: what the operator says.

    `owner` and `key` name the claims that say whose generations are meant, and which client of the company's asks.
    """

    url: str
    issuer: str
    audience: str
    algorithms: Sequence[str] = ("RS256", "ES256")
    owner: str = "sub"
    key: str = "azp"


class KeySet:
    """The keys that an issuer publishes.

    Args:
        url: of the JWKS; https, unless it is this machine. Raises `ConfigError`.
        clock: of monotonic seconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ConfigError(f"jwt_jwks_url={url!r} is no https URL. Give the address of the issuer's JWKS.")
        self._url = url
        # What may be told of that.
        self._where = f"{parts.hostname}{parts.path}"
        self._clock = clock
        self._outside = Outside(timeout=_TIMEOUT, most_bytes=_MOST_BYTES)
        self._keys: dict[str, _Json] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def close(self) -> None:
        """Let go of its connections."""
        await self._outside.close()

    async def key(self, kid: str | None) -> _Json:
        """Return the key of this name; without a name, the only one there is. Raises `Unavailable`, `KeyError`."""
        if self._find(kid) is None or self._clock() >= self._fetched + _FRESH:
            await self._refresh(kid)
        key = self._find(kid)
        now = self._clock()
        if key is not None and now < self._fetched + _STALE:
            return key
        if now >= self._fetched + _FRESH:
            raise Unavailable(
                "The keys of the issuer of this token cannot be fetched.",
                remedy="Try again in a moment.",
                code="issuer_unavailable",
                retry_after=5,
            )
        raise KeyError(kid)

    def _find(self, kid: str | None) -> _Json | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _refresh(self, kid: str | None) -> None:
        """Fetch the keys, unless that was tried a moment ago; who comes meanwhile waits for the same answer."""
        async with self._fetching:
            now = self._clock()
            if now < self._tried + _PAUSE or (self._find(kid) is not None and now < self._fetched + _FRESH):
                return
            self._tried = now
            try:
                self._keys = _signing_keys(await self._fetch())
                self._fetched = self._clock()
            except (NoAnswer, ValueError, RecursionError) as error:
                reason = error if isinstance(error, NoAnswer) else type(error).__name__
                logger.warning("The issuer's keys at %s cannot be fetched: %s", self._where, reason)

    async def _fetch(self) -> object:
        status, body = await self._outside.call("GET", self._url, seconds=_TIMEOUT)
        if status != 200:
            raise ValueError(status)
        return json.loads(body)


class Issuer:
    """Checks tokens.

    Args:
        trust: whose count. Raises `ConfigError`.
        clock: see `KeySet`.
    """

    def __init__(self, trust: Trust, *, clock: Callable[[], float] = time.monotonic) -> None:
        _check_trust(trust)
        self._trust = trust
        self.keys = KeySet(trust.url, clock=clock)

    async def asker_of(self, token: str) -> Asker:
        """Tell who shows this token. Raises `Unauthorized`, `Unavailable`."""
        try:
            return self._asker(await self._claims(token))
        except jwt.ExpiredSignatureError:
            raise Unauthorized(
                "This token has expired.", remedy="Get another from its issuer.", code="session_expired"
            ) from None
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise Unauthorized(
                "This token is not valid here.",
                remedy=f"Send one of the issuer {self._trust.issuer!r} for the audience {self._trust.audience!r}.",
            ) from None

    async def _claims(self, token: str) -> _Json:
        if len(token) > _MOST_CHARACTERS:
            raise ValueError
        header = jwt.get_unverified_header(token)
        algorithm, kid = str(header.get("alg")), header.get("kid")
        if algorithm not in self._trust.algorithms or "crit" in header:
            raise ValueError
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise ValueError
        key = await self.keys.key(kid if isinstance(kid, str) else None)
        if key["kty"] != ALGORITHMS[algorithm] or key.get("alg", algorithm) != algorithm:
            raise ValueError
        public = jwt.PyJWK(key, algorithm=algorithm).key
        if key["kty"] == "RSA" and public.key_size < _SHORTEST_RSA:
            raise ValueError
        return jwt.decode(
            token,
            public,
            algorithms=[algorithm],
            audience=self._trust.audience,
            issuer=self._trust.issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud"]},
        )

    def _asker(self, claims: _Json) -> Asker:
        said = claims[self._trust.owner]
        if not isinstance(said, str) or not 0 < len(said) <= _MOST_OWNER:
            raise ValueError
        client = claims.get(self._trust.key)
        key = f"client:{_hidden(self._trust.issuer, client)}" if isinstance(client, str) and client else ""
        return Asker(f"jwt:{_hidden(self._trust.issuer, said)}", key=key)


def _hidden(*parts: str) -> str:
    """Make a name that what was said cannot be read from."""
    return hashlib.sha256("\0".join(("dazi jwt", *parts)).encode()).hexdigest()[:32]


def _signing_keys(found: object) -> dict[str, _Json]:
    """Take the public keys for signatures, by `kid`. Raises `ValueError`."""
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("no JWKS")  # noqa: TRY004  # a document that is wrong, like all others
    keys = [key for key in found["keys"][:_MOST_KEYS] if isinstance(key, dict) and _verifies(key)]
    return {str(key.get("kid", "")): key for key in keys}


def _verifies(key: _Json) -> bool:
    """Whether a key is for signatures; others that stand beside it, even rubbish, take nothing away from it."""
    uses = key.get("key_ops", ["verify"])
    is_for_signatures = key.get("use", "sig") == "sig" and isinstance(uses, list) and "verify" in uses
    return is_for_signatures and key.get("kty") in list(ALGORITHMS.values())


def _check_trust(trust: Trust) -> None:
    if not trust.issuer or not trust.audience:
        raise ConfigError(
            "jwt_jwks_url needs jwt_issuer and jwt_audience: without them any token that these keys signed would do. Set them to what "
            "stands in your tokens as iss and aud."
        )
    if wrong := [name for name in trust.algorithms if name not in ALGORITHMS]:
        raise ConfigError(
            f"jwt_algorithms={','.join(wrong)}: only signatures with a private key count. Use some of: {', '.join(ALGORITHMS)}."
        )
    if not trust.algorithms:
        raise ConfigError("jwt_algorithms is empty. Name the one that your issuer signs with, such as RS256.")
    if not jwt.algorithms.has_crypto:
        raise ConfigError("jwt_jwks_url is set, which needs cryptography: pip install 'dazi[jwt]'.")
