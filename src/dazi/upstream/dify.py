"""Dify's chat apps as upstreams (`POST /chat-messages`, `response_mode: streaming`).

A Dify app keeps its conversations itself and takes one `query`; a prompt of several messages becomes that: the last one as it
stands, those before it as a transcript in front. `message_replace` (the app's moderation) is a retraction, unless the text only grew.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import Exchange, Json, checked_key, endpoint, text_of, told
from dazi.upstream.http import Timeouts
from dazi.upstream.replacing import Replacing
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Taken


class DifyUpstream:
    """A chat app of Dify's.

    Args:
        base_url: where the API begins, as `https://api.dify.ai/v1`. Raises `ConfigError` if it cannot be used.
        key: of the app.
        timeouts: how long to wait.
        tls: trusted certificates, if not the system's.
        headers: sent with every request.
        options: added to every request's body, such as `inputs`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        fields = dict(headers or {}) | ({"Authorization": f"Bearer {checked_key(key)}"} if key else {})
        self._base_url = base_url
        self._exchange = Exchange(endpoint(base_url, "/chat-messages"), headers=fields, timeouts=timeouts, tls=tls)
        self._options = dict(options or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the app's answer into `sink` and return how it finished."""
        body = {"inputs": {}, **self._options, **request(prompt)}
        return await self._exchange.ask(body, _Answer(sink))

    async def open(self) -> None:
        """Nothing to prepare: connections are made when they are needed."""

    async def close(self) -> None:
        """Drop every connection."""
        self._exchange.close()


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
