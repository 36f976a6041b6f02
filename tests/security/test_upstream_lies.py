"""A model's server may flood, lie and send nonsense; what it says is bounded, valid, and counts nothing that cannot be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from tests.conftest import Serve
from tests.puppet import Acting
from tests.security.raw import ask, request, start
from tests.service.test_writer import Desk

from dazi.errors import GenerationError
from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.openai import OpenAIUpstream

HALF = "\ud83d"


class Lying:
    """Finishes as the test says."""

    def __init__(self, finish: Finish) -> None:
        self._finish = finish

    async def generate(self, _prompt: Prompt, sink: Sink) -> Finish:
        sink.tool_call(0, call_id=f"id{HALF}", name=f"name{HALF}", arguments="{}")
        return self._finish


@pytest.mark.parametrize("encoding", ["ascii", "utf8", "url"])
async def test_half_characters_in_names_and_reasons_end_no_reader(serve: Serve, encoding: str) -> None:
    """A reader in UTF-8 that could not be told the end would never learn that there is one."""
    served = await serve({"m": Lying(Finish(f"reason{HALF}"))})
    answer = await ask(served.port, start(accept="*/*", query=f"?encoding={encoding}&profile=plain"))
    assert (b"finish_reason" in answer.body) or (b"finish%5Freason" in answer.body)
    assert b"done" in answer.body
    if encoding == "utf8":
        assert "name\ufffd" in answer.body.decode()
        assert "reason\ufffd" in answer.body.decode()


@pytest.mark.parametrize("count", [-5, 10**30, 2**63])
async def test_tokens_that_cannot_be_are_not_counted(
    serve: Serve, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve({"m": Lying(Finish("stop", Usage(count, count, count, reasoning_tokens=count)))})
    answer = await ask(served.port, start(accept="*/*"))
    done = json.loads(answer.body.split(b"data: ")[-1])
    assert 0 <= done["usage"]["prompt_tokens"] <= 10**9
    metrics = (await ask(served.port, request("GET", "/metrics"))).body.decode()
    assert 'dazi_generations_ended_total{code="",model="m",status="done"} 1.0' in metrics
    assert 'dazi_tokens_total{kind="prompt",model="m"}' in metrics
    assert not caplog.records, caplog.text


FLOODS: dict[str, Callable[[Sink, int], None]] = {
    "names of calls": lambda sink, at: sink.tool_call(at, name="n" * 100),
    "ids of calls": lambda sink, _: sink.tool_call(0, call_id="i" * 100),
    "calls": lambda sink, at: sink.tool_call(at, name="n"),
    "halves of characters": lambda sink, at: sink.tool_call(at, arguments=HALF),
    "text": lambda sink, _: sink.text("x" * 100),
    "thoughts": lambda sink, _: sink.reasoning("x" * 100),
}


@pytest.mark.parametrize("what", FLOODS)
def test_whatever_a_server_floods_an_answer_with_is_counted(what: str) -> None:
    desk = Desk(limit=10_000)
    said = 0

    def pour() -> None:
        nonlocal said
        for said in range(20_000):
            FLOODS[what](desk.writer, said)

    with pytest.raises(GenerationError) as caught:
        pour()
    assert caught.value.code == "too_long"
    assert said * (100 if what not in {"calls", "halves of characters"} else 1) <= 10_000
    assert len(desk.writer._arguments) <= 10_000 // 64 + 1


def test_a_call_of_nothing_leaves_nothing() -> None:
    desk = Desk(limit=100)
    for at in range(10_000):
        desk.writer.tool_call(at)
        desk.writer.tool_call(at, arguments="")
    assert desk.events == []
    assert not desk.writer._arguments


SYSTEM, KEY = "the walrus is a secret of the operator's", "quokka-key-9bd2468e"
QUOTES: dict[str, Callable[[str], str]] = {
    "an error": lambda asked: json.dumps({"error": {"message": asked, "type": asked, "code": asked, "param": asked}}),
    "a detail": lambda asked: json.dumps({"detail": asked, "message": asked, "code": asked, "status": asked}),
    "a page": lambda asked: f"<pre>{asked}</pre>",
    "an error inside": lambda asked: f"data: {json.dumps({'error': {'message': asked, 'code': asked}})}\n\n",
}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 503])
@pytest.mark.parametrize("what", QUOTES)
async def test_what_a_server_quotes_of_its_request_is_told_to_nobody(serve: Serve, what: str, status: int) -> None:
    """OWASP LLM02 and LLM07: its own words may hold the key, the system prompt, an address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        asked = (head + await reader.readexactly(length)).decode()
        body = QUOTES[what](asked).encode()
        kind = "text/event-stream" if what == "an error inside" else "application/json"
        writer.write(b"HTTP/1.1 %d So\r\nContent-Type: %b\r\n" % (status, kind.encode()))
        writer.write(b"X-Echo: %b\r\nContent-Length: %d\r\n\r\n" % (KEY.encode(), len(body)) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        served = await serve({"m": OpenAIUpstream(f"http://127.0.0.1:{port}/v1", key=KEY)})
        body = {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "hi"}], "stream": True}
        for path in ("/v1/generations", "/v1/chat/completions"):
            told = await ask(
                served.port, request("POST", path, [("Content-Type", "application/json")], json.dumps(body).encode())
            )
            whole = told.body.decode() + repr([value for _, value in told.headers])
            assert "upstream_" in whole or "truncated" in whole
            for secret in ("walrus", "quokka", str(port), "content-length:", "authorization"):
                assert secret not in whole.lower()


async def test_a_plug_ins_error_is_told_as_valid_text(serve: Serve) -> None:
    def act(_sink: Sink) -> None:
        raise GenerationError(f"code{HALF}", f"words{HALF}")

    served = await serve({"m": Acting(act)})
    answer = await ask(served.port, start(accept="*/*", query="?encoding=utf8"))
    failed = json.loads(answer.body.split(b"data: ")[-1])
    assert (failed["type"], failed["message"]) == ("failed", "words\ufffd")
