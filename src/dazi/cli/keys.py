"""`dazi keys`: keys for callers, of which the gateway holds hashes alone."""

from __future__ import annotations

import hashlib
import secrets
import sys

import typer

app = typer.Typer(help="Make keys for callers.", no_args_is_help=True)


def make_key() -> tuple[str, str]:
    """Make a key: as its caller sends it, and as the hash that the gateway holds."""
    key = f"dz-{secrets.token_urlsafe(32)}"
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


@app.callback()
def _keys() -> None:
    """Make keys for callers."""


@app.command()
def new() -> None:
    """Make a key: for the caller, and as the hash for DAZI_API_KEYS or `api_keys` in dazi.toml. It is shown this once."""
    for line in make_key():
        print(line)
    print("The first line is for the caller, the second for DAZI_API_KEYS.", file=sys.stderr)
