"""The composition root: from settings and models to one ASGI app."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from inspect import isroutine
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from dazi import settings as configuration
from dazi.errors import ConfigError
from dazi.log import AppendsNow, Log
from dazi.log.fallback import Durable, beside_memory
from dazi.log.memory import MEMORY, MemoryLog
from dazi.log.sqlite import SqliteLog
from dazi.quota.memory import MemoryQuota
from dazi.quota.sqlite import SqliteQuota
from dazi.safety.guarded import Guarded
from dazi.safety.plan import build as build_policy
from dazi.safety.policy import Policy
from dazi.service import Gateway, Limits
from dazi.service.allowance import Allowance
from dazi.service.telemetry import Chorus, Telemetry
from dazi.service.turns import Turns
from dazi.settings import Settings
from dazi.upstream import Upstream
from dazi.upstream.build import build
from dazi.upstream.custom import Answerer, from_generator
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.local import LocalUpstream
from dazi.upstream.openai import OpenAIUpstream
from dazi.upstream.rounds import Rounds
from dazi.web import chat
from dazi.web.addresses import Addresses
from dazi.web.admin import Admin, AdminKeys, Books, Ledger
from dazi.web.calls import Desk, Endpoint, no_such_path
from dazi.web.completions import Completions, tell
from dazi.web.export import Exports
from dazi.web.generations import Generations
from dazi.web.guard import Doors, Keys
from dazi.web.issuer import Issuer, Trust
from dazi.web.metrics import Metrics
from dazi.web.openapi import description
from dazi.web.operations import Operations
from dazi.web.probe import Probes
from dazi.web.readers import Readers
from dazi.web.sessions import Sessions
from dazi.web.tokens import Tokens
from dazi.web.turnstile import Turnstile
from dazi.web.upstreams import Watch
from dazi.web.visitors import OwnerHook, Visitors
from dazi.wechat import WeChat

if TYPE_CHECKING:
    from dazi.quota.redis import RedisQuota

# The body of a start: ten thousand long messages, or a few photographs as base64.
MAX_BODY = 8 * 1024 * 1024
_OTEL_SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# How much of the time in which a dead process's generations shall be ended is its lease: a sixth of that goes by between two
# sweeps, and the rest is for the sweep itself.
_LEASE_OF_PROMISE = 0.8


class App:
    """The gateway as an ASGI app. `gateway` is what it serves; `gateway.close()` says goodbye to its readers."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        books: Books,
        *,
        wechat: WeChat | None = None,
        owner: OwnerHook | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self.gateway = gateway
        metrics = books.metrics
        readers = Readers(metrics, rounds)
        gateway.on_closing(readers.goodbye)
        is_guarded = configuration.is_guarded(settings) or owner is not None
        hosts = settings.hosts or (("*",) if is_guarded else ())
        doors = Doors(hosts=hosts, origins=settings.origins)
        tokens = Tokens(settings.session_secrets, seconds=settings.session_ttl)
        self._wechat = wechat
        sessions = Sessions(wechat, tokens, checks_referer=settings.wechat_referer)
        secrets = configuration.signing(settings).session_secrets or ("",)
        keys = Keys(settings.api_keys, tokens if settings.wechat_apps else None, secrets=secrets)
        self._issuer = _issuer_of(settings)
        visitors = _visitors_of(settings, keys, self._issuer, owner)
        desk = Desk(gateway, keys, doors, readers, metrics, Turnstile(), visitors)
        admin_keys = AdminKeys(settings.admin_key, is_guarded=is_guarded)
        admin = Admin(gateway, readers, books, shows_text=settings.admin_shows_text)
        grace = None if settings.grace == "keep" else settings.grace
        coalesce = settings.coalesce
        generations = Generations(gateway, metrics, max_body=MAX_BODY, coalesce=coalesce)
        completions = Completions(gateway, max_body=MAX_BODY, grace=grace, coalesce=coalesce)
        login = Route("/v1/wechat/sessions", Endpoint(desk, {"POST": sessions.create}, is_open=True))
        routes = [
            login,
            *_routes(desk, generations, completions, Exports(gateway, producer=settings.ai_producer)),
            *_admin_routes(replace(desk, keys=admin_keys, visitors=None), admin),
        ]
        self._router = Router(routes, default=_nowhere(desk), redirect_slashes=False)
        # Paths without parameters need no search, and each step of one would live as long as a stream does.
        self._fixed = {route.path: route.app for route in routes if not route.param_convertors}
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        match scope["type"]:
            case "http":
                if not self.gateway.is_open:
                    await self._open()
                path = scope["path"].removeprefix(scope.get("root_path", ""))
                await self._fixed.get(path, self._router)(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1008, "reason": "Use HTTP; see PROTOCOL.md."})

    async def _open(self) -> None:
        # A mounted app is told nothing of the lifespan: its first request opens the gateway, once.
        async with self._opening:
            if not self.gateway.is_open:
                await self.gateway.open()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._open()
        except ConfigError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.gateway.close()
        if self._wechat is not None:
            await self._wechat.close()
        if self._issuer is not None:
            await self._issuer.keys.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(
    models: Mapping[str, Upstream | Answerer] | None = None,
    *,
    settings: Settings | None = None,
    limits: Limits | None = None,
    owner: OwnerHook | None = None,
    safety: Policy | None = None,
) -> App:
    """Make the gateway as an ASGI app, to serve or to mount.

    Args:
        models: what answers, by model name, the default first: an upstream, or an async generator function that takes
            the `Prompt` and yields `str`. By default, what the settings say.
        settings: by default, from the environment and `dazi.toml`.
        limits: see `Limits`.
        owner: tells whose a request is, for an app that knows its users by itself: a function, `async` or not (then it runs in a
            thread), that takes Starlette's `Request`, without its body, and returns a name, an `Asker`, or None for nobody;
            it may raise `Unauthorized` or another `RequestError`.
        safety: what prompts and answers are judged by. By default, what the settings say.

    Raises `ConfigError`.
    """
    settings = settings or configuration.load().settings
    wechat = _wechat_of(settings)
    policy = safety or build_policy(settings.safety, key=settings.safety_key, wechat=wechat)
    log = log_of(settings)
    # A log that takes time gathers text by itself, and is quicker to take it as it comes.
    rounds = Rounds(settings.coalesce if isinstance(log, AppendsNow) else 0)
    upstreams = (
        models_of(settings, rounds) if models is None else {name: _upstream(model) for name, model in models.items()}
    )
    metrics, ledger = Metrics(tuple(upstreams)), Ledger()
    watch = Watch(upstreams, metrics.asked)
    if policy is not None:
        policy.observer = policy.observer or metrics.judged
        upstreams = {name: Guarded(upstream, policy) for name, upstream in upstreams.items()}
    telemetry = Chorus((metrics, ledger, *_traces()))
    quota = quota_of(settings)
    gateway = Gateway(
        log,
        upstreams,
        limits=limits or limits_of(settings),
        telemetry=telemetry,
        turns=Turns(
            allowance_of(settings), quota, lease=_lease_of(settings), telemetry=telemetry, is_lenient=settings.undurable
        ),
        marks=None if isinstance(quota, MemoryQuota) else quota,
    )
    return App(gateway, settings, Books(metrics, ledger, watch), wechat=wechat, owner=owner, rounds=rounds)


def _issuer_of(settings: Settings) -> Issuer | None:
    if not settings.jwt_jwks_url:
        return None
    return Issuer(
        Trust(
            settings.jwt_jwks_url,
            settings.jwt_issuer,
            settings.jwt_audience,
            algorithms=settings.jwt_algorithms,
            owner=settings.jwt_owner,
            key=settings.jwt_client,
        )
    )


def _visitors_of(settings: Settings, keys: Keys, issuer: Issuer | None, hook: OwnerHook | None) -> Visitors | None:
    """Make what tells who calls, where that is more than a question of keys."""
    trusted = Addresses(settings.trusted_proxies)
    counts = settings.running_per_ip or settings.starts_per_minute_ip or settings.tokens_per_day_ip
    addresses = trusted if counts else None
    if issuer is None and hook is None and addresses is None:
        return None
    return Visitors(keys, hook=hook, issuer=issuer, addresses=addresses)


def _wechat_of(settings: Settings) -> WeChat | None:
    apps = configuration.apps_of(settings)
    return WeChat(apps, url=settings.wechat_url) if apps else None


def _traces() -> list[Telemetry]:
    """Tell OpenTelemetry, where its own settings ask for it."""
    if not any(os.environ.get(name) for name in _OTEL_SWITCHES):
        return []
    try:
        from dazi.web.traces import exporting  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ConfigError(f"{_OTEL_SWITCHES[0]} is set, which needs {error.name}: pip install 'dazi[otel]'.") from None
    return [exporting()]


def limits_of(settings: Settings) -> Limits:
    """Make the limits that the settings name."""
    return Limits(
        running=settings.running,
        characters=settings.max_answer,
        owner_characters=settings.max_owner,
        total_characters=settings.max_total,
        seconds=settings.max_seconds,
        tokens=settings.max_tokens,
        unread=None if settings.unread == "keep" else settings.unread,
        window=settings.window,
        patience=settings.patience,
    )


def allowance_of(settings: Settings) -> Allowance:
    """Make what the settings allow whom."""
    return Allowance(
        running={
            "owner": settings.running_per_owner,
            "key": settings.running_per_key,
            "ip": settings.running_per_ip,
            "total": settings.running_total,
        },
        starts={
            "owner": settings.starts_per_minute,
            "key": settings.starts_per_minute_key,
            "ip": settings.starts_per_minute_ip,
            "total": settings.starts_per_minute_total,
        },
        tokens={
            "owner": settings.tokens_per_day,
            "key": settings.tokens_per_day_key,
            "ip": settings.tokens_per_day_ip,
            "total": settings.tokens_per_day_total,
        },
        line=settings.queue,
        line_of_owner=settings.queue_per_owner,
        patience=settings.queue_seconds,
        zone=configuration.zone_of(settings),
    )


def quota_of(settings: Settings) -> MemoryQuota | SqliteQuota | RedisQuota:
    """Make the counts, shared by all who share the log that the settings name."""
    if settings.log == "memory://":
        return MemoryQuota(lease=math.inf)
    if settings.log.startswith("sqlite:"):
        path = Path(settings.log.removeprefix("sqlite:///"))
        return SqliteQuota(path.with_name(f"{path.name}.quota"), lease=_lease_of(settings))
    from dazi.log.redis.store import Store  # noqa: PLC0415  # its client is an extra
    from dazi.quota.redis import RedisQuota  # noqa: PLC0415  # as above

    return RedisQuota(Store.from_url(settings.log), lease=_lease_of(settings))


def log_of(settings: Settings) -> Log:
    """Make the log that the settings name; it has to be opened, if it can be. Raises `ConfigError`."""
    if settings.log == "memory://":
        return MemoryLog(ttl=settings.ttl, max_bytes=settings.capacity or MEMORY)
    durable = _durable(settings)
    return beside_memory(durable, MemoryLog(ttl=settings.ttl)) if settings.undurable else durable


def _durable(settings: Settings) -> Durable:
    lease = _lease_of(settings)
    if settings.log.startswith("sqlite:"):
        path = settings.log.removeprefix("sqlite:///")
        return SqliteLog(path, ttl=settings.ttl, lease=lease, fsync=settings.fsync, max_bytes=settings.capacity)
    try:
        from dazi.log.redis import RedisLog  # noqa: PLC0415  # its client is an extra
    except ImportError as error:
        raise ConfigError(f"log='redis://…' needs {error.name}: pip install 'dazi[redis]'.") from None
    return RedisLog.from_url(settings.log, ttl=settings.ttl, lease=lease, max_bytes=settings.capacity)


def _lease_of(settings: Settings) -> float:
    return settings.lease * _LEASE_OF_PROMISE


def _upstream(model: Upstream | Answerer) -> Upstream:
    if isroutine(model):
        return from_generator(cast("Answerer", model))
    return cast("Upstream", model)


def models_of(settings: Settings, rounds: Rounds | None = None) -> dict[str, Upstream]:
    """Make the upstreams that the settings name: several, one OpenAI-compatible server's models, or the embedded ones."""
    if settings.upstreams:
        pools = build(settings.upstreams, settings.routing, rounds=rounds)
        return {name: pools[name] for name in settings.model or pools}
    if settings.upstream:
        key = settings.upstream_key
        return {name: OpenAIUpstream(settings.upstream, key=key or None, rounds=rounds) for name in settings.model}
    embedded: dict[str, Upstream] = {}
    if LocalUpstream.is_available():
        embedded["smollm2"] = LocalUpstream()
    embedded["demo"] = DemoUpstream()
    unknown = [name for name in settings.model if name not in embedded]
    if unknown:
        raise ConfigError(
            f"model={','.join(unknown)}: there is no such embedded model. Set --upstream, or use {' or '.join(embedded)}."
        )
    return {name: embedded[name] for name in settings.model or embedded}


def _routes(desk: Desk, generations: Generations, completions: Completions, exports: Exports) -> list[Route]:
    operations, probes = Operations(desk), Probes()
    paths = {
        "/v1/generations": Endpoint(desk, {"POST": generations.start}, is_heavy=True),
        "/v1/generations/abort": Endpoint(desk, {"POST": generations.abort_key}),
        "/v1/generations/erase": Endpoint(desk, {"POST": generations.erase}),
        "/v1/generations/{id}": Endpoint(desk, {"GET": generations.read}),
        "/v1/generations/{id}/events": Endpoint(desk, {"GET": generations.events}, is_heavy=True),
        "/v1/generations/{id}/markdown": Endpoint(desk, {"GET": exports.markdown}),
        "/v1/generations/{id}/abort": Endpoint(desk, {"POST": generations.abort}),
        "/v1/chat/completions": Endpoint(desk, {"POST": completions.create}, is_heavy=True, tell=tell),
        "/v1/models": Endpoint(desk, {"GET": completions.models}, tell=tell),
        "/v1/models/{name:path}": Endpoint(desk, {"GET": completions.model}, tell=tell),
        "/v1/probe": Endpoint(desk, {"GET": probes.stream}),
        "/v1/probe/{id}": Endpoint(desk, {"GET": probes.read}),
        "/health/live": Endpoint(desk, {"GET": operations.live}, is_open=True),
        "/health/ready": Endpoint(desk, {"GET": operations.ready}, is_open=True),
        "/login": Endpoint(desk, {"POST": operations.login}, is_open=True),
        "/logout": Endpoint(desk, {"POST": operations.logout}, is_open=True),
        "/": Endpoint(desk, {"GET": chat.index}, is_open=True),
        "/page/{name}": Endpoint(desk, {"GET": chat.file}, is_open=True),
    }
    paths["/openapi.json"] = Endpoint(desk, {"GET": description}, is_open=True)
    return _as_routes(paths)


def _admin_routes(desk: Desk, admin: Admin) -> list[Route]:
    return _as_routes(
        {
            "/metrics": Endpoint(desk, {"GET": admin.metrics}),
            "/admin": Endpoint(desk, {"GET": admin.page}, is_open=True),
            "/admin/page/{name}": Endpoint(desk, {"GET": admin.file}, is_open=True),
            "/admin/state": Endpoint(desk, {"GET": admin.state}),
            "/admin/generations": Endpoint(desk, {"GET": admin.generations}),
            "/admin/generations/{id}": Endpoint(desk, {"GET": admin.read}),
            "/admin/generations/{id}/abort": Endpoint(desk, {"POST": admin.abort}),
            "/admin/log-level": Endpoint(desk, {"POST": admin.log_level}),
        }
    )


def _as_routes(paths: Mapping[str, Endpoint]) -> list[Route]:
    # A Route whose endpoint is no function is called as the ASGI app it is: nothing comes between it and the server.
    return [Route(path, endpoint) for path, endpoint in paths.items()]


def _nowhere(desk: Desk) -> Endpoint:
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return Endpoint(desk, dict.fromkeys(methods, no_such_path), is_open=True)
