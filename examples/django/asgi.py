"""Dazi beside a Django project, over ASGI: one process, one port.

    pip install . django    # in the clone's root
    uvicorn asgi:application --port 8000

Everything below /ai is Dazi's; the rest is Django's. Use this in place of your project's asgi.py.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from django.core.asgi import get_asgi_application
from starlette.routing import Mount, Router

from dazi import Prompt, create_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")


async def answer(prompt: Prompt) -> AsyncIterator[str]:
    """Answer, piece by piece. Put your model here."""
    for piece in ("Django ", "says: ", str(prompt.messages[-1]["content"])):
        yield piece
        await asyncio.sleep(0.1)


application = Router([Mount("/ai", create_app({"mine": answer})), Mount("/", get_asgi_application())])
