"""What the commands that speak with a gateway share: its address, a key and a client.

Laws: a key comes from the environment or is typed unseen, never from the command line, where every user of the machine
could read it; the first Ctrl-C is the command's to answer, the second one leaves at once.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from typer import Option

from dazi.client import AsyncClient
from dazi.errors import Unauthorized

URL = "http://127.0.0.1:8000"
Url = Annotated[str, Option(help="The gateway's address. If it has keys, set DAZI_API_KEY to one.")]


@contextmanager
def connected(url: str) -> Iterator[tuple[asyncio.Runner, AsyncClient]]:
    """Connect to a gateway that answers and lets us in; gives its client, and what runs coroutines."""
    with asyncio.Runner() as runner:
        client = AsyncClient(url, _admitted_key(runner, url))
        try:
            yield runner, client
        finally:
            runner.run(client.close())


def _admitted_key(runner: asyncio.Runner, url: str) -> str | None:
    """Return a key that the gateway takes; None if it wants none."""
    key = os.environ.get("DAZI_API_KEY", "").strip() or None
    try:
        runner.run(_knock(url, key))
    except Unauthorized:
        if not sys.stdin.isatty():
            wrong = "does not know the key in DAZI_API_KEY" if key else "wants an API key"
            raise Unauthorized(f"{url} {wrong}.", remedy="Set DAZI_API_KEY to one of its keys.") from None
        key = getpass.getpass("The gateway's API key: ").strip()
        runner.run(_knock(url, key))
    return key


async def _knock(url: str, key: str | None) -> None:
    async with AsyncClient(url, key) as client:
        await client.models()
