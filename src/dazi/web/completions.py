"""`/v1/chat/completions` and `/v1/models`: OpenAI's calls over the same logs (PROTOCOL.md, section 10)."""

from __future__ import annotations

import asyncio

from dazi.errors import NotFound, RequestError
from dazi.events import Answer, Done, End, Started
from dazi.log import START, Cursor
from dazi.service import Gateway
from dazi.web.calls import Call, Reply, json_reply, names
from dazi.web.course import Course
from dazi.web.openai import Chunks, completion, error_body, request_error_body, status_of_failure
from dazi.web.options import read_key
from dazi.web.requests import ChatRequest, read_body, read_start
from dazi.web.stream import disconnection

# Seconds for which a stream's status is held back, so that a model that refuses at once is a 429 or a 5xx, as clients of
# this dialect expect, and not an error inside a 200.
HOLD = 5.0


class Completions:
    """The handlers of OpenAI's calls.

    Args:
        gateway: whose generations.
        max_body: bytes of a request's body.
        grace: seconds after a client has left until its generation is aborted, as this dialect has no other word for
            stop; None keeps it running.
        coalesce: seconds that text may wait for more.
    """

    def __init__(self, gateway: Gateway, *, max_body: int, grace: float | None, coalesce: float = 0.0) -> None:
        self._gateway = gateway
        self._max_body = max_body
        self._grace = grace
        self._coalesce = coalesce

    async def create(self, call: Call) -> Reply | Course:
        """Answer a chat, streamed or whole."""
        key = read_key(call.headers)
        body = await read_body(call.receive, call.headers, limit=self._max_body)
        start = read_start(body, default_model=self._gateway.models[0], asker=call.asker)
        opened = await self._gateway.start(call.owner, start.prompt, key=key, fingerprint=start.fingerprint(key))
        if not start.request.stream:
            return await self._whole(call, opened.generation)
        return await self._stream(call, opened.generation, with_usage=_wants_usage(start.request))

    async def models(self, _call: Call) -> Reply:
        """List the models."""
        return json_reply(200, {"object": "list", "data": [_model(name) for name in self._gateway.models]})

    async def model(self, call: Call) -> Reply:
        """Tell of one model. Raises `NotFound`."""
        name = call.scope["path_params"]["name"]
        if name not in self._gateway.models:
            remedy = f"Use one of: {', '.join(self._gateway.models)}."
            raise NotFound(
                f"There is no model {name[:100]!r} here.", remedy=remedy, code="unknown_model", param="model"
            )
        return json_reply(200, _model(name))

    async def _stream(self, call: Call, generation: str, *, with_usage: bool) -> Reply | Course:
        page = await self._gateway.wait(call.owner, generation, Cursor(1, 1), seconds=HOLD)
        if page.end is not None and len(page.records) == 1 and not isinstance(page.end, Done):
            return _broken(generation, page.end)
        _, started = await self._answer(call, generation)
        return Course(
            owner=call.owner,
            generation=generation,
            framer=Chunks(started, with_usage=with_usage),
            after=START,
            coalesce=self._coalesce,
            attaches=False,
            grace=self._grace,
        )

    async def _whole(self, call: Call, generation: str) -> Reply:
        """Wait for the end, or for the client to leave."""
        ended = asyncio.create_task(self._gateway.ended(call.owner, generation))
        gone = asyncio.create_task(disconnection(call.receive))
        try:
            await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, gone):
                task.cancel()
            await asyncio.gather(ended, gone, return_exceptions=True)
        answer, started = await self._answer(call, generation)
        if answer.end is None:
            if self._grace is not None:
                self._gateway.abandon(generation, grace=self._grace)
            raise ConnectionResetError
        if isinstance(answer.end, Done):
            return json_reply(200, completion(generation, answer, started, answer.end), names(generation))
        return _broken(generation, answer.end)

    async def _answer(self, call: Call, generation: str) -> tuple[Answer, Started]:
        answer, _ = await self._gateway.answer(call.owner, generation)
        return answer, answer.started or Started(generation, "", 0)


def tell(error: RequestError) -> Reply:
    """Tell an error in OpenAI's shape."""
    wait = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
    return json_reply(error.status, request_error_body(error), wait)


def _broken(generation: str, end: End) -> Reply:
    retryable = b"true" if getattr(end, "retryable", False) else b"false"
    headers = [*names(generation), (b"x-should-retry", retryable)]
    return json_reply(status_of_failure(end), error_body(end), headers)


def _wants_usage(request: ChatRequest) -> bool:
    return bool((request.stream_options or {}).get("include_usage"))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "dazi"}
