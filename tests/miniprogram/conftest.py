from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page
from tests.conftest import listening
from tests.e2e.conftest import browser, chromium, mock, page, stack  # noqa: F401  # fixtures
from tests.miniprogram.building import EXAMPLE, build
from tests.miniprogram.chat import Chat
from tests.miniprogram.preview import BROKEN, FIXTURE, Program, previewing
from tests.miniprogram.users import APP, APP_SECRET

from dazi.wechat import FakeWeChat

Programs = Callable[[str], Program]


@pytest.fixture(scope="session")
def preview() -> Iterator[str]:
    """Serve the preview, for all tests of this process; gives its address."""
    folders: list[Path] = [folder for folder in (FIXTURE, BROKEN, EXAMPLE) if folder.exists()]
    with previewing(*folders) as address:
        yield address


@pytest.fixture
def program(page: Page, preview: str) -> Programs:  # noqa: F811  # the fixture imported above
    """A mini program by its folder's name: `await program("fixture").open(gateway)`."""
    return lambda name: Program(page, preview, name)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example mini program's folder, built."""
    return build(tmp_path_factory.getbasetemp().parent)


@pytest.fixture
def chat(program: Callable[[str], Program], built: Path) -> Chat:
    """The example mini program, to be opened."""
    assert built.is_dir()
    return Chat(program("miniprogram"))


@pytest.fixture
def fake() -> FakeWeChat:
    return FakeWeChat({APP: APP_SECRET})


@pytest.fixture
async def wechat(fake: FakeWeChat) -> AsyncIterator[str]:
    """Where the fake WeChat is."""
    async with listening(fake) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def user(page: Page, built: Path, wechat: str) -> Iterator[Chat]:  # noqa: F811  # the fixture imported above
    """The example mini program in the hands of somebody whom the fake WeChat knows."""
    assert built.is_dir()
    with previewing(EXAMPLE, wechat=wechat) as address:
        yield Chat(Program(page, address, "miniprogram"))
