"""Each client does its job against the gateway at argv[2] and prints one line of JSON; the test judges it.

It runs in an environment of its own (`requirements.txt`): these packages have plug-ins that would look for ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def chat(base: str, model: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{base}/v1", api_key="unused", model=model, max_retries=0, stream_usage=True)


def stream(base: str) -> Any:
    whole = AIMessageChunk("")
    count = 0
    for chunk in chat(base, "mixed").stream("go"):
        whole += chunk
        count += 1
    return {"text": whole.content, "chunks": count, "reason": whole.response_metadata.get("finish_reason")}


def whole(base: str) -> Any:
    return {"text": chat(base, "mixed").invoke("go").content}


def tools(base: str) -> Any:
    """Call a tool, give its result back, and hear the answer; with a picture in the question."""
    bound = chat(base, "tools").bind_tools([WEATHER])
    parts = [{"type": "text", "text": "北京?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    asked = AIMessageChunk("")
    for chunk in bound.stream([HumanMessage(parts)]):
        asked += chunk
    (call,) = asked.tool_calls
    usage = asked.usage_metadata or {}
    told = ToolMessage("22°C", tool_call_id=call["id"])
    answer = bound.invoke([HumanMessage(parts), asked, told])
    return {"call": call, "usage": usage.get("total_tokens"), "text": answer.content}


def errors(base: str) -> Any:
    caught = []
    for model in ("nowhere", "limited", "broken"):
        try:
            for _ in chat(base, model).stream("go"):
                pass
        except Exception as error:  # what it is is what the test looks at
            caught.append([type(error).__name__, getattr(error, "code", None)])
    return caught


if __name__ == "__main__":
    clients: dict[str, Callable[[str], Any]] = {"stream": stream, "whole": whole, "tools": tools, "errors": errors}
    print(json.dumps(clients[sys.argv[1]](sys.argv[2])))
