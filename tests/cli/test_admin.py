from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dazi.cli import app
from dazi.errors import ConfigError, Unknown
from dazi.events import Done, Started, Text
from dazi.log import Draft
from dazi.log.sqlite import SqliteLog

Admin = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def admin(url: str) -> Admin:
    """Run `dazi admin`: `admin("show", id)`."""

    def run(*arguments: str, answer: str = "") -> Result:
        return CliRunner().invoke(app, ["admin", *arguments, "--log", url], input=answer)

    return run


@pytest.fixture
def generations(tmp_path: Path) -> dict[str, str]:
    """Keep one ended and one running generation of each of two owners; their ids, by name."""
    return asyncio.run(_kept(tmp_path / "log.db"))


async def _kept(path: Path) -> dict[str, str]:
    log = SqliteLog(path, lease=0.5)
    await log.open()
    made = {}
    for owner in ("me", "you"):
        for status in ("done", "running"):
            opened = await log.create(Draft(owner, Started(secrets.token_hex(16), "m", 1)))
            await log.append(opened.generation, (Text(f"你好 {owner}", 3 + len(owner)),), previous=1, epoch=1)
            if status == "done":
                await log.end(opened.generation, Done("stop"))
            made[f"{owner} {status}"] = opened.generation
    await log.close()
    return made


def test_the_list_tells_who_and_how_but_not_what(admin: Admin, generations: dict[str, str]) -> None:
    result = admin("list")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert [line[0] for line in lines] == list(reversed(generations.values()))
    assert [line[1] for line in lines] == ["running", "done"] * 2
    assert "你好" not in result.output
    assert len(admin("list", "--owner", "me", "--limit", "1").output.splitlines()) == 1


def test_an_answer_is_shown_as_it_stands(admin: Admin, generations: dict[str, str]) -> None:
    result = admin("show", generations["you done"])
    assert result.output == f"{generations['you done']}  done  1-3  you\n你好 you\n"


def test_a_generation_is_aborted_once(admin: Admin, generations: dict[str, str]) -> None:
    running = generations["me running"]
    assert admin("abort", running).output == f"{running} is aborted\n"
    assert admin("abort", running).output == f"{running} had ended: aborted\n"


def test_an_owner_is_erased_when_that_is_meant(admin: Admin, generations: dict[str, str]) -> None:
    assert admin("erase", "me", answer="n\n").exit_code == 1
    assert admin("erase", "me", "--yes").output == "2 generation(s) erased\n"
    assert len(admin("list").output.splitlines()) == 2
    assert isinstance(admin("show", generations["me done"]).exception, Unknown)


def test_what_a_dead_process_left_is_ended(admin: Admin, generations: dict[str, str]) -> None:
    time.sleep(0.5)  # as long as their leases hold
    assert admin("expire").output == "2 generation(s) of dead processes ended\n"
    assert admin("expire").output == "0 generation(s) of dead processes ended\n"
    assert f"{generations['me running']}  failed" in admin("list").output


def test_what_is_past_its_time_is_forgotten(
    admin: Admin, generations: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAZI_TTL", "1")
    time.sleep(1)
    admin("expire")
    assert generations["me done"] not in admin("list").output


def test_the_memory_of_another_process_cannot_be_administered() -> None:
    result = CliRunner().invoke(app, ["admin", "list", "--log", "memory://"])
    assert isinstance(result.exception, ConfigError)
    assert "memory://" in str(result.exception)
