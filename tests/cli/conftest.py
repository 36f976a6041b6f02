"""`dazi` as a process: on pipes, and on a terminal."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from tests.waiting import until

PROGRAM = str(Path(sys.executable).with_name("dazi"))
# A process may take its time to start on a busy machine.
PATIENCE = 30.0
# Makes the terminal that is its input the one whose keys send signals, and becomes the program.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)

CTRL_C, CTRL_D = "\x03", "\x04"


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nothing sets Dazi, and no proxy stands in the way."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return {"LANG": "C.UTF-8", **inherited, "HOME": str(home), "TERM": "xterm", **extra}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a process wrote, and its exit status."""

    out: str
    err: str
    status: int


Run = Callable[..., Coroutine[Any, Any, Ran]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `dazi` on pipes, to its end: `await run("chat", "Hi", said="", env={})`."""

    async def start(*arguments: str | bytes, said: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            cwd=tmp_path,
            env=environment(tmp_path, env or {}),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(said), PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        assert b"Traceback" not in err, err.decode()
        return Ran(out.decode(), err.decode(), process.returncode or 0)

    return start


class Typewriter:
    """`dazi` on a terminal of its own. `shown`: all that has been shown on it."""

    def __init__(self, process: asyncio.subprocess.Process, line: int) -> None:
        self._process = process
        self._line = line
        self._bytes = b""
        asyncio.get_running_loop().add_reader(line, self._hear)

    @classmethod
    async def start(cls, *arguments: str, home: Path, env: Mapping[str, str]) -> Self:
        ours, theirs = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _TAKE_TERMINAL,
                PROGRAM,
                *arguments,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=home,
                env=environment(home, env),
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return cls(process, ours)

    @property
    def shown(self) -> str:
        """What is shown, without the colours, and with the terminal's line ends as plain ones."""
        return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", self.raw).replace("\r\n", "\n")

    @property
    def raw(self) -> str:
        return self._bytes.decode(errors="replace")

    def type(self, keys: str) -> None:
        os.write(self._line, keys.encode())

    async def shows(self, text: str) -> None:
        """Wait until a text is shown."""
        try:
            await until(lambda: text in self.shown, seconds=PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown in {self.shown!r}") from None

    async def gone(self) -> int:
        """Wait until it has ended; returns its exit status."""
        status = await asyncio.wait_for(self._process.wait(), PATIENCE)
        assert "Traceback" not in self.shown, self.shown
        return status

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._line)
        os.close(self._line)

    def _hear(self) -> None:
        try:
            self._bytes += os.read(self._line, 65536)
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._line)


Sit = Callable[..., Awaitable[Typewriter]]


@pytest.fixture
async def sit(tmp_path: Path) -> AsyncIterator[Sit]:
    """Run `dazi` on a terminal: `await sit("chat", env={})`."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, env: Mapping[str, str] | None = None) -> Typewriter:
            typewriter = await Typewriter.start(*arguments, home=tmp_path, env=env or {})
            stack.push_async_callback(typewriter.close)
            return typewriter

        yield start
