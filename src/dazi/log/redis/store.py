"""The connections to Redis: the only file that knows redis-py, and how it fails.

Laws: the number of connections does not depend on how many generations, writers or readers there are: a few for
commands, and one for each shard that somebody here observes. Calls that come together travel together, in one pipeline.
Every wait has a bound; whatever goes wrong is `StoreUnavailable`, and the next call tries afresh.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from dazi.errors import ConfigError, StoreUnavailable
from dazi.log.redis.scripts import Script

try:
    from redis import exceptions
    from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import SentinelConnectionPool
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    raise ConfigError("A Redis log needs the package redis. Install it: pip install 'dazi[redis]'.") from error

# Seconds for a connection, and for an answer. In one data centre both take milliseconds.
_CONNECT = 1.0
_ANSWER = 1.5
# Seconds for a call in all, the waiting for its turn included.
_CALL = 2.5
# Seconds that a reader of notices blocks; less than `_ANSWER`, so that silence is not taken for a fault.
_BLOCK = 1.0
# Pipelines under way at once: one busy, one being answered, and room beside a slow one.
_LANES = 4
# Calls in one pipeline, so that the first does not wait long for the last.
_TOGETHER = 256
# Readers' connections: one for each shard there can be, and one to spare.
_READERS = 17
_NOTICES_AT_ONCE = 1000

Argument = str | bytes | int
Reply = Any  # what Redis answers: bytes, int, None, or lists of these
Notice = tuple[str, int]


@dataclass(slots=True, eq=False)
class Call:
    """A script to be run, and who waits for its answer, until loop time `due`. `retried`: it was sent before."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]
    answer: asyncio.Future[Reply]
    due: float
    retried: bool = False

    def by_digest(self) -> tuple[Argument, ...]:
        """The command, where Redis knows the script."""
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments)

    def by_text(self) -> tuple[Argument, ...]:
        """The command, where it does not yet."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


class _Commands(Protocol):
    """Sends commands together; each answer, or its error, at its place."""

    async def __call__(self, commands: Sequence[tuple[Argument, ...]]) -> Sequence[Reply | Exception]: ...


class Store:
    """A Redis, a Sentinel's master or a cluster.

    Args:
        client: redis-py's, for commands.
        blocking: another, or the same where its connections suffice, for readers of notices.
    """

    def __init__(self, client: Redis | RedisCluster, blocking: Redis | RedisCluster) -> None:
        self._client = client
        self._blocking = blocking
        # Whether all keys of a script have to be of one shard. Asked once: it takes a microsecond, and every append wants to know.
        self.is_cluster = isinstance(client, RedisCluster)
        self._send: _Commands = self._one_by_one if self.is_cluster else self._piped
        # Calls that wait for the next pipeline, and the pipelines under way.
        self._waiting: list[Call] = []
        self._lanes: set[asyncio.Task[None]] = set()
        # Calls in the order of their deadlines, and the timer of the first: one timer for all costs less than one each.
        self._pending: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # The answer to XREAD as Redis gives it: redis-py's own shape of it changes with versions and protocols.
        for one in (client, blocking):
            one.set_response_callback("XREAD", _as_it_is)

    @classmethod
    def from_url(cls, url: str) -> Store:
        """Make a store of a URL; connects when first used. Raises `ConfigError`.

        `redis://[user:password@]host:port/0`, `rediss://…` (TLS), `redis+sentinel://host:port,host2:port/service`,
        `redis+cluster://host:port,host2:port`; the latter two also as `rediss+…`. With TLS, `?ssl_ca_certs=/path/ca.pem` names
        who is trusted instead of the system's, `ssl_certfile` and `ssl_keyfile` who this is.
        """
        client = _client_of(url)
        return cls(client, client if isinstance(client, RedisCluster) else _client_of(url))

    async def close(self) -> None:
        """Let what is under way finish, and close every connection."""
        while self._lanes:
            await asyncio.gather(*self._lanes)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for client in (self._client, self._blocking):
            await _close(client)

    async def call(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Reply:
        """Run a script in one step. Raises `StoreUnavailable`; it may have run then."""
        loop = asyncio.get_running_loop()
        call = Call(script, keys, arguments, loop.create_future(), loop.time() + _CALL)
        self._pending.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.due, self._expire)
        self._enqueue(call)
        return await call.answer

    def _expire(self) -> None:
        """Give up what was not answered in time."""
        self._timer = None
        self._forget_answered()
        loop = asyncio.get_running_loop()
        while self._pending and self._pending[0].due <= loop.time():
            error = StoreUnavailable(f"Redis has not answered for {_CALL:g} seconds.")
            self._pending.popleft().answer.set_exception(error)
            self._forget_answered()
        if self._pending:
            self._timer = loop.call_at(self._pending[0].due, self._expire)

    def _forget_answered(self) -> None:
        while self._pending and self._pending[0].answer.done():
            self._pending.popleft()

    async def notices(self, news: str, after: str) -> tuple[str, list[Notice]]:
        """Wait for what is told in a shard after an id; gives the last id and the notices."""
        try:
            reply = await self._blocking.execute_command(
                *("XREAD", "COUNT", _NOTICES_AT_ONCE, "BLOCK", int(_BLOCK * 1000), "STREAMS", news, after)
            )
        except _FAULTS as error:
            raise _unavailable(error) from error
        if not reply:
            return after, []
        # RESP2 answers a list of pairs, RESP3 a mapping.
        entries = (reply[0][1] if isinstance(reply, list) else next(iter(reply.values())))[-_NOTICES_AT_ONCE:]
        return entries[-1][0].decode(), [(fields[0].decode(), int(fields[1])) for _, fields in entries if fields]

    async def used(self) -> int:
        """Tell how many bytes Redis uses, all masters of a cluster together. Raises `StoreUnavailable`."""
        try:
            if isinstance(self._client, RedisCluster):
                told = await self._client.info("memory", target_nodes=RedisCluster.PRIMARIES)
                return sum(int(of_node["used_memory"]) for of_node in told.values())
            return int((await self._client.info("memory"))["used_memory"])
        except _FAULTS as error:
            raise _unavailable(error) from error

    def _enqueue(self, call: Call) -> None:
        self._waiting.append(call)
        if len(self._waiting) == 1 or len(self._waiting) >= _TOGETHER:
            self._open_lane()

    def _open_lane(self) -> None:
        if self._waiting and len(self._lanes) < _LANES:
            lane = asyncio.get_running_loop().create_task(self._drain(), name="dazi calls to Redis")
            self._lanes.add(lane)

    async def _drain(self) -> None:
        """Send what waits, until nothing does."""
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                await self._run([call for call in calls if not call.answer.done()])
        finally:
            # At once, and not when the task is seen to be done: a call in between would find every lane taken, open none, and
            # leave those behind it to wait for what will not come.
            self._lanes.discard(asyncio.current_task())
            self._open_lane()

    async def _run(self, calls: Sequence[Call]) -> None:
        try:
            answers = await self._send([call.by_digest() for call in calls])
            unknown = [call for call, answer in zip(calls, answers, strict=True) if _is_unknown_script(answer)]
            loaded = dict(zip(map(id, unknown), await self._send([call.by_text() for call in unknown]), strict=True))
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must be told
            for call in calls:
                self._fail(call, error)
            return
        for call, answer in zip(calls, answers, strict=True):
            self._settle(call, loaded.get(id(call), answer))
        self._forget_answered()

    def _settle(self, call: Call, answer: Reply | Exception) -> None:
        if isinstance(answer, Exception):
            self._fail(call, answer)
        elif not call.answer.done():
            call.answer.set_result(answer)

    def _fail(self, call: Call, error: Exception) -> None:
        if call.answer.done():
            return
        if isinstance(error, _CUT) and not call.retried:
            # A connection that the other side closed while it lay idle. Scripts are safe to send twice.
            call.retried = True
            self._enqueue(call)
            return
        told = _unavailable(error) if isinstance(error, _FAULTS) else error
        told.__cause__ = error if told is not error else None
        call.answer.set_exception(told)

    async def _piped(self, commands: Sequence[tuple[Argument, ...]]) -> Sequence[Reply | Exception]:
        if not commands:
            return ()
        if len(commands) == 1:
            return (await _answer_or_error(self._client.execute_command(*commands[0])),)
        async with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))

    async def _one_by_one(self, commands: Sequence[tuple[Argument, ...]]) -> Sequence[Reply | Exception]:
        """A cluster's way: redis-py follows moves and redirections only for single commands."""
        waiting = iter(tuple(enumerate(commands)))
        answers: list[Reply | Exception] = [None] * len(commands)

        async def work() -> None:
            for at, command in waiting:
                answers[at] = await _answer_or_error(self._client.execute_command(*command))

        await asyncio.gather(*(work() for _ in range(min(_LANES, len(commands)))))
        return answers


def _as_it_is(response: Reply, **_: object) -> Reply:
    return response


async def _close(client: Redis | RedisCluster) -> None:
    with suppress(exceptions.RedisError, OSError):
        if isinstance(client, RedisCluster):
            await client.aclose()
            return
        await client.aclose(close_connection_pool=True)
        if isinstance(client.connection_pool, SentinelConnectionPool):
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()


# uvloop raises a RuntimeError where a line is written to that has just been cut, and redis-py an AttributeError where, as a cluster is
# looked for by many at once, one closes the line that another is about to greet on.
_FAULTS = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError, RuntimeError, AttributeError)
_CUT = (exceptions.ConnectionError, RuntimeError, AttributeError)


async def _answer_or_error(answer: Awaitable[Reply]) -> Reply | Exception:
    try:
        return await answer
    except _FAULTS as error:
        return error


def _is_unknown_script(answer: Reply | Exception) -> bool:
    return isinstance(answer, exceptions.NoScriptError)


def _unavailable(error: Exception) -> StoreUnavailable:
    # The error's own words name an address or Redis's reason; never a credential, which redis-py does not put there.
    words = " ".join(str(error).split())[:200] or type(error).__name__
    return StoreUnavailable(f"Redis cannot be used now: {words}")


# URLs

_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_REMEDY = (
    "Use redis://host:port/0, rediss://…, redis+sentinel://host:port,host2:port/service or redis+cluster://host:port."
)


def _client_of(url: str) -> Redis | RedisCluster:
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        raise ConfigError(f"log={scheme}://… is not a URL of Redis. {_REMEDY}")
    credentials, _, address = rest.rpartition("@")
    address, _, query = address.partition("?")
    places, _, path = address.partition("/")
    try:
        hosts = [_host_of(place) for place in places.split(",")]
        database = int(path or 0) if "+" not in scheme else 0
    except ValueError:
        # Not the URL itself: it may hold a password.
        raise ConfigError(f"log={scheme}://…: an address in it is malformed. {_REMEDY}") from None
    options = {**_options(credentials), **_tls_options(query, tls=scheme.startswith("rediss")), "db": database}
    return _MAKERS[scheme.partition("+")[2]](hosts, path, options, scheme.startswith("rediss"))


def _tls_options(query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, path in options.items():
        if name not in _TLS_OPTIONS or not tls:
            raise ConfigError(f"log=…?{name}=… is not known. With rediss:// there are {', '.join(_TLS_OPTIONS)}.")
        if not Path(path).is_file():
            raise ConfigError(f"log=…?{name}={path}: there is no such file. Correct the path.")
    return options


def _host_of(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError(place)
    return parts.hostname, parts.port or 6379


def _options(credentials: str) -> dict[str, Any]:  # Any: redis-py's own arguments
    user, _, password = credentials.partition(":")
    return {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "protocol": 2,
        "socket_connect_timeout": _CONNECT,
        "socket_timeout": _ANSWER,
        "socket_keepalive": True,
        # Sending again is decided here, call by call.
        "retry": Retry(NoBackoff(), 0),
    }


def _single(
    hosts: list[tuple[str, int]],
    _path: str,
    options: dict[str, Any],  # Any: redis-py's own arguments
    tls: bool,  # noqa: FBT001  # one of a table's functions
) -> Redis:
    if tls:
        options = {**options, "connection_class": SSLConnection}
    host, port = hosts[0]
    # Without a bound of its own: lanes and readers are bounded, and each holds one connection at a time.
    return Redis(connection_pool=ConnectionPool(host=host, port=port, **options))


def _sentinel(
    hosts: list[tuple[str, int]],
    path: str,
    options: dict[str, Any],  # Any: redis-py's own arguments
    tls: bool,  # noqa: FBT001  # one of a table's functions
) -> Redis:
    service, _, database = path.partition("/")
    if not service or not (database or "0").isdigit():
        raise ConfigError(f"log=redis+sentinel://…/{path}: the service is missing or the database no number. {_REMEDY}")
    asking = {name: options[name] for name in ("socket_connect_timeout", "socket_timeout", "protocol", "retry")}
    sentinel = Sentinel(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]  # redis-py's
    master: Redis = sentinel.master_for(service, **{**options, "db": int(database or 0), "ssl": tls})
    return master


def _cluster(
    hosts: list[tuple[str, int]],
    _path: str,
    options: dict[str, Any],  # Any: redis-py's own arguments
    tls: bool,  # noqa: FBT001  # one of a table's functions
) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in hosts]
    # A node may hold every shard's reader, beside each lane's calls.
    most = _LANES * _LANES + _READERS
    return RedisCluster(startup_nodes=nodes, max_connections=most, ssl=tls, **{**options, "db": 0})


_MAKERS: dict[str, Callable[..., Redis | RedisCluster]] = {"": _single, "sentinel": _sentinel, "cluster": _cluster}
