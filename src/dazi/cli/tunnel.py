"""`dazi serve --tunnel user@host`: a gateway on a laptop, published at another host by the system's `ssh -R`.

Laws: nothing is published without a key, one is made if need be; the host's key is checked, and nothing is asked at the terminal; the ssh
process is ours, and ends with us, even if we are killed; when it dies that is told in words, and it is started again, later each time.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

import segno
from msgspec.structs import replace
from rich.console import Console
from typer import Option

from dazi import settings as configuration
from dazi.cli.keys import make_key
from dazi.errors import ConfigError
from dazi.settings import Settings

Host = Annotated[
    str | None,
    Option(
        "--tunnel", metavar="USER@HOST", help="Publish this gateway at a host, by ssh; a key is made if there is none."
    ),
]
Port = Annotated[
    int, Option("--tunnel-port", min=1, max=65535, help="The port that the host listens on for the tunnel.")
]
Url = Annotated[
    str | None,
    Option("--tunnel-url", help="Where the host publishes that port.  [default: what the host says when ssh is there]"),
]

# Seconds until ssh is started again: the first time, and at most; and after which it has not died young.
_FIRST_PAUSE, _LONGEST_PAUSE, _YOUTH = 1.0, 60.0, 30.0
# Seconds within which a host that publishes says where, once it listens.
_SAYING = 20.0
# Seconds that ssh gets to end.
_LEAVING = 5.0
# The host is asked every 15 s whether it is there, and gone after two of them without an answer: before a phone notices.
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ExitOnForwardFailure": "yes",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "2",
    "ConnectTimeout": "15",
}
# Hosts that publish say more than one address; their own pages are none of ours.
_ADDRESS = re.compile(r"https://[\w.-]+(?::\d+)?(?=/?(?:[\s,;)\]]|$))")
_OWN_PAGES = ("www.", "admin.", "docs.", "dashboard.", "console.")
# What ssh tells of itself, with -v.
_CHATTER = ("OpenSSH_", "Authenticated to", "Authenticating to", "Transferred:", "Bytes per second")
_LISTENS = "remote forward success"
_GUARD = (sys.executable, "-c", "from dazi.cli.tunnel import guard; guard()")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a tunnel leads: `host` as ssh understands it, the `port` there, and the `url` of that, or "" if the host says it."""

    host: str
    port: int
    url: str

    @property
    def name(self) -> str:
        """The host's bare name."""
        return (urlsplit(self.host).hostname if "://" in self.host else self.host.rpartition("@")[2]) or self.host


def way_of(host: str | None, port: int, url: str | None) -> Way | None:
    """Check the flags. Raises `ConfigError`."""
    if host is None:
        if url is not None:
            raise ConfigError(f"--tunnel-url={url!r} needs --tunnel. Say through which host.")
        return None
    if host.startswith("-") or not host.strip():
        raise ConfigError(
            f"--tunnel={host!r} is no host. Give one as you would to ssh: user@host, or ssh://user@host:port."
        )
    if url is not None and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"--tunnel-url={url!r} is no http or https URL. Give what a browser would open.")
    if shutil.which("ssh") is None:
        raise ConfigError(
            "--tunnel needs the program ssh. Install OpenSSH's client; Windows has it as an optional feature."
        )
    return Way(host, port, (url or "").rstrip("/"))


def guarded(settings: Settings, way: Way) -> tuple[Settings, str]:
    """Make settings fit to be published, and return the key that had to be made for that, or "". Raises `ConfigError`."""
    if settings.workers > 1:
        raise ConfigError(f"workers={settings.workers}: a tunnel is for one. Use 1 worker.")
    if settings.hosts and "*" not in settings.hosts:
        if not way.url:
            raise ConfigError(
                "hosts is set, and the tunnel's name is not among them, for it is not known yet. Unset hosts, or give --tunnel-url."
            )
        settings = replace(settings, hosts=(*settings.hosts, urlsplit(way.url).hostname or ""))
    if configuration.is_guarded(settings):
        return settings, ""
    key, digest = make_key()
    return replace(settings, api_keys=(digest,)), key


@dataclass(slots=True)
class _Heard:
    """What ssh has said so far: whether the host listens, where it publishes that, and its last words."""

    way: Way
    listens: bool = False
    url: str = ""
    words: deque[str] = field(default_factory=lambda: deque(maxlen=3))

    def take(self, line: str) -> None:
        """Take in a line; debug's are ours to read, and nobody's to see."""
        if line.startswith("debug"):
            self.listens |= _LISTENS in line
        elif (words := line.strip()) and not words.startswith(_CHATTER):
            self.words.append(words[:300])
            if not (self.url or self.way.url):
                self.url = next((found for found in _ADDRESS.findall(line) if self._is_ours(found)), "")

    def _is_ours(self, url: str) -> bool:
        name = urlsplit(url).hostname or ""
        return name != self.way.name and not name.startswith(_OWN_PAGES)

    @property
    def address(self) -> str:
        """Where we are published; "" until that is known."""
        return (self.way.url or self.url) if self.listens else ""

    @property
    def is_hopeless(self) -> bool:
        """Whether another try would end the same, until somebody does something."""
        return any(sign in " ".join(self.words) for sign in ("Permission denied", "Host key verification failed"))

    def why(self) -> str:
        """Say why it ended, and what helps."""
        words = " ".join(self.words) or "it said nothing"
        cures = {
            "HOST IDENTIFICATION HAS CHANGED": "Its key is another than before: find out why, then `ssh-keygen -R` it.",
            "Host key verification failed": f"Its key is not known here: run `ssh {self.way.host}` once and compare the fingerprint.",
            "Permission denied": f"Put your public key there: `ssh-copy-id {self.way.host}`; ssh-agent must hold one with a passphrase.",
            "forwarding failed": f"It may not listen on port {self.way.port}, or another does: choose one with --tunnel-port.",
            "Could not resolve": "There is no such name, or no network.",
        }
        cure = next((cure for sign, cure in cures.items() if sign in words), "")
        return f"{words}. {cure}".strip()


class Tunnel:
    """Keeps a gateway published while it runs.

    Args:
        way: where to.
        here: the address and port at which the gateway listens.
        console: where to tell.
    """

    def __init__(self, way: Way, here: tuple[str, int], console: Console) -> None:
        self._way = way
        self._here = here
        self._console = console
        self._keeping: asyncio.Task[None] | None = None
        # What was told last, so that the same address is not told again after a moment's break.
        self._told = ""

    def open(self) -> None:
        """Begin."""
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """End it; afterwards nothing is left of ssh."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            heard = await self._run()
            self._tell(f"The tunnel through {self._way.name} ended: {heard.why()}")
            if heard.is_hopeless:
                self._tell("It is given up; the gateway goes on for this machine alone.")
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _YOUTH else pause
            self._tell(f"It is tried again in {pause:g} s.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run(self) -> _Heard:
        heard = _Heard(self._way)
        process = await asyncio.create_subprocess_exec(
            *_GUARD,
            *command_of(self._way, self._here),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for the gateway, whose readers still need the tunnel for its goodbye.
            start_new_session=True,
        )
        try:
            await self._listen(process, heard)
            await process.wait()
        finally:
            await _end(process)
        return heard

    async def _listen(self, process: asyncio.subprocess.Process, heard: _Heard) -> None:
        assert process.stdout is not None  # noqa: S101  # it was asked for
        waiting: asyncio.TimerHandle | None = None
        try:
            while line := await _line_of(process.stdout):
                heard.take(line)
                if heard.address:
                    self._publish(heard.address)
                elif heard.listens and waiting is None:
                    waiting = asyncio.get_running_loop().call_later(_SAYING, self._wonder, heard)
        finally:
            if waiting is not None:
                waiting.cancel()

    def _publish(self, url: str) -> None:
        if url == self._told:
            return
        self._told = url
        self._console.print(f"\n  Published at [bold cyan]{url}[/], through {self._way.name}", highlight=False)
        print_code(url, self._console)

    def _wonder(self, heard: _Heard) -> None:
        if not heard.address:
            self._tell(f"{self._way.name} listens, but does not say where it publishes that. Say it with --tunnel-url.")

    def _tell(self, words: str) -> None:
        self._console.print(f"  {words}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def command_of(way: Way, here: tuple[str, int]) -> list[str]:
    """Return ssh's command line. A host that publishes says so in a session; where we know it, none is needed."""
    options = [part for name, value in _OPTIONS.items() for part in ("-o", f"{name}={value}")]
    host, port = here
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host) or (f"[{host}]" if ":" in host else host)
    session = ["-N"] if way.url else []
    return ["ssh", "-v", "-T", *session, *options, "-R", f"{way.port}:{shown}:{port}", "--", way.host]


def print_code(text: str, console: Console) -> None:
    """Draw a QR code, for a phone to read."""
    drawn = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out=drawn, border=2, compact=True)
    console.print(drawn.getvalue(), highlight=False, markup=False, soft_wrap=True)


async def _line_of(stream: asyncio.StreamReader) -> str:
    """Return the next line, or "" at the end. One that is longer than any of ssh's is cut."""
    while True:
        with suppress(ValueError):  # what asyncio raises beyond its limit, having thrown the line away
            return (await stream.readline()).decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_LEAVING):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def guard() -> None:
    """Run the command of our arguments, for as long as whoever started us holds our input open, which also a killed one does not."""
    ssh = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)  # noqa: S603  # the command of `command_of`
    threading.Thread(target=_end_with_input, args=(ssh,), daemon=True).start()
    os._exit(ssh.wait())  # the thread may be in a read that nothing else ends


def _end_with_input(ssh: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    ssh.terminate()
