"""What can go wrong on the way to a gateway, beside what the gateway itself refuses.

```
DaziError
├── RequestError        the gateway refused: its own code, status and remedy (see `dazi.errors`)
├── GenerationError     the generation ended `failed`; raised where its text was asked for
└── ClientError
    ├── Unreachable     no line to the gateway, or none that held long enough to bring anything
    ├── NotAGateway     something answered, but not Dazi
    ├── Corrupted       what came never agreed with its own proof
    └── Replaced        pieces of text that were handed out no longer stand
```
"""

from __future__ import annotations

from dazi.errors import DaziError


class ClientError(DaziError):
    """What a client can tell of a line, where no gateway told anything."""


class Unreachable(ClientError):
    """The gateway cannot be reached, or no line to it held. What it runs goes on: attach again later.

    Attributes: `url` (of the gateway), `reason` (what went wrong last, in words).
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return (
            f"{self.url} could not be read: {self.reason}, and trying again did not help. "
            "Check the address, and that the gateway is running."
        )


class NotAGateway(ClientError):
    """The address answers, but not as PROTOCOL.md says: another server, a proxy's page, a log-in page of a network.

    Attributes: `url` (of the gateway), `status` and `media_type` (of the answer).
    """

    def __init__(self, url: str, status: int, media_type: str) -> None:
        self.url = url
        self.status = status
        self.media_type = media_type
        super().__init__(url, status, media_type)

    def __str__(self) -> str:
        kind = self.media_type or "nothing"
        return f"{self.url} answered {self.status} with {kind}, as no Dazi gateway does. Check the address."


class Corrupted(ClientError):
    """What came was read again and again, and never agreed with its own proof: `n`, `crc32`, or being JSON.

    Attributes: `url` (of the gateway), `path` (of what was read).
    """

    def __init__(self, url: str, path: str) -> None:
        self.url = url
        self.path = path
        super().__init__(url, path)

    def __str__(self) -> str:
        return (
            f"What {self.url} told at {self.path} does not agree with its own proof, however often it is read. "
            "Something between here and there changes bytes: use https, or another way."
        )


class Replaced(ClientError):
    """Pieces of text that were handed out no longer stand; another text stands in their place.

    Attributes: `generation` (its id), `why` (in words), `text` (all that stands now). Iterating again goes on after it.
    """

    def __init__(self, generation: str, why: str, text: str) -> None:
        self.generation = generation
        self.why = why
        self.text = text
        super().__init__(generation, why, text)

    def __str__(self) -> str:
        return (
            f"The text of generation {self.generation} was replaced after pieces of it had been handed out: {self.why}. "
            "Show the attribute `text` instead of them, or iterate over `events()`, which tells replacements."
        )
