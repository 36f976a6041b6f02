"""The gateway does not start with a secret that is none, and says how to make one (LiteLLM's check of its master key, for all of ours)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from dazi.credentials import FAKE_APP_SECRET, FAKE_APPID, weakness
from dazi.errors import ConfigError
from dazi.settings import Settings, load
from dazi.web.app import create_app

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
    assert not any(weakness(secrets.token_hex(16), least=16) for _ in range(20_000))
    assert not any(weakness(secrets.token_urlsafe(48), least=32) for _ in range(20_000))


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
