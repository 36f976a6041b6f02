"""Settings of a gateway whose users come by `wx.login`, from one mini program, at a fake WeChat."""

from __future__ import annotations

from typing import Any

from dazi.settings import Settings

APP, APP_SECRET = "wx0123456789abcdef", "the-secret-of-the-app"
SIGNING_SECRET = "one signing secret, which is long enough"


def settings_of(wechat: str, secret: str = SIGNING_SECRET, **others: Any) -> Settings:
    """What an operator sets; `wechat` is where WeChat is, `others` are more settings."""
    app = f"{APP}:{APP_SECRET}"
    return Settings(wechat_apps=(app,), wechat_url=wechat, session_secrets=(secret,), **others)
