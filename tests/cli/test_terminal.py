from __future__ import annotations

import io

import pytest

from dazi.cli.terminal import Terminal
from dazi.events import Aborted, Reasoning, Retract, Snapshot, Text, ToolCall


class Screen(io.StringIO):
    """Both standard output and standard error, as a terminal shows them, or as pipes take them."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def shown(self) -> str:
        return self.getvalue().replace("\x1b[2m", "<").replace("\x1b[0m", ">")


@pytest.fixture
def screen() -> Screen:
    return Screen(is_terminal=True)


@pytest.fixture
def terminal(screen: Screen) -> Terminal:
    return Terminal(screen, screen)


def test_reasoning_stands_dim_on_lines_of_its_own(screen: Screen, terminal: Terminal) -> None:
    for event in (Reasoning("Let me "), Reasoning("see."), Text("So: "), Text("yes"), Reasoning("Done.")):
        terminal.take(event)
    terminal.end_line()
    assert screen.shown == "<Let me ><see.>\nSo: yes\n<Done.>\n"


def test_what_is_withdrawn_is_replaced(screen: Screen, terminal: Terminal) -> None:
    terminal.take(Text("Bad"))
    terminal.take(Retract("Sorry.", 6, "unsafe"))
    assert screen.shown == "Bad\n<[withdrawn: unsafe]\n>Sorry."


def test_a_snapshot_adds_what_is_new_or_replaces(screen: Screen, terminal: Terminal) -> None:
    terminal.take(Text("One"))
    terminal.take(Snapshot("One, two", 8))
    terminal.take(Snapshot("Three", 5))
    assert screen.shown == "One, two\n<[replaced by what stands now:]\n>Three"


def test_calls_and_aborts_are_remarked(screen: Screen, terminal: Terminal) -> None:
    terminal.take(ToolCall(0, name="look", arguments="{"))
    terminal.take(ToolCall(0, arguments="}"))
    terminal.take(Aborted())
    assert screen.shown == "<[calls look]\n><[aborted]\n>"


def test_a_line_is_ended_once(screen: Screen, terminal: Terminal) -> None:
    terminal.take(Text("x\n"))
    terminal.end_line()
    terminal.end_line()
    assert screen.shown == "x\n"


def test_a_terminal_is_kept_from_control_characters(screen: Screen, terminal: Terminal) -> None:
    terminal.take(Text("a\tb\r\nc\x1b[2J\x7f\x9b\x00"))
    assert screen.getvalue() == "a\tb\nc\u241b[2J\ufffd\ufffd\u2400"


def test_a_pipe_gets_every_character_and_no_other() -> None:
    pipe, aside = Screen(is_terminal=False), Screen(is_terminal=False)
    terminal = Terminal(pipe, aside)
    terminal.take(Text("a\r\n\x1b[2J"))
    terminal.take(Text("b"))
    terminal.end_line()
    assert (pipe.getvalue(), aside.getvalue()) == ("a\r\n\x1b[2Jb", "")
