"""The programs for other toolchains, uni-app and Taro, on the SDK as npm packs it: types checked, and built for WeChat."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Seconds that npm or a build may take.
PATIENCE = 600

pytestmark = pytest.mark.full


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


@pytest.mark.parametrize(("name", "output"), [("uni-app", "dist/build/mp-weixin"), ("taro", "dist")])
def test_the_example_is_typed_and_built_for_wechat(packed: Path, name: str, output: str) -> None:
    folder = packed / "examples" / name
    shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    npm(folder, "run", "types")
    npm(folder, "run", "build")
    scripts = "".join(path.read_text(encoding="utf-8") for path in (folder / output).rglob("*.js"))
    assert (folder / output / "app.json").is_file()
    for part in ("/v1/generations", "Idempotency-Key", "enableChunked", "AI 生成"):
        assert part in scripts or part in _templates(folder / output), part


def _templates(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.wxml"))
