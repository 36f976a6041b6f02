"""The nginx of the two-node example, run for real: its own files, on free ports."""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

_FILES = Path(__file__).parents[2] / "deploy" / "two-nodes"
# The ports in the example, in the order of the nodes; and nginx's own.
_NODES = (8001, 8002)
_OWN = 8000
_START = 20.0


@asynccontextmanager
async def nginx(ports: Sequence[int], folder: Path) -> AsyncIterator[int]:
    """Run it before two nodes; gives its port."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.fail("There is no nginx. `make test` installs it; by hand: apt-get install nginx-light.", pytrace=False)
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    settings = (_FILES / "nginx.conf").read_text(encoding="utf-8")
    for written, real in zip((*_NODES, _OWN), (*ports, port), strict=True):
        assert f"127.0.0.1:{written}" in settings
        settings = settings.replace(f"127.0.0.1:{written}", f"127.0.0.1:{real}")
    # Temporary files where this user may write them, and one process is enough.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    settings = settings.replace("worker_processes auto", "worker_processes 1").replace("http {", f"http {{ {paths}", 1)
    (folder / "nginx.conf").write_text(settings, encoding="utf-8")
    shutil.copy(_FILES / "dazi-proxy.conf", folder)
    command = (program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf"))
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE)
    try:
        await _listens(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _listens(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(_START):
        while True:
            if process.returncode is not None:
                _, said = await process.communicate()
                pytest.fail(f"nginx ends at once: {said.decode()}", pytrace=False)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
