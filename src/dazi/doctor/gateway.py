"""A gateway of Dazi's, examined by its probe: pieces that carry the time at which they were sent, and what of a request arrived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from dazi.doctor import judgement
from dazi.doctor.finding import (
    NGINX_ABORT,
    NGINX_HEADERS,
    NGINX_HTTP_VERSION,
    NGINX_METHODS,
    Finding,
    healthy,
    unknown,
)
from dazi.doctor.recording import Line, Recording, Request
from dazi.events import crc32

_TICKS, _INTERVAL = 20, 0.1
_HEARTBEATS, _HEARTBEAT = 3, 1.0
_PROBE_SECONDS = 30.0
# A client that left is noticed by a gateway at once, and by a proxy in between within a write or two.
_NOTICE = 6.0
_HOLDS_BACK = ("buffering", "compression")
_POSITION = "1-7"
_QUESTION = "Say hello."
_JSON = {"accept": "application/json", "accept-encoding": "identity"}


class Case(Protocol):
    """What of a `Patient` is needed here."""

    @property
    def url(self) -> str:
        """The gateway's address."""
        ...

    @property
    def model(self) -> str | None:
        """Who is asked for an answer."""
        ...

    @property
    def origin(self) -> str | None:
        """A site whose pages shall be able to call it."""
        ...

    @property
    def wait(self) -> float:
        """Seconds of silence."""
        ...


@dataclass(frozen=True, slots=True)
class _Gateway:
    line: Line
    url: str

    def request(self, path: str, headers: Mapping[str, str] | None = None, **options: float) -> Request:
        query = {name: str(value) for name, value in options.items()}
        return Request("GET", f"{self.url}{path}", headers=headers or {}, query=query)

    async def probe(self, **options: float) -> Recording:
        request = self.request("/v1/probe", {"last-event-id": _POSITION}, **options)
        return await self.line.record(request, seconds=_PROBE_SECONDS + options.get("silence", 0.0))

    async def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Recording:
        request = Request(method, f"{self.url}{path}", headers={**_JSON, **(headers or {})}, body=body)
        return await self.line.record(request, seconds=_PROBE_SECONDS)


async def examine_gateway(line: Line, case: Case) -> AsyncGenerator[Finding]:
    """Examine a gateway through whatever is in front of it."""
    gateway = _Gateway(line, case.url.rstrip("/"))
    recording = await gateway.probe(ticks=_TICKS, interval=_INTERVAL)
    if refusal := judgement.status(recording, key_was_sent=line.sends_key):
        yield refusal
        return
    findings = [*_judge_probe(recording, case.url), judgement.clock(recording)]
    for finding in findings:
        yield finding
    if case.origin:
        for finding in judgement.cross_origin(await _preflight(gateway, case.origin), origin=case.origin):
            yield finding
    if any(finding.is_trouble and finding.check in _HOLDS_BACK for finding in findings):
        yield unknown("rest", "What holds pieces back falsifies all further checks.", "Mend that, and ask again.")
        return
    beats = await gateway.probe(ticks=0, silence=(_HEARTBEATS + 0.5) * _HEARTBEAT, heartbeat=_HEARTBEAT)
    yield judgement.heartbeats(beats, expected=_HEARTBEATS, every=_HEARTBEAT)
    yield await _leaving(gateway)
    yield judgement.silence(await gateway.probe(ticks=1, silence=case.wait), seconds=case.wait)
    async for finding in _generation(gateway, case.model):
        yield finding


def _judge_probe(recording: Recording, url: str) -> list[Finding]:
    findings = [judgement.content_type(recording), judgement.compression(recording)]
    if recording.is_compressed:
        return findings
    frames = [(when, json.loads(event.data)) for when, event in recording.events()]
    timed = [(when, frame["sent"] / 1000) for when, frame in frames if frame["type"] == "tick"]
    buffering = judgement.arrival(timed)
    findings += [buffering, judgement.accel_header(recording, is_buffered=buffering.is_trouble)]
    if frames:
        findings += _judge_seen(frames[0][1]["seen"], url)
    return findings


def _judge_seen(seen: dict[str, Any], url: str) -> list[Finding]:  # Any: JSON
    """Judge what of our request arrived at the gateway."""
    findings = []
    if seen["http"] == "1.0":
        findings.append(
            Finding("http_version", "warning", "The proxy speaks HTTP/1.0 to the gateway.", NGINX_HTTP_VERSION)
        )
    else:
        findings.append(healthy("http_version", f"HTTP/{seen['http']} arrives at the gateway."))
    if seen["headers"].get("last-event-id") != _POSITION:
        findings.append(
            Finding(
                "last_event_id", "fault", "The header Last-Event-ID does not arrive: answers begin anew.", NGINX_HEADERS
            )
        )
    if urlsplit(url).scheme == "https" and "https" not in (seen["scheme"], seen["headers"].get("x-forwarded-proto")):
        findings.append(
            Finding(
                "forwarded_proto",
                "note",
                "The gateway is not told that it is reached by https.",
                "proxy_set_header X-Forwarded-Proto $scheme;",
            )
        )
    return findings


async def _leaving(gateway: _Gateway) -> Finding:
    """Leave a stream, and ask the gateway whether it noticed."""
    request, probe = gateway.request("/v1/probe", ticks=0, silence=30), ""
    async with gateway.line.recording(request, seconds=_PROBE_SECONDS) as (recording, chunks):
        async for _ in chunks:
            if events := recording.events():
                probe = json.loads(events[0][1].data)["probe"]
                break
    if not probe:
        return unknown("disconnect", "Nothing came of a stream, so leaving one could not be tried.")
    for _ in range(int(_NOTICE)):
        answer = await gateway.call("GET", f"/v1/probe/{probe}")
        if answer.status == 404:
            return unknown(
                "disconnect", "Another process answered; whether a client that leaves is noticed is not known."
            )
        if json.loads(answer.body)["status"] == "left":
            return healthy("disconnect", "A client that leaves is noticed.")
        await asyncio.sleep(1)
    return Finding(
        "disconnect",
        "warning",
        f"A client that leaves is not noticed within {_NOTICE:g} s; clients of OpenAI's API stop an answer by leaving.",
        NGINX_ABORT,
    )


async def _preflight(gateway: _Gateway, origin: str) -> Recording:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, idempotency-key, last-event-id",
    }
    return await gateway.call("OPTIONS", "/v1/generations", headers)


async def _generation(gateway: _Gateway, model: str | None) -> AsyncGenerator[Finding]:
    """Try a short answer: is it resumed where it broke, and does abort arrive?"""
    models = json.loads((await gateway.call("GET", "/v1/models")).body)["data"]
    if model is None and "demo" not in (one["id"] for one in models):
        yield unknown(
            "resume", "Resuming and aborting were not tried, since asking a model may cost.", "Name one: --model"
        )
        return
    body = json.dumps({"model": model or "demo", "messages": [{"role": "user", "content": _QUESTION}]})
    started = await gateway.call("POST", "/v1/generations", body=body)
    if started.status != 202:
        yield judgement.status(started, key_was_sent=gateway.line.sends_key) or unknown(
            "resume", f"A start was answered {started.status}."
        )
        return
    path = json.loads(started.body)["events"]
    path = path[path.index("/v1/") :]
    yield await _resume(gateway, path)
    yield await _abort(gateway, path.removesuffix("/events"))


async def _resume(gateway: _Gateway, path: str) -> Finding:
    """Read the beginning, leave, go on after the last id, and compare with the answer as it stands."""
    position, text = "0", ""
    for _ in range(2):
        request = gateway.request(path, {"last-event-id": position})
        async with gateway.line.recording(request, seconds=3) as (recording, chunks):
            async for _ in chunks:
                if len(recording.events()) >= 5:
                    break
        for _, event in recording.events():
            frame = json.loads(event.data)
            position = event.id
            text = frame["text"] if frame["type"] in ("snapshot", "retract") else text + _said(frame)
    answer = json.loads((await gateway.call("GET", path.removesuffix("/events"))).body)
    if text and answer["text"].startswith(text):
        return healthy(
            "resume", f"A line that broke went on where it was, character for character ({len(text)} so far)."
        )
    return Finding(
        "resume",
        "fault",
        f"After a break the answer did not go on where it was (CRC {crc32(text)} of {len(text)} characters).",
        NGINX_HEADERS,
    )


def _said(frame: dict[str, Any]) -> str:  # Any: JSON
    return str(frame["text"]) if frame["type"] == "text" else ""


async def _abort(gateway: _Gateway, path: str) -> Finding:
    answer = await gateway.call("POST", f"{path}/abort")
    try:
        end = json.loads(answer.body)["status"]
    except (ValueError, KeyError):
        return Finding("abort", "fault", f"Abort does not reach the gateway ({answer.status}).", NGINX_METHODS)
    if end == "aborted":
        return healthy("abort", "Abort stops the answer.")
    return unknown("abort", f"The answer had ended before it could be aborted ({end}).")
