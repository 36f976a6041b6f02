"""The programs for other toolchains, uni-app and Taro, on the SDK as npm packs it: types checked, built for WeChat, and run."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.conftest import Serve
from tests.miniprogram.preview import ROOT, Program, previewing

from dazi.upstream.demo import DemoUpstream

# Seconds that npm or a build may take.
PATIENCE = 600

TEXT = "一个字也不少，👨\u200d👩\u200d👧\u200d👦 𠮷。" * 10

# The first builds; installing takes minutes.
pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]


def npm(folder: Path, *arguments: str) -> None:
    """Run npm, and show what it says where it fails."""
    command = [shutil.which("npm") or "npm", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which `sdk` is what a user gets from npm."""
    folder = tmp_path_factory.mktemp("toolchains")
    sdk = ROOT / "sdk"
    if not (sdk / "node_modules").is_dir():
        npm(sdk, "ci", "--silent", "--no-audit", "--no-fund")
    npm(sdk, "pack", "--silent", "--pack-destination", str(folder))
    (tarball,) = folder.glob("dazi-*.tgz")
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
    (folder / "package").rename(folder / "sdk")
    return folder


@pytest.fixture(scope="module", params=[("uni-app", "dist/build/mp-weixin"), ("taro", "dist")], ids=["uni-app", "taro"])
def built(packed: Path, request: pytest.FixtureRequest) -> Path:
    """The mini program that an example becomes."""
    name, output = map(str, request.param)
    folder = packed / "examples" / name
    shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    # Not `ci`: Taro wants bindings of other systems that no lock can hold here.
    npm(folder, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
    npm(folder, "run", "types")
    npm(folder, "run", "build")
    return folder / output


def test_the_example_is_typed_and_built_for_wechat(built: Path) -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in built.rglob("*.js"))
    assert (built / "app.json").is_file()
    for part in ("/v1/generations", "Idempotency-Key", "enableChunked", "AI 生成"):
        escaped = part.encode("unicode_escape").decode()  # as some builds write it
        assert part in scripts + _templates(built) or escaped.lower() in scripts.lower(), part


async def test_what_it_becomes_shows_the_answer_to_the_character(built: Path, serve: Serve, page: Page) -> None:
    served = await serve({"m": DemoUpstream(pace=300, text=TEXT)})
    with previewing(built) as address:
        program = await Program(page, address, built.name).open(served.url, cut="random")
        await page.fill("wx-input input", "?")
        await page.locator("wx-button").click()
        await expect(page.locator(".answer")).to_have_text(TEXT, timeout=30_000)
        await expect(page.locator("wx-button")).to_have_text("发送")
        assert await program.ask("preview.errors") == []


def _templates(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.wxml"))
