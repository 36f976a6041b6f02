"""The gateway does not start with a secret that is none, and says how to make one (LiteLLM's check of its master key, for all of ours)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Serve
from tests.puppet import Scripted
from tests.security.raw import ask, request

from dazi.credentials import FAKE_APP_SECRET, FAKE_APPID, weakness
from dazi.errors import ConfigError
from dazi.settings import Settings, load, signing
from dazi.web.app import create_app
from dazi.web.guard import COOKIE

ROOT = Path(__file__).parents[2]
GOOD = "what signs the tokens of these tests 7f3a"
APP_SECRET = "0f3c9a7e5d1b8246acf013579bd2468e"
APP = f"wx1234567890abcd:{APP_SECRET}"
# Each setting that is a secret of the gateway's own, and what its refusal tells to do.
SETTINGS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "DAZI_API_KEYS": ("DAZI_API_KEYS", "dazi keys new", str),
    "DAZI_ADMIN_KEY": ("DAZI_ADMIN_KEY", "dazi keys new", str),
    "DAZI_SESSION_SECRETS": ("DAZI_SESSION_SECRETS", "token_urlsafe", str),
    "DAZI_WECHAT_APPS": ("wechat_apps", "mp.weixin.qq.com", "wx1234567890abcd:{}".format),
}
WEAK = [
    "admin",
    "secret",
    "changeme",
    "change-me-please",
    "changeme" * 5,
    "your-api-key-here",
    "your_secret_key_your_secret_key_here",
    "your-256-bit-secret",
    "sk-1234567890abcdef",
    "SK-1234567890ABCDEF",
    "replace-me-with-a-secret-key",
    "super-secret-key",
    "my-secret-api-key",
    "django-insecure-example-secret-key",
    "default-master-key-placeholder",
    "passwordpasswordpasswordpassword",
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz012345",
    "x" * 64,
    "ab" * 32,
    "the-app-secret",
    "the-signing-secret",
    FAKE_APP_SECRET,
]


def start(**environment: str) -> None:
    """Begin as `dazi serve` does."""
    create_app(settings=load(environment={"DAZI_MODEL": "demo", **environment}).settings)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("weak", WEAK)
def test_a_secret_that_everybody_knows_or_guesses_stops_the_start(name: str, weak: str) -> None:
    setting, remedy, written = SETTINGS[name]
    others = {"DAZI_WECHAT_APPS": APP, "DAZI_SESSION_SECRETS": GOOD} if name != "DAZI_API_KEYS" else {}
    with pytest.raises(ConfigError) as caught:
        start(**{**others, name: written(weak)})
    sentence = str(caught.value)
    assert setting in sentence
    assert remedy in sentence
    assert re.search(r"too (short|uniform|well known)", sentence)
    assert weak not in sentence or weak in {"admin", "secret"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_good_secret_is_taken(name: str) -> None:
    _, _, written = SETTINGS[name]
    others = {"DAZI_WECHAT_APPS": APP, "DAZI_SESSION_SECRETS": GOOD}
    for _ in range(2):
        start(**{**others, name: written(secrets.token_hex(16))})
        start(**{**others, name: written(secrets.token_urlsafe(32))})


def test_random_secrets_are_never_taken_for_known_ones() -> None:
    assert not any(weakness(secrets.token_hex(16), least=16) for _ in range(3000))
    assert not any(weakness(secrets.token_urlsafe(48), least=32) for _ in range(3000))


def test_no_secret_that_stands_in_our_documents_starts_a_gateway() -> None:
    """Who copies a line from the documentation has no secret yet."""
    texts = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
    ]
    names = "|".join(SETTINGS)
    found = set()
    for path in texts:
        for name, value in re.findall(rf"({names})[=:]\s*['\"]?([^\s'\"`…)，。]+)", path.read_text("utf-8")):
            if any(mark in value for mark in ("$", "…", "<", "http")):
                continue
            found.add(name)
            others = {"DAZI_WECHAT_APPS": APP, "DAZI_SESSION_SECRETS": GOOD}
            with pytest.raises(ConfigError):
                start(**{**others, name: value})
    assert found >= {"DAZI_WECHAT_APPS", "DAZI_SESSION_SECRETS"}


def test_the_fakes_app_secret_is_good_for_the_fake_alone() -> None:
    fake = {"DAZI_WECHAT_APPS": f"{FAKE_APPID}:{FAKE_APP_SECRET}", "DAZI_SESSION_SECRETS": GOOD}
    start(**fake, DAZI_WECHAT_URL="http://127.0.0.1:8090")
    for url in ("https://api.weixin.qq.com", "https://wechat.example"):
        with pytest.raises(ConfigError, match="too well known"):
            start(**fake, DAZI_WECHAT_URL=url)


@pytest.mark.parametrize(
    "url", ["http://api.weixin.qq.com", "http://10.0.0.1:8090", "ftp://127.0.0.1", "127.0.0.1:8090", ""]
)
def test_an_app_secret_is_not_sent_unencrypted(url: str) -> None:
    settings = Settings(wechat_apps=(APP,), session_secrets=(GOOD,), wechat_url=url)
    with pytest.raises(ConfigError, match="wechat_url") as caught:
        load(
            {name: getattr(settings, name) for name in ("wechat_apps", "session_secrets", "wechat_url")}, environment={}
        )
    assert APP_SECRET not in str(caught.value)


async def test_who_reads_the_hash_of_a_key_has_no_key(serve: Serve) -> None:
    """Neither as a key, nor to sign the chat page's cookie with."""
    key = secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode())
    served = await serve({"m": Scripted()}, settings=Settings(api_keys=(f"sha256:{digest.hexdigest()}",)))
    for stolen in (digest.hexdigest(), f"sha256:{digest.hexdigest()}"):
        answer = await ask(served.port, request("GET", "/v1/models", [("Authorization", f"Bearer {stolen}")]))
        assert answer.status == 401
    claim = f"key:{digest.hexdigest()[:16]}|{int(time.time()) + 1000}"
    for secret in (b"", b"dazi"):
        forged = f"{claim}|{hmac.new(digest.digest() + secret, claim.encode(), hashlib.sha256).hexdigest()}"
        assert (await ask(served.port, request("GET", "/v1/models", [("Cookie", f"{COOKIE}={forged}")]))).status == 401
    body = f'{{"key":"{key}"}}'.encode()
    good = (await ask(served.port, request("POST", "/login", [("Content-Type", "application/json")], body))).named(
        "set-cookie"
    )
    assert (await ask(served.port, request("GET", "/v1/models", [("Cookie", good[0].split(";")[0])]))).status == 200


def test_workers_share_what_signs_and_the_next_start_has_another() -> None:
    hashed = Settings(api_keys=("sha256:" + "0f" * 32,))
    one, other = signing(hashed), signing(hashed)
    assert one.session_secrets
    assert one.session_secrets != other.session_secrets
    assert signing(one) is one
    plain = Settings(api_keys=("alice-k3y-N7fQ2xW9pL4v",))
    assert signing(plain) is plain
