"""`dazi serve` as a process of its own, and everything it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx

PROGRAM = Path(sys.executable).with_name("dazi")
# A gateway starts in a second; a loaded machine, and the embedded model, take longer.
_START = 60.0


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without what would set the gateway."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DAZI_", "OPENAI_"))}
    return {**ours, **extra}


class Dazi:
    """A gateway that serves. `said` is what it has printed so far; `client` has its base URL."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())
        self.said = ""
        self.port = 0
        self.client = httpx.AsyncClient(timeout=30, trust_env=False)

    @classmethod
    async def run(cls, *arguments: str, folder: Path, environ: Mapping[str, str], program: str = str(PROGRAM)) -> Self:
        """Start `dazi serve`, at a free port unless one is named."""
        command = [program, "serve", *([] if "--port" in arguments else ["--port", "0"]), *arguments]
        return cls(
            await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=environment(environ), stdout=PIPE, stderr=STDOUT
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> Self:
        """Wait until it serves."""
        async with asyncio.timeout(_START):
            self.port = await self._listening
            self.client.base_url = httpx.URL(f"http://127.0.0.1:{self.port}")
            assert (await self.client.get("/health/ready", timeout=_START)).status_code == 200
        return self

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def gone(self, seconds: float = 10) -> int:
        """Wait until it has ended; returns its status."""
        async with asyncio.timeout(seconds):
            # Shielded: one that does not go in time is still to be ended, and heard.
            await asyncio.shield(self._hearing)
            return await self._process.wait()

    async def end(self) -> None:
        """Be sure that nothing is left of it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._hearing
        await self._process.wait()
        await self.client.aclose()

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said += line.decode()
            if not self._listening.done() and (match := re.search(r"http://\S+?:(\d+)\b", line.decode())):
                self._listening.set_result(int(match[1]))
        if not self._listening.done():
            self._listening.set_exception(AssertionError(f"it does not serve: {self.said}"))
            self._listening.exception()  # looked at: a refusal is what some tests want
