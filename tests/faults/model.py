"""A model's server that tells a different answer for each question, and another one if it is asked the same again."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

_WORDS = ("字", "你好,", " answer", "👩🏽‍🚀", "é", " 打字机", "\n", '"quoted"', "🇨🇳", " and so on", "。", "𝒳")


class Model:
    """Serves answers of `pieces` pieces, `pace` seconds apart.

    Args:
        heard: called with (key, whole answer) for each request, when it has come.
        pieces: of an answer.
        pace: seconds between two.
        hush: seconds, at most, that it once falls silent in the middle.
    """

    def __init__(self, heard: Callable[[str, str], None], *, pieces: int, pace: float, hush: float) -> None:
        self._heard = heard
        self._pieces = pieces
        self._pace = pace
        self._hush = hush
        self._asked: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._answer(await _question(reader), writer)
        finally:
            writer.close()

    async def _answer(self, key: str, writer: asyncio.StreamWriter) -> None:
        self._asked[key] = times = self._asked.get(key, 0) + 1
        pieces = list(answer(key, times, self._pieces))
        self._heard(key, "".join(pieces))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        draw = random.Random(f"{key} {times}")
        silent = draw.randrange(len(pieces))
        for at, piece in enumerate(pieces):
            _say(writer, {"content": piece})
            await writer.drain()
            await asyncio.sleep(self._pace + (at == silent) * draw.uniform(0, self._hush))
        _say(writer, {}, finish="stop")
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()


def answer(key: str, times: int, pieces: int) -> Iterator[str]:
    """Tell the pieces of an answer; the number of times that it was asked for is its first word."""
    draw = random.Random(f"{key} {times}")
    yield f"{times}"
    for number in range(1, pieces):
        yield f"{draw.choice(_WORDS)}{number if draw.random() < 0.3 else ''}"


async def _question(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return str(json.loads(await reader.readexactly(length))["messages"][-1]["content"])


def _say(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    data = b"data: %b\n\n" % json.dumps(chunk).encode()
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
