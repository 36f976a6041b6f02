"""Programs of others that serve while a test runs: nginx, Caddy, Prometheus."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

_START = 30.0
# Below the ports that systems hand out by themselves, from which somebody's socket would take it before its server
# does; Redis's cluster takes the port that is 10,000 above as well. Every worker of pytest-xdist has its own share.
_FIRST, _SHARE, _SHARES = 10_000, 1_000, 10
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_own = range(_FIRST + _worker % _SHARES * _SHARE, _FIRST + (_worker % _SHARES + 1) * _SHARE)
_ports = itertools.cycle(random.sample(_own, len(_own)))
# Debian's servers are beyond a user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"))


def free_port() -> int:
    """Return a port at which nothing listens, and that no other test is given while this one starts a server."""
    for port in itertools.islice(_ports, _SHARE):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"Of the ports {_own.start} to {_own.stop - 1} none is free.")


@asynccontextmanager
async def running(program: str, *arguments: str, folder: Path, port: int) -> AsyncIterator[int]:
    """Run a program until the block is left; begins when it listens at `port`, and gives that."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        pytest.fail(f"There is no {program}. `make test` installs it; see scripts/system-packages.", pytrace=False)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        found, *arguments, cwd=folder, env=environment, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    saying = asyncio.ensure_future(process.stderr.read() if process.stderr else asyncio.sleep(0, b""))
    try:
        await _listens(process, port, saying)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
        await saying


async def _listens(process: asyncio.subprocess.Process, port: int, saying: asyncio.Future[bytes]) -> None:
    async with asyncio.timeout(_START):
        while True:
            if process.returncode is not None:
                pytest.fail(f"It ends at once: {(await saying).decode()[-2000:]}", pytrace=False)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
