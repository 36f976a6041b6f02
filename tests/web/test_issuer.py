"""Tokens of a company's own issuer: a real JWKS server, real keys of every kind, and what attackers send."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.types import Receive, Scope, Send
from tests.conftest import listening

from dazi.errors import ConfigError, Unauthorized, Unavailable
from dazi.upstream import Asker
from dazi.web.issuer import Issuer, Trust

ISSUER, AUDIENCE = "https://sso.example", "chat"
Json = dict[str, Any]  # Any: JSON

RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505  # to be refused
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, algorithm: str, kid: str, **more: str) -> Json:
    maker = jwt.get_algorithm_by_name(algorithm)
    return {**json.loads(maker.to_jwk(key.public_key())), "kid": kid, **more}


class Publisher:
    """An issuer's JWKS, over HTTP."""

    def __init__(self) -> None:
        self.keys: list[Json] = [jwk(RSA, "RS256", "rsa"), jwk(EC, "ES256", "ec"), jwk(ED, "EdDSA", "ed")]
        self.asked = 0
        self.status = 200
        self.body: bytes | None = None
        self.stalls = False

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.asked += 1
        if self.stalls:
            await asyncio.sleep(60)
        headers = [(b"location", b"/elsewhere")] if 300 <= self.status < 400 and scope["path"] == "/keys" else []
        status = self.status if scope["path"] == "/keys" else 200
        body = self.body or json.dumps({"keys": self.keys}).encode()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
async def issuer(publisher: Publisher, clock: Clock) -> AsyncIterator[Issuer]:
    async with listening(publisher) as port:
        trust = Trust(f"http://127.0.0.1:{port}/keys", ISSUER, AUDIENCE, algorithms=("RS256", "ES256", "EdDSA"))
        issuer = Issuer(trust, clock=clock)
        yield issuer
        await issuer.keys.close()


def claims(**changes: Any) -> Json:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + 60, **changes}
    return {name: value for name, value in said.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **changes: Any) -> str:
    headers = {**({} if kid is None else {"kid": kid}), **changes.pop("headers", {})}
    return jwt.encode(claims(**changes), key, algorithm, headers=headers)


async def refused(issuer: Issuer, shown: str) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        await issuer.asker_of(shown)
    return caught.value


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_a_token_of_the_issuers_says_who_it_is(issuer: Issuer, key: Any, algorithm: str, kid: str) -> None:
    anna = await issuer.asker_of(token(key, algorithm, kid))
    assert anna.owner.startswith("jwt:")
    assert "anna" not in anna.owner
    assert anna == await issuer.asker_of(token(key, algorithm, kid, exp=int(time.time()) + 5))
    assert anna.owner != (await issuer.asker_of(token(key, algorithm, kid, sub="bert"))).owner


async def test_the_client_that_a_token_names_is_the_key(issuer: Issuer) -> None:
    one, other, none = [await issuer.asker_of(token(azp=client)) for client in ("app", "web", None)]
    assert one.owner == other.owner == none.owner
    assert one.key.startswith("client:")
    assert one.key != other.key
    assert none.key == ""


def header_of(shown: str) -> Json:
    return dict(jwt.get_unverified_header(shown))


def signed_by_hand(header: Json, said: Json, secret: bytes) -> str:
    """Sign with HMAC, whatever the secret is: libraries refuse public keys there."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said)]
    body = b".".join(parts)
    signature = base64.urlsafe_b64encode(hmac.new(secret, body, hashlib.sha256).digest()).rstrip(b"=")
    return b".".join((body, signature)).decode()


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OWN_JWK = jwk(OTHER, "RS256", "rsa")

ATTACKS: dict[str, Callable[[], str]] = {
    "another key": lambda: token(OTHER),
    "alg none": lambda: jwt.encode(claims(), "", "none", headers={"kid": "rsa"}),
    "RS/HS swap by the PEM": lambda: signed_by_hand({"alg": "HS256", "kid": "rsa", "typ": "JWT"}, claims(), PEM),
    "RS/HS swap by the modulus": lambda: signed_by_hand(
        {"alg": "HS256", "kid": "rsa", "typ": "JWT"}, claims(), jwk(RSA, "RS256", "rsa")["n"].encode()
    ),
    "a key in the header": lambda: token(OTHER, headers={"jwk": OWN_JWK}),
    "an address in the header": lambda: token(OTHER, headers={"jku": "http://127.0.0.1:1/keys"}),
    "a certificate's address": lambda: token(OTHER, headers={"x5u": "http://127.0.0.1:1/c.pem", "x5c": ["AAAA"]}),
    "crit": lambda: token(headers={"crit": ["b64"], "b64": True}),
    "an algorithm that is not allowed": lambda: token(RSA, "PS256"),
    "the key of another kind": lambda: token(EC, "ES256", "rsa"),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="mail"),
    "no audience": lambda: token(aud=None),
    "no end": lambda: token(exp=None),
    "not yet": lambda: token(nbf=int(time.time()) + 3600),
    "no owner": lambda: token(sub=None),
    "an empty owner": lambda: token(sub=""),
    "a long owner": lambda: token(sub="a" * 256),
    "a kid that is none": lambda: token(headers={"kid": "unknown"}),
    "no kid among several": lambda: token(kid=None),
    "a type of another kind": lambda: token(headers={"typ": "dazi-session+jwt"}),
    "no token": lambda: "a.b.c",
    "a long one": lambda: token() + "a" * 9000,
    "a signature that is cut": lambda: token()[:-4],
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_an_attacker_sends_is_refused_and_fetches_nothing_elsewhere(
    issuer: Issuer, publisher: Publisher, attack: str
) -> None:
    error = await refused(issuer, ATTACKS[attack]())
    assert error.code == "unauthorized"
    assert publisher.asked <= 1


async def test_an_expired_token_is_told_apart(issuer: Issuer) -> None:
    assert (await refused(issuer, token(exp=int(time.time()) - 60))).code == "session_expired"


async def test_a_header_that_names_a_key_is_not_looked_at_where_the_signature_is_good(issuer: Issuer) -> None:
    shown = token(headers={"jwk": OWN_JWK, "jku": "http://127.0.0.1:1/"})
    assert (await issuer.asker_of(shown)).owner == (await issuer.asker_of(token())).owner


async def test_a_token_without_kid_is_checked_by_the_only_key(issuer: Issuer, publisher: Publisher) -> None:
    publisher.keys = [jwk(RSA, "RS256", "")]
    assert (await issuer.asker_of(token(kid=None))).owner


@pytest.mark.filterwarnings("ignore:The RSA key is 1024")
@pytest.mark.parametrize(
    "keys",
    [
        [jwk(SHORT, "RS256", "rsa")],
        [jwk(RSA, "RS256", "rsa", use="enc")],
        [{**jwk(RSA, "RS256", "rsa"), "key_ops": ["encrypt"]}],
        [jwk(RSA, "RS256", "rsa", alg="RS512")],
        [{"kty": "oct", "kid": "rsa", "k": "AAAA"}],
        [{"kty": "RSA", "kid": "rsa"}],
        [{"kty": "RSA", "kid": "rsa", "n": 5, "e": []}],
        ["nonsense", None, 5],
    ],
)
async def test_a_key_that_is_no_good_checks_nothing(issuer: Issuer, publisher: Publisher, keys: list[Any]) -> None:
    publisher.keys = keys
    shown = jwt.encode(claims(), SHORT if keys[0] == jwk(SHORT, "RS256", "rsa") else RSA, "RS256", {"kid": "rsa"})
    await refused(issuer, shown)


async def test_rubbish_beside_a_good_key_takes_nothing_from_it(issuer: Issuer, publisher: Publisher) -> None:
    rubbish: list[Any] = [
        None,
        5,
        {"kty": ["RSA"]},
        {"kty": "RSA", "key_ops": None},
        {"kty": "RSA", "key_ops": 5},
        {"kid": {}},
    ]
    publisher.keys = [*rubbish, jwk(RSA, "RS256", "rsa")]
    assert await issuer.asker_of(token())


async def test_keys_are_fetched_once_and_again_when_they_are_old(
    issuer: Issuer, publisher: Publisher, clock: Clock
) -> None:
    await asyncio.gather(*(issuer.asker_of(token()) for _ in range(20)))
    assert publisher.asked == 1
    clock.now += 601
    await asyncio.gather(*(issuer.asker_of(token()) for _ in range(20)))
    assert publisher.asked == 2


async def test_a_rotated_key_is_found_at_once_and_the_old_one_forgotten(
    issuer: Issuer, publisher: Publisher, clock: Clock
) -> None:
    await issuer.asker_of(token())
    publisher.keys = [jwk(OTHER, "RS256", "new")]
    clock.now += 11
    assert await issuer.asker_of(token(OTHER, kid="new"))
    await refused(issuer, token())


async def test_unknown_kids_do_not_flood_the_issuer(issuer: Issuer, publisher: Publisher, clock: Clock) -> None:
    await issuer.asker_of(token())
    for at in range(50):
        await refused(issuer, token(OTHER, kid=f"made up {at}"))
        clock.now += 0.1
    assert publisher.asked == 1
    clock.now += 11
    await asyncio.gather(*(refused(issuer, token(OTHER, kid=f"{at}")) for at in range(20)))
    assert publisher.asked == 2


def away(publisher: Publisher) -> None:
    publisher.status = 503


def redirecting(publisher: Publisher) -> None:
    publisher.status = 302


def endless(publisher: Publisher) -> None:
    publisher.body = b'{"keys":[' + b" " * 300_000 + b"]}"


def nested(publisher: Publisher) -> None:
    publisher.body = b"[" * 100_000


def garbage(publisher: Publisher) -> None:
    publisher.body = b"\xff\xfe"


@pytest.mark.parametrize("trouble", [away, redirecting, endless, nested, garbage])
async def test_while_keys_cannot_be_fetched_known_ones_are_good_for_a_day_and_nobody_else_comes_in(
    issuer: Issuer, publisher: Publisher, clock: Clock, trouble: Callable[[Publisher], None]
) -> None:
    good = await issuer.asker_of(token())
    trouble(publisher)
    clock.now += 3600
    assert await issuer.asker_of(token()) == good
    with pytest.raises(Unavailable) as caught:
        await issuer.asker_of(token(OTHER, kid="new"))
    assert (caught.value.code, caught.value.status) == ("issuer_unavailable", 503)
    clock.now += 24 * 3600
    with pytest.raises(Unavailable):
        await issuer.asker_of(token())
    publisher.status, publisher.body = 200, None
    clock.now += 11
    assert await issuer.asker_of(token()) == good


async def test_an_issuer_that_stalls_is_given_up(
    issuer: Issuer, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dazi.web.issuer._TIMEOUT", 0.05)
    publisher.stalls = True
    with pytest.raises(Unavailable), caplog.at_level(logging.WARNING):
        await issuer.asker_of(shown := token())
    assert shown not in caplog.text
    assert "cannot be fetched" in caplog.text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "http://sso.example/keys"}, "no https URL"),
        ({"url": "ftp://127.0.0.1/keys"}, "no https URL"),
        ({"issuer": ""}, "needs jwt_issuer"),
        ({"audience": ""}, "needs jwt_issuer"),
        ({"algorithms": ("RS256", "HS256")}, "jwt_algorithms=HS256"),
        ({"algorithms": ("none",)}, "jwt_algorithms=none"),
        ({"algorithms": ()}, "jwt_algorithms is empty"),
    ],
)
def test_a_trust_that_is_none_is_refused_at_the_start(changes: Json, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Issuer(Trust(**{"url": "https://sso.example/keys", "issuer": ISSUER, "audience": AUDIENCE, **changes}))


async def test_the_claim_that_says_who_can_be_another(publisher: Publisher) -> None:
    async with listening(publisher) as port:
        issuer = Issuer(Trust(f"http://127.0.0.1:{port}/keys", ISSUER, AUDIENCE, owner="employee"))
        one = await issuer.asker_of(token(employee="7", sub="x"))
        assert one.owner == (await issuer.asker_of(token(employee="7", sub="y"))).owner
        assert isinstance(one, Asker)
        await refused(issuer, token())
        await issuer.keys.close()
