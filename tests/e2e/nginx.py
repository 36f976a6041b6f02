"""The nginx of the two-node example, run for real: its own files, on free ports."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.nginx import nginx_with

_FILES = Path(__file__).parents[2] / "deploy" / "two-nodes"
# The ports in the example, in the order of the nodes; and nginx's own.
_NODES = (8001, 8002)
_OWN = "8000"


@asynccontextmanager
async def nginx(ports: Sequence[int], folder: Path) -> AsyncIterator[int]:
    """Run it before two nodes; gives its port."""
    settings = (_FILES / "nginx.conf").read_text(encoding="utf-8")
    for written, real in zip(_NODES, ports, strict=True):
        assert f"127.0.0.1:{written}" in settings
        settings = settings.replace(f"127.0.0.1:{written}", f"127.0.0.1:{real}")
    shutil.copy(_FILES / "dazi-proxy.conf", folder)
    async with nginx_with(folder, settings, listen=_OWN) as port:
        yield port
