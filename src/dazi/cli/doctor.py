"""`dazi doctor`: find out why a stream does not stream."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import msgspec
from rich.console import Console
from rich.text import Text
from typer import Argument, Exit, Option

from dazi.doctor import Finding, Patient, Verdict, examine
from dazi.errors import ConfigError

_SIGNS: dict[Verdict, tuple[str, str]] = {
    "healthy": ("✓", "green"),
    "note": ("i", "cyan"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "bold red"),
    "unknown": ("?", "dim"),
}
_CHECK_WIDTH = 16


def doctor(  # noqa: PLR0913  # one parameter a flag
    url: Annotated[str, Argument(metavar="URL", help="A gateway, or any endpoint of server-sent events.")],
    *,
    key: Annotated[
        str | None, Option(help="The gateway's key; better in DAZI_API_KEY, where nobody sees it.", show_default=False)
    ] = None,
    header: Annotated[list[str] | None, Option("--header", "-H", help="Sent with each request: 'Name: value'.")] = None,
    data: Annotated[
        str | None,
        Option("--data", "-d", help="JSON to post to an endpoint that is no gateway; @file reads it from there."),
    ] = None,
    model: Annotated[str | None, Option(help="Whom to ask for an answer.  [default: demo, where it is]")] = None,
    origin: Annotated[str | None, Option(help="A site whose pages shall be able to call it.")] = None,
    wait: Annotated[float, Option(help="Seconds of silence, to find idle timeouts.", min=1, max=300)] = 20.0,
    as_json: Annotated[bool, Option("--json", help="Write each finding as a line of JSON.")] = False,
) -> None:
    """Find out why a stream does not stream, and how to mend it.

    Exit status: 0 if nothing has to be mended, 1 if something has, 2 if it could not be examined.
    """
    patient = Patient(
        url=url, headers=_headers(header or [], key), data=_body(data), model=model, origin=origin, wait=wait
    )
    findings = asyncio.run(_examine(patient, as_json=as_json))
    raise Exit(1 if any(finding.is_trouble for finding in findings) else 0)


async def _examine(patient: Patient, *, as_json: bool) -> list[Finding]:
    findings, console = [], Console(highlight=False)
    progress = Console(stderr=True).status(f"examining {patient.url} (a silence of {patient.wait:g} s is part of it)")
    with progress:
        async for finding in examine(patient):
            findings.append(finding)
            if as_json:
                print(msgspec.json.encode(finding).decode(), flush=True)
            else:
                _show(console, finding)
    if not as_json:
        console.print(_summary(findings))
    return findings


def _show(console: Console, finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    console.print(Text.assemble((f"{sign} {finding.check:<{_CHECK_WIDTH}} ", style), finding.words), soft_wrap=True)
    for line in finding.fix.splitlines():
        console.print(Text(f"{'':{_CHECK_WIDTH + 3}}{line}", style="dim"), soft_wrap=True)


def _summary(findings: list[Finding]) -> str:
    troubles = [finding for finding in findings if finding.is_trouble]
    if not troubles:
        return "\nNothing has to be mended."
    names = ", ".join(dict.fromkeys(finding.check for finding in troubles))
    return f"\n{len(troubles)} finding{'s' if len(troubles) > 1 else ''} to mend: {names}"


def _headers(lines: list[str], key: str | None) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ConfigError(f"--header {name!r} has no colon. Write it as 'Name: value'.")
        headers[name.strip()] = value.strip()
    key = key or os.environ.get("DAZI_API_KEY", "").strip()
    return {"Authorization": f"Bearer {key}", **headers} if key else headers


def _body(data: str | None) -> str | None:
    if data is None or not data.startswith("@"):
        return data
    try:
        return Path(data[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--data {data}: the file cannot be read: {error.strerror}.") from None
