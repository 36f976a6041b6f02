"""The site of the documents: what it tells of the code, and what a reader finds there in a real browser."""

from __future__ import annotations

import functools
import html
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest
from playwright.async_api import Page, expect

from dazi import events
from dazi.settings import Settings
from dazi.web.openapi import document

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "docs" / "settings.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    script = ROOT / "scripts" / "build_site.py"
    built = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=110, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    serving.join()
    server.server_close()


def words_of(site: Path, page: str) -> str:
    content = (site / page / "index.html").read_text("utf-8")
    return html.unescape(re.sub(r"<[^>]+>", "", content.partition("<article")[2].partition("</article>")[0]))


@pytest.mark.parametrize("language", ["", "zh/"])
def test_the_reference_tells_all_there_is(site: Path, language: str) -> None:
    settings = words_of(site, f"{language}reference/settings")
    told = [name for group in SETTINGS.values() for name in group]
    assert (sorted(told), len(told)) == (sorted(Settings.__struct_fields__), len(Settings.__struct_fields__))
    assert [name for name in told if f"DAZI_{name.upper()}" not in settings] == []
    calls = words_of(site, f"{language}reference/http")
    wanted = [f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods]
    assert [call for call in wanted if call not in calls] == []
    shapes = words_of(site, f"{language}reference/events")
    assert [kind for kind in get_args(events.Event) if kind.__struct_config__.tag not in shapes] == []
    commands = words_of(site, f"{language}reference/cli")
    assert "DAZI_<NAME>" in commands
    assert [
        command for command in ("serve", "doctor", "admin erase", "keys new") if f"dazi {command}" not in commands
    ] == []
    assert "createTypewriter(show: (frame: Frame) => void" in words_of(site, f"{language}reference/sdk")


@pytest.mark.parametrize("language", ["", "zh/"])
def test_every_document_is_in_the_navigation(site: Path, language: str) -> None:
    navigation = (site / language / "index.html").read_text("utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md") if ".zh-CN" not in path.name and path.stem != "index"]
    assert pages
    assert [page for page in pages if f'href="{page}/"' not in navigation] == []


def test_a_page_asks_nothing_of_another_site(site: Path) -> None:
    loads = re.compile(
        r"""<(?:script|img|iframe)[^>]+src="(https?:[^"]+)|<link[^>]+rel="(?:stylesheet|preconnect|preload)"[^>]+href="(https?:[^"]+)"""
    )
    foreign = {str(page): found for page in site.rglob("*.html") if (found := loads.findall(page.read_text("utf-8")))}
    assert foreign == {}


def test_what_a_page_shows_is_there(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name == "index.html"]
    shown = [
        (page.parent / src).resolve()
        for page in pages
        for src in re.findall(r'<img[^>]+src="([^":]+)"', page.read_text("utf-8"))
    ]
    assert [str(path) for path in shown if not path.is_file()] == []
    assert {path.name for path in shown} >= {path.name for path in (ROOT / "docs" / "images").glob("chat-*.png")}


def test_chinese_lines_are_joined_without_a_space(site: Path) -> None:
    words = words_of(site, "zh")
    assert "退到后台、页面刷新" in words


@pytest.mark.parametrize(
    ("language", "question", "title", "leads"),
    [("zh/", "登录", "小程序登录", "/zh/login/"), ("", "DAZI_TTL", "Settings", "/reference/settings/")],
)
async def test_a_search_finds(address: str, page: Page, language: str, question: str, title: str, leads: str) -> None:
    await page.goto(f"{address}/{language}")
    await page.locator(".md-search__input").click()
    await page.keyboard.insert_text(question)
    await page.keyboard.press("Shift")  # the field waits for a key, as an input method gives one
    first = page.locator(".md-search-result__item").first
    await expect(first).to_contain_text(title, timeout=15_000)
    await first.locator("a").first.click()
    await expect(page).to_have_url(re.compile(leads))
