"""The preview's server, and a mini program that runs in it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Self
from urllib.parse import urlencode

import pytest
from playwright.async_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "preview" / "test" / "fixture"
BROKEN = ROOT / "preview" / "test" / "broken"
# CSS pixels of the window below the navigation bar.
WINDOW = (390, 760)
_INSTALL = 300.0


@contextmanager
def previewing(*folders: Path, wechat: str = "") -> Iterator[str]:
    """Serve mini programs, each under its folder's name, whose users log in at a fake WeChat; gives the address."""
    subprocess.run(["bash", ROOT / "scripts" / "setup-preview"], check=True, timeout=_INSTALL)
    command = ["node", "--import", "tsx", "src/server/main.ts", "--port", "0", "--wechat", wechat, *map(str, folders)]
    with subprocess.Popen(command, cwd=ROOT / "preview", stdout=PIPE, stderr=None, stdin=DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://\S+/", line)
            yield found[0] if found else pytest.fail(f"The preview does not start: {line!r}")
        finally:
            process.terminate()


class Program:
    """A mini program that runs in a browser's page. `page` is Playwright's; what is asked of `window.preview` is here."""

    def __init__(self, page: Page, address: str, name: str) -> None:
        self.page = page
        self._address = address
        self._name = name

    async def open(self, gateway: str = "none", **parameters: str | int) -> Self:
        """Load it, as an address with these parameters does (preview/README.md); begins with an empty storage."""
        query = {"app": self._name, "gateway": gateway, "fresh": 1, **parameters}
        await self.page.set_viewport_size({"width": WINDOW[0], "height": WINDOW[1]})
        await self.page.goto(f"{self._address}program?{urlencode(query)}")
        await self.ask("(await preview).ready")
        return self

    async def ask(self, expression: str) -> Any:
        """Evaluate an expression, in which `preview` is `window.preview` and `await` may be used."""
        return await self.page.evaluate(f"async () => {expression}")

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def tap(self, selector: str) -> None:
        await self.page.locator(selector).click()

    async def background(self, seconds: float | None = None) -> None:
        """Go to the background, and come back after so many seconds if they are given."""
        await self.ask(f"preview.background({'' if seconds is None else seconds * 1000})")

    async def foreground(self) -> None:
        await self.ask("preview.foreground()")

    async def set_data(self) -> dict[str, Any]:
        """`calls`, `bytes`, `largest`, `perSecond` of setData since the launch, or since `reset_counters`."""
        return dict(await self.ask("preview.setData.counts()"))

    async def reset_counters(self) -> None:
        await self.ask("preview.setData.reset()")

    async def network(self) -> list[dict[str, Any]]:
        """What each request did, in order."""
        return list(await self.ask("preview.network"))

    async def notes(self, kind: str) -> list[Any]:
        """What was shown as a `toast`, put on the `clipboard`, …"""
        return list(await self.ask(f"preview.notes.filter(({{kind}}) => kind === {kind!r}).map(({{value}}) => value)"))

    async def until(self, expression: str, seconds: float = 10) -> None:
        """Wait until an expression is true."""
        await self.page.wait_for_function(expression, timeout=seconds * 1000)

    async def check_clean(self) -> None:
        """Check that the program threw nothing, and looked for nothing of `wx` that is not there."""
        assert (await self.ask("[preview.errors, preview.missing]")) == [[], []]
