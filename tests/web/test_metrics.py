"""The operator's numbers, against what really happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Serve, Served
from tests.puppet import Puppet
from tests.waiting import until
from tests.web.wire import HELLO, start

from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.log.sqlite import SqliteLog
from dazi.service import Gateway
from dazi.service.telemetry import Chorus
from dazi.upstream import Prompt
from dazi.upstream.balance import Seat
from dazi.upstream.custom import from_generator
from dazi.upstream.member import Member
from dazi.upstream.pool import Pool
from dazi.web.metrics import Metrics


async def numbers(served: Served) -> dict[str, float]:
    response = await served.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(response.text)


def parsed(text: str) -> dict[str, float]:
    """Return each sample's value by its name and its labels' values: `dazi_generations_ended_total m done`."""
    return {
        " ".join((sample.name, *(value for _, value in sorted(sample.labels.items()) if value))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_generation_is_counted_from_its_start_to_its_end(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    line = await start(served.port)
    play = await puppet.play()
    seen = await numbers(served)
    assert (seen["dazi_generations_started_total m"], seen["dazi_generations_running"], seen["dazi_readers"]) == (
        1,
        1,
        1,
    )
    play.say("a", "😀", "c")
    play.finish(usage=Usage(prompt_tokens=5, completion_tokens=7, total_tokens=12))
    await line.rest()
    await until(lambda: served.app.gateway.running == 0)
    await line.close()
    seen = await numbers(served)
    assert seen["dazi_generations_ended_total m done"] == 1
    assert (seen["dazi_generations_running"], seen["dazi_readers_left_total finished"]) == (0, 1)
    assert (seen["dazi_pieces_total m"], seen["dazi_characters_total m"]) == (3, 4)
    assert (seen["dazi_tokens_total prompt m"], seen["dazi_tokens_total completion m"]) == (5, 7)
    assert seen["dazi_first_token_seconds_count m"] == seen["dazi_generation_seconds_count m"] == 1
    assert seen["dazi_added_latency_seconds_count"] >= 1


async def test_a_failure_is_counted_by_its_code_and_an_abort_as_one(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    await served.client.post("/v1/generations", json=HELLO, headers={"accept": "application/json"})
    (await puppet.play()).fail(UpstreamError("truncated", "It broke off."))
    started = await served.client.post("/v1/generations", json=HELLO, headers={"accept": "application/json"})
    await served.client.post(f"/v1/generations/{started.json()['generation']}/abort")
    await until(lambda: served.app.gateway.running == 0)
    seen = await numbers(served)
    assert seen["dazi_generations_ended_total truncated m failed"] == 1
    assert seen["dazi_generations_ended_total m aborted"] == 1


async def test_each_asking_of_an_upstream_is_counted_by_its_end_and_its_reason(serve: Serve) -> None:
    async def refuses(_prompt: Prompt) -> AsyncIterator[str]:
        raise UpstreamError("upstream_unavailable", "No.", retryable=True)
        yield ""

    async def types(_prompt: Prompt) -> AsyncIterator[str]:
        yield "x"

    members = [Member(name, from_generator(answer)) for name, answer in (("a", refuses), ("b", types))]
    served = await serve({"m": Pool([Seat(member, "m", "m") for member in members])})
    line = await start(served.port)
    await line.rest()
    await until(lambda: served.app.gateway.running == 0)
    await line.close()
    seen = await numbers(served)
    # The labels in the order of their names: code, model, upstream, why.
    assert seen["dazi_upstream_requests_total upstream_unavailable m a first"] == 1
    assert seen["dazi_upstream_requests_total done m b fallback"] == 1
    assert seen["dazi_upstream_first_token_seconds_count b"] == 1
    assert "dazi_upstream_first_token_seconds_count a" not in seen


async def test_an_attach_is_counted_by_its_answer(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    line = await start(served.port)
    play = await puppet.play()
    play.say("a", "b")
    play.finish()
    await line.rest()
    path = f"/v1/generations/{line.headers['dazi-generation']}/events"
    for position in ("1-2", "1-4", "9-2"):
        await served.client.get(path, headers={"last-event-id": position})
    await served.client.get("/v1/generations/none/events")
    seen = await numbers(served)
    answers = {name.split()[1]: value for name, value in seen.items() if name.startswith("dazi_attaches_total")}
    assert answers == {"started": 1, "continued": 1, "ended": 1, "snapshot": 1, "gone": 1}


async def test_no_client_can_make_labels(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    await served.client.post("/v1/generations", json={**HELLO, "model": "made-up"})
    await served.client.post("/v1/generations/abort", headers={"idempotency-key": "k"})
    assert "made-up" not in (await served.client.get("/metrics")).text


async def test_a_durable_log_tells_how_long_it_took(tmp_path: Path, puppet: Puppet) -> None:
    metrics = Metrics(("m",))
    log = SqliteLog(str(tmp_path / "log.db"), ttl=60, lease=10, fsync="normal")
    gateway = Gateway(log, {"m": puppet}, telemetry=Chorus((metrics,)))
    await gateway.open()
    await gateway.start("me", Prompt("m", [{"role": "user", "content": "Hi"}]))
    play = await puppet.play()
    play.say("a")
    play.finish()
    await until(lambda: gateway.running == 0)
    await gateway.close()
    assert parsed(metrics.exposition().decode())["dazi_store_seconds_count"] == 1
