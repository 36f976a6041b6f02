"""`dazi dev`: what developers need before they have an appid."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn
from typer import Option

from dazi.credentials import FAKE_APP_SECRET, FAKE_APPID
from dazi.wechat import FakeWeChat

app = typer.Typer(help="Tools for developers.", no_args_is_help=True)


@app.callback()
def _dev() -> None:
    """Tools for developers."""


@app.command("wechat-fake")
def wechat_fake(*, port: Annotated[int, Option(help="Port to listen on, on this machine alone.")] = 8090) -> None:
    """Serve a WeChat that needs no appid: log-in codes, access tokens, content checks, as the real one's documents say."""
    url = f"http://127.0.0.1:{port}"
    print(f"WeChat is played at {url}. For the gateway:")
    print(f"  DAZI_WECHAT_URL={url} DAZI_WECHAT_APPS={FAKE_APPID}:{FAKE_APP_SECRET}")
    print(f'A code, as wx.login gives: curl -X POST {url}/dev/codes -d \'{{"user": "anna"}}\'', flush=True)
    uvicorn.run(
        FakeWeChat({FAKE_APPID: FAKE_APP_SECRET}), host="127.0.0.1", port=port, log_level="warning", access_log=False
    )
