"""What a token costs in the gateway from the upstream connection's callback to the write, without sockets.

usage: hot_path.py [--streams N] [--tokens N] [--rounds N]

A gateway and its readers run for real until each stream has its first token; then chunks are handed to the upstream connections,
and what is written to readers goes nowhere. `alone`: each token is a turn of the loop, as on a quiet machine; `together`: all
streams' tokens are one turn, as on a busy one. CPU time, the best of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.conftest import listening

from dazi import create_app
from dazi.settings import Settings
from dazi.upstream.http import _Connection
from dazi.upstream.openai import OpenAIUpstream
from dazi.web.stream import Reader

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_QUESTION = json.dumps({"messages": [{"role": "user", "content": "?"}]}).encode()
_FIRST = "first"
TEXTS = {"English": " token", "Chinese": "文字"}


def chunk(text: str) -> bytes:
    """Write a token as OpenAI's servers do."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    event = f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say the first token, and then nothing."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_HEAD + chunk(_FIRST))
    while await reader.read(65536):
        pass
    writer.close()


class Nowhere:
    """A transport whose writes are counted, and go nowhere."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, _data: bytes) -> None:
        """Count a write."""
        self.writes += 1

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def get_write_buffer_size(self) -> int:
        """Keep nothing back."""
        return 0


@asynccontextmanager
async def stage(streams: int) -> AsyncIterator[tuple[list[_Connection], Nowhere]]:
    """Bring streams to their first token; gives the upstream connections, and where the readers write to."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(model, "127.0.0.1", 0, backlog=4096))
        upstream = OpenAIUpstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        port = await stack.enter_async_context(listening(create_app({"m": upstream}, settings=Settings())))
        for _ in range(streams):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            head = b"POST /v1/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(_QUESTION), _QUESTION))
            await reader.readuntil(_FIRST.encode())
        nowhere = Nowhere()
        found = gc.get_objects()
        for one in found:
            if isinstance(one, Reader) and one._cycle is not None:  # noqa: SLF001  # what has no other way in
                one._transport = nowhere  # type: ignore[assignment]  # noqa: SLF001  # as above
        yield [one for one in found if isinstance(one, _Connection) and one._response is not None], nowhere  # noqa: SLF001  # as above


async def cost(connections: list[_Connection], data: bytes, tokens: int, *, alone: bool) -> float:
    """Tell the µs of CPU a token."""
    began = time.process_time()
    for _ in range(tokens):
        for connection in connections:
            connection.data_received(data)
            if alone:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
    return (time.process_time() - began) / tokens / len(connections) * 1e6


async def measure(streams: int, tokens: int, rounds: int) -> None:
    """Measure and print."""
    async with stage(streams) as (connections, nowhere):
        if len(connections) != streams:
            raise RuntimeError(f"{len(connections)} of {streams} upstream connections were found.")
        gc.collect()
        gc.freeze()
        print("| µs of CPU a token | alone | together |\n|---|---:|---:|")
        for name, text in TEXTS.items():
            data = chunk(text)
            ways = [
                min([await cost(connections, data, tokens, alone=alone) for _ in range(rounds)])
                for alone in (True, False)
            ]
            print(f"| {name} | {ways[0]:.1f} | {ways[1]:.1f} |")
        # Alone each token is a write; together each stream's is.
        wanted = len(TEXTS) * 2 * rounds * tokens * streams
        if nowhere.writes < wanted:
            raise RuntimeError(f"{nowhere.writes} of {wanted} tokens were written.")


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.streams, arguments.tokens, arguments.rounds))


if __name__ == "__main__":
    main()
