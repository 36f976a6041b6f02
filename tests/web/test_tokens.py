from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dazi.errors import ConfigError, Unauthorized
from dazi.web.tokens import Tokens, owner_of

SECRET, OLD = (
    "a secret of these tests, as long as any algorithm could want it to be 0123456789",
    "the secret of the year before, long",
)
NOW = 1_900_000_000.0


def tokens(*secrets: str, now: float = NOW) -> Tokens:
    return Tokens(secrets or (SECRET,), seconds=7200, clock=lambda: now)


def forged(claims: dict[str, Any] | None = None, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """A token with what is good, but for what is given."""
    good, _ = tokens().issue("wx1", "o1")
    theirs = {**jwt.decode(good, options={"verify_signature": False}), **(claims or {})}
    whole = {"kid": jwt.get_unverified_header(good)["kid"], "typ": "dazi-session+jwt", **header}
    return jwt.encode(
        {name: value for name, value in theirs.items() if value is not None}, key, algorithm, headers=whole
    )


def test_a_token_is_its_users_on_every_node() -> None:
    token, seconds = tokens().issue("wx1", "o1")
    session = tokens(now=NOW + 7199).verify(token)
    assert (session.owner, session.appid, session.openid, seconds) == (owner_of("wx1", "o1"), "wx1", "o1", 7200)
    assert "o1" not in session.owner


def test_owners_differ_by_user_and_app() -> None:
    assert len({owner_of("wx1", "o1"), owner_of("wx1", "o2"), owner_of("wx2", "o1")}) == 3


def test_it_expires() -> None:
    token, _ = tokens().issue("wx1", "o1")
    with pytest.raises(Unauthorized) as caught:
        tokens(now=NOW + 7200).verify(token)
    assert caught.value.code == "session_expired"


def test_secrets_can_be_changed_without_a_log_out() -> None:
    token, _ = tokens(OLD).issue("wx1", "o1")
    assert tokens(SECRET, OLD).verify(token).openid == "o1"
    with pytest.raises(Unauthorized):
        tokens(SECRET).verify(token)


@pytest.mark.parametrize(
    "token",
    [
        forged(key=OLD),
        forged(alg="none", key=None, algorithm="none"),
        forged(algorithm="HS512"),
        forged(kid="unknown"),
        forged(typ="JWT"),
        forged(crit=["x"], x=1),
        forged(jwk={"kty": "oct", "k": "YQ"}),
        forged(jku="https://evil.example/keys"),
        forged(x5u="https://evil.example/cert"),
        forged({"aud": "another"}),
        forged({"iss": "another"}),
        forged({"exp": None}),
        forged({"exp": "never"}),
        forged({"sub": None}),
        forged({"openid": None}),
        "a.b.c",
        "..",
        "x" * 10_000 + ".y.z",
    ],
    ids=lambda token: token[:1] + str(len(token)),
)
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    """CVE-2026-32597 (`crit`), CVE-2026-48523 (allow-list), `alg: none`, keys out of the header, missing claims."""
    with pytest.raises(Unauthorized) as caught:
        tokens().verify(token)
    assert caught.value.code == "unauthorized"


def test_another_algorithm_cannot_be_named_by_the_header() -> None:
    good, _ = tokens().issue("wx1", "o1")
    _, claims, signature = good.split(".")
    header = base64.urlsafe_b64encode(json.dumps({**jwt.get_unverified_header(good), "alg": "none"}).encode()).decode()
    for forgery in (f"{header.rstrip('=')}.{claims}.", f"{header.rstrip('=')}.{claims}.{signature}"):
        with pytest.raises(Unauthorized):
            tokens().verify(forgery)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_nothing_else_is_a_token(one: str, two: str, three: str) -> None:
    with pytest.raises(Unauthorized):
        tokens().verify(f"{one}.{two}.{three}")


@pytest.mark.parametrize("secret", ["tiny0", "x" * 40, "ab" * 20])
def test_a_weak_secret_is_refused_with_the_way_to_a_good_one(secret: str) -> None:
    with pytest.raises(ConfigError, match="token_urlsafe") as caught:
        tokens(secret)
    assert secret not in str(caught.value)
