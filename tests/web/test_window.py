"""The setting `coalesce`: a model's answer is read in rounds, and shown in fewer frames, with every character in its place."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Serve

from dazi.settings import Settings
from dazi.sse import Parser
from dazi.upstream.demo import DemoUpstream, _pieces

TEXT = "流式输出 👨‍👩‍👧‍👦 costs a frame a token, 除非有窗口。" * 20
QUESTION = {"messages": [{"role": "user", "content": "?"}]}


@pytest.mark.parametrize(
    ("query", "frames"), [("", 0.4), ("mode=replace&profile=plain", 0.4), ("coalesce=0", 1.0), ("coalesce=0.2", 0.2)]
)
async def test_text_is_right_and_comes_in_fewer_frames(serve: Serve, query: str, frames: float) -> None:
    model = await serve({"m": DemoUpstream(pace=200, text=TEXT)})
    settings = Settings(upstream=f"{model.url}/v1", model=("m",), coalesce=0.05)
    gateway = await serve(None, settings=settings)

    answer = await gateway.client.post(f"/v1/generations?{query}", json=QUESTION)
    events = [json.loads(event.data) for event in Parser().feed(answer.content)]
    texts = [event for event in events if event["type"] in {"text", "snapshot"}]

    assert ("".join(event["text"] for event in texts) if "replace" not in query else texts[-1]["text"]) == TEXT
    assert len(texts) <= len(_pieces(TEXT)) * frames
