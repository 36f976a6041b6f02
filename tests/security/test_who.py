"""Who somebody is comes from a key or a token of ours alone, whatever stands in the header.

PyJWT CVE-2026-32597 (`crit`), CVE-2026-48523 (the allow-list), Authlib CVE-2025-59420, `alg: none`, RS/HS swapped; LiteLLM CVE-2026-42208 (SQL out
of the Authorization header, before anybody was authenticated). `tests/web/test_tokens.py` has the tokens one by one; here they come over a socket,
to a gateway whose store is SQL.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Serve, Served, listening
from tests.puppet import Scripted
from tests.security.conftest import ALICE
from tests.security.raw import Answer, ask, request, start

from dazi.settings import Settings
from dazi.web.tokens import owner_of
from dazi.wechat import FakeWeChat

APP, APP_SECRET, SIGNING = (
    "wx1234567890abcd",
    "0f3c9a7e5d1b8246acf013579bd2468e",
    "what signs the tokens of these tests 7f3a",
)
# As a key that is public looks, wherever it was found.
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL6XB0\n-----END PUBLIC KEY-----\n"


@pytest.fixture
def fake() -> FakeWeChat:
    return FakeWeChat({APP: APP_SECRET})


@pytest.fixture
async def open_to_users(serve: Serve, fake: FakeWeChat, tmp_path: Path) -> AsyncIterator[Served]:
    """A gateway with a key, with users of a mini program, and with a store that speaks SQL."""
    async with listening(fake) as wechat:
        yield await serve(
            {"m": Scripted("hello")},
            settings=Settings(
                api_keys=(ALICE,),
                wechat_apps=(f"{APP}:{APP_SECRET}",),
                wechat_url=f"http://127.0.0.1:{wechat}",
                session_secrets=(SIGNING,),
                log=f"sqlite:///{tmp_path}/log.db",
            ),
        )


async def models(port: int, authorization: str | bytes) -> Answer:
    return await ask(port, request("GET", "/v1/models", [("Authorization", authorization)]))


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(header: object, claims: object, secret: str = SIGNING) -> str:
    """Sign anything, as no library would."""
    whole = f"{encoded(header)}.{encoded(claims)}"
    return f"{whole}.{encoded(hmac.digest(secret.encode(), whole.encode(), hashlib.sha256))}"


def claims(**changes: Any) -> dict[str, Any]:  # Any: JSON
    now = int(time.time())
    good = {
        "iss": "dazi",
        "aud": "dazi",
        "sub": owner_of(APP, "anna"),
        "iat": now,
        "exp": now + 600,
        "appid": APP,
        "openid": "anna",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def head(**changes: Any) -> dict[str, Any]:  # Any: JSON
    kid = hashlib.sha256(f"dazi kid {SIGNING}".encode()).hexdigest()[:8]
    return {
        name: value
        for name, value in {"alg": "HS256", "typ": "dazi-session+jwt", "kid": kid, **changes}.items()
        if value is not None
    }


async def test_the_forge_of_these_tests_works(open_to_users: Served) -> None:
    """Or nothing below would be refused for the reason that it names."""
    assert (await models(open_to_users.port, f"Bearer {signed(head(), claims())}")).status == 200


FORGED = {
    "no algorithm": f"{encoded(head(alg='none'))}.{encoded(claims())}.",
    "no algorithm, in other letters": f"{encoded(head(alg='nOnE'))}.{encoded(claims())}.",
    "no algorithm, signed": signed(head(alg="none"), claims()),
    "an algorithm of key pairs": signed(head(alg="RS256"), claims()),
    "a public key taken for the secret": signed(head(), claims(), PUBLIC_KEY),
    "a public key, and its algorithm": signed(head(alg="RS256"), claims(), PUBLIC_KEY),
    "another hash": signed(head(alg="HS512"), claims()),
    "no secret": signed(head(), claims(), ""),
    "a kid that is not known": signed(head(kid="0" * 8), claims()),
    "no kid": signed(head(kid=None), claims()),
    "a kid that is a path": signed(head(kid="../../../dev/null"), claims(), ""),
    "a kid that is SQL": signed(head(kid="' UNION SELECT 'x"), claims(), "x"),
    "a kid that is a list": signed(head(kid=["x"]), claims()),
    "a key of its own": signed(head(jwk={"kty": "oct", "k": encoded(b"x" * 32)}), claims(), "x" * 32),
    "a place for keys": signed(head(jku="http://127.0.0.1:9/keys"), claims()),
    "a chain of certificates": signed(head(x5c=["x"]), claims()),
    "what must be understood": signed(head(crit=["exp"]), claims()),
    "what must be understood and is": signed(head(crit=["b64"], b64=False), claims()),
    "another type": signed(head(typ="JWT"), claims()),
    "no type": signed(head(typ=None), claims()),
    "no end": signed(head(), claims(exp=None)),
    "an end that was": signed(head(), claims(exp=int(time.time()) - 1)),
    "an end in words": signed(head(), claims(exp="never")),
    "an end that is no number": signed(head(), json.dumps(claims()).replace('"exp": ', '"exp": NaN, "x": ').encode()),
    "an end that is true": signed(head(), claims(exp=True)),
    "no audience": signed(head(), claims(aud=None)),
    "another audience": signed(head(), claims(aud="dazi-admin")),
    "another issuer": signed(head(), claims(iss="evil")),
    "no subject": signed(head(), claims(sub=None)),
    "claims that are a list": signed(head(), [1]),
    "a header that is a list": signed([1], claims()),
    "a header that is too deep": f"{encoded(b'[' * 2500)}.{encoded({})}.x",
    "claims that are too deep": signed(head(), b"[" * 2500),
    "no claims": signed(head(), b""),
    "nothing": "..",
    "too long": "x" * 5000 + ".y.z",
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_token_that_is_not_ours_is_nobodys(
    open_to_users: Served, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await models(open_to_users.port, f"Bearer {FORGED[what]}")
    assert (answer.status, answer.named("www-authenticate")) == (401, ["Bearer"])
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


async def test_a_token_opens_nothing_of_the_operators(open_to_users: Served, fake: FakeWeChat) -> None:
    answer = await ask(
        open_to_users.port,
        request(
            "POST",
            "/v1/wechat/sessions",
            [("Content-Type", "application/json")],
            json.dumps({"code": fake.mint("anna")}).encode(),
        ),
    )
    token = answer.json["token"]
    assert (await models(open_to_users.port, f"Bearer {token}")).status == 200
    for path in ("/metrics", "/admin/state", "/admin/generations"):
        answer = await ask(open_to_users.port, request("GET", path, [("Authorization", f"Bearer {token}")]))
        assert answer.status in {401, 403}, path
    # Nor is it a cookie, and it is good in no other header.
    for header in (
        ("Cookie", f"dazi_session={token}"),
        ("X-API-Key", token),
        ("Authorization", token),
        ("Authorization", f"Basic {token}"),
    ):
        assert (await ask(open_to_users.port, request("GET", "/v1/models", [header]))).status == 401
    assert jwt.decode(token, options={"verify_signature": False})["openid"] not in str(answer.body)


SQL = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE logs; --",
    "' UNION SELECT owner FROM logs --",
    "%",
    "_" * 22,
    "\\' OR 1=1#",
    "1; SELECT pg_sleep(10)",
    "a' AND (SELECT COUNT(*) FROM sqlite_master) > 0 --",
    "x\"; ATTACH DATABASE '/tmp/x' AS y; --",
]


def tables(path: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608  # its own names


async def test_no_words_of_sql_are_more_than_words(open_to_users: Served, tmp_path: Path) -> None:
    """In keys, codes, ids, positions and idempotency keys: nobody gets in, nothing is found, nothing is lost."""
    port, key = open_to_users.port, ("Authorization", f"Bearer {ALICE}")
    begun = await ask(port, start(key))
    before = tables(tmp_path / "log.db")
    assert len(before) > 1
    for words in SQL:
        for scheme in ("Bearer ", "bearer ", "Basic ", ""):
            assert (await models(port, f"{scheme}{words}")).status == 401
        assert (await models(port, f"Bearer {ALICE}{words}")).status == 401
        assert (await ask(port, request("GET", "/v1/models", [("Cookie", f"dazi_session={words}")]))).status == 401
        path = "".join(f"%{byte:02x}" for byte in words.encode())
        assert (await ask(port, request("GET", f"/v1/generations/{path}", [key]))).status == 404
        assert (await ask(port, request("POST", f"/v1/generations/{path}/abort", [key]))).status == 404
        assert (await ask(port, request("GET", f"/v1/generations/any/events?after={path}", [key]))).status == 400
        assert (await ask(port, request("GET", f"/v1/generations/any/events?{path}=1", [key]))).status == 400
        assert (await ask(port, start(key, ("Idempotency-Key", words)))).status == (400 if " " in words else 202)
    now = tables(tmp_path / "log.db")
    assert now.keys() == before.keys()
    assert all(now[name] >= count for name, count in before.items())
    assert (await ask(port, request("GET", f"/v1/generations/{begun.json['generation']}", [key]))).status == 200
    # Keys that differ in case, or that would match as patterns, are different keys.
    ids = [
        (await ask(port, start(key, ("Idempotency-Key", one)))).json["generation"]
        for one in ("abc", "ABC", "a%", "a_c", "%", "*", "a?c")
    ]
    assert len(set(ids)) == len(ids)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=60).map(lambda data: bytes(65 if byte in b"\r\n\0" else byte for byte in data)))
async def test_no_authorization_header_lets_in_or_breaks(open_to_users: Served, value: bytes) -> None:
    for scheme in (b"", b"Bearer ", b"Bearer a.b.", b"Basic "):
        assert (await models(open_to_users.port, scheme + value)).status in {400, 401}
