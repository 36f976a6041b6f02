from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright
from tests.e2e.mock_model import MockModel

# No sandbox: the tests may run as root, and open nothing but their own pages. The rest keeps the browser from the network.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str:
    """Find the real browser; without one these tests fail, for they prove nothing then."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail("There is no Chromium. `make test` installs it; by hand: apt-get install chromium.", pytrace=False)
    return found


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the browser once, which takes a second; gives the address where it is driven."""
    home = tmp_path_factory.mktemp("chromium")
    where = [f"--user-data-dir={home}", "--headless", "--remote-debugging-port=0", "about:blank"]
    with subprocess.Popen([find_chromium(), *_ARGUMENTS, *where], stdout=DEVNULL, stderr=PIPE, text=True) as process:
        lines: Iterable[str] = process.stderr or ()
        address = next((match[1] for line in lines if (match := re.search(r"listening on (ws:\S+)", line))), None)
        # What else it has to say is thrown away, or the pipe would fill up and stop it.
        rest = threading.Thread(target=lambda: deque(lines, maxlen=0))
        rest.start()
        try:
            yield address or pytest.fail("Chromium does not start.")
        finally:
            process.terminate()
            process.wait(timeout=10)
            rest.join()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium)
        yield browser
        for context in browser.contexts[1:]:  # the first is the browser's own
            await context.close()
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab, with nothing left of the tests before, in which no script may fail unseen."""
    context = await browser.new_context()
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    yield await context.new_page()
    assert not faults


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Mock = Callable[..., Awaitable[MockModel]]


@pytest.fixture
async def mock(stack: AsyncExitStack) -> Mock:
    """Start a mock of a model's server: `await mock(["He", "llo"], …)`, see `MockModel`."""

    async def start(pieces: Sequence[str | bytes], **options: Any) -> MockModel:  # Any: as MockModel's
        return await stack.enter_async_context(MockModel(pieces, **options))

    return start
