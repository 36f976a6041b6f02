"""The command line: `dazi`."""

from __future__ import annotations

import sys

import typer

from dazi.cli.serve import serve
from dazi.errors import ConfigError

app = typer.Typer(
    name="dazi",
    help="Type a language model's answer into mini programs, browsers and terminals, and never lose a character.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve)


@app.callback()
def _dazi() -> None:
    """Keep `serve` a command of its own, while it is the only one."""


def main() -> None:
    """Run the command line. A user's mistake ends in a sentence and status 2, never in a traceback."""
    try:
        app()
    except ConfigError as error:
        typer.echo(f"dazi: {error}", err=True)
        sys.exit(2)
