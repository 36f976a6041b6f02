"""Whatever happens, no key, no prompt and no answer is ever in anything that the gateway says."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from tests.conftest import Serve
from tests.e2e.conftest import Mock
from tests.e2e.process import Dazi

from dazi.settings import Settings
from dazi.upstream import Prompt
from dazi.upstream.custom import Yielded, from_generator

UPSTREAM_KEY = "quokka-key-of-the-model-s-server"
OWN_KEY = "wombat-key-of-this-gateway"
WRONG_KEY = "numbat-key-that-is-nobody-s"
PROMPT = "walrus-question 海象"
ANSWER = "narwhal-answer"
# Stands in everything that must not be told.
SECRETS = ("quokka", "wombat", "numbat", "walrus", "narwhal", "海象", "\\u6d77\\u8c61")

GOOD = {"messages": [{"role": "user", "content": PROMPT}]}
BAD_BODIES = [
    b'{"messages": [{"role": "user", "content": "' + PROMPT.encode(),
    b'{"messages": "%b"}' % PROMPT.encode(),
    json.dumps({**GOOD, "walrus": 1}).encode(),
    json.dumps({**GOOD, "temperature": PROMPT}).encode(),
    json.dumps({**GOOD, "model": "no-such-model"}).encode(),
    b"\xff\xfe" + PROMPT.encode(),
]


async def ask_everything(client: httpx.AsyncClient, key: str) -> set[str]:
    """Make every kind of call, right and wrong; returns what all the streams came to."""
    client.headers["Authorization"] = f"Bearer {key}"
    ends: set[str] = set()
    for path in ("/v1/generations", "/v1/generations?mode=replace&encoding=utf8", "/v1/chat/completions"):
        stream = await client.post(
            path, json={**GOOD, "stream": True}, headers={"Idempotency-Key": f"narwhal-{secrets.token_hex(4)}"}
        )
        ends |= {kind for kind in ("done", "failed", "error") if f'"{kind}"' in stream.text}
        generation = stream.headers.get("Dazi-Generation", "none")
        for rest in ("", "/events", "/events?after=1-1", "/events?after=walrus", "/events?wait=0"):
            await client.get(f"/v1/generations/{generation}{rest}", headers={"Accept": "application/json, */*"})
        await client.post(f"/v1/generations/{generation}/abort")
    for body in BAD_BODIES:
        for path in ("/v1/generations", "/v1/generations?inband=1", "/v1/chat/completions"):
            answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {200, 400, 404, 422}
    await client.post("/v1/generations/abort", headers={"Idempotency-Key": "narwhal-2"})
    for wrong in (WRONG_KEY, f"{key}x"):
        await client.get("/v1/models", headers={"Authorization": f"Bearer {wrong}"})
        await client.post("/login", json={"key": wrong})
    await client.post("/login", json={"key": key})
    await client.get("/v1/models", headers={"Authorization": ""})
    await client.get("/v1/models", headers={"Host": "walrus.example"})
    return ends


def check(said: str, *, at_least: str) -> None:
    assert at_least in said, "nothing was listened to"
    for secret in SECRETS:
        assert secret not in said.lower(), [line for line in said.splitlines() if secret in line.lower()]


UPSTREAMS: dict[str, tuple[list[str | bytes], int]] = {
    "an answer": ([ANSWER, " and more"], 200),
    "a refusal that quotes the request": ([ANSWER], 400),
    "a wrong key, quoted": ([ANSWER], 401),
    "trouble": ([ANSWER], 503),
    "garbage": ([ANSWER, b"data: {narwhal\n\n"], 200),
    "an error inside": ([ANSWER, b'data: {"error":{"message":"about walrus","code":"narwhal said so"}}\n\n'], 200),
    "no end": ([ANSWER, b"0\r\n\r\nnarwhal"], 200),
}


async def test_a_loud_process_tells_no_secret(mock: Mock, tmp_path: Path, stack: AsyncExitStack) -> None:
    program = tmp_path / "loud"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).with_name('loud.py').read_text('utf-8')}", "utf-8")
    program.chmod(0o755)
    model = await mock([ANSWER])
    environ = {
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_MODEL": "m",
        "DAZI_API_KEYS": OWN_KEY,
        "PYTHONASYNCIODEBUG": "1",
    }
    served = await Dazi.run("--drain", "1", folder=tmp_path, environ=environ, program=str(program))
    stack.push_async_callback(served.end)
    await served.ready()
    ends: set[str] = set()
    for pieces, status in UPSTREAMS.values():
        model.pieces, model.status = pieces, status
        ends |= await ask_everything(served.client, OWN_KEY)
    assert {"done", "failed"} <= ends
    # And one that the goodbye cuts off.
    model.pieces, model.status = [ANSWER, ""], 200
    await served.client.post("/v1/generations", json=GOOD, headers={"Accept": "application/json"})
    await model.wait_until(lambda model: model.waiting > 0, seconds=5)
    served.signal(signal.SIGTERM)
    await served.gone()
    check(served.said, at_least="everything is told")


async def test_an_upstream_that_breaks_is_told_of_but_not_its_words(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def breaks(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield ANSWER
        raise ValueError(f"cannot make sense of {prompt.messages}")

    async def yields_nonsense(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
        yield {ANSWER: prompt}  # type: ignore[misc]  # which is the fault

    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    models = {"breaks": from_generator(breaks), "yields_nonsense": from_generator(yields_nonsense)}
    served = await serve(models, settings=Settings(api_keys=(OWN_KEY,)))
    assert "failed" in await ask_everything(served.client, OWN_KEY)
    caplog.handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    records = "\n".join(
        caplog.handler.format(record) for record in caplog.records if not record.name.startswith("http")
    )
    printed = capfd.readouterr()
    check(records + printed.out + printed.err, at_least="ValueError")
