"""The browser's own EventSource follows an answer through every cut, and stops for good after its end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page
from tests.conftest import Serve, Served
from tests.e2e.client import Reception
from tests.e2e.proxy import Conversation, Cut, CuttingProxy

from dazi.settings import Settings
from dazi.upstream.demo import DemoUpstream

TEXT = "你好！👩\u200d👩\u200d👧\u200d👦 是一家人，🇨🇳🇯🇵 是旗帜，𠮷野家 café e\u0301. \u2028" * 3
KEY = "a-key-for-the-browser-1"

# Follows an answer as a page would that knows nothing but the standard; resolves once the browser has given up.
FOLLOW = """
(path) => new Promise((resolve) => {
  const source = new EventSource(path);
  const told = { text: "", types: [], opened: 0 };
  source.onopen = () => (told.opened += 1);
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    told.types.push(event.type);
    if (event.type === "text") told.text += event.text;
    if (event.type === "snapshot") told.text = event.text;
    if (event.n !== undefined && event.n !== told.text.length) told.types.push(`not ${event.n} long`);
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) resolve(told);
  };
})
"""


async def start(served: Served, **headers: str) -> str:
    body = {"messages": [{"role": "user", "content": "?"}]}
    answer = await served.client.post("/v1/generations", json=body, headers={"Accept": "application/json", **headers})
    return str(answer.json()["events"])


async def follow(page: Page, origin: str, path: str) -> dict[str, Any]:  # Any: JSON
    await page.goto(f"{origin}/health/live")  # any page of the origin; this one runs nothing of its own
    async with asyncio.timeout(30):
        return dict(await page.evaluate(FOLLOW, path))


def attach_of(conversation: Conversation) -> tuple[str | None, int]:
    """The `Last-Event-ID` and the status of an attach."""
    sent = re.search(r"^last-event-id: *(.*?)\r$", conversation.asked.decode(), re.IGNORECASE | re.MULTILINE)
    return sent and sent[1], Reception(bytes(conversation.answered)).status


@pytest.mark.parametrize("options", ["", "&mode=replace&encoding=utf8"])
async def test_it_goes_on_after_each_cut_and_stops_at_the_end(serve: Serve, page: Page, options: str) -> None:
    served = await serve({"m": DemoUpstream(pace=30, text=TEXT)})
    cuts = [Cut(answered=600), Cut(answered=601, resets=True), Cut(answered=0)]
    async with CuttingProxy(served.port, iter([*cuts, *[Cut()] * 10]), where="/events") as proxy:
        path = await start(served)
        told = await follow(page, f"http://127.0.0.1:{proxy.port}", f"{path}?heartbeat=1{options}")
        seen = [attach_of(one) for one in proxy.conversations]
    assert told["text"] == TEXT
    assert (told["types"][0], told["types"][-1], told["types"].count("done")) == ("started", "done", 1)
    assert [status for _, status in seen] == [200, 200, 0, 200, 204]
    ids = [int((sent or "1-0").removeprefix("1-")) for sent, _ in seen]
    assert seen[0][0] is None
    assert ids == sorted(ids)
    assert ids[1] > 0
    assert ids[-1] > ids[1]
    assert told["opened"] == 3


async def test_it_rotates_where_the_server_asks_it_to(serve: Serve, page: Page) -> None:
    served = await serve({"m": DemoUpstream(pace=30, text=TEXT)})
    async with CuttingProxy(served.port, where="/events") as proxy:
        path = await start(served)
        told = await follow(page, f"http://127.0.0.1:{proxy.port}", f"{path}?max=1")
        seen = [attach_of(one) for one in proxy.conversations]
    assert told["text"] == TEXT
    assert told["types"].count("reconnect") >= 1
    assert told["types"][-1] == "done"
    assert [status for _, status in seen][-1] == 204
    assert len(seen) == told["types"].count("reconnect") + 2


async def test_after_the_end_it_never_asks_again(serve: Serve, page: Page) -> None:
    served = await serve({"m": DemoUpstream(pace=10_000, text="好")})
    async with CuttingProxy(served.port, where="/events") as proxy:
        told = await follow(page, f"http://127.0.0.1:{proxy.port}", await start(served))
        assert told["types"] == ["started", "text", "done"]
        assert [attach_of(one)[1] for one in proxy.conversations] == [200, 204]
        # Longer than the gateway's longest `retry`: a browser that wanted to come back would have.
        await asyncio.sleep(1.6)
        assert len(proxy.conversations) == 2


async def test_it_is_let_in_by_the_pages_cookie(serve: Serve, page: Page) -> None:
    served = await serve({"m": DemoUpstream(pace=10_000, text="好")}, settings=Settings(api_keys=(KEY,)))
    path = await start(served, Authorization=f"Bearer {KEY}")
    refused = await follow(page, served.url, path)
    assert refused == {"text": "", "types": [], "opened": 0}
    login = "(key) => fetch('/login', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: key})"
    await page.evaluate(f"{login}", f'{{"key":"{KEY}"}}')
    assert await page.evaluate("document.cookie") == ""
    told = await follow(page, served.url, path)
    assert (told["text"], told["types"]) == ("好", ["started", "text", "done"])
