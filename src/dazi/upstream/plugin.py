"""Upstreams from other packages: an entry point of the group `dazi.upstreams`, or `package.module:function`.

What is found is called with the plan's `options` (and its `url` and `key`) and returns an upstream or an async generator
function; or it is an async generator function itself, which takes the `Prompt`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from dazi.errors import ConfigError
from dazi.upstream import Upstream
from dazi.upstream.custom import from_generator

GROUP = "dazi.upstreams"
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def load(reference: str, options: Mapping[str, Any], *, name: str) -> Upstream:
    """Make the upstream `name` of a plug-in. Raises `ConfigError`.

    Args:
        reference: the name of an entry point, or `package.module:function`.
        options: what the plug-in is called with.
        name: of the upstream, for the sentences.
    """
    where = f"upstreams: {name!r} has dialect={reference!r}"
    found = _import(reference, where) if _REFERENCE.fullmatch(reference) else _entry_point(reference, where)
    if inspect.isasyncgenfunction(found):
        return from_generator(found)
    if not callable(found):
        raise ConfigError(f"{where}, which is no function. Name one that makes an upstream of its options.")
    try:
        made = found(options)
    except (TypeError, ValueError, LookupError) as error:
        kind = type(error).__name__
        raise ConfigError(
            f"{where}, which refused its options ({', '.join(options)}): {kind}. Correct them."
        ) from error
    if inspect.isasyncgenfunction(made):
        return from_generator(made)
    if not isinstance(made, Upstream):
        raise ConfigError(
            f"{where}, which made a {type(made).__name__}. Let it return an object with `async def generate(prompt, sink)`."
        )
    return made


def _entry_point(reference: str, where: str) -> object:
    points = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if reference not in points:
        known = ", ".join(points) or "none"
        raise ConfigError(
            f"{where}, which is no known dialect and no plug-in. Installed plug-ins: {known}. "
            "Install its package, or give package.module:function."
        )
    return _loaded(points[reference].load, where)


def _import(reference: str, where: str) -> object:
    module, _, path = reference.partition(":")

    def found() -> object:
        thing: object = importlib.import_module(module)
        for attribute in path.split("."):
            thing = getattr(thing, attribute)
        return thing

    return _loaded(found, where)


def _loaded(load_it: Callable[[], object], where: str) -> object:
    try:
        return load_it()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{where}, which cannot be imported: {error}. Install it, or correct the name.") from error
