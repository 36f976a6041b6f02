"""Coze's bots as upstreams (`POST /v3/chat`, `stream: true`). The model's name there is the bot's id.

An answer is its `conversation.message.delta`s of type `answer`. `conversation.message.completed` tells the whole message once more: what was
missing is appended, and a change of what was said is a retraction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.exchange import Dialect, Json, text_of, told
from dazi.upstream.replacing import Replacing
from dazi.upstream.response import ALL, NOTHING, PROGRESS, Taken


class CozeUpstream(Dialect):
    """The bots of a Coze workspace."""

    path = "/v3/chat"

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the bot's answer into `sink` and return how it finished."""
        return await self._exchange.ask(self._options | request(prompt), _Answer(sink))


def request(prompt: Prompt) -> Json:
    """Return the body that asks for this."""
    return {
        "bot_id": prompt.model,
        "user_id": prompt.options.get("user") or "dazi",
        "stream": True,
        "additional_messages": [_message(message) for message in prompt.messages],
    }


def _message(message: Mapping[str, Any]) -> Json:
    """Translate a message; a bot has its own system's, so one of the prompt is said by the user."""
    is_answer = message.get("role") == "assistant"
    role: Json = {"role": "assistant", "type": "answer"} if is_answer else {"role": "user", "type": "question"}
    content = message.get("content")
    pictures = [part for part in content if "image_url" in part] if isinstance(content, list) else []
    if not pictures:
        return {**role, "content": text_of(content), "content_type": "text"}
    objects = [{"type": "text", "text": text_of(content)}, *map(_picture, pictures)]
    return {**role, "content": json.dumps(objects, ensure_ascii=False), "content_type": "object_string"}


def _picture(part: Json) -> Json:
    where = part["image_url"]
    return {"type": "image", "file_url": where.get("url") if isinstance(where, dict) else where}


class _Answer:
    """Hears one answer."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._text = Replacing(sink)
        # What the messages before the one under way have said: a bot may answer in several.
        self._before = ""
        self._finish: Finish | None = None

    def finish(self) -> Finish | None:
        return self._finish

    def take(self, kind: str, data: Json) -> Taken:
        match kind:
            case "conversation.message.delta":
                return self._delta(data)
            case "conversation.message.completed" if data.get("type") == "answer":
                self._complete(str(data.get("content") or ""))
                return PROGRESS
            case "conversation.chat.completed":
                self._finish = Finish("stop", _usage(data.get("usage")))
                return PROGRESS
            case "conversation.chat.failed" | "error":
                raise told(data.get("last_error") or data)
            case "conversation.chat.requires_action":
                raise told({"type": "requires_action"})
            case "done":
                return ALL
            case "" if data.get("code"):  # a refusal that is an event, not a status
                raise told(data)
        return NOTHING  # states of the chat, follow-up questions, what its tools say

    def _delta(self, data: Json) -> Taken:
        if data.get("type", "answer") != "answer":
            return NOTHING
        if thought := data.get("reasoning_content"):
            self._sink.reasoning(thought)
        if piece := data.get("content"):
            self._text.append(piece)
        return PROGRESS if thought or piece else NOTHING

    def _complete(self, whole: str) -> None:
        self._text.replace(self._before + whole, reason="replaced")
        self._before += whole


def _usage(counted: Any) -> Usage | None:  # noqa: ANN401  # JSON
    if not isinstance(counted, dict):
        return None
    return Usage(
        prompt_tokens=counted.get("input_count") or 0,
        completion_tokens=counted.get("output_count") or 0,
        total_tokens=counted.get("token_count") or 0,
    )
