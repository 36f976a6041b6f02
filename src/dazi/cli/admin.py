"""`dazi admin`: look through a log and clear it, beside the gateways that use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from dazi import settings as configuration
from dazi.errors import Closed, ConfigError
from dazi.events import Aborted, status_of
from dazi.log import Leases, Log, Shelf
from dazi.service.views import fold
from dazi.upstream import Lifecycle
from dazi.web.app import log_of

app = typer.Typer(help="Look through a durable log, and clear it.", no_args_is_help=True)

_Act = Callable[[Log], Awaitable[None]]
_Url = Annotated[str | None, Option("--log", help="Where generations are kept.  [default: as `dazi serve`]")]
_File = Annotated[Path | None, Option("--config", help="A TOML file of settings.  [default: dazi.toml]")]
_Id = Annotated[str, Argument(help="The generation's id.", metavar="ID")]
_Owner = Annotated[str, Argument(help="Whose: as `dazi admin list` shows it.", metavar="OWNER")]


@app.command("list")
def list_(
    *,
    owner: Annotated[str | None, Option(help="Of this owner alone.")] = None,
    limit: Annotated[int, Option(help="How many, the newest first.", min=1)] = 100,
    log: _Url = None,
    config: _File = None,
) -> None:
    """List the newest generations; nothing of what was said."""

    async def act(opened: Log) -> None:
        for one in await _shelf(opened).list(owner=owner, limit=limit):
            print(f"{one.generation}  {one.status:8}  {one.position:6}  {one.owner}  {one.model}")

    _run(log, config, act)


@app.command()
def show(generation: _Id, *, log: _Url = None, config: _File = None) -> None:
    """Show an answer as it stands."""

    async def act(opened: Log) -> None:
        page = await opened.read(generation)
        answer = fold(page.records)
        print(f"{generation}  {status_of(page.end)}  {page.head.epoch}-{page.head.position}  {page.owner}")
        print(answer.text)

    _run(log, config, act)


@app.command()
def abort(generation: _Id, *, log: _Url = None, config: _File = None) -> None:
    """Stop a generation, wherever it runs."""

    async def act(opened: Log) -> None:
        try:
            await opened.end(generation, Aborted())
        except Closed:
            page = await opened.read(generation)
            print(f"{generation} had ended: {status_of(page.end)}")
        else:
            print(f"{generation} is aborted")

    _run(log, config, act)


@app.command()
def erase(
    owner: _Owner,
    *,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
    log: _Url = None,
    config: _File = None,
) -> None:
    """Forget everything of an owner; what runs is aborted first."""
    if not yes:
        typer.confirm(f"Forget everything of {owner}? It cannot be undone", abort=True)

    async def act(opened: Log) -> None:
        print(f"{await _shelf(opened).erase(owner)} generation(s) erased")

    _run(log, config, act)


@app.command()
def expire(*, log: _Url = None, config: _File = None) -> None:
    """Forget what is past its time, and end what its process has left behind, as every running gateway does by itself."""

    async def act(opened: Log) -> None:
        if isinstance(opened, Leases):
            print(f"{len(await opened.sweep())} generation(s) of dead processes ended")

    _run(log, config, act)


def _run(url: str | None, file: Path | None, act: _Act) -> None:
    settings = configuration.load({"log": url}, file=file).settings
    if settings.log == "memory://":
        raise ConfigError("log='memory://' is in the memory of its process alone. Set --log to that of your gateway.")
    asyncio.run(_with(log_of(settings), act))


async def _with(log: Log, act: _Act) -> None:
    async with _opened(log):
        await act(log)


@asynccontextmanager
async def _opened(log: Log) -> AsyncIterator[None]:
    if not isinstance(log, Lifecycle):
        yield
        return
    await log.open()
    try:
        yield
    finally:
        await log.close()


def _shelf(log: Log) -> Shelf:
    if not isinstance(log, Shelf):
        raise ConfigError("This log cannot be looked through.")
    return log
