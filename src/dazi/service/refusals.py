"""What callers are told where the gateway or its log cannot do what they want."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dazi.errors import Conflict, NotFound, RequestError, StoreUnavailable, Unavailable, Unknown
from dazi.log import Opened

# Seconds after which a client may ask again for what the store did not give.
_RETRY_STORE = 2


def same_request(opened: Opened, fingerprint: str) -> Opened:
    """Return what a key stands for, if it was made of the same request. Raises `Conflict`."""
    # A tombstone (an abort that overtook its start) has no fingerprint and stands for any request.
    if opened.fingerprint not in ("", fingerprint):
        raise Conflict(
            "This Idempotency-Key was used for another request.",
            remedy="Use a fresh key for each question, and the same body when you send one again.",
            param="Idempotency-Key",
        )
    return opened


def not_found(generation: str) -> NotFound:
    """Tell that there is no such generation for this caller."""
    return NotFound(
        f"There is no generation {generation!r}.",
        remedy="It may have expired; start a new one.",
    )


def unknown_model(model: str, models: Iterable[str]) -> NotFound:
    """Tell that there is no such model."""
    return NotFound(
        f"There is no model {model[:100]!r} here.",
        remedy=f"Use one of: {', '.join(models)}.",
        code="unknown_model",
        param="model",
    )


def too_many(running: int) -> Unavailable:
    """Tell that no more generations may run at once."""
    return Unavailable(
        f"{running} generations are running, which is the limit.",
        remedy="Try again when some have ended.",
        code="too_many_generations",
        retry_after=2,
    )


def cannot_erase() -> RequestError:
    """Tell that this log cannot erase."""
    return RequestError(
        "This gateway's log cannot erase.", remedy="Wait until it expires.", code="not_possible", status=501
    )


def shutting_down() -> Unavailable:
    """Tell that no start is taken any more."""
    return Unavailable(
        "The server is shutting down.", remedy="Try again in a moment.", code="shutting_down", retry_after=2
    )


def store_unavailable(reason: str) -> Unavailable:
    """Tell that the store cannot be reached, or take more."""
    return Unavailable(
        reason,
        remedy="Try again in a moment; what is stored is not lost.",
        code="store_unavailable",
        retry_after=_RETRY_STORE,
    )


class told:  # noqa: N801  # read as the verb it is, and a class since a generator costs thrice as much
    """Tell what the log cannot do as what the caller can; `doubt` is told why the store did not take something."""

    __slots__ = ("_doubt",)

    def __init__(self, doubt: Callable[[str], None] | None = None) -> None:
        self._doubt = doubt

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Unknown):
            raise not_found(error.generation) from None
        if isinstance(error, StoreUnavailable):
            if self._doubt is not None:
                self._doubt(str(error))
            raise store_unavailable(str(error)) from None
