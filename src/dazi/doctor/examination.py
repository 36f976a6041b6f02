"""The course of an examination: the address first, then a gateway by its probe, or any other endpoint by its stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dazi.doctor import judgement
from dazi.doctor.address import reach, rules_of_mini_programs
from dazi.doctor.finding import Finding, unknown
from dazi.doctor.gateway import examine_gateway
from dazi.doctor.recording import Line, Request, Unreachable
from dazi.errors import ConfigError

# Seconds that an answer of another endpoint is listened to.
_ANSWER = 60.0


@dataclass(frozen=True, slots=True)
class Patient:
    """What to examine and how.

    `url`: a gateway's address, or any endpoint of server-sent events. `headers` go with each request. `data`: a JSON body that is
    posted to another endpoint. `model`: asked for a short answer to try resuming and aborting (by default `demo`, where the
    gateway has it). `origin`: a site whose pages shall be able to call it. `wait`: seconds for which a line is left silent.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    model: str | None = None
    origin: str | None = None
    wait: float = 20.0


async def examine(patient: Patient) -> AsyncGenerator[Finding]:
    """Examine, and give each finding as it is made. Raises `ConfigError` for a URL that is none."""
    url = urlsplit(patient.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"{patient.url!r} is no http or https URL. Give one like https://chat.example.com.")
    reached = await reach(url)
    for finding in [*reached.findings, *rules_of_mini_programs(url)]:
        yield finding
    if not reached.is_open:
        return
    line = Line(patient.headers, verify=reached.is_trusted)
    try:
        course = examine_gateway if await _is_gateway(line, patient) else _examine_endpoint
        async with aclosing(course(line, patient)) as findings:
            async for finding in findings:
                yield finding
    except Unreachable as error:
        yield Finding(
            "connection", "fault", f"The line broke before an answer came: {error}", "See the proxy's error log."
        )
    finally:
        await line.close()


async def _is_gateway(line: Line, patient: Patient) -> bool:
    if patient.data is not None:
        return False
    alive = Request("GET", f"{patient.url.rstrip('/')}/health/live", headers={"accept-encoding": "identity"})
    answer = await line.record(alive, seconds=10)
    try:
        return bool(json.loads(answer.body)["status"] == "live")
    except (ValueError, KeyError, TypeError):
        return False


async def _examine_endpoint(line: Line, patient: Patient) -> AsyncGenerator[Finding]:
    method = "GET" if patient.data is None else "POST"
    recording = await line.record(Request(method, patient.url, body=patient.data), seconds=max(patient.wait, _ANSWER))
    if refusal := judgement.status(recording, key_was_sent=line.sends_key):
        yield refusal
        return
    yield Finding(
        "gateway",
        "note",
        "This is no gateway of Dazi's: its stream is judged by what comes, without knowing what was sent.",
    )
    yield judgement.content_type(recording)
    compression = judgement.compression(recording)
    yield compression
    if compression.is_trouble:
        yield unknown("buffering", "A compressed stream is not judged further.")
        return
    buffering = judgement.bursts(recording)
    yield buffering
    yield judgement.accel_header(recording, is_buffered=buffering.is_trouble)
    yield _resumable(recording.events() and recording.events()[-1][1].id)
    yield judgement.clock(recording)


def _resumable(last_id: object) -> Finding:
    if last_id:
        return Finding(
            "resume", "note", f"Its events carry ids ({last_id!s:.40}); whether it resumes after them was not tried."
        )
    return Finding(
        "resume",
        "warning",
        "Its events carry no ids: a line that breaks loses the rest of the answer.",
        "Put a gateway of Dazi's in front: dazi serve --upstream <base URL> --model <name>",
    )
