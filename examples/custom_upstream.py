"""Your own model code behind Dazi: resume, poll, abort, replace mode and the chat page, for one async generator.

uvicorn custom_upstream:app --port 8000
"""

import asyncio
from collections.abc import AsyncIterator

from dazi import Prompt, create_app


async def shout(prompt: Prompt) -> AsyncIterator[str]:
    """Answer with the last message in capitals, a word at a time. Put your model here."""
    for word in str(prompt.messages[-1]["content"]).upper().split():
        yield word + " "
        await asyncio.sleep(0.1)


app = create_app({"shout": shout})
