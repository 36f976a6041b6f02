from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from tests.upstream.mock_server import LAST_CHUNK, SOON, STREAM_HEAD, Line, MockServer, Script, answers, chunk, plain

from dazi.errors import ConfigError, UpstreamError
from dazi.upstream import http
from dazi.upstream.http import Client, Timeouts
from dazi.upstream.response import Take, Taken
from dazi.upstream.rounds import Rounds

Mock = Callable[..., Awaitable[MockServer]]

HELLO = STREAM_HEAD + chunk(b"Hello") + LAST_CHUNK
# Patience that no test outlives, so that what ends one is never the timeout.
PATIENT = Timeouts(connect=60, first_token=60, between_tokens=60)
IMPATIENT = Timeouts(connect=0.1, first_token=0.2, between_tokens=0.1)


class Keeper:
    """A reader that keeps the body. A piece with `!` is the last that is wanted, one with `?` is no progress."""

    def __init__(self) -> None:
        self.body = b""
        self.arrived = asyncio.Event()

    def begin(self, _media_type: str) -> Take:
        return self.take

    def take(self, body: bytes) -> Taken:
        self.body += body
        self.arrived.set()
        if b"boom" in body:
            raise ZeroDivisionError
        if b"!" in body:
            return Taken.ALL
        return Taken.NOTHING if b"?" in body else Taken.PROGRESS


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture(params=[0, 0.005], ids=["as it comes", "in rounds"], autouse=True)
def rounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Read what comes at once, and in rounds: every law holds for both."""
    rounds = Rounds(request.param)
    monkeypatch.setattr(http, "Client", partial(Client, rounds=rounds))
    return rounds


@asynccontextmanager
async def client_of(server: MockServer, timeouts: Timeouts = PATIENT, **options: Any) -> AsyncIterator[Client]:
    client = http.Client(f"{server.url}/chat", headers={"Authorization": "Bearer k"}, timeouts=timeouts, **options)
    yield client
    client.close()
    await settled()
    assert not client._pool.all, "connections are left"
    assert client._pool.rounds is None or client._pool.rounds._poll is None, "connections are read still"


async def settled() -> None:
    """Let the loop close what was aborted, which both loops do within a few turns."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells: bytes on their way to the other end."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.001)


def then(*pieces: bytes) -> Script:
    """Send these bytes and hold the line until the client is gone."""

    async def script(line: Line) -> None:
        await answers(*pieces)(line)
        await line.wait_gone()

    return script


class Gate:
    """Tells when the mock got so far, and when it saw the client go."""

    def __init__(self, *pieces: bytes, asked: bool = True) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self._pieces = pieces
        self._asked = asked

    async def __call__(self, line: Line) -> None:
        if self._asked:
            await answers(*self._pieces)(line)
        self.reached.set()
        await line.wait_gone()
        self.released.set()


# Asking


async def test_a_request_is_one_post_with_a_length(mock: Mock, keeper: Keeper) -> None:
    server = await mock(answers(HELLO))
    async with client_of(server) as client:
        await client.post(b'{"a":"%d"}', keeper)
    request = server.requests[0]
    assert request.line == "POST /v1/chat HTTP/1.1"
    assert request.body == b'{"a":"%d"}'
    assert request.headers["Host"] == f"127.0.0.1:{server.port}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Authorization"] == "Bearer k"
    assert keeper.body == b"Hello"


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host/v1", "http://", "http:///v1", "http://host:0/", "http://host:x/", "http://host:99999/"],
)
async def test_an_address_that_is_no_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(url, headers={})
    assert repr(url) in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["http://host/\r\nX: y", "http://host/a b", "http://主机/", "http://[::1/"],
)
async def test_an_address_that_cannot_be_used_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(url, headers={})
    assert repr(url) in str(raised.value)


@pytest.mark.parametrize("url", ["http://user:secret@host/v1", "https://secret@host/v1"])
async def test_an_address_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(url, headers={})
    assert "secret" not in str(raised.value)


# Failing


async def failure(client: Client, keeper: Keeper) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await asyncio.wait_for(client.post(b"{}", keeper), 10)
    await settled()
    assert not client._pool.all, "a failed connection was kept"
    return raised.value


async def test_nobody_listening_is_unreachable(keeper: Keeper) -> None:
    async with MockServer(answers()) as server:
        pass
    async with client_of(server) as client:
        error = await failure(client, keeper)
    assert error.code == "upstream_unreachable"
    assert str(server.port) not in error.message


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 70}/"])
async def test_a_name_that_cannot_exist_is_unreachable(url: str, keeper: Keeper) -> None:
    assert (await failure(Client(url, headers={}), keeper)).code == "upstream_unreachable"


async def test_a_server_that_makes_no_connection_in_time_is_unreachable(mock: Mock, keeper: Keeper) -> None:
    server = await mock(Line.wait_gone)  # it accepts, and never answers the TLS handshake
    url = f"https://127.0.0.1:{server.port}/"
    error = await failure(Client(url, headers={}, timeouts=IMPATIENT), keeper)
    assert error.code == "upstream_unreachable"
    assert "0.1 s" in error.message


async def hangs_up(line: Line) -> None:
    await line.request()


async def resets(line: Line) -> None:
    await line.request()
    line.reset()


async def resets_later(line: Line) -> None:
    await answers(STREAM_HEAD, chunk(b"Hello"))(line)
    await asyncio.sleep(0.05)  # else the reset overtakes the bytes
    line.reset()


@pytest.mark.parametrize(
    ("script", "code", "body"),
    [
        (hangs_up, "upstream_unreachable", b""),
        (resets, "upstream_unreachable", b""),
        (answers(STREAM_HEAD[:20]), "truncated", b""),
        (answers(STREAM_HEAD, chunk(b"Hello")), "truncated", b"Hello"),
        (answers(STREAM_HEAD, b"9\r\nHello"), "truncated", b"Hello"),
        (resets_later, "truncated", b"Hello"),
        (then(b"SSH-2.0-OpenSSH_9.2\r\n"), "upstream_garbage", b""),
        (then(STREAM_HEAD, chunk(b"Hello"), b"zz\r\n"), "upstream_garbage", b"Hello"),
        (then(plain(500, b"oh")), "upstream_unavailable", b""),
        (then(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"), "upstream_redirected", b""),
    ],
)
async def test_a_broken_answer_ends_in_its_code_and_what_came_stands(
    script: Script, code: str, body: bytes, mock: Mock, keeper: Keeper
) -> None:
    server = await mock(script)
    async with client_of(server) as client:
        assert (await failure(client, keeper)).code == code
    assert keeper.body == body
    assert len(server.lines) == 1


async def floods(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await line.send(b"X: " + b"y" * 1000 + b"\r\n")


async def test_a_server_that_floods_headers_is_cut_off(mock: Mock, keeper: Keeper) -> None:
    async with client_of(await mock(floods)) as client:
        assert (await failure(client, keeper)).code == "upstream_garbage"


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        pytest.param((), "0.2", id="before headers"),
        pytest.param((STREAM_HEAD,), "0.2", id="before the first token"),
        pytest.param((STREAM_HEAD, chunk(b"Hello")), "0.1", id="between tokens"),
    ],
)
async def test_silence_is_a_timeout(pieces: tuple[bytes, ...], seconds: str, mock: Mock, keeper: Keeper) -> None:
    server = await mock(then(*pieces))
    async with client_of(server, IMPATIENT) as client:
        begin = asyncio.get_running_loop().time()
        error = await failure(client, keeper)
        took = asyncio.get_running_loop().time() - begin
    assert error.code == "upstream_timeout"
    assert f"{seconds} s" in error.message
    assert took < 1


async def pings(line: Line) -> None:
    await answers(STREAM_HEAD)(line)
    while True:
        await line.send(chunk(b"?"))
        await asyncio.sleep(0.01)


async def test_keep_alives_do_not_hide_silence(mock: Mock, keeper: Keeper) -> None:
    async with client_of(await mock(pings), IMPATIENT) as client:
        assert (await failure(client, keeper)).code == "upstream_timeout"
    assert keeper.body


async def drips(line: Line) -> None:
    await answers(STREAM_HEAD)(line)
    for _ in range(8):
        await line.send(chunk(b"x"))
        await asyncio.sleep(0.05)
    await line.send(LAST_CHUNK)


async def test_a_slow_answer_is_not_silent(mock: Mock, keeper: Keeper) -> None:
    async with client_of(await mock(drips), Timeouts(first_token=1, between_tokens=0.2)) as client:
        await client.post(b"{}", keeper)
    assert keeper.body == b"x" * 8


async def test_what_the_reader_raises_comes_out_and_releases_the_connection(mock: Mock, keeper: Keeper) -> None:
    gate = Gate(STREAM_HEAD, chunk(b"boom"))
    async with client_of(await mock(gate)) as client:
        with pytest.raises(ZeroDivisionError):
            await client.post(b"{}", keeper)
        await asyncio.wait_for(gate.released.wait(), SOON)


# Cancelling


async def cancelled_when(ready: Awaitable[object], client: Client, keeper: Keeper) -> None:
    """Post, cancel when it is `ready`, and see that nothing is left."""
    task = asyncio.create_task(client.post(b"{}", keeper))
    await asyncio.wait_for(ready, SOON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled()
    assert not client._pool.all


async def test_cancelling_before_headers_releases_the_connection(mock: Mock, keeper: Keeper) -> None:
    gate = Gate()
    async with client_of(await mock(gate)) as client:
        await cancelled_when(gate.reached.wait(), client, keeper)
        await asyncio.wait_for(gate.released.wait(), SOON)


async def test_cancelling_in_mid_body_releases_the_connection(mock: Mock, keeper: Keeper) -> None:
    gate = Gate(STREAM_HEAD, chunk(b"Hello"))
    async with client_of(await mock(gate)) as client:
        await cancelled_when(keeper.arrived.wait(), client, keeper)
        await asyncio.wait_for(gate.released.wait(), SOON)


async def test_cancelling_while_connecting_releases_the_connection(mock: Mock, keeper: Keeper) -> None:
    gate = Gate(asked=False)  # TLS is asked for, and never answered
    server = await mock(gate)
    client = Client(f"https://127.0.0.1:{server.port}/", headers={}, timeouts=PATIENT)
    await cancelled_when(gate.reached.wait(), client, keeper)
    await asyncio.wait_for(gate.released.wait(), SOON)


async def test_cancelling_an_encrypted_exchange_releases_the_connection(
    mock: Mock, keeper: Keeper, server_tls: ssl.SSLContext, trusting_tls: ssl.SSLContext
) -> None:
    gate = Gate(STREAM_HEAD, chunk(b"Hello"))
    async with client_of(await mock(gate, server_tls), tls=trusting_tls) as client:
        await cancelled_when(keeper.arrived.wait(), client, keeper)
        await asyncio.wait_for(gate.released.wait(), SOON)


async def test_a_hundred_cancelled_at_random_moments_leave_nothing(mock: Mock) -> None:
    server = await mock(drips)
    async with client_of(server) as client:
        tasks = [asyncio.create_task(client.post(b"{}", Keeper())) for _ in range(100)]
        for turn, task in enumerate(tasks):
            asyncio.get_running_loop().call_later(turn * 0.002, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        await settled()
        assert not client._pool.all
        await until(lambda: all(line.writer.transport.is_closing() for line in server.lines))


async def test_closing_the_client_fails_what_is_running(mock: Mock, keeper: Keeper) -> None:
    async with client_of(await mock(then(STREAM_HEAD, chunk(b"Hello")))) as client:
        task = asyncio.create_task(client.post(b"{}", keeper))
        await asyncio.wait_for(keeper.arrived.wait(), SOON)
        client.close()
        with pytest.raises(UpstreamError) as raised:
            await task
    assert raised.value.code == "truncated"


# Keeping connections


async def test_a_connection_is_used_again(mock: Mock) -> None:
    server = await mock(answers(HELLO, times=3))
    async with client_of(server) as client:
        for _ in range(3):
            keeper = Keeper()
            await client.post(b"{}", keeper)
            assert keeper.body == b"Hello"
    assert len(server.lines) == 1


async def test_posts_at_the_same_time_have_their_own_connections(mock: Mock) -> None:
    server = await mock(answers(HELLO, times=2))
    async with client_of(server) as client:
        await asyncio.gather(*(client.post(b"{}", Keeper()) for _ in range(3)))
        await asyncio.gather(*(client.post(b"{}", Keeper()) for _ in range(3)))
    assert len(server.lines) == 3


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(plain(200, b"Hello", extra="Connection: close\r\n"), id="the server says close"),
        pytest.param(HELLO + b"HTTP/1.1 200 OK\r\n", id="the server goes on"),
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(response: bytes, mock: Mock) -> None:
    server = await mock(then(response))
    async with client_of(server) as client:
        await client.post(b"{}", Keeper())
        await settled()
        assert not client._pool.all


async def test_a_connection_that_the_server_closed_while_idle_costs_a_second_try(mock: Mock, keeper: Keeper) -> None:
    async def script(line: Line) -> None:
        await answers(HELLO)(line)
        if len(server.lines) == 1:
            await line.request()  # read, and hung up without a byte

    server = await mock(script)
    async with client_of(server) as client:
        await client.post(b"{}", Keeper())
        await client.post(b"{}", keeper)
    assert keeper.body == b"Hello"
    assert len(server.lines) == 2


async def test_a_connection_that_is_just_closing_costs_a_second_try(mock: Mock, keeper: Keeper) -> None:
    server = await mock(answers(HELLO, times=2))
    async with client_of(server) as client:
        await client.post(b"{}", Keeper())
        client._pool.idle[0]._transport.close()
        await client.post(b"{}", keeper)
    assert keeper.body == b"Hello"
    assert len(server.lines) == 2


async def test_a_late_cancellation_does_not_touch_the_next_exchange(mock: Mock, keeper: Keeper) -> None:
    """The connection may be taken again between the end of a response and the turn of the task that waited for it."""
    server = await mock(answers(HELLO, times=2))
    async with client_of(server) as client:
        first = asyncio.create_task(client.post(b"{}", keeper))
        await keeper.arrived.wait()
        first.cancel()
        second = Keeper()
        await client.post(b"{}", second)
        assert first.cancelled()
    assert second.body == b"Hello"
    assert len(server.lines) == 1


async def test_a_connection_that_breaks_after_a_byte_is_no_second_try(mock: Mock, keeper: Keeper) -> None:
    async def script(line: Line) -> None:
        await answers(HELLO)(line)
        await answers(b"H")(line)

    server = await mock(script)
    async with client_of(server) as client:
        await client.post(b"{}", Keeper())
        assert (await failure(client, keeper)).code == "truncated"
    assert len(server.lines) == 1


async def test_an_idle_connection_is_let_go(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_IDLE_TIMEOUT", 0.05)
    gate = Gate(HELLO)
    async with client_of(await mock(gate)) as client:
        await client.post(b"{}", Keeper())
        assert client._pool.idle
        await asyncio.wait_for(gate.released.wait(), SOON)
        assert not client._pool.idle


async def test_an_idle_connection_on_which_the_server_speaks_is_let_go(mock: Mock) -> None:
    speak = asyncio.Event()

    async def script(line: Line) -> None:
        await answers(HELLO)(line)
        await speak.wait()
        await line.send(HELLO)
        await line.wait_gone()
        gate.set()

    gate = asyncio.Event()
    async with client_of(await mock(script)) as client:
        await client.post(b"{}", Keeper())
        speak.set()
        await asyncio.wait_for(gate.wait(), SOON)
        assert not client._pool.idle


async def test_the_end_of_the_answer_is_not_held_up_by_the_end_of_the_response(mock: Mock, keeper: Keeper) -> None:
    finish = asyncio.Event()
    finished = asyncio.Event()

    async def script(line: Line) -> None:
        await answers(STREAM_HEAD, chunk(b"all!"))(line)
        await finish.wait()
        await line.send(chunk(b"more"), LAST_CHUNK)
        finished.set()
        await answers(HELLO)(line)

    server = await mock(script)
    async with client_of(server) as client:
        await asyncio.wait_for(client.post(b"{}", keeper), SOON)
        assert not client._pool.idle
        finish.set()
        await finished.wait()
        await until(lambda: bool(client._pool.idle))
        await client.post(b"{}", Keeper())
    assert keeper.body == b"all!"
    assert len(server.lines) == 1


async def test_a_server_that_holds_the_line_after_the_answer_loses_it(
    mock: Mock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_DRAIN_TIMEOUT", 0.05)
    gate = Gate(STREAM_HEAD, chunk(b"all!"))
    async with client_of(await mock(gate)) as client:
        await client.post(b"{}", keeper)
        await asyncio.wait_for(gate.released.wait(), SOON)


# TLS


async def test_an_encrypted_exchange(
    mock: Mock, keeper: Keeper, server_tls: ssl.SSLContext, trusting_tls: ssl.SSLContext
) -> None:
    server = await mock(answers(HELLO, times=2), server_tls)
    async with client_of(server, tls=trusting_tls) as client:
        await client.post(b"{}", keeper)
        await client.post(b"{}", keeper)
    assert keeper.body == b"HelloHello"
    assert len(server.lines) == 1


async def test_an_unknown_certificate_is_refused(mock: Mock, keeper: Keeper, server_tls: ssl.SSLContext) -> None:
    server = await mock(answers(HELLO), server_tls)
    error = await failure(Client(server.url, headers={}), keeper)
    assert error.code == "upstream_unreachable"
    assert "secure" in error.message
    assert not server.requests


async def test_a_certificate_for_another_name_is_refused(
    mock: Mock, keeper: Keeper, server_tls: ssl.SSLContext, trusting_tls: ssl.SSLContext
) -> None:
    server = await mock(answers(HELLO), server_tls)
    client = Client(f"https://127.0.0.1:{server.port}/", headers={}, tls=trusting_tls)
    assert (await failure(client, keeper)).code == "upstream_unreachable"
    assert not server.requests
