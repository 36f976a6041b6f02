"""What a client may choose, the server clamps (LiteLLM's keep-alive interval, set by clients, was a way to bring it down)."""

from __future__ import annotations

import asyncio

import pytest
from tests.conftest import Served
from tests.puppet import Puppet
from tests.security.raw import ask, request, start
from tests.waiting import until

from dazi.web import probe

HUGE = ("1e9", "9" * 400, "-1", "0", "0.0000001", "NaN", "inf")


@pytest.mark.parametrize("heartbeat", ["0.000001", "0.0000000001", "0." + "0" * 300 + "1"])
async def test_a_probes_heartbeat_cannot_be_made_a_flood(served: Served, heartbeat: str) -> None:
    answer = await ask(served.port, request("GET", f"/v1/probe?ticks=0&silence=0.5&heartbeat={heartbeat}"))
    assert 1 <= answer.body.count(b"\n: ") + answer.body.startswith(b": ") <= 0.5 / 0.02 + 1


async def test_a_probe_whose_client_takes_nothing_gives_its_place_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sse-starlette#208, taskplane#664, Bifrost#6802: who does not read must not hold a place for ever."""
    monkeypatch.setattr(probe, "_STALL", 0.2)
    monkeypatch.setattr(probe.Probe, "_seen", lambda _: {"much": "x" * 20_000_000})
    begun: list[probe.Probes] = []
    begin = probe.Probes.begin

    def note(probes: probe.Probes, owner: str, one: str) -> None:
        begun.append(probes)
        begin(probes, owner, one)

    monkeypatch.setattr(probe.Probes, "begin", note)
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    writer.write(request("GET", "/v1/probe?ticks=1&interval=0.02"))
    await until(lambda: begun and begun[0]._running == 0, seconds=10)
    assert [status for status, _ in begun[0]._ends.values()] == ["left"]
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("option", ["heartbeat", "max", "coalesce", "wait"])
async def test_no_number_is_taken_as_it_comes(served: Served, puppet: Puppet, option: str, value: str) -> None:
    begun = await ask(served.port, start())
    generation = begun.json["generation"]
    (await puppet.play()).finish()
    path = f"/v1/generations/{generation}/events?{option}={value}&after=0"
    answer = await ask(served.port, request("GET", path, [("Accept", "application/json")]))
    assert answer.status in {200, 400}
    assert answer.status == 200 or answer.json["error"]["code"] == "bad_option"
