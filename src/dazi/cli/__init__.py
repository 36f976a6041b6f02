"""The command line: `dazi`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from dazi.cli.admin import app as admin
from dazi.cli.chat import chat
from dazi.cli.config import config
from dazi.cli.dev import app as dev
from dazi.cli.doctor import doctor
from dazi.cli.keys import app as keys
from dazi.cli.serve import serve
from dazi.cli.tail import tail
from dazi.errors import ConfigError, DaziError, RequestError

app = typer.Typer(
    name="dazi",
    help="Type a language model's answer into mini programs, browsers and terminals, and never lose a character.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (serve, chat, tail, doctor, config):
    app.command()(command)
app.add_typer(admin, name="admin")
app.add_typer(keys, name="keys")
app.add_typer(dev, name="dev")


def _tell_version(is_wanted: bool) -> None:  # noqa: FBT001  # as Typer calls it
    if is_wanted:
        print(f"dazi {version('dazi')}")
        raise typer.Exit


@app.callback()
def _dazi(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version and leave.")
    ] = False,
) -> None:
    """Type a language model's answer into mini programs, browsers and terminals, and never lose a character."""


def main() -> None:
    """Run the command line. A mistake of the user's ends in a sentence and status 2, what else is known in one and 1."""
    try:
        app()
    except DaziError as error:
        print(f"dazi: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError | RequestError) else 1)
