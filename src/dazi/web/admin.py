"""The operator's side: `/metrics`, the page `/admin` and what it asks for.

Laws: it has a key of its own, `admin_key`; without one it is open to this machine alone, and closed where API keys are set;
nothing of what users and models wrote is shown, unless the operator switched that on (`admin_shows_text`).
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from msgspec import Struct, to_builtins
from starlette.datastructures import Headers

from dazi.errors import Forbidden
from dazi.service import Gateway
from dazi.service.telemetry import Beginning, Story
from dazi.upstream import Asker
from dazi.web.calls import Call, Reply, json_reply
from dazi.web.chat import page_file
from dazi.web.guard import Keys
from dazi.web.metrics import CONTENT_TYPE, Metrics
from dazi.web.readers import Readers
from dazi.web.requests import decode, read_body
from dazi.web.upstreams import Watch

_MAX_BODY = 4096
_RECENT = 100


class LogLevel(Struct, forbid_unknown_fields=True):
    """The body of a change of the log's level."""

    level: Literal["debug", "info", "warning", "error"]


class AdminKeys(Keys):
    """The operator's key, or why there is no way in.

    Args:
        key: the key; "" for none.
        is_guarded: whether the gateway has API keys, so that others than this machine reach it.
    """

    def __init__(self, key: str, *, is_guarded: bool) -> None:
        super().__init__((key,) if key else (), setting="admin_key (DAZI_ADMIN_KEY)")
        self._is_closed = is_guarded and not key

    def asker_of(self, headers: Headers) -> Asker:
        """Check the key. Raises `Unauthorized`, `Forbidden`."""
        if self._is_closed:
            raise Forbidden(
                "The operator's side is closed.",
                remedy="Set DAZI_ADMIN_KEY, and send it as Authorization: Bearer <key>.",
                code="admin_closed",
            )
        return super().asker_of(headers)


class Ledger:
    """The last generations that ended here, and how many of each kind. A `Telemetry`."""

    def __init__(self) -> None:
        self.begun = 0
        self.pieces = 0
        self.reasons: Counter[str] = Counter()
        self.ends: deque[dict[str, object]] = deque(maxlen=_RECENT)

    def began(self, beginning: Beginning) -> None:  # noqa: ARG002  # as `Telemetry` tells it
        """Count it."""
        self.begun += 1

    def ended(self, story: Story) -> None:
        """Take note of it."""
        self.pieces += story.pieces
        reason = story.code if story.status == "failed" else story.status
        self.reasons[reason] += 1
        self.ends.appendleft(
            {
                "generation": story.beginning.generation,
                "model": story.beginning.model,
                "reason": reason,
                "seconds": round(story.seconds, 2),
                "first_token": None if story.first_token is None else round(story.first_token, 3),
                "pieces": story.pieces,
                "ended": int(time.time()),
            }
        )

    def stored(self, seconds: float, pieces: int) -> None:
        """Nothing to note."""

    def refused(self, limit: str) -> None:
        """Nothing to note."""

    def queued(self) -> None:
        """Nothing to note."""

    def called(self, seconds: float, outcome: str) -> None:
        """Nothing to note."""


@dataclass(frozen=True, slots=True)
class Books:
    """What a gateway notes of itself: numbers, the last ends, how its upstreams are."""

    metrics: Metrics
    ledger: Ledger
    watch: Watch


class Admin:
    """The handlers.

    Args:
        gateway: whose side it is.
        readers: of this process.
        books: what it tells.
        shows_text: whether answers may be looked at.
    """

    def __init__(self, gateway: Gateway, readers: Readers, books: Books, *, shows_text: bool) -> None:
        self._gateway = gateway
        self._readers = readers
        self._books = books
        self._shows_text = shows_text
        self._began = time.monotonic()

    async def metrics(self, _call: Call) -> Reply:
        """Tell the numbers to Prometheus."""
        return Reply(200, self._books.metrics.exposition(), [(b"content-type", CONTENT_TYPE)])

    async def page(self, _call: Call) -> Reply:
        """Serve the page; what it shows it asks for with the key."""
        return page_file("operator", "index.html")

    async def file(self, call: Call) -> Reply:
        """Serve a file of the page."""
        return page_file("operator", call.scope["path_params"]["name"])

    async def state(self, _call: Call) -> Reply:
        """Tell how things stand."""
        present, ledger = self._gateway.present(), self._books.ledger
        return json_reply(
            200,
            {
                "version": version("dazi"),
                "process": os.getpid(),
                "uptime": round(time.monotonic() - self._began),
                "readers": len(self._readers),
                "begun": ledger.begun,
                "pieces": ledger.pieces + sum(one.pieces for one in present),
                "running": [
                    {
                        "generation": one.beginning.generation,
                        "owner": one.beginning.owner,
                        "model": one.beginning.model,
                        "seconds": round(time.monotonic() - one.beginning.began, 1),
                        "pieces": one.pieces,
                        "readers": one.readers,
                    }
                    for one in present
                ],
                "upstreams": self._books.watch.state(),
                "reasons": dict(ledger.reasons),
                "ends": list(ledger.ends),
                "shows_text": self._shows_text,
                "log_level": logging.getLevelName(logging.getLogger("dazi").getEffectiveLevel()).lower(),
            },
        )

    async def generations(self, _call: Call) -> Reply:
        """List the newest generations of all processes that share the log."""
        recent = await self._gateway.recent(_RECENT)
        return json_reply(200, {"generations": [to_builtins(one) for one in recent]})

    async def abort(self, call: Call) -> Reply:
        """Stop a generation, whoever owns it."""
        record = await self._gateway.abort_anyones(call.generation)
        return json_reply(200, {"generation": call.generation, "status": to_builtins(record.event)["type"]})

    async def read(self, call: Call) -> Reply:
        """Show an answer, where the operator switched that on."""
        if not self._shows_text:
            raise Forbidden(
                "What users and models write is not shown here.",
                remedy="Set DAZI_ADMIN_SHOWS_TEXT=true if your users know and agree.",
                code="admin_closed",
            )
        answer = await self._gateway.anyones_answer(call.generation)
        return json_reply(200, {"generation": call.generation, "text": answer.text, "reasoning": answer.reasoning})

    async def log_level(self, call: Call) -> Reply:
        """Change how much this process logs, until it ends."""
        wanted = decode(await read_body(call.receive, call.headers, limit=_MAX_BODY), LogLevel).level
        logging.getLogger("dazi").setLevel(wanted.upper())
        return json_reply(200, {"log_level": wanted})
