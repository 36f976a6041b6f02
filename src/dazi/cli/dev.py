"""`dazi dev`: what developers need before they have an appid."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from typer import Option

from dazi.credentials import FAKE_APP_SECRET, FAKE_APPID
from dazi.errors import Forbidden
from dazi.web.guard import Doors
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
    fake = OwnMachine(FakeWeChat({FAKE_APPID: FAKE_APP_SECRET}))
    uvicorn.run(fake, host="127.0.0.1", port=port, log_level="warning", access_log=False)


class OwnMachine:
    """Lets programs of this machine in, and no web page: one that rebinds its name to this machine would get log-in codes."""

    def __init__(self, served: ASGIApp) -> None:
        self._served = served
        self._doors = Doors()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at where a request comes from, and pass it on."""
        if scope["type"] == "http":
            try:
                self._doors.check(Headers(scope=scope))
            except Forbidden as error:
                await send(
                    {
                        "type": "http.response.start",
                        "status": error.status,
                        "headers": [(b"content-type", b"text/plain")],
                    }
                )
                await send({"type": "http.response.body", "body": error.message.encode()})
                return
        await self._served(scope, receive, send)
