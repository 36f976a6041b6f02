"""What both faces of the client know of a generation that they follow."""

from __future__ import annotations

from dazi.client.errors import Replaced
from dazi.client.held import Told
from dazi.client.reader import Reader, Source
from dazi.client.wire import Request, ask_abort
from dazi.errors import GenerationError
from dazi.events import End, Failed, ToolCall


class Followed:
    """The state of an answer, as far as it has been handed out."""

    def __init__(self, reader: Reader, source: Source) -> None:
        self._reader = reader
        self._source = source

    @property
    def generation(self) -> str:
        """The generation's id; "" until the gateway has told it, which entering the context waits for."""
        return self._reader.generation

    @property
    def position(self) -> str:
        """The position of what was handed out last: what `attach` takes as `after`."""
        return self._reader.position

    @property
    def text(self) -> str:
        """The text handed out so far: the whole answer's once `end` is there; attached after a position, what follows it."""
        return self._reader.held.answer.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._reader.held.answer.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far, each folded into one."""
        return self._reader.held.answer.tool_calls

    @property
    def end(self) -> End | None:
        """How the generation ended, `Done`, `Failed` or `Aborted`; None while more may follow."""
        return self._reader.end

    def _piece_of(self, told: Told) -> str:
        if told.replaced:
            raise Replaced(self.generation, told.replaced, self.text)
        return told.piece

    @staticmethod
    def _check(end: End) -> None:
        if isinstance(end, Failed):
            raise GenerationError(end.code, end.message, retryable=end.retryable)

    def _ask_abort(self) -> Request:
        return ask_abort(self.generation, self._source.key)
