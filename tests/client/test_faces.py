"""The contract that both faces of the client keep, against the real gateway."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.conftest import Connect
from tests.conftest import Serve, listening
from tests.puppet import Acting, Puppet, Scripted
from tests.waiting import until

from dazi.client import Answer, AsyncAnswer, AsyncClient, Client, NotAGateway, Patience, Replaced, Unreachable
from dazi.client.http import AsyncLine, Line
from dazi.errors import (
    ConfigError,
    Conflict,
    GenerationError,
    InvalidRequest,
    NotFound,
    RequestError,
    Unauthorized,
    UpstreamError,
)
from dazi.events import Aborted, Done, Failed, Reasoning, Snapshot, Started, Text, ToolCall, Usage
from dazi.settings import Settings
from dazi.upstream import Sink

PIECES = ("你", "好，", "𠮷野家 ", "👨‍👩‍", "👧‍👦!")
TEXT = "".join(PIECES)


def think_and_act(sink: Sink) -> None:
    sink.reasoning("想")
    sink.reasoning("想")
    sink.tool_call(0, call_id="a", name="look", arguments="{")
    sink.tool_call(0, arguments="}")
    sink.text("Well.")


# Asking


async def test_pieces_come_as_they_are_said(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    async with client.start("?") as answer:
        play = await puppet.play()
        pieces = aiter(answer)
        for piece in PIECES:
            play.say(piece)
            assert await anext(pieces) == piece
        play.finish()
        assert [piece async for piece in pieces] == []
    assert answer.text == TEXT
    assert isinstance(answer.end, Done)


async def test_events_tell_everything(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Acting(think_and_act)})).url)
    async with client.start("?") as answer:
        events = [event async for event in answer.events()]
    assert [type(event) for event in events] == [Started, Reasoning, Reasoning, ToolCall, ToolCall, Text, Done]
    assert events[0].generation == answer.generation
    assert answer.reasoning == "想想"
    assert answer.tool_calls == (ToolCall(0, call_id="a", name="look", arguments="{}"),)


async def test_the_generation_is_known_once_the_answer_is_entered(serve: Serve, connect: Connect) -> None:
    served = await serve({"m": Puppet()})
    client = connect(served.url)
    answer = client.start("?")
    assert answer.generation == ""
    async with answer:
        assert (await client.read(answer.generation)).status == "running"


async def test_nothing_is_sent_before_the_answer_is_entered(serve: Serve, connect: Connect) -> None:
    served = await serve({"m": Puppet()})
    connect(served.url).start("?")
    assert served.app.gateway.running == 0


async def test_a_conversation_and_options_reach_the_model(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": Scripted(), "n": puppet})).url)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}]
    async with client.start(messages, model="n", temperature=0.5):
        prompt = (await puppet.play()).prompt
    assert prompt.messages == messages
    assert prompt.options == {"temperature": 0.5}


async def test_the_end_can_be_waited_for(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES, reason="length", usage=Usage(1, 2, 3))})).url)
    async with client.start("?") as answer:
        end = await answer.wait_end()
    assert (end.finish_reason, end.usage) == ("length", Usage(1, 2, 3))
    assert answer.text == TEXT


async def test_iterating_can_be_left_and_taken_up_again(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    said = []
    async with client.start("?") as answer:
        async for piece in answer:
            said.append(piece)
            break
        async for event in answer.events():
            said.append(event.text)
            break
        await answer.close()
        said += [piece async for piece in answer]
        assert [piece async for piece in answer] == []
    assert "".join(said) == TEXT


async def test_models_are_told_the_default_first(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"b": Scripted(), "a": Scripted()})).url)
    assert await client.models() == ("b", "a")


# What stands


async def test_an_answer_is_read_as_it_stands(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Acting(think_and_act)})).url)
    async with client.start("?") as answer:
        await answer.wait_end()
    standing = await client.read(answer.generation)
    assert (standing.generation, standing.model, standing.status) == (answer.generation, "m", "done")
    assert (standing.text, standing.reasoning, standing.tool_calls) == ("Well.", "想想", answer.tool_calls)
    assert (standing.finish_reason, standing.error, standing.next) == ("stop", None, answer.position)


async def test_a_generation_is_attached_to_from_its_beginning(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    async with client.start("?") as answer:
        first = [event async for event in answer.events()]
    async with client.attach(answer.generation) as again:
        second = [event async for event in again.events()]
    assert (second[0], second[-1]) == (first[0], first[-1])
    assert (again.text, again.position) == (TEXT, answer.position)


async def test_a_generation_is_attached_to_after_a_position(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    async with client.start("?") as answer:
        pieces = [(answer.position, answer.text) async for _ in answer]
    for position, text in pieces:
        async with client.attach(answer.generation, after=position) as tail:
            assert text + "".join([piece async for piece in tail]) == TEXT
        assert text + tail.text == TEXT
        assert tail.end == answer.end


async def test_attached_to_at_its_end_an_answer_says_nothing_more(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    async with client.start("?") as answer:
        await answer.wait_end()
    async with client.attach(answer.generation, after=answer.position) as tail:
        assert [piece async for piece in tail] == []
    assert tail.end == answer.end


async def test_a_position_that_no_longer_holds_gives_what_stands_instead(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    async with client.start("?") as answer:
        await answer.wait_end()
    async with client.attach(answer.generation, after="9-2") as again:
        with pytest.raises(Replaced, match="could not go on from the position") as caught:
            await anext(aiter(again))
        assert caught.value.text == TEXT
        assert await again.wait_end() == answer.end
    async with client.attach(answer.generation, after="9-2") as again:
        events = [type(event) async for event in again.events()]
    assert events == [Snapshot, Done]


# Ends


async def test_a_failed_generation_raises_after_its_text(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    async with client.start("?") as answer:
        play = await puppet.play()
        play.say("So far")
        play.fail(UpstreamError("truncated", "It broke off.", retryable=True))
        pieces = aiter(answer)
        assert await anext(pieces) == "So far"
        with pytest.raises(GenerationError, match="It broke off") as caught:
            await anext(pieces)
        with pytest.raises(GenerationError):
            await answer.wait_end()
    assert (caught.value.code, caught.value.retryable) == ("truncated", True)
    assert isinstance(answer.end, Failed)
    async with client.attach(answer.generation) as again:
        assert isinstance([event async for event in again.events()][-1], Failed)


@pytest.mark.parametrize("how", ["answer", "client"])
async def test_an_abort_reaches_the_model(how: str, serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    async with client.start("?") as answer:
        play = await puppet.play()
        play.say("So far")
        assert await anext(aiter(answer)) == "So far"
        end = await (answer.abort() if how == "answer" else client.abort(answer.generation))
        await play.wait_released()
        assert await answer.wait_end() == end
    assert isinstance(end, Aborted)
    assert answer.text == "So far"


async def test_an_abort_reaches_an_answer_that_is_waited_for(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    async with client.start("?") as answer:
        waiting = asyncio.create_task(answer.wait_end())
        await puppet.play()
        assert isinstance(await answer.abort(), Aborted)
        assert isinstance(await waiting, Aborted)


async def test_an_abort_before_the_start_wins(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    answer = client.start("?")
    assert isinstance(await answer.abort(), Aborted)
    async with answer:
        assert isinstance(await answer.wait_end(), Aborted)
    assert puppet.asked == 0


async def test_an_abort_after_the_end_tells_the_end(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted("x")})).url)
    async with client.start("?") as answer:
        end = await answer.wait_end()
        assert await answer.abort() == end


async def test_leaving_an_answer_does_not_stop_it(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    served = await serve({"m": puppet})
    client = connect(served.url)
    async with client.start("?") as answer:
        play = await puppet.play()
    play.say("Still here")
    play.finish()
    await play.wait_released()
    await until(lambda: served.app.gateway.running == 0)
    assert (await client.read(answer.generation)).text == "Still here"


# The same question twice


async def test_the_same_key_and_question_attach(serve: Serve, connect: Connect) -> None:
    puppet = Puppet()
    client = connect((await serve({"m": puppet})).url)
    async with (
        client.start("?", idempotency_key="once") as first,
        client.start("?", idempotency_key="once") as second,
    ):
        play = await puppet.play()
        play.say(TEXT)
        play.finish()
        assert first.generation == second.generation
        await first.wait_end()
        await second.wait_end()
    assert first.text == second.text == TEXT
    assert puppet.asked == 1


async def test_the_same_key_for_another_question_is_a_conflict(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted()})).url)
    async with client.start("?", idempotency_key="once"):
        pass
    with pytest.raises(Conflict):
        await client.start("Another?", idempotency_key="once").wait_end()


# Refusals, in words


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda client: client.start("?", model="no"), NotFound, "no model 'no'.*Use one of: m"),
        (lambda client: client.start("?", temprature=1), InvalidRequest, "no field 'temprature'"),
        (lambda client: client.start([]), InvalidRequest, "messages"),
        (lambda client: client.attach("no/such?one"), NotFound, "no generation|nothing at"),
        (lambda client: client.attach("x", after="你"), InvalidRequest, "'你' is no position"),
    ],
)
async def test_a_refusal_is_raised_where_the_answer_is_entered(
    ask: Callable[[Any], Any], error: type[RequestError], said: str, serve: Serve, connect: Connect
) -> None:
    client = connect((await serve({"m": Scripted()})).url)
    with pytest.raises(error, match=said) as caught:
        async with ask(client):
            pass
    assert caught.value.remedy


async def test_what_does_not_exist_cannot_be_read_or_aborted(serve: Serve, connect: Connect) -> None:
    client = connect((await serve({"m": Scripted()})).url)
    with pytest.raises(NotFound, match="may have expired"):
        await client.read("nothing")
    with pytest.raises(NotFound, match="may have expired"):
        await client.abort("nothing")


async def test_a_key_opens_and_a_wrong_one_does_not(serve: Serve, connect: Connect) -> None:
    keys = ("a-key-of-a-team-9876",)
    url = (await serve({"m": Scripted("x")}, settings=Settings(api_keys=keys))).url
    assert await connect(url, keys[0]).models() == ("m",)
    for wrong in (None, "another-key-altogether"):
        client = connect(url, wrong)
        for ask in (client.start("?").wait_end, client.models):
            with pytest.raises(Unauthorized) as caught:
                await ask()
            assert caught.value.remedy in {
                "Send the header Authorization: Bearer <key>.",
                "Use one of the gateway's DAZI_API_KEYS.",
            }


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8000", "no http or https URL"),
        ("ftp://example.com", "no http or https URL"),
        ("http://exa mple.com", "no http or https URL"),
        ("http://[::1", "no http or https URL"),
        ("http://me:secret@example.com", "user name or password"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str, said: str, connect: Connect) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused(connect: Connect) -> None:
    with pytest.raises(ConfigError, match="cannot carry") as caught:
        connect("http://127.0.0.1:1", "geheim\n")
    assert "geheim" not in str(caught.value)


async def test_where_nobody_listens_is_told(connect: Connect) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 could not be read: .*refused"):
        await connect("http://127.0.0.1:9").start("?").wait_end()


async def test_a_proxy_is_not_asked_for_this_very_machine(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    url = (await serve({"m": Scripted()})).url
    assert await connect(url).models() == ("m",)
    assert await connect(url.replace("127.0.0.1", "localhost")).models() == ("m",)


@pytest.mark.parametrize(("status", "kind"), [(200, "text/html"), (404, "text/html"), (302, "text/plain")])
async def test_another_server_is_told_from_a_gateway(status: int, kind: str, connect: Connect) -> None:
    async def other(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-type", kind.encode()), (b"location", b"/elsewhere")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"<p>Log in to this network</p>"})

    async with listening(other) as port:
        client = connect(f"http://127.0.0.1:{port}")
        for ask in (client.start("?").wait_end, client.attach("x").wait_end, client.models):
            with pytest.raises(NotAGateway, match=f"answered {status} with {kind}"):
                await ask()


# Time


async def test_a_goodbye_is_followed_to_the_end(serve: Serve, connect: Connect) -> None:
    """The gateway asks its readers to attach again, and drains."""
    puppet = Puppet()
    served = await serve({"m": puppet})
    async with connect(served.url).start("?") as answer:
        play = await puppet.play()
        play.say("Before, ")
        assert await anext(aiter(answer)) == "Before, "
        closing = asyncio.create_task(served.app.gateway.close(drain=10))
        waiting = asyncio.create_task(answer.wait_end())
        await asyncio.sleep(0)
        play.say("after.")
        play.finish()
        await waiting
        await closing
    assert answer.text == "Before, after."


async def test_a_silent_model_does_not_look_like_a_dead_line(serve: Serve, connect: Connect) -> None:
    """Heartbeats are asked for often enough: four silences pass, and the line is the first one still."""
    puppet = Puppet()
    served = await serve({"m": puppet})
    client = connect(served.url, patience=Patience(silence=2.5, attempts=1))
    async with client.start("?") as answer:
        play = await puppet.play()
        asyncio.get_running_loop().call_later(3.2, play.finish)
        assert isinstance(await answer.wait_end(), Done)


async def test_a_cancelled_reader_reads_on(serve: Serve) -> None:
    puppet = Puppet()
    async with AsyncClient((await serve({"m": puppet})).url) as client, client.start("?") as answer:
        play = await puppet.play()
        for piece in PIECES:
            waiting = asyncio.create_task(answer.wait_end())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            play.say(piece)
        play.finish()
        await answer.wait_end()
    assert answer.text == TEXT


async def test_an_interrupted_reader_reads_on(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, which may strike while a chunk is taken."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    client = connect((await serve({"m": Scripted(*PIECES)})).url)
    async with client.start("?") as answer:
        with monkeypatch.context() as patch:
            patch.setattr(Line, "read", interrupt)
            patch.setattr(AsyncLine, "read", interrupt)
            with pytest.raises(Interrupt):
                await answer.wait_end()
        await answer.wait_end()
    assert answer.text == TEXT


# The two faces


@pytest.mark.parametrize(("one", "other"), [(AsyncClient, Client), (AsyncAnswer, Answer)])
def test_the_faces_have_the_same_names_and_arguments(one: type, other: type) -> None:
    def shape(face: type) -> dict[str, list[str]]:
        public = inspect.getmembers(face, lambda member: inspect.isfunction(member) or isinstance(member, property))
        return {
            name: list(inspect.signature(member).parameters) if callable(member) else []
            for name, member in public
            if not name.startswith("_")
        }

    assert shape(one) == shape(other)
