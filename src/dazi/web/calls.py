"""One HTTP call: from the guard to a handler's decision, and from that to bytes.

Laws: a handler decides (it returns a `Reply`, or the `Course` of a stream) and this file acts; whatever goes wrong
before the first byte becomes an error of PROTOCOL.md, section 6, as JSON, or as an event where the client asked for
`inband=1`; nothing wraps `send`, so that streams keep the direct way.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from dazi.errors import DaziError, NotFound, RequestError, TooMany
from dazi.events import Problem
from dazi.service import Gateway
from dazi.upstream import NOBODY, Asker
from dazi.web.course import Course
from dazi.web.frames import Encoding, framer_of, write_json
from dazi.web.guard import Doors, Keys, preflight
from dazi.web.metrics import Metrics
from dazi.web.options import wants_inband, wants_json
from dazi.web.readers import Readers
from dazi.web.replace import reader_of
from dazi.web.turnstile import Turnstile
from dazi.web.visitors import Visitors

logger = logging.getLogger("dazi.web")

RawHeaders = list[tuple[bytes, bytes]]

_NO_QUERY = QueryParams()

_JSON: RawHeaders = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_STREAM: RawHeaders = [
    (b"content-type", b"text/event-stream"),
    # `no-transform` keeps compressing middlemen from buffering; nginx buffers unless told otherwise.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes = b""
    headers: RawHeaders = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its handler sees it. `asker` is nobody where the path needs none."""

    scope: Scope
    headers: Headers
    query: QueryParams
    receive: Receive
    asker: Asker

    @property
    def owner(self) -> str:
        """Whose generations it may see."""
        return self.asker.owner

    @property
    def generation(self) -> str:
        """The id in the path."""
        return str(self.scope["path_params"]["id"])


class Streamed(Protocol):
    """An answer that writes itself, beside the streams of generations."""

    async def serve(self, receive: Receive, send: Send, opening: RawHeaders) -> None:
        """Send the response, with the headers of `opening`."""
        ...


Handler = Callable[[Call], Awaitable[Reply | Course | Streamed]]
Teller = Callable[[RequestError], Reply]


@dataclass(frozen=True, slots=True)
class Desk:
    """What every endpoint shares."""

    gateway: Gateway
    keys: Keys
    doors: Doors
    readers: Readers
    metrics: Metrics
    turnstile: Turnstile
    # Who calls, where that is more than a question of keys.
    visitors: Visitors | None = None


def json_reply(status: int, value: object, headers: RawHeaders | None = None, *, encoding: Encoding = "ascii") -> Reply:
    """Make a reply of a JSON value."""
    return Reply(status, write_json(value, encoding), [*_JSON, *(headers or [])])


def names(generation: str) -> RawHeaders:
    """Make the header that every answer on a generation carries."""
    return [(b"dazi-generation", generation.encode("ascii", "replace"))]


class Endpoint:
    """The ASGI app of one path: a handler a method.

    Args:
        desk: what every endpoint shares.
        handlers: by method.
        is_open: whether it can be called without a key.
        is_heavy: whether a burst of its calls would hold up the streams, and has to pass the turnstile.
        tell: how errors are told, where it is not our way.
    """

    def __init__(
        self,
        desk: Desk,
        handlers: Mapping[str, Handler],
        *,
        is_open: bool = False,
        is_heavy: bool = False,
        tell: Teller | None = None,
    ) -> None:
        self._desk = desk
        self._handlers = handlers
        self._is_open = is_open
        self._is_heavy = is_heavy
        self._tell = tell

    @property
    def methods(self) -> frozenset[str]:
        """What this path answers to."""
        return frozenset(self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if self._is_heavy and not self._desk.turnstile.is_free:
            await self._desk.turnstile.wait()
        asked = scope["query_string"]
        headers, query = Headers(scope=scope), QueryParams(asked) if asked else _NO_QUERY
        cors: RawHeaders = []
        try:
            cors = self._desk.doors.check(headers)
            outcome = await self._decide(scope, headers, query, receive, cors)
        except ConnectionResetError:
            return
        except RequestError as error:
            outcome = self._refusal(error, headers, query)
        except Exception as error:  # noqa: BLE001  # the client must get an answer, whatever broke
            outcome = self._refusal(_internal(error), headers, query)
        if isinstance(outcome, Reply):
            await _send(send, outcome, cors)
            return
        opening = [*_STREAM, *(names(outcome.generation) if isinstance(outcome, Course) else ()), *cors]
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": opening})
            await send({"type": "http.response.body"})
        elif not isinstance(outcome, Course):
            await outcome.serve(receive, send, opening)
        else:
            await reader_of(self._desk.gateway, outcome, send, self._desk.readers).serve(receive, opening)

    async def _decide(
        self, scope: Scope, headers: Headers, query: QueryParams, receive: Receive, cors: RawHeaders
    ) -> Reply | Course | Streamed:
        method = scope["method"]
        if method == "OPTIONS" and cors:
            return Reply(204, headers=preflight(headers, cors)[len(cors) :])
        handler = self._handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise RequestError(
                f"{method} is not possible here.",
                remedy=f"Use {' or '.join(self._handlers)}.",
                code="method_not_allowed",
                status=405,
            )
        asker = NOBODY if self._is_open else await self._asker_of(scope, headers)
        return await handler(Call(scope, headers, query, receive, asker))

    async def _asker_of(self, scope: Scope, headers: Headers) -> Asker:
        visitors = self._desk.visitors
        return self._desk.keys.asker_of(headers) if visitors is None else await visitors.asker_of(scope, headers)

    def _refusal(self, error: RequestError, headers: Headers, query: QueryParams) -> Reply:
        reply = self._tell(error) if self._tell else _problem_reply(error, headers, query)
        if isinstance(error, TooMany):
            reply = replace(reply, headers=[*reply.headers, *_quota(error)])
        match error.status:
            case 401:  # RFC 9110, 15.5.2: "MUST send a WWW-Authenticate header field"
                return replace(reply, headers=[*reply.headers, (b"www-authenticate", b"Bearer")])
            case 405:  # RFC 9110, 15.5.6: "MUST generate an Allow header field"
                return replace(reply, headers=[*reply.headers, (b"allow", ", ".join(self._handlers).encode())])
        return reply


async def no_such_path(call: Call) -> Reply:
    """Refuse a path that is not one of ours."""
    raise NotFound(f"There is nothing at {call.scope['path'][:200]!r}.", remedy="The paths are in /openapi.json.")


def _quota(error: TooMany) -> RawHeaders:
    """Tell a quota as draft-ietf-httpapi-ratelimit-headers-10 does."""
    span = ';qu="concurrent-requests"' if error.window is None else f";w={error.window}"
    return [
        (b"ratelimit-policy", f'"{error.param}";q={error.quota}{span}'.encode()),
        (b"ratelimit", f'"{error.param}";r=0;t={error.retry_after}'.encode()),
    ]


def _problem_reply(error: RequestError, headers: Headers, query: QueryParams) -> Reply:
    problem = Problem(
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        status=error.status,
        retryable=error.retryable,
        param=error.param,
        retry_after=error.retry_after,
    )
    if wants_inband(query) and not wants_json(headers):
        profile = "plain" if query.get("profile") == "plain" else "full"
        encoding = "url" if query.get("encoding") == "url" else "ascii"
        return Reply(200, framer_of(encoding, profile).frame(problem), [*_STREAM])
    wait = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
    return json_reply(error.status, {"error": _without_type(problem)}, wait)


def _without_type(problem: Problem) -> dict[str, object]:
    return {name: value for name in problem.__struct_fields__ if (value := getattr(problem, name)) is not None}


def _internal(error: Exception) -> RequestError:
    # The kind and the place, never the message: that may quote what a user wrote.
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("A call failed with %s\n%s", type(error).__name__, place)
    told = str(error) if isinstance(error, DaziError) else "Something in the gateway broke."
    return RequestError(told, remedy="Try again; if it stays, its log says more.", code="internal", status=500)


async def _send(send: Send, reply: Reply, cors: RawHeaders) -> None:
    headers = [*reply.headers, *cors]
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
