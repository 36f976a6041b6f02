"""`dazi config`: every setting, its value and where it came from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from typer import Option

from dazi import settings as configuration
from dazi.settings import Loaded

# Words in a setting's name that make its value one to keep. Better one hidden too many than one shown.
_SECRET_WORDS = frozenset({"key", "keys", "secret", "secrets", "password", "token", "tokens"})
_OPAQUE = frozenset({"headers", "options", "secret"})
_MASK = "********"
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY = re.compile(r"(?<=\?).+")


def config(
    *,
    file: Annotated[
        Path | None, Option("--config", help="A TOML file of settings.  [default: dazi.toml, if there is one]")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show every setting, its value, and whether a default, the environment or a file gave it. Secrets are masked."""
    shown = _shown(configuration.load(file=file))
    if as_json:
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    rows = [(name, _in_words(setting["value"]), str(setting["source"])) for name, setting in shown.items()]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, source in rows:
        print(f"{name:{names}}  {value:{values}}  {source}")


def _shown(loaded: Loaded) -> dict[str, dict[str, object]]:
    values: Mapping[str, object] = msgspec.to_builtins(loaded.settings)
    return {name: {"value": _masked(name, value), "source": loaded.sources[name]} for name, value in values.items()}


def _masked(name: str, value: object) -> object:
    words = name.split("_")
    # What ends in `_env` is the name of a variable, not what it holds.
    is_secret = not _SECRET_WORDS.isdisjoint(words) and words[-1] != "env"
    match value:
        case dict():
            # Headers and a plug-in's options have names of others' choosing: nothing of theirs is shown.
            return {key: _masked("secret" if name in _OPAQUE else str(key), part) for key, part in value.items()}
        case list() | tuple():
            return [_masked(name, part) for part in value]
        case str() if is_secret:
            return _MASK if value else ""
        case str():
            shown = _PASSWORD_IN_URL.sub(_MASK, value)
            return _QUERY.sub(_MASK, shown) if words[-1] in {"url", "urls"} else shown
        case _:
            return value


def _in_words(value: object) -> str:
    match value:
        case [dict(), *_] | dict():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return ", ".join(map(str, value)) or "-"
    return str(value) or "-"
