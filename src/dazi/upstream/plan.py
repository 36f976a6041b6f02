"""What an operator says of upstreams and of choosing between them: plain records, checked as a whole.

Laws: a wrong value is refused with a sentence that names the upstream, the value and the remedy; no sentence holds a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from dazi.errors import ConfigError
from dazi.upstream.presets import PRESETS

_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]

DIALECTS = ("openai", "anthropic", "responses", "dify", "coze")


class Waits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds to wait for the connection, the first token, the next one, and the whole answer."""

    connect: _Seconds = 10.0
    first_token: _Seconds = 120.0
    between_tokens: _Seconds = 60.0
    total: _Seconds = 3600.0


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream.

    `name`: in logs and metrics. `preset`: a house of `presets.PRESETS`, which decides the rest by default. `dialect`: one of
    `DIALECTS`, or the name of a plug-in (an entry point, or `package.module:function`). `url`: where its API begins. `key`,
    or `key_env`, the environment variable that holds it. `models`: the names served, or a table from those to the names
    there. `weight`: its share. `concurrency`, `rate`: answers at once, and starts a minute; 0: no limit. `timeouts`: see
    `Waits`. `continues`: whether it may go on from what another has said. `failures`: in a row, until it is left alone;
    0: never. `cooldown`: seconds for which it is, at first. `headers`: sent with every request. `options`: a plug-in's, or
    added to every request's body.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    models: tuple[str, ...] | dict[str, str]
    preset: str = ""
    dialect: str = ""
    url: str = ""
    key: str = ""
    key_env: str = ""
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    concurrency: _Count = 0
    rate: _Count = 0
    timeouts: Waits = Waits()
    continues: bool = True
    failures: _Count = 5
    cooldown: _Seconds = 5.0
    headers: dict[str, str] = {}
    options: dict[str, Any] = {}  # Any: the plug-in's, or the house's

    @property
    def names(self) -> dict[str, str]:
        """From each name served to the name there."""
        return self.models if isinstance(self.models, dict) else {name: name for name in self.models}


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one of several upstreams is chosen, and what follows when it fails.

    `balance`: `least` (outstanding, by weight), `round_robin`, or `conversation` (the same upstream for one conversation, so
    that its cache is warm). `attempts`: upstreams asked for one answer, the first included. `queue`: seconds to wait for one
    with room. `backoff`: seconds before all are asked again, doubling and spread. `retry_after`: the most seconds of a
    server's `Retry-After` that are waited for. `continuation`: whether another goes on where one broke off in mid-answer.
    """

    balance: Literal["least", "round_robin", "conversation"] = "least"
    attempts: Annotated[int, Meta(ge=1, le=20)] = 3
    queue: Annotated[float, Meta(ge=0, le=600)] = 10.0
    backoff: Annotated[float, Meta(ge=0, le=60)] = 0.5
    retry_after: Annotated[float, Meta(ge=0, le=600)] = 20.0
    continuation: bool = False


def check(plans: Sequence[Plan]) -> None:
    """Refuse plans that cannot be carried out. Raises `ConfigError`."""
    for name, count in Counter(plan.name for plan in plans).items():
        if count > 1:
            raise ConfigError(f"upstreams: {count} are named {name!r}. Give each a name of its own.")
    for plan in plans:
        _check(plan)


def _check(plan: Plan) -> None:
    where = f"upstreams: {plan.name!r}"
    if plan.preset and plan.preset not in PRESETS:
        raise ConfigError(f"{where} has preset={plan.preset!r}, which is not known. Use one of: {', '.join(PRESETS)}.")
    if not plan.preset and not plan.dialect:
        raise ConfigError(
            f"{where} has neither preset nor dialect. Set preset to one of {', '.join(PRESETS)}, or dialect to one of "
            f"{', '.join(DIALECTS)}, or to a plug-in."
        )
    is_plugin = bool(plan.dialect) and plan.dialect not in DIALECTS
    if not (plan.url or is_plugin or PRESETS.get(plan.preset, PRESETS["openai"]).url):
        raise ConfigError(f"{where} has no url. Give the address where its API begins, like http://host:8000/v1.")
    if plan.url and not is_plugin and not plan.url.startswith(("http://", "https://")):
        raise ConfigError(f"{where} has a url that is no http or https URL. Give one like http://host:8000/v1.")
    if plan.key and plan.key_env:
        raise ConfigError(f"{where} has key and key_env={plan.key_env!r}. Keep one of them.")
    if not plan.names or not all((*plan.names, *plan.names.values())):
        raise ConfigError(f'{where} serves no model, or one without a name. Set models = ["name"].')
