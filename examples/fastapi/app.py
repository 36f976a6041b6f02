"""Dazi mounted in a FastAPI app.

    pip install . fastapi    # in the clone's root
    uvicorn app:app --port 8000

The chat page is then at http://127.0.0.1:8000/ai/, and the API below http://127.0.0.1:8000/ai/v1.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from dazi import Prompt, create_app


async def answer(prompt: Prompt) -> AsyncIterator[str]:
    """Answer, piece by piece. Put your model here."""
    for piece in ("你好，", "你问的是：", str(prompt.messages[-1]["content"]), " 👨‍👩‍👧‍👦"):
        yield piece
        await asyncio.sleep(0.2)


dazi = create_app({"mine": answer})


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Say goodbye to the readers when the process stops; FastAPI tells a mounted app nothing of that."""
    yield
    await dazi.gateway.close(drain=10)


app = FastAPI(lifespan=lifespan)
app.mount("/ai", dazi)


@app.get("/hello")
async def hello() -> dict[str, str]:
    """Answer as any other route of yours does."""
    return {"hello": "world"}
