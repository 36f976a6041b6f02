"""Where answers come from.

An upstream turns a `Prompt` into an answer by pushing pieces into a `Sink`, from wherever it gets them, and returns a
`Finish` when the model is done. Laws:

- pieces are pushed in order, the moment they are known; the sink never suspends and never raises for a slow reader;
- an answer that broke off is never finished: what ends early, stalls, refuses or is garbage raises `UpstreamError`
  with its own code, and what was pushed before stands;
- cancelling `generate` releases everything it holds (connections, threads, slots) before it returns;
- nothing of the upstream's address, headers or keys comes from the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from dazi.events import Usage


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the `owner` of the generation, and the user's `appid` and `openid` where a mini program's session says them.

    `key` is what they came in by (an API key, a mini program, a client of the company's own), and `ip` where from; both "" where
    that is not known.
    """

    owner: str
    appid: str = field(default="", repr=False)
    openid: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    ip: str = field(default="", repr=False)


NOBODY = Asker("")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to answer: the messages and options of an OpenAI chat request, checked for shape and otherwise untouched.

    `options` holds every other field that was given (`temperature`, `max_tokens`, `tools`, …), under its own name.
    `said` is what another upstream has said of the answer already, to be gone on from exactly; only those get one that
    can (`Continues`). `asker` is who asks.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]  # Any: message shapes are the dialect's, passed through
    options: Mapping[str, Any] = field(default_factory=dict)  # Any: option values are the dialect's, passed through
    said: str = ""
    asker: Asker = NOBODY


@dataclass(frozen=True, slots=True)
class Finish:
    """How the model ended: `stop`, `length`, `tool_calls`, `content_filter` or the upstream's own word."""

    reason: str = "stop"
    usage: Usage | None = None


class Sink(Protocol):
    """What an upstream writes its answer to. Each call raises `Closed` once the generation has ended."""

    def text(self, piece: str) -> None:
        """Append a piece of the answer. Surrogate pairs split over two pieces are joined."""
        ...

    def reasoning(self, piece: str) -> None:
        """Append a piece of the reasoning."""
        ...

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        """Append a piece of a tool call."""
        ...


@runtime_checkable
class Retracts(Protocol):
    """The power of a sink to take back what was said."""

    def retract(self, text: str, *, reason: str) -> None:
        """Put `text` in the place of the whole answer so far."""
        ...


@runtime_checkable
class Upstream(Protocol):
    """A model that answers; the module's docstring states its laws."""

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the answer into `sink` and return how it finished. Raises `UpstreamError`."""
        ...


@runtime_checkable
class Continues(Protocol):
    """The power of an upstream that may be able to go on from the first half of an answer (`Prompt.said`).

    Law: where it can, it pushes what follows that text and nothing of the text itself, or the text again from a place in
    it; the pool takes the repetition away.
    """

    def can_continue(self, prompt: Prompt) -> bool:
        """Whether it can for this prompt."""
        ...


@runtime_checkable
class Lifecycle(Protocol):
    """The power of an upstream that holds something between generations: a process, a pool, a loaded model."""

    async def open(self) -> None:
        """Make ready. Raises `ConfigError` if it cannot be."""
        ...

    async def close(self) -> None:
        """Let go of everything; idempotent."""
        ...
