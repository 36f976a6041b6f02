"""Real Redis servers for tests and benches: one, or a cluster of three masters, on free ports of loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.servers import free_port

# Seconds for a server to answer, and for a cluster to know all its slots.
_PATIENCE = 20
_SLOTS = 16_384
# From a node's port to the one where it talks to the cluster; another one can be named only since Redis 7.
_BUS = 10_000


class RedisServer:
    """One server in a folder of its own. `append_only`: always, everysec, or "" for nothing on disk."""

    def __init__(self, folder: Path, *, append_only: str = "", options: tuple[str, ...] = ()) -> None:
        self.port = _free_port()
        self.folder = folder
        self.options = options
        self.append_only = append_only
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self.process is not None
        return self.process.pid

    def start(self, *settings: str, answers: bool = True) -> None:
        """Start, again too, and wait until it answers, or listens. `settings` stand instead of our own."""
        # Another version, or Valkey, is chosen by its path.
        program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
        if program is None:
            raise RuntimeError("The tests of the Redis log need redis-server. Install it: apt-get install redis-server")
        durable = ("--appendonly", "yes", "--appendfsync", self.append_only) if self.append_only else ()
        ours = (
            *("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)),
            *("--logfile", str(self.folder / "log"), *durable, *self.options),
        )
        self.process = subprocess.Popen([program, *(settings or ours)], stdout=subprocess.DEVNULL)
        wait_until(
            lambda: self._listens() and (not answers or self.ask("PING") == "PONG"),
            f"redis-server on port {self.port}: see {self.folder}/log",
        )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and see it gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cut(self, mark: bytes) -> None:
        """Take what the append-only file has from the last `mark` on; for a server that was killed."""
        file = max(self.folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        said = file.read_bytes()
        file.write_bytes(said[: said.rindex(mark)])

    def ask(self, *command: str) -> str:
        """Send one command on a connection of its own; "" when there is no answer."""
        words = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(f"*{len(command)}\r\n{words}".encode())
                return connection.recv(65_536).decode(errors="replace").strip().lstrip("+:-")
        except OSError:
            return ""

    def connections(self) -> int:
        """Count the connections that clients have open, this question's left out."""
        info = self.ask("INFO", "clients")
        return int(info.partition("connected_clients:")[2].partition("\r\n")[0]) - 1


def wait_until(condition: object, failure: str) -> None:
    """Wait until a function is true. Raises `TimeoutError`."""
    assert callable(condition)
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(failure)
        time.sleep(0.01)


@contextmanager
def redis_server(*, append_only: str = "", options: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    """Run one server."""
    with tempfile.TemporaryDirectory(prefix="dazi-redis-") as folder:
        server = RedisServer(Path(folder), append_only=append_only, options=options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def redis_cluster(masters: int = 3, *, replicas: int = 0) -> Iterator[list[RedisServer]]:
    """Run a cluster that is ready; gives the masters, of which the first have replicas."""
    with ExitStack() as stack:
        servers = [_cluster_node(stack) for _ in range(masters)]
        for at, server in enumerate(servers):
            slots = range(_SLOTS * at // masters, _SLOTS * (at + 1) // masters)
            # Not by ADDSLOTSRANGE, which Redis 6.2 does not know.
            server.ask("CLUSTER", "ADDSLOTS", *map(str, slots))
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(at + 1))
            if at:
                server.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        followers = [_cluster_node(stack) for _ in range(replicas)]
        for follower in followers:
            follower.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        for server in (*servers, *followers):
            ready = lambda server=server: _is_ready(server, masters, replicas)  # noqa: E731
            wait_until(ready, f"the cluster's node on {server.port}")
        for follower, server in zip(followers, servers, strict=False):
            follower.ask("CLUSTER", "REPLICATE", server.ask("CLUSTER", "MYID").partition("\r\n")[2])
            wait_until(lambda follower=follower: _follows(follower), f"the cluster's replica on {follower.port}")
        yield servers


@contextmanager
def redis_sentinel(service: str = "master", *, replicas: int = 0) -> Iterator[tuple[str, RedisServer]]:
    """Run a server, its replicas and a Sentinel before them; gives the Sentinel's URL, and the server."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dazi-redis-"))
        master = stack.enter_context(redis_server())
        for _ in range(replicas):
            replica = stack.enter_context(redis_server(options=("--replicaof", f"127.0.0.1 {master.port}")))
            wait_until(lambda replica=replica: _follows(replica), "the replica")
        sentinel = RedisServer(Path(folder))
        settings = Path(folder) / "sentinel.conf"
        settings.write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\nsentinel monitor {service} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {service} 500\nsentinel failover-timeout {service} 5000\n"
        )
        sentinel.start(str(settings), "--sentinel")
        stack.callback(sentinel.kill)
        wait_until(lambda: f"slaves={replicas}," in sentinel.ask("INFO", "sentinel"), "the Sentinel's replicas")
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/{service}", master


def _follows(replica: RedisServer) -> bool:
    return "master_link_status:up" in replica.ask("INFO", "replication")


def _cluster_node(stack: ExitStack) -> RedisServer:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dazi-redis-")))
    server = RedisServer(folder)
    server.options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    server.start()
    stack.callback(server.kill)
    return server


def _is_ready(server: RedisServer, masters: int, replicas: int) -> bool:
    info = server.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in info and f"cluster_known_nodes:{masters + replicas}" in info


def _free_port() -> int:
    """Find a port whose neighbour, where a cluster's nodes talk to each other, is free as well."""
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port + _BUS)):
            return port
