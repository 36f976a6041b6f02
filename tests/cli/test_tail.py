from __future__ import annotations

import asyncio
import json

from tests.cli.conftest import CTRL_C, Run, Sit
from tests.conftest import Serve, Served
from tests.puppet import Puppet, Scripted
from tests.waiting import until

PIECES = ("你好，", "𠮷野家 ", "完。")
TEXT = "".join(PIECES)


async def start(served: Served) -> str:
    body = {"messages": [{"role": "user", "content": "?"}]}
    reply = await served.client.post("/v1/generations", json=body, headers={"accept": "application/json"})
    return str(reply.json()["generation"])


async def ended(served: Served) -> str:
    generation = await start(served)
    await until(lambda: served.app.gateway.running == 0)
    return generation


async def test_a_generation_is_told_from_its_beginning(serve: Serve, run: Run) -> None:
    served = await serve({"m": Scripted(*PIECES)})
    ran = await run("tail", "--url", served.url, await ended(served))
    assert (ran.out, ran.err, ran.status) == (TEXT, "", 0)


async def test_a_generation_is_told_after_a_position(serve: Serve, run: Run) -> None:
    served = await serve({"m": Scripted(*PIECES)})
    ran = await run("tail", "--url", served.url, "--after", "1-2", await ended(served))
    assert (ran.out, ran.status) == ("".join(PIECES[1:]), 0)


async def test_a_position_that_no_longer_holds_is_told(serve: Serve, run: Run) -> None:
    served = await serve({"m": Scripted(*PIECES)})
    ran = await run("tail", "--url", served.url, "--after", "7-2", await ended(served))
    assert (ran.out, ran.status) == (TEXT, 0)


async def test_events_are_lines_of_json_with_their_positions(serve: Serve, run: Run) -> None:
    puppet = Puppet()
    served = await serve({"m": puppet})
    generation = await start(served)
    play = await puppet.play()
    running = asyncio.create_task(run("tail", "--json", "--url", served.url, generation))
    for piece in PIECES:
        play.say(piece)
    play.finish()
    ran = await running
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [events[0]["type"], events[-1]["type"], events[-1]["id"]] == ["started", "done", "1-5"]
    assert "".join(event.get("text", "") for event in events) == TEXT
    assert ran.status == 0


async def test_an_aborted_generation_is_told(serve: Serve, run: Run) -> None:
    served = await serve({"m": Puppet()})
    generation = await start(served)
    await served.client.post(f"/v1/generations/{generation}/abort")
    ran = await run("tail", "--url", served.url, generation)
    assert (ran.out, ran.err, ran.status) == ("", "[aborted]\n", 1)


async def test_ctrl_c_leaves_and_the_generation_goes_on(serve: Serve, sit: Sit) -> None:
    puppet = Puppet()
    served = await serve({"m": puppet})
    screen = await sit("tail", "--url", served.url, await start(served))
    play = await puppet.play()
    play.say("So far")
    await screen.shows("So far")
    screen.type(CTRL_C)
    assert await screen.gone() == 130
    await screen.shows("[left; the generation goes on]")
    assert served.app.gateway.running == 1


async def test_what_does_not_exist_is_told_in_a_sentence(serve: Serve, run: Run) -> None:
    served = await serve({"m": Scripted()})
    ran = await run("tail", "--url", served.url, "nothing")
    assert "There is no generation 'nothing'" in ran.err
    assert ran.status == 2
    ran = await run("tail", "--url", served.url, "--after", "x", await ended(served))
    assert "'x' is no position" in ran.err
    assert ran.status == 2
