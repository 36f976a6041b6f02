"""The program as a whole: its help, its version and what a shell completes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from tests.cli.conftest import Run

COMMANDS = ("serve", "chat", "tail", "config", "doctor", "admin", "keys", "dev")


@pytest.mark.parametrize("arguments", [["--help"], []])
async def test_the_commands_are_listed(arguments: list[str], run: Run) -> None:
    ran = await run(*arguments)
    shown = ran.out + ran.err
    assert [command for command in COMMANDS if f" {command} " not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_explains_itself(command: str, run: Run) -> None:
    ran = await run(command, "--help")
    assert "Usage: dazi" in ran.out
    assert ran.status == 0


async def test_the_version_is_told(run: Run) -> None:
    assert (await run("--version")).out == f"dazi {version('dazi')}\n"


async def test_an_unknown_command_is_told(run: Run) -> None:
    ran = await run("sevre")
    assert "No such command 'sevre'" in ran.err
    assert ran.status == 2


@pytest.mark.parametrize(("words", "cursor", "completed"), [("dazi ta", 1, {"tail"}), ("dazi ", 1, set(COMMANDS))])
async def test_a_shell_completes_commands(words: str, cursor: int, completed: set[str], run: Run) -> None:
    env = {"_DAZI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(cursor)}
    assert set((await run(env=env)).out.split()) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_is_installed(shell: str, run: Run, tmp_path: Path) -> None:
    env = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = await run("--install-completion", shell, env=env)
    assert f"{shell} completion installed" in ran.out
    assert [text for text in files_in(tmp_path) if "_DAZI_COMPLETE" in text]


def files_in(folder: Path) -> list[str]:
    return [path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()]
