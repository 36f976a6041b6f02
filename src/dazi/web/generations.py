"""The native calls on generations (PROTOCOL.md, sections 2.1 to 2.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from dazi.errors import InvalidRequest, NotFound
from dazi.events import Answer, Failed, Started, crc32, status_of
from dazi.log import START, Cursor, Page, Record
from dazi.service import Gateway
from dazi.service.views import Part, append_view, replace_view
from dazi.web.calls import Call, Reply, json_reply, names
from dazi.web.course import Course
from dazi.web.frames import framer_of
from dazi.web.metrics import Attached, Metrics
from dazi.web.openai import Chunks
from dazi.web.options import EVENTS_OPTIONS, START_OPTIONS, Options, read_key, read_options, wants_json
from dazi.web.requests import read_body, read_start


class Generations:
    """The handlers of `/v1/generations` and what is below it.

    Args:
        gateway: whose generations.
        metrics: who counts the attaches.
        max_body: bytes of a request's body.
        coalesce: seconds that text may wait for more, where a call does not say.
    """

    def __init__(self, gateway: Gateway, metrics: Metrics, *, max_body: int, coalesce: float = 0.0) -> None:
        self._gateway = gateway
        self._metrics = metrics
        self._max_body = max_body
        self._coalesce = coalesce

    async def start(self, call: Call) -> Reply | Course:
        """Start a generation and stream it, or attach to the one of this key."""
        options = read_options(call.query, call.headers, known=START_OPTIONS, coalesce=self._coalesce)
        key = read_key(call.headers)
        body = await read_body(call.receive, call.headers, limit=self._max_body)
        start = read_start(body, default_model=self._gateway.models[0], asker=call.asker)
        opened = await self._gateway.start(call.owner, start.prompt, key=key, fingerprint=start.fingerprint(key))
        if wants_json(call.headers):
            return await self._accepted(call, opened.generation)
        if not opened.created:
            return await self._attach(call, opened.generation, options)
        # A position is of the generation that the key stood for; a fresh one is told from its start.
        self._metrics.attached("started")
        return _course(call, opened.generation, options if options.after == START else replace(options, after=START))

    async def events(self, call: Call) -> Reply | Course:
        """Attach to a generation, or poll it."""
        options = read_options(call.query, call.headers, known=EVENTS_OPTIONS, coalesce=self._coalesce)
        if wants_json(call.headers):
            return await self._poll(call, options)
        try:
            return await self._attach(call, call.generation, options)
        except NotFound:
            self._metrics.attached("gone")
            raise

    async def read(self, call: Call) -> Reply:
        """Tell the answer as it stands."""
        answer, head = await self._gateway.answer(call.owner, call.generation)
        return json_reply(200, _resource(call.generation, answer, head), names(call.generation))

    async def abort(self, call: Call) -> Reply:
        """Stop a generation."""
        return _end_reply(call.generation, await self._gateway.abort(call.owner, call.generation))

    async def abort_key(self, call: Call) -> Reply:
        """Stop the generation of a key, also one that is yet to come."""
        key = read_key(call.headers)
        if key is None:
            raise InvalidRequest(
                "There is no Idempotency-Key.",
                remedy="Send the header Idempotency-Key of the start that shall be aborted.",
                code="bad_idempotency_key",
                param="Idempotency-Key",
            )
        return _end_reply(*await self._gateway.abort_key(call.owner, key, call.asker))

    async def erase(self, call: Call) -> Reply:
        """Forget everything of the caller's."""
        return json_reply(200, {"erased": await self._gateway.erase(call.owner)})

    async def _accepted(self, call: Call, generation: str) -> Reply:
        page = await self._gateway.read(call.owner, generation)
        path = f"{call.scope.get('root_path', '')}/v1/generations/{generation}/events"
        body = {"generation": generation, "status": status_of(page.end), "events": path}
        return json_reply(202, body, names(generation))

    async def _attach(self, call: Call, generation: str, options: Options) -> Reply | Course:
        page = await self._gateway.read(call.owner, generation, options.after)
        self._gateway.check_reach(generation, page)
        self._metrics.attached(_answer_to(page, options.after))
        if _has_all(page):
            return Reply(204, headers=names(generation))
        if options.dialect == "openai":
            answer, _ = await self._gateway.answer(call.owner, generation)
            chunks = Chunks(answer.started or Started(generation, "", 0), after=options.after)
            return replace(_course(call, generation, options), framer=chunks, mode="append", max=None, attaches=False)
        return _course(call, generation, options)

    async def _poll(self, call: Call, options: Options) -> Reply:
        page = await self._gateway.wait(call.owner, call.generation, options.after, seconds=options.wait)
        body = {
            "generation": call.generation,
            "status": status_of(page.end),
            "events": [_with_id(part) for part in await self._view(call, page, options)],
            "next": _id(page.head),
        }
        return json_reply(200, body, names(call.generation), encoding=options.encoding)

    async def _view(self, call: Call, page: Page, options: Options) -> Iterable[Part]:
        if options.mode == "append" or _has_all(page):
            return append_view(page)
        whole = await self._gateway.read(call.owner, call.generation)
        return replace_view(whole, options.after)


def _course(call: Call, generation: str, options: Options) -> Course:
    return Course(
        owner=call.owner,
        generation=generation,
        framer=framer_of(options.encoding, options.profile, options.padding),
        after=options.after,
        mode=options.mode,
        forgets=options.profile == "plain",
        heartbeat=options.heartbeat,
        coalesce=options.coalesce,
        max=options.max,
    )


def _answer_to(page: Page, after: Cursor) -> Attached:
    if _has_all(page):
        return "ended"
    if after == START:
        return "started"
    return "continued" if page.matched else "snapshot"


def _has_all(page: Page) -> bool:
    return page.ended and page.matched and not page.records


def _id(cursor: Cursor) -> str:
    return f"{cursor.epoch}-{cursor.position}"


def _with_id(part: Part) -> dict[str, object]:
    cursor, event = part
    return {"id": _id(cursor), **msgspec.to_builtins(event)}


def _end_reply(generation: str, record: Record) -> Reply:
    end = msgspec.to_builtins(record.event)
    return json_reply(200, {"generation": generation, "status": end["type"], "end": end}, names(generation))


def _resource(generation: str, answer: Answer, head: Cursor) -> dict[str, object]:
    end = answer.end
    failed = end if isinstance(end, Failed) else None
    return {
        "generation": generation,
        "model": answer.started.model if answer.started else "",
        "status": status_of(end),
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": answer.tool_calls,
        "n": answer.n,
        "crc32": crc32(answer.text),
        "created": answer.started.created if answer.started else 0,
        "usage": end.usage if end else None,
        "finish_reason": getattr(end, "finish_reason", None),
        "error": failed and {"code": failed.code, "message": failed.message, "retryable": failed.retryable},
        "ai_generated": True,
        "next": _id(head),
    }
