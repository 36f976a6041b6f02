"""What recordings show. Plain functions: from what arrived, and when, to a finding."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from itertools import pairwise
from statistics import median

from dazi.doctor.finding import (
    NGINX_COMPRESSION,
    NGINX_HEADERS,
    NGINX_STREAM,
    NGINX_TIMEOUT,
    Finding,
    healthy,
    unknown,
)
from dazi.doctor.recording import Recording

# Below this a person does not see that pieces came together; above it the pieces of a tenth of a second are glued.
_LATE = 0.35
# What came within this time came as one.
_TOGETHER = 0.02
# What a network and two busy machines may add to a heartbeat.
_LATE_HEARTBEAT = 1.0
# Tokens of ours are valid for minutes, and a clock that is wrong by less does not show.
_SKEW = 30.0
# What a gateway says where a key that was sent has not come.
_NO_KEY_CAME = "No API key came"
# The gateway's own heartbeats come this often.
_HEARTBEAT = 10.0

Timed = tuple[float, float]
"""When a piece arrived and when it was sent, in seconds, by two clocks."""


def status(recording: Recording, *, key_was_sent: bool = False) -> Finding | None:
    """Tell what is wrong with the status, if anything is."""
    code, where = recording.status, recording.headers.get("location", "")
    if code == 200:
        return None
    if 300 <= code < 400:
        return Finding("status", "fault", f"It redirects ({code}) to {where[:200]}.", "Use that address itself.")
    if code in (401, 403):
        return _refusal(recording, key_was_sent=key_was_sent)
    if code in (502, 504):
        return Finding(
            "status",
            "fault",
            f"The proxy cannot reach what is behind it ({code}).",
            "Start that, or correct proxy_pass.",
        )
    words, remedy = _told(recording)
    return Finding("status", "fault", f"It answers {code}: {words}", remedy or "Correct the path or the request.")


def _refusal(recording: Recording, *, key_was_sent: bool) -> Finding:
    words, remedy = _told(recording)
    if recording.status == 401 and key_was_sent and words.startswith(_NO_KEY_CAME):
        return Finding(
            "authorization", "fault", "The header Authorization does not arrive: no key is known.", NGINX_HEADERS
        )
    if recording.status == 401 and not key_was_sent:
        remedy = "Give --key, or set DAZI_API_KEY."
    return Finding(
        "status",
        "fault",
        f"It refuses us ({recording.status}): {words}",
        remedy or "Correct the key, or let the proxy pass us.",
    )


def _told(recording: Recording) -> tuple[str, str]:
    """Return what a refusal says, and its remedy, where it is of a gateway of Dazi's."""
    try:
        error = json.loads(recording.body)["error"]
        return str(error["message"]), str(error.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        return recording.body[:120].decode("utf-8", "replace"), ""


def content_type(recording: Recording) -> Finding:
    """Judge the content type."""
    if recording.media_type == "text/event-stream":
        return healthy("content_type", "It is text/event-stream.")
    return Finding(
        "content_type",
        "fault",
        f"The stream comes as {recording.media_type or 'no content type at all'}; native EventSource gives up on that.",
        "Let the proxy pass the header Content-Type on as it is: text/event-stream.",
    )


def compression(recording: Recording) -> Finding:
    """Judge the content coding."""
    if not recording.is_compressed:
        return healthy("compression", "The stream is not compressed.")
    coding = recording.headers["content-encoding"]
    return Finding(
        "compression", "fault", f"The stream is compressed ({coding}), which holds pieces back.", NGINX_COMPRESSION
    )


def accel_header(recording: Recording, *, is_buffered: bool) -> Finding:
    """Judge the header that tells nginx not to buffer. nginx takes it out when it obeys it."""
    if recording.headers.get("x-accel-buffering", "").lower() == "no":
        return healthy("accel_buffering", "The header X-Accel-Buffering: no is there.")
    if not is_buffered and "nginx" in recording.headers.get("server", "").lower():
        return healthy(
            "accel_buffering", "nginx took X-Accel-Buffering out, as it does when it obeys it, or needs none."
        )
    return Finding(
        "accel_buffering",
        "warning",
        "The header X-Accel-Buffering: no is missing, so an nginx on the way would buffer.",
        "Send `X-Accel-Buffering: no` with the stream. A gateway of Dazi's does; then a proxy has taken it out.",
    )


def arrival(timed: Sequence[Timed]) -> Finding:
    """Judge whether pieces came when they were sent."""
    if len(timed) < 3:
        return unknown("buffering", "Too few pieces came to judge whether something buffers.")
    delays = [arrived - sent for arrived, sent in timed]
    added = [delay - min(delays) for delay in delays]
    spread = timed[-1][1] - timed[0][1]
    if median(added) <= _LATE and max(added) <= _LATE * 3:
        return healthy(
            "buffering",
            f"{len(timed)} pieces of {spread:.1f} s came one by one, at most {max(added) * 1000:.0f} ms late.",
        )
    return Finding(
        "buffering",
        "fault",
        f"Something on the way buffers: {len(timed)} pieces sent over {spread:.1f} s came in {_lots([arrived for arrived, _ in timed])} lots, "
        f"the first of them {max(added):.1f} s late.",
        NGINX_STREAM,
    )


def bursts(recording: Recording) -> Finding:
    """Judge arrivals where nothing tells when pieces were sent: all at once, after a wait, is suspicious."""
    events = recording.events()
    if len(events) < 3:
        return unknown("buffering", f"Only {len(events)} events came; too few to judge whether something buffers.")
    times = sorted(when for when, _ in events)
    waited, lasted, lots = times[0], times[-1] - times[0], _lots(times)
    if lots <= 2 or lasted < 0.1 * waited:
        return Finding(
            "buffering",
            "fault",
            f"{len(events)} events came in {lots} lots within {lasted:.2f} s, after {waited:.1f} s of silence: "
            "something buffers, or the endpoint does not stream.",
            NGINX_STREAM,
        )
    return healthy(
        "buffering",
        f"{len(events)} events came in {lots} lots over {lasted:.1f} s.",
    )


def _lots(times: Sequence[float]) -> int:
    """Count what came together as one."""
    return 1 + sum(later - earlier > _TOGETHER for earlier, later in pairwise(times))


def heartbeats(recording: Recording, *, expected: int, every: float) -> Finding:
    """Judge whether comments came through, in time."""
    times = [when for when, chunk in recording.chunks if chunk.startswith(b":") or b"\n:" in chunk]
    count = sum(line.startswith(b":") for line in recording.body.split(b"\n"))
    if count < expected:
        return Finding(
            "heartbeats",
            "fault",
            f"{expected} heartbeats were sent, {count} arrived: something takes comments out, and idle lines will be cut.",
            "Let the proxy pass the body on as it is; it must not parse or rewrite server-sent events.",
        )
    if (
        max((later - earlier for earlier, later in pairwise(times)), default=every) > every + _LATE_HEARTBEAT
        or len(times) < 2
    ):
        return Finding("heartbeats", "fault", "Heartbeats arrive, but not when they are sent.", NGINX_STREAM)
    return healthy("heartbeats", f"{count} heartbeats came, each in time.")


def silence(recording: Recording, *, seconds: float) -> Finding:
    """Judge whether a silent line is left alone."""
    if recording.ending == "ended" and b'"end"' in recording.body:
        return healthy("idle_timeout", f"A line that is silent for {seconds:g} s is left alone.")
    last = recording.chunks[-1][0] if recording.chunks else recording.opened
    idle = recording.seconds - last
    words = f"A line that is silent for about {idle:.0f} s is cut."
    if idle > _HEARTBEAT * 1.5:
        return Finding(
            "idle_timeout", "note", f"{words} The gateway's heartbeats, each {_HEARTBEAT:g} s, prevent that."
        )
    return Finding(
        "idle_timeout", "fault", f"{words} Heartbeats come each {_HEARTBEAT:g} s, which is too late.", NGINX_TIMEOUT
    )


def clock(recording: Recording, *, now: float | None = None) -> Finding:
    """Judge the other side's clock by its Date."""
    try:
        theirs = parsedate_to_datetime(recording.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return unknown("clock", "It tells no Date.")
    skew = theirs - (time.time() if now is None else now)
    if abs(skew) <= _SKEW:
        return healthy("clock", "Its clock agrees with ours.")
    return Finding(
        "clock",
        "warning",
        f"Its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours: session tokens may be refused.",
        "Set both clocks by NTP: timedatectl set-ntp true",
    )


def cross_origin(recording: Recording, *, origin: str) -> Iterator[Finding]:
    """Judge the answer to a preflight request."""
    allowed = recording.headers.get("access-control-allow-origin", "")
    if allowed not in (origin, "*"):
        yield Finding(
            "cors",
            "fault",
            f"Pages of {origin} may not call it (preflight: {recording.status}, allowed: {allowed or 'nobody'}).",
            f"Set DAZI_ORIGINS={origin}, and let the proxy pass OPTIONS on.",
        )
        return
    wanted = {"content-type", "authorization", "idempotency-key", "last-event-id"}
    given = {name.strip().lower() for name in recording.headers.get("access-control-allow-headers", "").split(",")}
    if missing := sorted(wanted - given) if "*" not in given else []:
        yield Finding(
            "cors",
            "fault",
            f"Pages of {origin} may call it, but not send {', '.join(missing)}.",
            "Let the proxy leave the gateway's CORS headers as they are, and add none of its own.",
        )
        return
    yield healthy("cors", f"Pages of {origin} may call it.")
