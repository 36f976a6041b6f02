"""From an operator's plans to the upstream behind each model's name.

Laws: one plan is one upstream, with one set of connections and one health, however many models it serves; a model that
several serve has one pool of them; models come in the order in which the plans name them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dazi.errors import ConfigError
from dazi.upstream import Upstream
from dazi.upstream.anthropic import AnthropicUpstream
from dazi.upstream.balance import Seat
from dazi.upstream.coze import CozeUpstream
from dazi.upstream.dify import DifyUpstream
from dazi.upstream.http import Timeouts
from dazi.upstream.member import Bounds, Member
from dazi.upstream.openai import OpenAIUpstream
from dazi.upstream.plan import DIALECTS, Plan, Routing, Waits, check
from dazi.upstream.plugin import load
from dazi.upstream.pool import Observer, Pool, Rules
from dazi.upstream.presets import PRESETS, Preset
from dazi.upstream.responses import ResponsesUpstream
from dazi.upstream.rounds import Rounds

_DIALECTS: Mapping[str, Callable[..., Upstream]] = {
    "openai": OpenAIUpstream,
    "anthropic": AnthropicUpstream,
    "responses": ResponsesUpstream,
    "dify": DifyUpstream,
    "coze": CozeUpstream,
}


def build(
    plans: Sequence[Plan],
    routing: Routing | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    observer: Observer | None = None,
    rounds: Rounds | None = None,
) -> dict[str, Pool]:
    """Make the pool of each model. Raises `ConfigError`.

    Args:
        plans: of the upstreams.
        routing: how they are chosen.
        environment: where the keys are that a plan names; by default this process's.
        observer: hears how each asking of an upstream ended.
        rounds: in which answers are read; by default each as it comes.
    """
    check(plans)
    environment = os.environ if environment is None else environment
    seats: dict[str, list[Seat]] = {}
    for plan in plans:
        member = Member(plan.name, _upstream(plan, environment, rounds), _bounds(plan))
        for name, there in plan.names.items():
            seats.setdefault(name, []).append(Seat(member, name, there))
    rules = _rules(routing or Routing())
    return {name: Pool(some, rules, observer=observer) for name, some in seats.items()}


def _upstream(plan: Plan, environment: Mapping[str, str], rounds: Rounds | None) -> Upstream:
    preset = PRESETS.get(plan.preset, Preset())
    dialect = plan.dialect or preset.dialect
    key = _key(plan, preset, environment)
    if dialect not in DIALECTS:
        return load(dialect, {"url": plan.url, "key": key or "", **plan.options}, name=plan.name)
    make: Callable[..., Upstream] = _DIALECTS[dialect]
    if dialect == "openai":
        make = partial(make, preset=preset)
    try:
        return make(
            plan.url or preset.url,
            key=key,
            timeouts=_timeouts(plan.timeouts),
            headers=plan.headers,
            options=plan.options,
            rounds=rounds,
        )
    except ConfigError as error:
        raise ConfigError(f"upstreams: {plan.name!r}: {error}") from None


def _key(plan: Plan, preset: Preset, environment: Mapping[str, str]) -> str | None:
    if plan.key:
        return plan.key
    if plan.key_env and not environment.get(plan.key_env):
        raise ConfigError(
            f"upstreams: {plan.name!r} takes its key from {plan.key_env}, which is not set. Set it, or correct key_env."
        )
    # A house's usual variable is for its own address: another address must not get the key.
    usual = preset.key_env if plan.url in {"", preset.url} else ""
    return environment.get(plan.key_env or usual) or None


def _timeouts(waits: Waits) -> Timeouts:
    return Timeouts(waits.connect, waits.first_token, waits.between_tokens)


def _bounds(plan: Plan) -> Bounds:
    return Bounds(
        weight=plan.weight,
        concurrency=plan.concurrency,
        rate=plan.rate,
        total=plan.timeouts.total,
        failures=plan.failures,
        cooldown=plan.cooldown,
        continues=plan.continues,
    )


def _rules(routing: Routing) -> Rules:
    return Rules(
        balance=routing.balance,
        attempts=routing.attempts,
        queue=routing.queue,
        backoff=routing.backoff,
        retry_after=routing.retry_after,
        continuation=routing.continuation,
    )
