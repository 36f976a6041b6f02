"""The usual relay: Starlette's StreamingResponse over an httpx stream, as tutorials write it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

URL = f"http://127.0.0.1:{os.environ['UPSTREAM']}/v1/chat/completions"
client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))  # noqa: S113  # so does the usual one


async def relay(request: Request) -> StreamingResponse:
    """Pass the answer on, line by line, as server-sent events."""
    body = await request.body()

    async def lines() -> AsyncIterator[str]:
        async with client.stream("POST", URL, content=body) as upstream:
            async for line in upstream.aiter_lines():
                if line:
                    yield f"{line}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])])
