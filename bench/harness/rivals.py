"""Who is measured: Dazi in its modes and its peers, each a server in front of the same mock upstream.

A peer that cannot be started here is named with the reason; nothing is left out in silence.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.servers import free_port

HERE = Path(__file__).parent.parent
YARDSTICKS = HERE / "yardsticks"
DAZI = str(Path(sys.executable).with_name("dazi"))
# LiteLLM has a virtual environment of its own: its pins are not ours.
LITELLM = Path(os.environ.get("LITELLM_VENV", HERE.parent / ".bench" / "litellm"))
_UVICORN = ("--log-level", "warning", "--no-access-log")
# It listens on this machine only, and asks for no key here as no other rival does.
_LITELLM_SETTINGS = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
_CHAT = "/v1/chat/completions"
_START = "/v1/generations"


class Absent(Exception):
    """A rival cannot be started on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A program to start: its command, given its port, the upstream's and a folder of its own; and what it needs set.

    `children`: processes that it starts, which may be there only after it listens.
    """

    command: Callable[[int, int, Path], tuple[str, ...]]
    environment: Callable[[int], Mapping[str, str]] = lambda _upstream: {}
    patience: float = 30
    children: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the table: a server, and what is asked of it. `merges`: several tokens may be one event, at least to a reader that is behind."""

    name: str
    server: str
    path: str
    merges: bool = False


@dataclass(slots=True)
class Running:
    """A server that runs, and its processes."""

    port: int
    process: subprocess.Popen[bytes]
    others: list[int] = field(default_factory=list)

    def pids(self) -> list[int]:
        """All processes whose work is this server's."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [self.process.pid, *(child.pid for child in children), *self.others]


def _uvicorn(app: str) -> Callable[[int, int, Path], tuple[str, ...]]:
    base = (sys.executable, "-m", "uvicorn", app, "--app-dir", str(HERE / "peers"), *_UVICORN)
    return lambda port, _upstream, _folder: (*base, "--port", str(port))


def _dazi(*flags: str) -> Callable[[int, int, Path], tuple[str, ...]]:
    def command(port: int, upstream: int, _folder: Path) -> tuple[str, ...]:
        return (
            DAZI,
            "serve",
            "--model",
            "m",
            "--upstream",
            f"http://127.0.0.1:{upstream}/v1",
            "--port",
            str(port),
            *flags,
        )

    return command


def _nginx(port: int, upstream: int, folder: Path) -> tuple[str, ...]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Absent("nginx is not installed (apt install nginx-light)")
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null; worker_rlimit_nofile 30000;\n"
        "events { worker_connections 20000; }\n"
        "http { access_log off; server { "
        f"listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://127.0.0.1:{upstream}; "
        "proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 300s; } } }\n"
    )
    return program, "-p", str(folder), "-c", str(folder / "nginx.conf")


def _litellm(port: int, upstream: int, folder: Path) -> tuple[str, ...]:
    program = LITELLM / "bin" / "litellm"
    if not program.exists():
        raise Absent(f"LiteLLM is not installed in {LITELLM.name} (python bench/gateway.py --install-litellm)")
    (folder / "litellm.yaml").write_text(
        "model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/m\n      api_key: none\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n"
    )
    return str(program), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)


def _with_upstream(upstream: int) -> Mapping[str, str]:
    return {"UPSTREAM": str(upstream)}


SERVERS = {
    "nginx": Server(_nginx),
    "pass-through": Server(_uvicorn("pass_through:app"), _with_upstream),
    "httpx": Server(_uvicorn("starlette_httpx:app"), _with_upstream),
    "litellm": Server(_litellm, lambda _: _LITELLM_SETTINGS, patience=180),
    "dazi": Server(_dazi()),
    "window": Server(_dazi(), lambda _: {"DAZI_COALESCE": "0.04"}),
    "sqlite": Server(_dazi("--log", "sqlite:///{folder}/dazi.db")),
    "redis": Server(_dazi("--log", "{redis}")),
}
PEERS = (
    Way("nginx, unbuffered", "nginx", _CHAT),
    Way("bare pass-through", "pass-through", "/"),
    Way("Starlette + httpx", "httpx", _CHAT),
    Way("LiteLLM", "litellm", _CHAT),
    Way("Dazi", "dazi", _START, merges=True),
    Way("Dazi, OpenAI's API", "dazi", _CHAT, merges=True),
)
MODES = (
    Way("Dazi, coalesce=0.04", "window", _START, merges=True),
    Way("Dazi, utf8", "dazi", f"{_START}?encoding=utf8", merges=True),
    Way("Dazi, replace", "dazi", f"{_START}?mode=replace", merges=True),
    Way("Dazi, SQLite", "sqlite", _START, merges=True),
    Way("Dazi, Redis", "redis", _START, merges=True),
)


def on_workers(log: str, count: int) -> Way:
    """Name Dazi with so many workers on SQLite or Redis, a server that is there from then on."""
    url = {"SQLite": "sqlite:///{folder}/dazi.db", "Redis": "{redis}"}[log]
    name = f"{log.lower()}{count}"
    SERVERS[name] = Server(_dazi("--log", url, "--workers", str(count)), children=count if count > 1 else 0)
    return Way(f"Dazi, {log}, {count} worker{'s' if count > 1 else ''}", name, _START, merges=True)


WORKERS = tuple(on_workers(log, count) for log in ("SQLite", "Redis") for count in (1, 2))


@contextmanager
def running(server: Server, upstream: int, folder: Path, **named: str) -> Iterator[Running]:
    """Run a server, from when it listens. Raises `Absent`, `RuntimeError`."""
    port = free_port()
    command = tuple(part.format(folder=folder, **named) for part in server.command(port, upstream, folder))
    with program(command, port, environment=server.environment(upstream), patience=server.patience) as process:
        until = time.monotonic() + server.patience
        while len(psutil.Process(process.pid).children()) < server.children:
            if time.monotonic() > until:
                raise RuntimeError(f"{process.args!r} has not started its {server.children} processes.")
            time.sleep(0.05)
        yield Running(port, process)


@contextmanager
def program(
    command: tuple[str, ...], port: int, *, environment: Mapping[str, str] | None = None, patience: float = 30
) -> Iterator[subprocess.Popen[bytes]]:
    """Run any program, from when it listens on its port."""
    settings = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings)
    try:
        _wait_listening(process, port, patience)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_listening(process: subprocess.Popen[bytes], port: int, patience: float) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}.")
