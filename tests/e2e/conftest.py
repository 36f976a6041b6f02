from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
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
    found = os.environ.get("DAZI_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail("There is no Chromium. `make test` installs it; by hand: apt-get install chromium.", pytrace=False)
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab in which no script may fail and no policy be violated, unseen."""
    page = await browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert not faults


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Mock = Callable[..., Awaitable[MockModel]]


@pytest.fixture
async def mock(stack: AsyncExitStack) -> Mock:
    """Start a mock of a model's server: `await mock(["He", "llo"], …)`, see `MockModel`."""

    async def start(pieces: Sequence[str], **options: Any) -> MockModel:  # Any: as MockModel's
        return await stack.enter_async_context(MockModel(pieces, **options))

    return start
