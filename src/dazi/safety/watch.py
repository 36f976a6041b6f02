"""The watch over one answer: a `Sink` between the upstream and the log, and what judges while the answer streams.

Laws:

- in mode `hold` text reaches the log when it was judged; in mode `show` at once, and what did not pass is taken back (`retract`),
  to the text before its window;
- what cannot be taken back is held in either mode: reasoning until it was judged, a tool call until the answer is over and the
  whole of it was;
- windows are judged one after another, the reasoning's before the text's; what comes meanwhile is in the next one, so a
  slow checker is asked less often, about more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from dazi.errors import Closed, DaziError, GenerationError
from dazi.events import Joiner
from dazi.safety import Kind, Passage
from dazi.safety.policy import Policy
from dazi.safety.texts import text_of_call
from dazi.safety.windows import Strand, windows_of
from dazi.upstream import Asker, Retracts, Sink

# Characters of one answer that may wait for their verdicts: as many as it may have by default.
MOST_HELD = 4 * 1024 * 1024
# Characters that a tool call counts before it has any: what keeps it weighs about as much.
_CALL = 256


class Risky(DaziError):
    """A window of the answer did not pass."""


@dataclass(slots=True)
class _Call:
    """A tool call, gathered."""

    call_id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    joiner: Joiner = field(default_factory=Joiner)


class Watch:
    """Takes what an upstream says, and judges it.

    Args:
        sink: where the answer goes; in mode `show` one that `Retracts`.
        policy: who judges.
        asker: who asked.
    """

    def __init__(self, sink: Sink, policy: Policy, asker: Asker) -> None:
        self._sink = sink
        self._policy = policy
        self._asker = asker
        self._shows = policy.rules.mode == "show"
        self._reasoning = Strand(policy.cuts)
        self._text = Strand(policy.cuts)
        self._calls: dict[int, _Call] = {}
        self._calls_size = 0
        # In mode `show`, the text that passed, to go back to.
        self._safe: list[str] = []
        # Whether the model has begun to answer, and whether the log has any of it.
        self._has_text = False
        self._has_shown = False
        # Set when there is something to judge.
        self._due = asyncio.Event()
        # Fires when something has waited long enough; `_has_waited` from then until it is judged.
        self._timer: asyncio.TimerHandle | None = None
        self._has_waited = False
        # Whether the upstream has said all; whether it may say no more.
        self._is_over = False
        self._is_shut = False

    def text(self, piece: str) -> None:
        """Take a piece of the answer."""
        self._take(self._text, piece)
        self._has_text = True
        if self._shows:
            self._sink.text(piece)

    def reasoning(self, piece: str) -> None:
        """Take a piece of the reasoning."""
        self._take(self._reasoning, piece)

    def tool_call(
        self, index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
    ) -> None:
        """Take a piece of a tool call."""
        self._check_room(arguments)
        self._calls_size += len(arguments) + len(call_id or "") + len(name or "")
        if index not in self._calls:
            self._calls_size += _CALL
        call = self._calls.setdefault(index, _Call())
        call.call_id, call.name = call_id or call.call_id, name or call.name
        if arguments:
            call.arguments.append(call.joiner.join(arguments))

    def retract(self, text: str, *, reason: str) -> None:
        """Put another text in the place of the whole answer so far; it is judged like any other."""
        self._check_room(text)
        self._text = Strand(self._policy.cuts)
        self._safe.clear()
        if self._shows or self._has_shown:
            self._sink_that_retracts.retract("", reason=reason)
        self._has_shown = False
        self.text(text)

    def finish(self) -> None:
        """Hear that the upstream has said all."""
        self._is_over = True
        self._due.set()

    def shut(self) -> None:
        """Take nothing more."""
        self._is_shut = True
        self._stop_waiting()

    def withdraw(self, reason: str) -> None:
        """Take back what was shown and has not passed."""
        if self._shows and self._text.size:
            self._sink_that_retracts.retract("".join(self._safe), reason=reason)

    async def judge(self) -> None:
        """Judge what is said, until all of it is. Raises `Risky`, `GenerationError`, and what the log refuses with."""
        is_over = False
        while not is_over:
            await self._due.wait()
            self._due.clear()
            self._stop_waiting()
            has_waited, self._has_waited = self._has_waited, False
            is_over = self._is_over
            # Who answers has thought. What it thinks later is judged with the end of what it thought before.
            await self._judge(self._reasoning, "reasoning", has_waited=has_waited, is_over=is_over or self._has_text)
            await self._judge(self._text, "text", has_waited=has_waited, is_over=is_over)
            self._wait_for_more()
        await self._judge_calls()

    async def _judge(self, strand: Strand, kind: Kind, *, has_waited: bool, is_over: bool) -> None:
        while window := strand.take(has_waited=has_waited, is_over=is_over):
            has_waited = False
            passes = await self._policy.passes(Passage(window, kind, self._asker))
            if kind == "text" and strand is not self._text:
                return  # the upstream took it back meanwhile
            if not passes:
                raise Risky
            self._give(kind, strand.passed())
        if is_over:
            self._give(kind, strand.rest())

    def _give(self, kind: Kind, piece: str) -> None:
        """Give on what passed."""
        if not piece:
            return
        if kind == "reasoning":
            self._sink.reasoning(piece)
        elif self._shows:
            self._safe.append(piece)
        else:
            self._has_shown = True
            self._sink.text(piece)

    async def _judge_calls(self) -> None:
        for index, call in sorted(self._calls.items()):
            arguments = "".join((*call.arguments, call.joiner.flush()))
            for window in windows_of(text_of_call(call.name, arguments), self._policy.cuts):
                if not await self._policy.passes(Passage(window, "tool_call", self._asker)):
                    raise Risky
            self._sink.tool_call(index, call_id=call.call_id, name=call.name, arguments=arguments)

    def _take(self, strand: Strand, piece: str) -> None:
        self._check_room(piece)
        strand.feed(piece)
        if strand.is_due:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._policy.rules.delay, self._waited)

    def _wait_for_more(self) -> None:
        """See to what came while the last window was judged."""
        if self._text.is_due or self._reasoning.is_due:
            self._due.set()
        elif self._timer is None and (self._text.has_fresh or self._reasoning.has_fresh):
            self._timer = asyncio.get_running_loop().call_later(self._policy.rules.delay, self._waited)

    def _waited(self) -> None:
        self._timer, self._has_waited = None, True
        self._due.set()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_room(self, piece: str) -> None:
        if self._is_shut:
            raise Closed("whose answer was stopped by the content check")
        if self._text.size + self._reasoning.size + self._calls_size + len(piece) > MOST_HELD:
            raise GenerationError("too_long", "More of the answer waits for the content check than can be held.")

    @property
    def _sink_that_retracts(self) -> Retracts:
        return cast("Retracts", self._sink)
