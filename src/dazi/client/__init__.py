"""A client for Dazi's gateway: `AsyncClient`, and `Client`, its synchronous face.

    from dazi.client import Client

    with Client() as client, client.start("春天为什么会下雨？") as answer:
        for piece in answer:
            print(piece, end="", flush=True)

The law: a text that was handed out is the generation's, exactly, or an error says that it is not. Cut, stalled, reset
and rotated connections are taken up again where they broke (PROTOCOL.md, section 8), and the model is asked once.
"""

from dazi.client.asynchronous import AsyncAnswer, AsyncClient
from dazi.client.attempts import Patience
from dazi.client.errors import ClientError, Corrupted, NotAGateway, Replaced, Unreachable
from dazi.client.synchronous import Answer, Client
from dazi.client.wire import Standing

__all__ = [
    "Answer",
    "AsyncAnswer",
    "AsyncClient",
    "Client",
    "ClientError",
    "Corrupted",
    "NotAGateway",
    "Patience",
    "Replaced",
    "Standing",
    "Unreachable",
]
