"""The doctor in front of a real gateway, through a real nginx in right and broken configurations."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.conftest import Serve, Served
from tests.faultproxy import FaultProxy, Latency, Onward, Toxic, Toxics
from tests.nginx import RIGHT, nginx

from dazi.doctor import Finding, Patient, examine
from dazi.errors import ConfigError
from dazi.settings import Settings
from dazi.upstream.demo import DemoUpstream

CERTIFICATE = Path(__file__).parent.parent / "upstream" / "localhost.pem"
BUFFERED = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on; proxy_read_timeout 75s;'

KEY = "a-key-of-the-doctors-1"

Front = Callable[..., Awaitable[int]]


@pytest.fixture
async def gateway(serve: Serve) -> Served:
    return await serve({"demo": DemoUpstream()}, settings=Settings(origins=("https://app.example.com",)))


@pytest.fixture
async def front(gateway: Served, tmp_path: Path) -> AsyncIterator[Front]:
    """Put nginx in front of the gateway: `await front("proxy_buffering on;")` gives its port."""
    async with AsyncExitStack() as stack:

        async def start(location: str = RIGHT, *, tls: Path | None = None) -> int:
            return await stack.enter_async_context(
                nginx(tmp_path / "nginx", behind=gateway.port, location=location, tls=tls)
            )

        yield start


async def findings(url: str, *, wait: float = 2.5, origin: str | None = None) -> list[Finding]:
    return [finding async for finding in examine(Patient(url=url, wait=wait, origin=origin))]


async def troubles(url: str, *, origin: str | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in await findings(url, origin=origin) if finding.is_trouble}


async def test_a_gateway_alone_has_nothing_to_mend(gateway: Served) -> None:
    found = {one.check: one.verdict for one in await findings(gateway.url, wait=1.5, origin="https://app.example.com")}
    assert found.pop("mini_program") == "note"
    assert set(found.values()) == {"healthy"}, found
    assert {"buffering", "heartbeats", "disconnect", "resume", "abort", "cors", "idle_timeout"} <= found.keys()


@pytest.mark.parametrize("location", [RIGHT, BUFFERED], ids=["unbuffered", "obeys the gateway's header"])
async def test_a_right_nginx_has_nothing_to_mend(front: Front, location: str) -> None:
    assert await troubles(f"http://127.0.0.1:{await front(location)}") == {}


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (RIGHT + "gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any;", {"compression"}),
        ("proxy_buffering off;", {"http_version"}),
        (RIGHT.replace("75s", "1500ms"), {"idle_timeout"}),
        (RIGHT + "proxy_hide_header Content-Type; add_header Content-Type application/json always;", {"content_type"}),
        (RIGHT + 'proxy_set_header Last-Event-ID "";', {"last_event_id", "resume"}),
        (RIGHT + "proxy_ignore_client_abort on;", {"disconnect"}),
        (RIGHT + 'if ($request_uri ~ "/abort$") { return 403; }', {"abort"}),
        (RIGHT + 'if ($request_uri ~ "^/v1/probe") { return 301 https://chat.example.com$request_uri; }', {"status"}),
        (RIGHT + "proxy_hide_header Access-Control-Allow-Origin;", {"cors"}),
    ],
    ids=["gzip", "http10", "idle", "type", "last-event-id", "leaves", "abort", "redirects", "cors"],
)
async def test_a_broken_nginx_is_named(front: Front, location: str, expected: set[str]) -> None:
    found = await troubles(f"http://127.0.0.1:{await front(location)}", origin="https://app.example.com")
    assert found.keys() == expected
    assert all(finding.fix for finding in found.values())


@pytest.mark.parametrize(
    ("outer", "expected"),
    [(RIGHT, set()), ("", {"buffering", "accel_buffering"})],
    ids=["right", "as nginx is by default"],
)
async def test_an_nginx_before_the_nginx_is_examined_too(
    front: Front, tmp_path: Path, outer: str, expected: set[str]
) -> None:
    """The inner one takes the header against buffering out, and answers HTTP/1.0 without chunks: the outer one holds all back."""
    inner = await front()
    async with nginx(tmp_path / "outer", behind=inner, location=outer) as port:
        assert (await troubles(f"http://127.0.0.1:{port}")).keys() == expected


async def test_a_proxy_that_holds_back_is_named(gateway: Served) -> None:
    async with FaultProxy(gateway.port, lambda _: Toxics(down=[Latency(1.2)])) as proxy:
        found = await troubles(proxy.url)
    assert found.keys() == {"buffering"}
    assert re.search(r"20 pieces sent over 1.9 s came in [1-3] lots", found["buffering"].words)
    assert "proxy_buffering off" in found["buffering"].fix


class OldProtocol(Toxic):
    """Speaks HTTP/1.0, where a body ends with the line and has no frames of its own."""

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        await onward(data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n").replace(b": keep-alive", b": close"))


class WithoutComments(Toxic):
    """Takes comments out of streams."""

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        await onward(re.sub(rb"(?m)^: .*\n\n", b"", data))


async def test_a_proxy_that_takes_comments_out_is_named(gateway: Served) -> None:
    async with FaultProxy(gateway.port, lambda _: Toxics(up=[OldProtocol()], down=[WithoutComments()])) as proxy:
        found = await troubles(proxy.url)
    assert found.keys() == {"heartbeats", "http_version"}
    assert "takes comments out" in found["heartbeats"].words


class WithoutHint(Toxic):
    """Takes the header that tells nginx not to buffer out of heads."""

    async def pass_on(self, data: bytes, onward: Onward) -> None:
        await onward(data.replace(b"x-accel-buffering: no\r\n", b""))


async def test_a_proxy_that_takes_the_header_against_buffering_out_is_named(gateway: Served) -> None:
    async with FaultProxy(gateway.port, lambda _: Toxics(down=[WithoutHint()])) as proxy:
        assert (await troubles(proxy.url)).keys() == {"accel_buffering"}


@pytest.mark.parametrize(
    ("location", "key", "check", "words"),
    [
        (RIGHT + 'proxy_set_header Authorization "";', KEY, "authorization", "does not arrive"),
        (RIGHT, "a-key-that-nobody-has-8", "status", "not known"),
        (RIGHT, None, "status", "No API key came"),
    ],
    ids=["dropped", "wrong", "none"],
)
async def test_a_key_that_is_dropped_is_told_from_one_that_is_wrong(
    serve: Serve, tmp_path: Path, location: str, key: str | None, check: str, words: str
) -> None:
    served = await serve({"demo": DemoUpstream()}, settings=Settings(api_keys=(KEY,)))
    async with nginx(tmp_path / "nginx", behind=served.port, location=location) as port:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        found = [
            one async for one in examine(Patient(url=f"http://127.0.0.1:{port}", headers=headers)) if one.is_trouble
        ]
    assert [one.check for one in found] == [check]
    assert words in found[0].words
    assert found[0].fix


async def test_a_name_that_the_gateway_does_not_know_is_told_with_the_setting(gateway: Served) -> None:
    patient = Patient(url=gateway.url, headers={"Host": "chat.example.com"})
    found = {one.check: one async for one in examine(patient) if one.is_trouble}
    assert found.keys() == {"status"}
    assert "DAZI_HOSTS" in found["status"].fix


async def test_a_certificate_that_nobody_vouches_for_is_named_and_the_rest_examined(front: Front) -> None:
    port = await front(tls=CERTIFICATE)
    found = {finding.check: finding for finding in await findings(f"https://localhost:{port}")}
    assert found["tls"].verdict == "fault"
    assert "cannot be verified" in found["tls"].words
    assert found["resume"].verdict == "healthy"


async def test_a_place_where_nothing_listens_is_named(unused_port: int) -> None:
    found = await findings(f"http://127.0.0.1:{unused_port}")
    assert (found[0].check, found[0].verdict) == ("connection", "fault")
    assert len([one for one in found if one.check != "mini_program"]) == 1


async def test_a_name_that_does_not_exist_is_named() -> None:
    found = await findings("http://no-such-host.invalid")
    assert "is not known" in found[0].words


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no http or https URL"):
        await findings("chat.example.com")


async def test_a_phone_would_be_refused_the_address_of_another_machine() -> None:
    found = await findings("http://192.0.2.1:8080", wait=1)
    assert [one.verdict for one in found if one.check == "mini_program"] == ["warning"] * 3
