"""An answer as a file that says of itself that an AI made it.

Laws: the words stand in front of the text, for people; the fields of GB 45438-2025 (appendix E) stand before them as front matter, for
programs; the text itself is the log's, unchanged.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from dazi.events import Answer, status_of
from dazi.service import Gateway
from dazi.web.calls import Call, Reply, names

LABEL = "> 本内容由人工智能生成 · AI-generated"
_GENERATED = "1"


class Exports:
    """The handler of `/v1/generations/{id}/markdown`.

    Args:
        gateway: whose generations.
        producer: who answers for the content: a name, or the code of a provider.
    """

    def __init__(self, gateway: Gateway, *, producer: str) -> None:
        self._gateway = gateway
        self._producer = producer

    async def markdown(self, call: Call) -> Reply:
        """Give the answer as it stands, as a file of Markdown. Raises `NotFound`."""
        answer, _ = await self._gateway.answer(call.owner, call.generation)
        headers = [
            (b"content-type", b"text/markdown; charset=utf-8"),
            (b"content-disposition", b'attachment; filename="%b.md"' % call.generation.encode("ascii")),
            (b"cache-control", b"no-store"),
            *names(call.generation),
        ]
        return Reply(200, _markdown(call.generation, answer, self._producer).encode(), headers)


def _markdown(generation: str, answer: Answer, producer: str) -> str:
    label = {
        "Label": _GENERATED,
        "ContentProducer": producer,
        "ProduceID": generation,
        "ReservedCode1": "",
        "ContentPropagator": producer,
        "PropagateID": generation,
        "ReservedCode2": "",
    }
    started = answer.started
    facts = {
        "AIGC": label,
        "model": started.model if started else "",
        "created": datetime.fromtimestamp(started.created if started else 0, UTC).isoformat(),
        "status": status_of(answer.end),
    }
    # JSON is YAML, and quotes whatever a name may hold.
    front = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    return f"---\n{front}\n---\n\n{LABEL}\n\n{answer.text}\n"
