"""The mini program's own tests: its logic, and its components in WeChat's engine; and what is shipped of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.miniprogram.building import EXAMPLE


def test_the_programs_own_tests_pass(built: Path) -> None:
    assert built.is_dir()
    tested = subprocess.run(["npm", "test", "--silent"], cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_what_is_shipped_is_small_and_whole(built: Path, record_property: Callable[[str, object], None]) -> None:
    size = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    record_property("counts", f"the built mini program has {size / 1024:.1f} KB")
    assert size < 200 * 1024
    for page in json.loads((built / "app.json").read_text())["pages"]:
        assert {path.suffix for path in built.glob(f"{page}.*")} == {".js", ".json", ".wxml", ".wxss"}


def test_nobody_ships_a_development_address() -> None:
    config = (EXAMPLE / "src" / "config.ts").read_text()
    assert "'https://chat.example.com'" in config
