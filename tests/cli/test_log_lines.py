from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from dazi.cli.logs import set_up_logging
from dazi.settings import Settings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("dazi")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_json_line_has_time_level_logger_generation_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Settings(log_format="json"), Console())
    logging.getLogger("dazi.service").warning("It failed with %s", "truncated", extra={"generation": "0f3c"})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp")
    assert line == {
        "message": "It failed with truncated",
        "level": "warning",
        "logger": "dazi.service",
        "generation": "0f3c",
    }


def test_the_level_is_the_settings() -> None:
    set_up_logging(Settings(log_level="error"), Console())
    assert not logging.getLogger("dazi.web").isEnabledFor(logging.WARNING)


def test_people_get_text() -> None:
    out = io.StringIO()
    set_up_logging(Settings(), Console(file=out, width=80))
    logging.getLogger("dazi.web").warning("It is so")
    assert "It is so" in out.getvalue()
