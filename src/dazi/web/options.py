"""The query parameters and headers of a call, checked (PROTOCOL.md, sections 2.2 and 2.6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from starlette.datastructures import Headers, QueryParams

from dazi.errors import InvalidRequest
from dazi.log import START, Cursor
from dazi.web.frames import PADDINGS, Encoding, Mode, Profile

_POSITION = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")
# A number of JSON's: as clients' own functions write theirs.
_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

# Whose events: ours, or OpenAI's chunks.
Dialect = Literal["dazi", "openai"]

START_OPTIONS = frozenset({"mode", "encoding", "profile", "heartbeat", "coalesce", "padding", "max", "inband", "after"})
EVENTS_OPTIONS = START_OPTIONS | {"wait", "format"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asked for; numbers are seconds, clamped to their bounds."""

    mode: Mode = "append"
    encoding: Encoding = "ascii"
    profile: Profile = "full"
    dialect: Dialect = "dazi"
    heartbeat: int = 10
    coalesce: float = 0.0
    padding: int = 0
    max: int | None = None
    after: Cursor = START
    wait: float = 0.0


def read_options(query: QueryParams, headers: Headers, *, known: frozenset[str], coalesce: float = 0.0) -> Options:
    """Check the query and `Last-Event-ID`, which beats `after`; without the option, `coalesce` is this. Raises `InvalidRequest`."""
    if not query and "last-event-id" not in headers:
        return _unasked(coalesce)  # as nearly every start; the long way to it takes as long as a token
    choose, number = _choose(query), read_numbers(query, known=known)
    choose("inband", ("0", "1"))
    return Options(
        mode=choose("mode", get_args(Mode)),
        encoding=choose("encoding", get_args(Encoding)),
        profile=choose("profile", get_args(Profile)),
        dialect=choose("format", get_args(Dialect)),
        heartbeat=int(number("heartbeat", 10, least=1, most=60)),
        coalesce=number("coalesce", coalesce, least=0, most=1),
        padding=int(choose("padding", tuple(map(str, PADDINGS)))),
        max=int(number("max", 0, least=1, most=3600)) or None,
        after=_read_position(headers, query),
        wait=number("wait", 0, least=0, most=25),
    )


@cache
def _unasked(coalesce: float) -> Options:
    return Options(coalesce=coalesce)


def read_key(headers: Headers) -> str | None:
    """Check the `Idempotency-Key`, if there is one. Raises `InvalidRequest`."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest(
            f"The Idempotency-Key {key[:300]!r} is not 1 to 255 visible ASCII characters.",
            remedy="Use a random one, such as a UUID.",
            code="bad_idempotency_key",
            param="Idempotency-Key",
        )
    return key


def wants_json(headers: Headers) -> bool:
    """Whether the client asked for JSON rather than for a stream."""
    accept = headers.get("accept", "").lower()
    return "application/json" in accept and "text/event-stream" not in accept


def wants_inband(query: QueryParams) -> bool:
    """Whether errors before the start shall arrive inside the stream."""
    return query.get("inband") == "1"


def _read_position(headers: Headers, query: QueryParams) -> Cursor:
    after = _position(query.get("after", "0"), "after")
    told = headers.get("last-event-id")
    return after if told is None else _position(told, "Last-Event-ID")


def _position(position: str, name: str) -> Cursor:
    if position == "0":
        return START
    match = _POSITION.fullmatch(position)
    if match is None:
        raise InvalidRequest(
            f"{position[:100]!r} is no position.",
            remedy="Use the id of the last frame you have, such as 1-7, or 0 for the start.",
            code="bad_position",
            param=name,
        )
    return Cursor(int(match[1]), int(match[2]))


def _choose(query: QueryParams) -> Callable[[str, tuple[str, ...]], Any]:  # Any: each Literal takes its own words
    def choose(name: str, words: tuple[str, ...]) -> str:
        value: str = query.get(name, words[0])
        if value not in words:
            raise _bad_option(f"{name}={value[:100]!r} is not known.", f"Use {' or '.join(words)}.", name)
        return value

    return choose


def read_numbers(query: QueryParams, *, known: frozenset[str]) -> Callable[..., float]:
    """Refuse options that are not `known`; returns what reads one that is a number. Raises `InvalidRequest`."""
    for name in query:
        if name not in known:
            raise _bad_option(
                f"There is no option {name[:100]!r} here.", f"Use some of: {', '.join(sorted(known))}.", name[:100]
            )

    def number(name: str, default: float, *, least: float, most: float) -> float:
        if name not in query:
            return default
        value = query[name]
        if not _SECONDS.fullmatch(value):
            raise _bad_option(f"{name}={value[:100]!r} is no number of seconds.", f"Use {least} to {most}.", name)
        return min(max(float(value), least), most)

    return number


def _bad_option(message: str, remedy: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, remedy=remedy, code="bad_option", param=param)
