"""Redis as it is run: with TLS, with users that may do little, and with masters that are lost in mid-answer."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.log.redis_server import RedisServer, redis_cluster, redis_sentinel, redis_server
from tests.puppet import Puppet
from tests.waiting import until

from dazi.errors import ConfigError, StoreUnavailable, Unavailable
from dazi.events import Done, Started, Text
from dazi.log import Draft, Record
from dazi.log.redis import RedisLog
from dazi.service import Gateway, Limits
from dazi.service.views import fold
from dazi.upstream import Prompt

PASSWORD = "wombat-and-quokka"
# All that a user of Dazi's needs: its own keys, and no administration.
RIGHTS = "resetkeys ~dazi:* resetchannels -@all +@read +@write +@scripting +@connection +time"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisLog]:
    log = RedisLog.from_url(url)
    try:
        yield log
    finally:
        await log.close()


async def use(log: RedisLog) -> str:
    """Write an answer, hear it and read it."""
    opened = await log.create(Draft("me", Started(secrets.token_hex(16), "m", 1), key="k"))
    heard = asyncio.Event()
    log.observe(opened.generation, lambda record: heard.set() if record.event.ends else None)
    await log.append(opened.generation, (Text("你好", 2),), previous=1, epoch=1)
    await log.end(opened.generation, Done("stop"))
    await asyncio.wait_for(heard.wait(), 5)
    await log.renew({opened.generation: 1})
    await log.sweep()
    await log.list()
    text = fold((await log.read(opened.generation)).records).text
    assert await log.erase("me") == 1
    return text


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA of our own, and what it signed for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")

    def openssl(command: str) -> None:
        subprocess.run(("openssl", *command.split()), cwd=folder, check=True, capture_output=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -keyout ca.key -out ca.pem")
    openssl("req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr")
    openssl("x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.pem")
    return folder


async def test_tls_with_a_ca_of_ones_own_and_a_certificate_of_this_client(certificates: Path) -> None:
    tls = RedisServer(certificates)
    tls.start(
        *("--port", "0", "--tls-port", str(tls.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(certificates)),
        *("--tls-cert-file", "redis.pem", "--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.pem"),
        answers=False,
    )
    try:
        ours = f"ssl_certfile={certificates}/redis.pem&ssl_keyfile={certificates}/redis.key"
        url = f"rediss://127.0.0.1:{tls.port}/0?{ours}"
        async with opened(f"{url}&ssl_ca_certs={certificates}/ca.pem") as log:
            assert await use(log) == "你好"
        async with opened(url) as log:
            with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await log.list()
    finally:
        tls.kill()


def test_a_wrong_option_of_a_url_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ssl_nonsense.*ssl_ca_certs"):
        RedisLog.from_url("rediss://127.0.0.1:1/0?ssl_nonsense=1")
    with pytest.raises(ConfigError, match="ssl_ca_certs"):
        RedisLog.from_url("redis://127.0.0.1:1/0?ssl_ca_certs=/dev/null")
    with pytest.raises(ConfigError, match="no such file"):
        RedisLog.from_url("rediss://127.0.0.1:1/0?ssl_ca_certs=/nowhere/ca.pem")


async def test_a_user_with_no_more_than_it_needs_and_what_a_stranger_is_told() -> None:
    with redis_server() as server:
        assert server.ask("ACL", "SETUSER", "dazi", "on", f">{PASSWORD}", *RIGHTS.split()) == "OK"
        assert server.ask("ACL", "SETUSER", "default", "off") == "OK"
        address = f"127.0.0.1:{server.port}/0"
        async with opened(f"redis://dazi:{PASSWORD}@{address}") as log:
            assert await use(log) == "你好"
        for credentials in ("", f"dazi:{PASSWORD[1:]}@", f"nobody:{PASSWORD}@"):
            async with opened(f"redis://{credentials}{address}") as log:
                with pytest.raises(StoreUnavailable) as told:
                    await log.list()
                assert PASSWORD[1:] not in str(told.value)


@asynccontextmanager
async def answering(url: str) -> AsyncIterator[tuple[Gateway, Puppet]]:
    puppet = Puppet()
    gateway = Gateway(RedisLog.from_url(url, lease=20), {"m": puppet}, limits=Limits(window=0.005, patience=60))
    await gateway.open()
    try:
        yield gateway, puppet
    finally:
        await gateway.close()


async def goes_on(url: str, master_of: Callable[[str], RedisServer]) -> None:
    """Lose the master in mid-answer: the text goes on, and the reader hears each piece once."""
    async with answering(url) as (gateway, puppet):
        opened = await gateway.start("me", Prompt("m", [{"role": "user", "content": "?"}]))
        play = await puppet.play()
        heard: list[Record] = []
        gateway.observe(opened.generation, heard.append)
        play.say("你", "好")
        await until(lambda: heard and heard[-1].position == 3, seconds=10)
        master_of(opened.generation).kill()
        play.say("!", "👩🏽‍🚀")
        play.finish()
        await until(lambda: heard[-1].event.ends, seconds=60)
        page = await gateway.read("me", opened.generation)
        assert isinstance(page.end, Done)
        assert fold(page.records).text == "你好!👩🏽‍🚀"
        assert [record.previous for record in heard] == [1, *(record.position for record in heard[:-1])]
        assert heard[-1].position == page.head.position


async def test_a_sentinels_master_is_lost_in_mid_answer() -> None:
    with redis_sentinel(replicas=1) as (url, master):
        await goes_on(url, lambda _: master)


@pytest.mark.full
async def test_a_clusters_master_is_lost_in_mid_answer() -> None:
    with redis_cluster(replicas=3) as servers:

        def master_of(generation: str) -> RedisServer:
            # The hash tag of its keys is its shard, the last digit of its id; slots are dealt out evenly, in order.
            slot = int(servers[0].ask("CLUSTER", "KEYSLOT", f"{{{int(generation[-1], 16)}}}"))
            return servers[slot * len(servers) // 16_384]

        addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        await goes_on(f"redis+cluster://{addresses}", master_of)


async def test_beyond_its_capacity_new_logs_are_refused_and_what_stands_goes_on() -> None:
    with redis_server() as server:
        log = RedisLog.from_url(server.url, max_bytes=1)
        opened = await log.create(Draft("me", Started(secrets.token_hex(16), "m", 1)))
        await log.sweep()
        with pytest.raises(Unavailable) as told:
            await log.create(Draft("me", Started(secrets.token_hex(16), "m", 1)))
        assert (told.value.code, told.value.status) == ("log_full", 503)
        await log.append(opened.generation, (Text("a", 1),), previous=1, epoch=1)
        await log.end(opened.generation, Done("stop"))
        log._max_bytes = 2**40
        await log.create(Draft("me", Started(secrets.token_hex(16), "m", 1)))
        await log.close()


@pytest.mark.full
async def test_a_clusters_memory_is_that_of_all_its_masters() -> None:
    with redis_cluster() as servers:
        log = RedisLog.from_url(f"redis+cluster://127.0.0.1:{servers[0].port}", max_bytes=1)
        await log.sweep()
        assert log._used > 2 * 500_000
        await log.close()
