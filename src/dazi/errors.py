"""One tree of errors, classified by what the caller can do.

```
DaziError
├── RequestError            the caller must change something; answered with its HTTP status
│   ├── InvalidRequest      400, 413, 415, 422: the input is wrong
│   ├── Unauthorized        401: no key, or a wrong one
│   ├── Forbidden           403: this host, origin or address is not allowed
│   ├── NotFound            404: no such generation, model or path (or it is somebody else's)
│   ├── Conflict            409: the idempotency key was used for another request
│   ├── TooMany             429: more than this caller may; again after `retry_after` seconds
│   └── Unavailable         503: not now; try again after `retry_after` seconds
├── GenerationError         a generation went wrong after its start; told as a `failed` event
│   ├── Refused             the content check refused it, or could not be made
│   └── UpstreamError       the model's side did
├── LogError
│   ├── Closed              the log has ended; nothing can follow the end
│   ├── OutOfOrder          `previous` is not the last position, or another writer has taken over
│   ├── Unknown             there is no such log
│   └── StoreUnavailable    the store cannot be reached, or cannot take more; what it holds may be safe
├── Unchecked               a checker could not judge a text
├── NoAnswer                a server outside gave no answer that can be read
├── EventTooLarge           a server-sent event grew past the parser's limit
└── ConfigError             a setting is wrong; the program cannot start with it
```

Laws: `code` is stable and part of PROTOCOL.md; the sentence names the offending value and the remedy, and never
holds a key, a prompt or an answer.
"""

from __future__ import annotations


class DaziError(Exception):
    """The root of everything Dazi raises on purpose."""


class RequestError(DaziError):
    """A request cannot be served as it is.

    Attributes: `status` (HTTP), `code` (stable, PROTOCOL.md), `message` (what happened and to which value), `remedy`
    (what to do), `param` (the field, header or option at fault, or None), `retry_after` (seconds, or None).
    """

    status = 400
    code = "bad_request"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.param = param
        self.retry_after = retry_after
        self.code = code or self.code
        self.status = status or self.status
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


class InvalidRequest(RequestError):
    """The input is wrong: change it and send it again."""


class Unauthorized(RequestError):
    """No API key came with the request, or one that is not known."""

    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    """The request's Host or Origin is not on the allow-list."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """There is nothing here for this caller; the same answer whether it never was, expired or is another's."""

    status = 404
    code = "not_found"


class Conflict(RequestError):
    """The idempotency key already stands for another request."""

    status = 409
    code = "idempotency_conflict"


class TooMany(RequestError):
    """The caller wants more than it may have of a `quota` in a `window` of seconds, or, without one, at once.

    `param` names the limit.
    """

    status = 429
    code = "too_many_starts"
    retryable = True

    def __init__(  # noqa: PLR0913  # facts, by name
        self, message: str, *, remedy: str, code: str, param: str, quota: int, window: int | None, retry_after: int
    ) -> None:
        self.quota = quota
        self.window = window
        super().__init__(message, remedy=remedy, code=code, param=param, retry_after=retry_after)


class Unavailable(RequestError):
    """The gateway cannot take this now, and says when to try again."""

    status = 503
    code = "unavailable"
    retryable = True


class GenerationError(DaziError):
    """A generation failed after it began; it ends with `failed` carrying `code` and `retryable`."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        self.code = code
        self.message = message
        self.retryable = retryable
        super().__init__(message)


class Refused(GenerationError):
    """The content check refused it, or could not be made: that is no fault of the model's."""


class UpstreamError(GenerationError):
    """The model's side refused, stalled, broke off or talked nonsense.

    Attributes: `status` (HTTP, where it answered with one), `retry_after` (seconds it asked to be left alone for, or None).
    """

    status: int | None = None
    retry_after: float | None = None


class LogError(DaziError):
    """A log refused an operation."""


class Closed(LogError):
    """The log has ended: the first terminal event won, and nothing may follow it."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        super().__init__(f"The log of generation {generation} has ended; nothing can be appended to it.")


class OutOfOrder(LogError):
    """An append did not continue the log: its `previous` or its epoch is not the log's."""

    def __init__(self, generation: str, *, expected: str, got: str) -> None:
        self.generation = generation
        self.expected = expected
        self.got = got
        super().__init__(f"An append to generation {generation} must follow {expected}, but it follows {got}.")


class Unknown(LogError):
    """There is no log of this id: it never was, or it has expired."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        super().__init__(f"There is no generation {generation}; it may have expired.")


class StoreUnavailable(LogError):
    """The store behind a log cannot be reached or cannot take more. The sentence says what happened, without secrets."""


class Unchecked(DaziError):
    """A checker could not judge a text. The sentence says why, and holds nothing of the text.

    Attributes: `again` (whether asking once more may help).
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        self.again = again
        super().__init__(reason)


class NoAnswer(DaziError):
    """A server outside gave no answer that can be read. The sentence says why in a word or two, and holds nothing of the call.

    Attributes: `again` (whether calling once more may help).
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        self.again = again
        super().__init__(reason)


class EventTooLarge(DaziError):
    """A server-sent event grew past the parser's limit, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"A server-sent event is larger than {limit} bytes. Raise the parser's limit if that is expected."
        )


class ConfigError(DaziError):
    """A setting is wrong. The sentence names it, its value (unless secret) and the remedy."""
