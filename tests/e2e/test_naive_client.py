"""The client that this project began with, faults and all, ends right on the wire profile that was made for it.

It is `naive.js`, run by a real JavaScript engine, and here a port of it: decode each chunk by hand, split at blank
lines, parse the data, keep the newest text. `keeps_rest`: whether it puts what followed the last blank line before the
next chunk, as its better-known form does; the other one drops every frame that a cut goes through.
"""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import Page
from tests.conftest import Serve, Served
from tests.e2e.client import Format, Question, Reception
from tests.e2e.stepwise import Step, Stepwise, capture_all

MADE_FOR_IT = Format("replace", "ascii", "plain")
STEPS: list[Step] = ["你好", "，wor", "ld “", "👩", "\u200d👧", "🇨🇳", "\n\ndata: ", "é", "𠮷野", "家。", "\\", '"}']
ANSWER = "".join(str(step) for step in STEPS)

both = pytest.mark.parametrize("keeps_rest", [True, False], ids=["keeps the rest", "keeps nothing"])


def decode(chunk: bytes) -> str:
    """Decode as `arrayBufferToString` does. Raises `IndexError` where that throws: in a character that is cut."""
    if chunk.isascii():
        return chunk.decode()  # as below, only faster
    units, at = [], 0
    while at < len(chunk):
        bits = f"{chunk[at]:b}"
        length = len(bits) - len(bits.lstrip("1"))
        if len(bits) == 8 and 0 < length < 8:
            store = bits[7 - length :] + "".join(f"{chunk[at + more]:b}"[2:] for more in range(1, length))
            units.append(int(store, 2) & 0xFFFF)
            at += length
        else:
            units.append(chunk[at])
            at += 1
    return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "surrogatepass")


def shown_after(chunks: list[bytes], *, keeps_rest: bool) -> str:
    rest = shown = ""
    for chunk in chunks:
        try:
            blocks = (rest + decode(chunk)).split("\n\n")
        except IndexError:
            continue
        rest = blocks.pop() if keeps_rest else ""
        for block in blocks:
            try:
                told = json.loads(block.removeprefix("data: "))
            except ValueError:
                continue
            shown = told.get("text", shown) if isinstance(told, dict) else shown
    return shown


def shown_after_each_cut(body: bytes, *, keeps_rest: bool) -> Counter[str]:
    cuts = range(len(body) + 1)
    return Counter(shown_after([body[:cut], body[cut:]], keeps_rest=keeps_rest) for cut in cuts)


async def body_of(serve: Serve, chosen: Format, steps: list[Step]) -> bytes:
    """Receive a running answer, a step at a time."""
    model = Stepwise(steps)
    served = await serve({"m": model.upstream})
    (capture,) = await capture_all(Question(served.port, "naive"), model, [chosen])
    return Reception(capture.raw).body


@both
async def test_it_ends_right_wherever_the_answer_is_cut(serve: Serve, *, keeps_rest: bool) -> None:
    body = await body_of(serve, MADE_FOR_IT, STEPS)
    assert shown_after_each_cut(body, keeps_rest=keeps_rest) == {ANSWER: len(body) + 1}


async def test_it_ends_right_however_often_the_answer_is_cut(serve: Serve) -> None:
    body = await body_of(serve, MADE_FOR_IT, STEPS)
    rng = random.Random(2)
    for pieces in [len(body), *rng.choices(range(2, len(body)), k=200)]:
        places = [0, *sorted(rng.sample(range(1, len(body)), pieces - 1)), len(body)]
        chunks = [body[start:end] for start, end in pairwise(places)]
        assert shown_after(chunks, keeps_rest=True) == ANSWER


@both
async def test_it_ends_right_wherever_an_answer_that_was_there_already_is_cut(
    serve: Serve, *, keeps_rest: bool
) -> None:
    model = Stepwise(STEPS)
    served = await serve({"m": model.upstream})
    for _ in range(len(STEPS) + 1):
        model.step()
    body = await finished_body(served)
    assert shown_after_each_cut(body, keeps_rest=keeps_rest) == {ANSWER: len(body) + 1}


async def finished_body(served: Served) -> bytes:
    question = {"messages": [{"role": "user", "content": "?"}]}
    started = await served.client.post("/v1/generations", json=question, headers={"Accept": "application/json"})
    path = started.json()["events"]
    status = "running"
    while status == "running":
        poll = await served.client.get(f"{path}?wait=5&after=1-12", headers={"Accept": "application/json"})
        status = poll.json()["status"]
    return (await served.client.get(f"{path}?{MADE_FOR_IT.query}")).content


async def test_it_goes_wrong_on_any_other_profile(serve: Serve) -> None:
    """So the tests above can fail, and the profile is what saves it."""
    chinese: list[Step] = ["你好", "，", "世界"]
    raw = await body_of(serve, Format("replace", "utf8", "plain"), chinese)
    seen = shown_after_each_cut(raw, keeps_rest=True)
    assert seen["你好，世界"] > 0
    assert set(seen) - {"你好，世界"}
    for chosen, why in {
        Format("replace", "utf8", "plain"): "its decoder knows no emoji",
        Format("replace", "url", "plain"): "its JSON is not JSON",
        Format("replace", "ascii", "full"): "its frames are data lines alone",
        Format("append", "ascii", "plain"): "it keeps the newest piece",
    }.items():
        body = await body_of(serve, chosen, STEPS)
        assert shown_after([body], keeps_rest=True) != ANSWER, why


async def test_so_it_does_in_javascript(serve: Serve, page: Page) -> None:
    body = await body_of(serve, MADE_FOR_IT, STEPS)
    program = Path(__file__).with_name("naive.js").read_text("utf-8")
    runs = [{"bytes": b64encode(body).decode(), "keepsRest": keeps_rest} for keeps_rest in (True, False)]
    assert await page.evaluate(program, runs) == [{ANSWER: len(body) + 1}] * 2
    raw = await body_of(serve, Format("replace", "utf8", "plain"), STEPS)
    (seen,) = await page.evaluate(program, [{"bytes": b64encode(raw).decode(), "keepsRest": True}])
    assert ANSWER not in seen
    assert sum(seen.values()) == len(raw) + 1
