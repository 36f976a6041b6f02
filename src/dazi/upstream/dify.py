"""Dify's chat apps as upstreams (`POST /chat-messages`, `response_mode: streaming`).

A Dify app keeps its conversations itself and takes one `query`; a prompt of several messages becomes that: the last one as it
stands, those before it as a transcript in front. `message_replace` (the app's moderation) is a retraction, unless the text only grew.
"""

from __future__ import annotations

from typing import Any

from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import Dialect, Json, text_of, told
from dazi.upstream.replacing import Replacing
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Taken


class DifyUpstream(Dialect):
    """A chat app of Dify's."""

    path = "/chat-messages"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the app's answer into `sink` and return how it finished."""
        body = {"inputs": {}, **self._options, **request(prompt)}
        return await self._exchange.ask(body, _Answer(sink))


def request(prompt: Prompt) -> Json:
    """Return the body that asks for this."""
    *before, last = prompt.messages
    transcript = [f"{message.get('role')}: {text_of(message.get('content'))}" for message in before]
    query = "\n\n".join([*transcript, text_of(last.get("content"))])
    body: Json = {"query": query, "response_mode": "streaming", "user": prompt.options.get("user") or "dazi"}
    files = [_file(part) for part in last.get("content") or () if isinstance(part, dict) and "image_url" in part]
    return body | ({"files": files} if files else {})


def _file(part: Json) -> Json:
    where = part["image_url"]
    url = where.get("url") if isinstance(where, dict) else where
    return {"type": "image", "transfer_method": "remote_url", "url": url}


class _Answer:
    """Hears one answer."""

    def __init__(self, sink: Sink) -> None:
        self._text = Replacing(sink)
        self._finish: Finish | None = None

    def finish(self) -> Finish | None:
        return self._finish

    def take(self, kind: str, data: Json) -> Taken:
        match data.get("event", kind):
            case "message" | "agent_message":
                self._text.append(data.get("answer") or "")
                return PROGRESS if data.get("answer") else NOTHING
            case "message_replace":
                self._text.replace(data.get("answer") or "", reason="moderation")
                return PROGRESS
            case "message_end":
                self._finish = Finish("stop", _usage((data.get("metadata") or {}).get("usage")))
                return ALL
            case "error":
                raise told(data)
            case "workflow_finished" if (data.get("data") or {}).get("status") in {"failed", "stopped"}:
                raise told({"type": "workflow_failed"})
        return NOTHING  # pings, workflows, thoughts of agents, speech


def _usage(counted: Any) -> Usage | None:  # noqa: ANN401  # JSON
    if not isinstance(counted, dict):
        return None
    return Usage(
        prompt_tokens=counted.get("prompt_tokens") or 0,
        completion_tokens=counted.get("completion_tokens") or 0,
        total_tokens=counted.get("total_tokens") or 0,
    )
