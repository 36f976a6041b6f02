"""The example mini program, built."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "miniprogram"


def build(shared: Path) -> Path:
    """Build it, or find it built; gives its folder. Of several processes with a shared folder one builds."""
    with (shared / "miniprogram.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = subprocess.run(
            ["bash", "scripts/build-miniprogram"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert run.returncode == 0, run.stdout + run.stderr
    return EXAMPLE / "dist"
