"""`dazi tail`: follow a generation that was started elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import msgspec
from typer import Argument, Exit, Option

from dazi.cli.chat import INTERRUPTED
from dazi.cli.connection import URL, Url, connected
from dazi.cli.terminal import Terminal, follow
from dazi.client import AsyncAnswer
from dazi.events import Done, Event, Snapshot


def tail(
    generation: Annotated[str, Argument(metavar="ID", help="The generation, as `Dazi-Generation` names it.")],
    *,
    url: Url = URL,
    after: Annotated[str, Option(help="Begin after this position, such as 1-7.  [default: the beginning]")] = "0",
    as_json: Annotated[bool, Option("--json", help="Write each event as a line of JSON, with its position.")] = False,
) -> None:
    """Follow a generation to its end. Ctrl-C leaves; the generation goes on.

    Exit status: 0 if the answer is whole, 1 if it failed, was aborted or cannot be reached, 2 if there is no such
    generation for this key, 130 after Ctrl-C.
    """
    terminal = Terminal()
    try:
        with connected(url) as (runner, client):
            answer = client.attach(generation, after=after)
            try:
                end = runner.run(follow(answer, _writer(answer) if as_json else terminal.take))
            finally:
                terminal.end_line()
        raise Exit(0 if isinstance(end, Done) else 1)
    except KeyboardInterrupt:
        terminal.remark("left; the generation goes on")
        raise Exit(INTERRUPTED) from None


def _writer(answer: AsyncAnswer) -> Callable[[Event | Snapshot], None]:
    def write(event: Event | Snapshot) -> None:
        line = {"id": answer.position, **msgspec.to_builtins(event)}
        print(json.dumps(line, ensure_ascii=False), flush=True)

    return write
