"""What an operator may set, from flags, the environment and `dazi.toml`, in this order of precedence.

Laws: every setting is one field of `Settings`, `DAZI_<NAME>` in the environment and `<name>` in `dazi.toml`; a wrong one
stops the start with a sentence that names it, its source, its value (unless secret) and the remedy; the defaults are
safe: loopback, no origins, no keys needed.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from dazi.credentials import FAKE_APP_SECRET, weakness
from dazi.errors import ConfigError
from dazi.safety import plan as safety_plan
from dazi.safety.plan import Safety
from dazi.upstream import plan
from dazi.upstream.plan import Plan, Routing

# Names other tools use for the same things; ours win.
_ALIASES = {"OPENAI_BASE_URL": "upstream", "OPENAI_API_KEY": "upstream_key", "OPENAI_MODEL": "model"}
# Not a setting of the gateway: the key with which `dazi chat` and `dazi tail` knock at one.
_CLIENTS_KEY = "DAZI_API_KEY"
_SECRETS = frozenset(
    {"api_keys", "upstream_key", "admin_key", "upstreams", "wechat_apps", "session_secrets", "safety_key"}
)
# Structures: tables in `dazi.toml`, JSON in the environment.
_TABLES = frozenset({"upstreams", "routing", "safety"})
_LISTS = frozenset(
    {"model", "api_keys", "hosts", "origins", "wechat_apps", "session_secrets", "jwt_algorithms", "trusted_proxies"}
)

# Where generations can be kept: the beginnings of URLs, and how the rest goes on.
LOGS = {
    "memory://": "",
    "sqlite:///": "file.db (relative) or /folder/file.db",
    "redis://": "host:6379/0",
    "rediss://": "host:6379/0",
    "redis+": "sentinel://… or cluster://…",
    "rediss+": "sentinel://… or cluster://…",
}

Names = tuple[str, ...]
_Count = Annotated[int, Meta(ge=0)]
# WeChat's have 32 characters.
_SHORTEST_APP_SECRET = 16


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. What each setting does, and its unit, stands in docs/settings.toml, of which the reference is made."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    log: str = "memory://"
    ttl: Annotated[float, Meta(ge=1, le=315_360_000)] = 86_400.0
    capacity: Annotated[int, Meta(ge=0)] = 0
    fsync: Literal["full", "normal"] = "full"
    lease: Annotated[float, Meta(ge=0.5, le=3600)] = 10.0
    window: Annotated[float, Meta(ge=0, le=1)] = 0.01
    undurable: bool = False
    max_answer: Annotated[int, Meta(ge=1)] = 4 * 1024 * 1024
    max_owner: Annotated[int, Meta(ge=0)] = 0
    max_total: Annotated[int, Meta(ge=1)] = 256 * 1024 * 1024
    patience: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    workers: Annotated[int, Meta(ge=1, le=512)] = 1
    model: Names = ()
    upstream: str = ""
    upstream_key: str = ""
    upstreams: tuple[Plan, ...] = ()
    routing: Routing = Routing()
    api_keys: Names = ()
    hosts: Names = ()
    origins: Names = ()
    drain: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    grace: Annotated[float, Meta(ge=0, le=86_400)] | Literal["keep"] = 5.0
    coalesce: Annotated[float, Meta(ge=0, le=1)] = 0.0
    running: Annotated[int, Meta(ge=1)] = 10_000
    admin_key: str = ""
    admin_shows_text: bool = False
    wechat_apps: Names = ()
    wechat_url: str = "https://api.weixin.qq.com"
    wechat_referer: bool = False
    session_secrets: Names = ()
    session_ttl: Annotated[float, Meta(ge=60, le=604_800)] = 7200.0
    jwt_jwks_url: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_algorithms: Names = ("RS256", "ES256")
    jwt_owner: str = "sub"
    jwt_client: str = "azp"
    running_per_owner: _Count = 0
    running_per_key: _Count = 0
    running_per_ip: _Count = 0
    running_total: _Count = 0
    starts_per_minute: _Count = 0
    starts_per_minute_key: _Count = 0
    starts_per_minute_ip: _Count = 0
    starts_per_minute_total: _Count = 0
    tokens_per_day: _Count = 0
    tokens_per_day_key: _Count = 0
    tokens_per_day_ip: _Count = 0
    tokens_per_day_total: _Count = 0
    timezone: str = "UTC"
    queue: Annotated[int, Meta(ge=0, le=10_000)] = 0
    queue_per_owner: _Count = 0
    queue_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 60.0
    trusted_proxies: Names = ()
    unread: Annotated[float, Meta(ge=1, le=604_800)] | Literal["keep"] = "keep"
    max_tokens: _Count = 0
    max_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    safety: Safety = Safety()
    safety_key: str = ""
    ai_producer: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and by field where each one came from: `default`, `flag --x`, `environment X` or a file."""

    settings: Settings
    sources: Mapping[str, str]


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """Gather the settings. Raises `ConfigError`.

    Args:
        flags: those given on the command line, by field.
        environment: instead of this process's.
        file: instead of `dazi.toml` in the current folder; one that is named must exist.
    """
    values: dict[str, object] = {}
    sources = dict.fromkeys(Settings.__struct_fields__, "default")
    environment = os.environ if environment is None else environment
    for name, value, source in [*_from_file(file), *_from_environment(environment), *_from_flags(flags or {})]:
        values[name] = _convert(name, value, source)
        sources[name] = source
    settings = msgspec.convert(values, Settings)
    check(settings)
    return Loaded(settings, sources)


def check(settings: Settings) -> None:
    """Refuse settings that cannot work together, or are not safe. Raises `ConfigError`."""
    if not is_guarded(settings) and not _is_loopback(settings.host):
        raise ConfigError(
            f"host={settings.host!r} would let anybody on the network use this gateway. Set DAZI_API_KEYS, or listen on 127.0.0.1."
        )
    _check_log(settings)
    _check_wechat(settings)
    _check_queue(settings)
    zone_of(settings)
    safety_plan.check(settings.safety, has_apps=bool(settings.wechat_apps))
    if settings.workers > 1:
        _check_workers(settings)
    if settings.upstreams:
        _check_upstreams(settings)
    if settings.upstream and not settings.upstream.startswith(("http://", "https://")):
        raise ConfigError(
            f"upstream={settings.upstream!r} is no http or https URL. Give one like https://api.deepseek.com/v1."
        )
    if settings.upstream and not settings.model:
        raise ConfigError(f"upstream={settings.upstream!r} needs the name of its model. Set --model or DAZI_MODEL.")


def is_guarded(settings: Settings) -> bool:
    """Whether callers have to show who they are."""
    return bool(settings.api_keys or settings.wechat_apps or settings.jwt_jwks_url)


def zone_of(settings: Settings) -> tzinfo:
    """Find the time zone in which a day is a day. Raises `ConfigError`."""
    if settings.timezone == "UTC":
        return UTC
    try:
        return ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"timezone={settings.timezone!r} is not known here. Use a name like Asia/Shanghai, or UTC; where the system has no time "
            "zones: pip install tzdata."
        ) from None


def signing(settings: Settings) -> Settings:
    """Return settings with a secret to sign with, where they have none and need one: until this process, and its workers, end.

    With the hashes of keys alone, whoever reads them could sign the chat page's cookies.
    """
    if settings.session_secrets or not any(key.startswith("sha256:") for key in settings.api_keys):
        return settings
    return msgspec.structs.replace(settings, session_secrets=(secrets.token_urlsafe(48),))


def apps_of(settings: Settings) -> dict[str, str]:
    """Take the mini programs apart: AppSecret by appid."""
    return dict(entry.split(":", 1) for entry in settings.wechat_apps)


def _check_wechat(settings: Settings) -> None:
    where = urlsplit(settings.wechat_url)
    is_here = _is_loopback(where.hostname or "")
    if where.scheme != "https" and not (where.scheme == "http" and is_here):
        raise ConfigError(
            f"wechat_url={settings.wechat_url!r} would send the AppSecret unencrypted. Use https, or http on this machine."
        )
    for entry in settings.wechat_apps:
        appid, colon, secret = entry.partition(":")
        if not colon or not appid:
            raise ConfigError(
                f"wechat_apps: {appid[:40]!r} has no AppSecret. Give each app as appid:AppSecret, from mp.weixin.qq.com."
            )
        why = weakness(secret, least=_SHORTEST_APP_SECRET)
        if why and not (secret == FAKE_APP_SECRET and is_here):
            raise ConfigError(
                f"wechat_apps: the AppSecret of {appid[:40]!r} is {why}. Take the app's own, or make a new one, at mp.weixin.qq.com."
            )
    if settings.wechat_apps and not settings.session_secrets:
        raise ConfigError(
            "wechat_apps needs session_secrets, to sign the tokens of who logs in. Set DAZI_SESSION_SECRETS to what this "
            "prints, the same on every machine: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )


def _check_queue(settings: Settings) -> None:
    limits = (settings.running_per_owner, settings.running_per_key, settings.running_per_ip, settings.running_total)
    if settings.queue and not any(limits):
        raise ConfigError(
            f"queue={settings.queue}: nobody ever waits where nothing limits what runs at once. Set running_total or running_per_owner, "
            "or queue=0."
        )


def _check_log(settings: Settings) -> None:
    # Only what stands before the address is told: it may hold a password.
    scheme, _, rest = settings.log.partition("://")
    if not settings.log.startswith(tuple(LOGS)) or (scheme == "memory") != (rest == "") or settings.log == "sqlite:///":
        raise ConfigError(f"log='{scheme}://' is not known. Use {', '.join(map(''.join, LOGS.items()))}.")


def _check_upstreams(settings: Settings) -> None:
    plan.check(settings.upstreams)
    if settings.upstream:
        raise ConfigError(
            f"upstream={settings.upstream!r} is set beside upstreams. Unset it (it may be OPENAI_BASE_URL), or make it one of upstreams."
        )
    served = dict.fromkeys(name for one in settings.upstreams for name in one.names)
    unknown = [name for name in settings.model if name not in served]
    if unknown:
        raise ConfigError(f"model={','.join(unknown)}: no upstream serves it. Use some of: {', '.join(served)}.")


def _check_workers(settings: Settings) -> None:
    if settings.undurable:
        raise ConfigError(
            f"workers={settings.workers}: with undurable=true an answer may be in the memory of one worker, where the others cannot see it. "
            "Use 1 worker, or undurable=false."
        )
    if settings.log == "memory://":
        raise ConfigError(
            f"workers={settings.workers}: generations in the memory of one process cannot be seen by another. "
            "Use 1 worker, or --log sqlite:///dazi.db."
        )
    if not (settings.upstream or settings.upstreams) and settings.model != ("demo",):
        raise ConfigError(
            f"workers={settings.workers}: the embedded model would be loaded once for each. Use 1 worker, or set --upstream."
        )


_Value = tuple[str, object, str]


def _from_flags(flags: Mapping[str, object]) -> list[_Value]:
    return [(name, value, f"flag --{name.replace('_', '-')}") for name, value in flags.items() if value is not None]


def _from_environment(environment: Mapping[str, str]) -> list[_Value]:
    ours = {f"DAZI_{name.upper()}": name for name in Settings.__struct_fields__}
    unknown = {name for name in environment if name.startswith("DAZI_") and name not in {*ours, _CLIENTS_KEY}}
    if unknown:
        raise ConfigError(f"{', '.join(sorted(unknown))}: there is no such setting. Use some of: {', '.join(ours)}.")
    names = {**_ALIASES, **ours}
    return [(names[name], environment[name], f"environment {name}") for name in names if environment.get(name)]


def _from_file(file: Path | None) -> list[_Value]:
    path = file or Path("dazi.toml")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is not None:
            raise ConfigError(f"There is no file {file}. Correct --config, or leave it out.") from None
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    unknown = content.keys() - set(Settings.__struct_fields__)
    if unknown:
        known = ", ".join(Settings.__struct_fields__)
        raise ConfigError(f"{path}: there is no setting {', '.join(sorted(unknown))}. Use some of: {known}.")
    return [(name, value, str(path)) for name, value in content.items()]


def _convert(name: str, value: object, source: str) -> object:
    if name in _LISTS and isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    if name in _TABLES and isinstance(value, str):
        value = _from_json(name, value, source)
    field = next(field for field in msgspec.structs.fields(Settings) if field.name == name)
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        shown = "" if name in _SECRETS else f"={value!r}"
        raise ConfigError(f"{name}{shown} ({source}) is wrong: {error}.") from None


def _from_json(name: str, value: str, source: str) -> object:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{name} ({source}) is no JSON: {error}. Write it as in docs/models.md.") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
