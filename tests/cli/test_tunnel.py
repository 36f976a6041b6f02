"""A gateway behind a real sshd, which runs as the test's user, with keys of its own, on a free port."""

from __future__ import annotations

import asyncio
import getpass
import io
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import segno
from tests.e2e.process import Dazi
from tests.servers import free_port, running
from tests.waiting import until

from dazi.cli.tunnel import Way, guarded, way_of
from dazi.errors import ConfigError
from dazi.settings import Settings
from dazi.web.guard import Keys

PATIENCE = 30.0
QUESTION = {"messages": [{"role": "user", "content": "Hi"}]}


@dataclass(frozen=True)
class Host:
    """A machine elsewhere: its sshd's port, and one for tunnels."""

    folder: Path
    port: int
    published: int

    @property
    def destination(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.published}"

    @asynccontextmanager
    async def up(self, *settings: str) -> AsyncIterator[None]:
        """Run its sshd. The gateway has to end first: sshd's sessions outlive sshd."""
        file = self.folder / "sshd_config"
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.folder}/host", "PidFile none", "UsePAM no", "StrictModes no",
            f"AuthorizedKeysFile {self.folder}/user.pub", "PasswordAuthentication no", "KbdInteractiveAuthentication no", *settings,
        ]  # fmt: skip
        file.write_text("\n".join(lines) + "\n")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # noqa: PTH103  # which root's insists on
        async with running("sshd", "-D", "-e", "-f", str(file), folder=self.folder, port=self.port):
            yield

    def trusted(self) -> None:
        """Put its key among those that this machine knows."""
        key = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {key}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Make keys for a host and a user, and an `ssh` that knows them."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "ssh_config").write_text(
        f"IdentityFile {tmp_path}/user\nIdentitiesOnly yes\nUserKnownHostsFile {tmp_path}/known\nGlobalKnownHostsFile none\n"
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    (programs / "ssh").chmod(0o755)
    return Host(tmp_path, free_port(), free_port())


Publish = Callable[..., Awaitable[Dazi]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def publish(host: Host, stack: AsyncExitStack) -> Publish:
    """Serve the demo through the host: `await publish("--tunnel-url", host.url)`."""

    async def run(*arguments: str, **environ: str) -> Dazi:
        path = f"{host.folder}/programs:{os.environ['PATH']}"
        flags = ("--model", "demo", "--tunnel", host.destination, "--tunnel-port", str(host.published), *arguments)
        served = await Dazi.run(*flags, folder=host.folder, environ={"PATH": path, **environ})
        stack.push_async_callback(served.end)
        return await served.ready()

    return run


async def said(served: Dazi, words: str, *, times: int = 1) -> None:
    try:
        await until(lambda: served.said.count(words) >= times, seconds=PATIENCE)
    except TimeoutError:
        raise AssertionError(f"{words!r} is not said in {served.said}") from None


def key_in(served: Dazi) -> str:
    (key,) = re.findall(r"dz-[\w-]+", served.said)
    return str(key)


async def test_a_key_is_made_before_anything_is_published(host: Host, publish: Publish, stack: AsyncExitStack) -> None:
    host.trusted()
    await stack.enter_async_context(host.up())
    served = await publish("--tunnel-url", host.url)
    await said(served, f"Published at {host.url}")
    drawn = io.StringIO()
    segno.make(host.url, error="m", micro=False).terminal(out=drawn, border=2, compact=True)
    await said(served, drawn.getvalue().strip())
    async with httpx.AsyncClient(base_url=host.url, trust_env=False) as phone:
        assert (await phone.post("/v1/generations", json=QUESTION)).status_code == 401
        headers = {"Authorization": f"Bearer {key_in(served)}"}
        async with phone.stream("POST", "/v1/generations", json=QUESTION, headers=headers) as answer:
            assert '"type":"started"' in await anext(answer.aiter_text())
        assert (await phone.get("/admin/state")).status_code == 403


async def test_keys_that_are_there_are_kept_and_the_host_says_where_it_publishes(
    host: Host, publish: Publish, stack: AsyncExitStack
) -> None:
    host.trusted()
    words = "Our news: https://www.elsewhere.example/ Manage: https://admin.tunnels.example/"
    says = f"ForceCommand echo '{words}'; echo 'Forwarding HTTP traffic from https://a1b2.tunnels.example'; cat"
    await stack.enter_async_context(host.up(says))
    served = await publish(DAZI_API_KEYS="a-key-of-the-operator-1")
    await said(served, "Published at https://a1b2.tunnels.example,")
    assert "dz-" not in served.said
    async with httpx.AsyncClient(base_url=host.url, trust_env=False) as phone:
        models = await phone.get("/v1/models", headers={"Authorization": "Bearer a-key-of-the-operator-1"})
        assert models.json()["data"][0]["id"] == "demo"


async def test_a_tunnel_that_dies_is_told_and_dug_again(host: Host, publish: Publish, stack: AsyncExitStack) -> None:
    host.trusted()
    await stack.enter_async_context(host.up())
    served = await publish("--tunnel-url", host.url)
    await said(served, "Published at")
    for session in (one for one in children(served.pid) if one.name() == "ssh"):
        session.kill()
    await said(served, "It is tried again in 1 s.")
    assert "The tunnel through 127.0.0.1 ended: " in served.said
    async with httpx.AsyncClient(base_url=host.url, trust_env=False) as phone:
        await until_async(lambda: answers(phone))
    assert served.said.count("Published at") == 1


async def test_a_host_that_is_away_is_tried_again(host: Host, publish: Publish, stack: AsyncExitStack) -> None:
    host.trusted()
    served = await publish("--tunnel-url", host.url)
    await said(served, "Connection refused")
    await said(served, "It is tried again in 1 s.")
    await stack.enter_async_context(host.up())
    await said(served, f"Published at {host.url}")
    await served.end()


async def test_a_host_whose_key_is_not_known_is_not_trusted(
    host: Host, publish: Publish, stack: AsyncExitStack
) -> None:
    await stack.enter_async_context(host.up())
    served = await publish("--tunnel-url", host.url)
    await said(served, "Its key is not known here: run `ssh ssh://")
    await said(served, "It is given up")
    assert not is_open(host.published)
    assert (await served.client.get("/health/live")).status_code == 200


async def test_a_reader_through_the_tunnel_hears_the_goodbye(
    host: Host, publish: Publish, stack: AsyncExitStack
) -> None:
    host.trusted()
    await stack.enter_async_context(host.up())
    served = await publish("--tunnel-url", host.url, "--drain", "0.2")
    await said(served, "Published at")
    headers = {"Authorization": f"Bearer {key_in(served)}"}
    async with (
        httpx.AsyncClient(base_url=host.url, trust_env=False, timeout=PATIENCE) as phone,
        phone.stream("POST", "/v1/generations?profile=plain", json=QUESTION, headers=headers) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        served.signal(signal.SIGTERM)
        heard = [line async for line in lines if line]
    assert heard[-1] == 'data: {"type":"reconnect"}'
    assert await served.gone() == 0
    await until_async(lambda: closed(host.published))


async def test_nothing_is_left_of_it_when_the_gateway_is_killed(
    host: Host, publish: Publish, stack: AsyncExitStack
) -> None:
    host.trusted()
    await stack.enter_async_context(host.up())
    served = await publish("--tunnel-url", host.url)
    await said(served, "Published at")
    served.signal(signal.SIGKILL)
    await until_async(lambda: closed(host.published))


@pytest.mark.parametrize(
    ("host", "url", "words"),
    [
        ("-oProxyCommand=evil", None, "is no host"),
        (None, "https://a.example", "needs --tunnel"),
        ("a@b", "a.example", "is no http or https URL"),
    ],
)
def test_what_leads_nowhere_is_refused_with_the_remedy(host: str | None, url: str | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        way_of(host, 80, url)


def test_what_cannot_be_published_is_refused_with_the_remedy() -> None:
    way = Way("a@b", 80, "")
    with pytest.raises(ConfigError, match="a tunnel is for one"):
        guarded(Settings(workers=2), way)
    with pytest.raises(ConfigError, match="Unset hosts, or give --tunnel-url"):
        guarded(Settings(hosts=("chat.example.com",)), way)
    settings, key = guarded(Settings(hosts=("other.example",)), Way("a@b", 80, "https://chat.example.com"))
    assert settings.hosts == ("other.example", "chat.example.com")
    assert Keys(settings.api_keys).owner_of_key(key)


def children(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


async def answers(phone: httpx.AsyncClient) -> bool:
    try:
        return (await phone.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False


async def closed(port: int) -> bool:
    return not is_open(port)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.05)
