"""Answers typed into a terminal, or a pipe.

Laws: the text, and nothing else, goes to standard output, exactly as the model said it; a terminal, however, gets no
control characters but line ends and tabs, so that no answer can move the cursor, change the title or hide what it says.
Reasoning and remarks go to standard error, dim.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from dazi.client import AsyncAnswer
from dazi.events import Aborted, End, Event, Reasoning, Retract, Snapshot, Text, ToolCall

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
# Visible stand-ins for C0 (Unicode's control pictures), DEL and C1. A carriage return could hide the line before it.
_HARMLESS: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    **dict.fromkeys(range(0x7F, 0xA0), "\ufffd"),
    ord("\r"): "",
}


class Terminal:
    """Types the events of one answer."""

    def __init__(self, out: TextIO | None = None, aside: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._aside = aside or sys.stderr
        # The pieces of the answer's text that have been typed.
        self._typed: list[str] = []
        # Whether the cursor stands behind something that was written aside, or behind text.
        self._is_aside = False
        self._is_in_line = False

    def take(self, event: Event | Snapshot) -> None:
        """Type what an event adds."""
        match event:
            case Text():
                self._type(event.text)
            case Reasoning():
                self._whisper(event.text)
            case ToolCall() if event.name:
                self.remark(f"calls {event.name}")
            case Retract():
                self._replace(event.text, f"withdrawn: {event.reason}")
            case Snapshot():
                self._go_on(event.text)
            case Aborted():
                self.remark("aborted")

    def remark(self, words: str) -> None:
        """Say something on a line of its own, aside."""
        self.end_line()
        self._write(self._aside, f"[{words}]\n", is_dim=True)

    def end_line(self) -> None:
        """Begin a new line, unless the cursor is at the beginning of one. A pipe gets nothing that was not said."""
        stream = self._aside if self._is_aside else self._out
        if self._is_in_line and (self._is_aside or stream.isatty()):
            self._write(stream, "\n")
        self._is_in_line = False

    def _go_on(self, text: str) -> None:
        typed = "".join(self._typed)
        if text.startswith(typed):
            self._type(text[len(typed) :])
        else:
            self._replace(text, "replaced by what stands now:")

    def _replace(self, text: str, why: str) -> None:
        self.remark(why)
        self._typed.clear()
        self._type(text)

    def _type(self, piece: str) -> None:
        if not piece:
            return
        self._turn(is_aside=False)
        self._typed.append(piece)
        self._is_in_line = not piece.endswith("\n")
        self._write(self._out, piece)

    def _whisper(self, piece: str) -> None:
        self._turn(is_aside=True)
        self._is_in_line = not piece.endswith("\n")
        self._write(self._aside, piece, is_dim=True)

    def _turn(self, *, is_aside: bool) -> None:
        if self._is_aside != is_aside:
            self.end_line()
        self._is_aside = is_aside

    @staticmethod
    def _write(stream: TextIO, text: str, *, is_dim: bool = False) -> None:
        if stream.isatty():
            text = text.translate(_HARMLESS)
            text = f"{_DIM}{text}{_PLAIN}" if is_dim else text
        stream.write(text)
        stream.flush()


async def follow(answer: AsyncAnswer, take: Callable[[Event | Snapshot], None]) -> End:
    """Hand each event of an answer on, and return the last one. Raises `GenerationError` if the generation failed."""
    async with answer:
        async for event in answer.events():
            take(event)
        return await answer.wait_end()
