"""The bare pass-through: the yardstick as it is, but for the upstream's port, which the environment names."""

from __future__ import annotations

import os
from pathlib import Path

_SOURCE = (Path(__file__).parent.parent / "yardsticks" / "relay_best.py").read_text()
exec(_SOURCE.replace(":18801/", f":{os.environ['UPSTREAM']}/"))  # noqa: S102  # our own file
