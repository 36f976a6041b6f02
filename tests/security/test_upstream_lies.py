"""A model's server may flood, lie and send nonsense; what it says is bounded, valid, and counts nothing that cannot be."""

from __future__ import annotations

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


async def test_a_plug_ins_error_is_told_as_valid_text(serve: Serve) -> None:
    def act(_sink: Sink) -> None:
        raise GenerationError(f"code{HALF}", f"words{HALF}")

    served = await serve({"m": Acting(act)})
    answer = await ask(served.port, start(accept="*/*", query="?encoding=utf8"))
    failed = json.loads(answer.body.split(b"data: ")[-1])
    assert (failed["type"], failed["message"]) == ("failed", "words\ufffd")
