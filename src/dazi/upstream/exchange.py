"""One question and the stream of JSON events that answers it, for dialects beside OpenAI's.

Laws: an answer that did not say how it ended is `truncated`; one that did is finished, however the stream then ends; events that
are no JSON objects are garbage, but for empty ones and `[DONE]`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import msgspec

from dazi.errors import ConfigError, EventTooLarge, UpstreamError
from dazi.sse import DEFAULT_LIMIT, Parser
from dazi.upstream import Finish
from dazi.upstream.http import Client, Timeouts
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Take, Taken, error_code, fault
from dazi.upstream.rounds import Rounds

# A refusal says why in its first lines.
_MAX_REFUSAL = 64 * 1024

Json = dict[str, Any]  # Any: JSON


class Answer(Protocol):
    """What a dialect makes of the events."""

    def take(self, kind: str, data: Json) -> Taken:
        """Take an event: its `event:` line or else "", and its data; of `[DONE]` the data is empty."""
        ...

    def finish(self) -> Finish | None:
        """Return how the model said that it ended, or None if it did not."""
        ...


class Dialect:
    """What the upstreams of these dialects share: an address, a key, and what is sent each time.

    Args:
        base_url: where the API begins. Raises `ConfigError` if it cannot be used.
        key: of the API, if it needs one.
        timeouts: how long to wait.
        tls: trusted certificates, if not the system's.
        headers: sent with every request.
        options: added to every request's body, where the prompt does not say otherwise.
        rounds: in which answers are read; by default each as it comes.
    """

    path: ClassVar[str]

    def __init__(  # noqa: PLR0913  # what servers differ in
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        fields = {**self._fields(checked_key(key or "")), **(headers or {})}
        self._base_url = base_url
        url = endpoint(base_url, self.path)
        self._exchange = Exchange(url, headers=fields, timeouts=timeouts, tls=tls, rounds=rounds)
        self._options = dict(options or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    async def open(self) -> None:
        """Nothing to prepare: connections are made when they are needed."""

    async def close(self) -> None:
        """Drop every connection."""
        self._exchange.close()

    def _fields(self, key: str) -> Mapping[str, str]:
        """Return the headers that hold the key."""
        return {"Authorization": f"Bearer {key}"} if key else {}


class Exchange:
    """Asks one server.

    Args:
        url: where questions are posted. Raises `ConfigError` if it cannot be used.
        headers: sent with each.
        timeouts: how long to wait.
        tls: trusted certificates, if not the system's.
        rounds: in which answers are read.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self._client = Client(url, headers=headers, timeouts=timeouts, tls=tls, rounds=rounds)

    async def ask(self, body: Json, answer: Answer) -> Finish:
        """Post `body`, hand the events to `answer`, and return how it finished. Raises `UpstreamError`."""
        events = _Events(answer)
        try:
            await self._client.post(encode(body), events)
        except UpstreamError as error:
            if answer.finish() is None or error.code not in {"truncated", "upstream_timeout"}:
                raise
        events.check()
        finish = answer.finish()
        if finish is None:
            raise fault("truncated", "The model's server ended its stream without saying that the answer is finished.")
        return finish

    def close(self) -> None:
        """Drop every connection."""
        self._client.close()


def encode(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a request's body."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # a lone surrogate in the prompt; escaped, it is the server's to judge
        return json.dumps(body).encode()


def checked_key(key: str) -> str:
    """Return the key. Raises `ConfigError` if no header can hold it."""
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("The upstream's key holds characters that cannot be sent. Was something else pasted along?")
    return key


def endpoint(base_url: str, path: str) -> str:
    """Return where questions are posted, keeping a query (`?api-version=`) where it belongs."""
    base, mark, query = base_url.partition("?")
    base = base.rstrip("/").removesuffix(path)
    return f"{base}{path}{mark}{query}"


def told(problem: object) -> UpstreamError:
    """Return the error that a server told inside its stream, by its code alone: the rest may quote the prompt."""
    return fault("upstream_error", f"The model's server reported an error{error_code(problem)}.")


def text_of(content: object) -> str:
    """Return the text of a message's content, whichever shape it has."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


class _Events:
    """Reads one response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = Parser(DEFAULT_LIMIT)
        # A refusal with status 200, as some houses have them.
        self._document = bytearray()

    def begin(self, media_type: str) -> Take:
        """Read server-sent events, or a refusal."""
        match media_type:
            case "text/event-stream":
                return self._feed
            case "application/json":
                return self._feed_document
        raise fault("upstream_garbage", f"The model's server answered with {media_type} instead of an event stream.")

    def check(self) -> None:
        """Raise what the document says, if one came instead of a stream."""
        if self._document:
            raise told(_decoded(self._document.decode("utf-8", "replace")))

    def _feed_document(self, data: bytes) -> Taken:
        self._document += data
        if len(self._document) > _MAX_REFUSAL:
            raise fault("upstream_garbage", "The model's server sent a document instead of an event stream.")
        return NOTHING

    def _feed(self, data: bytes) -> Taken:
        try:
            events = self._parser.feed(data)
        except EventTooLarge as exc:
            limit = exc.limit
            raise fault("upstream_garbage", f"The model's server sent an event of more than {limit} bytes.") from exc
        taken = NOTHING
        for event in events:
            said = self._answer.take("" if event.event == "message" else event.event, _decoded(event.data))
            if said is ALL:
                return ALL
            taken = PROGRESS if said is PROGRESS else taken
        return taken


def _decoded(data: str) -> Json:
    if data in {"[DONE]", '"[DONE]"'} or not data.strip():
        return {}
    try:
        value = json.loads(data)  # not msgspec: half a surrogate pair may be completed by the next event
    except (ValueError, RecursionError) as exc:
        raise fault("upstream_garbage", "The model's server sent an event that is no JSON.") from exc
    if not isinstance(value, dict):
        raise fault("upstream_garbage", "The model's server sent an event that is no JSON object.")
    return value
