"""Who calls, and from where: by an app's own hook, a company's tokens, or the gateway's keys and sessions.

Laws: whoever is not known is refused; where there is a hook or an issuer nobody is `local`; a hook sees the request but not its
body, has ten seconds, and what it raises of our errors is the answer.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from dazi.errors import ConfigError, Unauthorized, Unavailable
from dazi.upstream import Asker
from dazi.web.addresses import Addresses
from dazi.web.guard import LOCAL_OWNER, Keys
from dazi.web.issuer import Issuer

# Tells the owner of a request: any name of the app's own, or an `Asker`; None where it knows nobody.
OwnerHook = Callable[[Request], str | Asker | Awaitable[str | Asker | None] | None]

_HOOK_SECONDS = 10.0
_MOST_OWNER = 255
# How owners begin whom the gateway itself knows: nobody can be one of them by the name that an app knows him under.
_OWN = ("key:", "wx:", "jwt:")


class Visitors:
    """Tells who calls.

    Args:
        keys: the gateway's own keys and sessions.
        hook: an app's own way to know; what it does not know is left to the others.
        issuer: of a company's tokens.
        addresses: where calls come from, if that counts.
    """

    def __init__(
        self, keys: Keys, *, hook: OwnerHook | None, issuer: Issuer | None, addresses: Addresses | None
    ) -> None:
        self._keys = keys
        self._hook = hook
        self._issuer = issuer
        self._addresses = addresses

    async def asker_of(self, scope: Scope, headers: Headers) -> Asker:
        """Tell whose request this is. Raises `RequestError`."""
        asker = await self._asker(scope, headers)
        return asker if self._addresses is None else replace(asker, ip=self._addresses.of(scope, headers))

    async def _asker(self, scope: Scope, headers: Headers) -> Asker:
        if self._hook is not None and (asker := await self._asked(self._hook, Request(scope))) is not None:
            return asker
        if self._issuer is not None:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() == "bearer" and token.count(".") == 2 and not self._keys.is_session(token.strip()):
                return await self._issuer.asker_of(token.strip())
        if not self._keys and (self._hook is not None or self._issuer is not None):
            raise Unauthorized("Nobody is logged in.", remedy="Log in, and send what says so with the request.")
        return self._keys.asker_of(headers)

    async def _asked(self, hook: OwnerHook, request: Request) -> Asker | None:
        try:
            async with asyncio.timeout(_HOOK_SECONDS):
                # One that may block does so in a thread.
                said = hook(request) if _is_async(hook) else await asyncio.to_thread(hook, request)
                owner = await said if inspect.isawaitable(said) else said
        except TimeoutError:
            raise Unavailable(
                "Who this is could not be found out in time.",
                remedy="Try again in a moment.",
                code="issuer_unavailable",
                retry_after=5,
            ) from None
        if owner is None or isinstance(owner, Asker):
            return owner
        if not isinstance(owner, str) or not 0 < len(owner) <= _MOST_OWNER or not owner.isprintable():
            raise ConfigError(
                f"The hook `owner` returned {type(owner).__name__}. Return None, an Asker, or a name of 1 to {_MOST_OWNER} visible characters."
            )
        if owner == LOCAL_OWNER or owner.startswith(_OWN):
            raise ConfigError(
                f"The hook `owner` returned a name that begins like the gateway's own ({', '.join((LOCAL_OWNER, *_OWN))}). Put a word of "
                "your app's before it; an Asker may have any."
            )
        return Asker(owner)


def _is_async(hook: OwnerHook) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004  # its kind
