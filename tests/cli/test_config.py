from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from dazi.cli.config import _masked
from dazi.settings import Settings

KEY = "a-key-of-a-team-9876"


async def test_every_setting_is_shown_with_its_value_and_source(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dazi.toml").write_text("port = 9000\ndrain = 5\n", "utf-8")
    ran = await run("config", env={"DAZI_PORT": "9001", "DAZI_MODEL": "demo"})
    rows = {row[0]: row[1:] for row in (line.split(maxsplit=2) for line in ran.out.splitlines())}
    assert list(rows) == list(Settings.__struct_fields__)
    assert rows["port"] == ["9001", "environment DAZI_PORT"]
    assert rows["drain"] == ["5.0", "dazi.toml"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["model"] == ["demo", "environment DAZI_MODEL"]


async def test_secrets_are_not_shown(run: Run) -> None:
    env = {"DAZI_API_KEYS": f"{KEY},{KEY}2", "OPENAI_API_KEY": "sk-geheim", "DAZI_HOST": "0.0.0.0"}
    for arguments in (["config"], ["config", "--json"]):
        ran = await run(*arguments, env=env)
        assert "environment OPENAI_API_KEY" in ran.out
        assert ran.out.count("********") == 3
        assert KEY not in ran.out
        assert "geheim" not in ran.out


async def test_the_secrets_of_upstreams_are_not_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dazi.toml").write_text(
        f"""
        [[upstreams]]
        name = "a"
        preset = "deepseek"
        key = "{KEY}"
        models = ["m"]
        headers = {{ X-Team = "{KEY}" }}
        options = {{ nested = {{ word = "{KEY}" }} }}
        [[upstreams]]
        name = "b"
        preset = "qwen"
        key_env = "MY_QWEN_VARIABLE"
        models = ["m"]
        """,
        "utf-8",
    )
    for arguments in (["config"], ["config", "--json"]):
        ran = await run(*arguments)
        assert KEY not in ran.out
        assert "MY_QWEN_VARIABLE" in ran.out
        assert '"between_tokens": 60.0' in ran.out


async def test_json_is_for_machines(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('model = ["demo"]\n', "utf-8")
    shown = json.loads((await run("config", "--json", "--config", str(file))).out)
    assert shown["model"] == {"value": ["demo"], "source": str(file)}
    assert shown["port"] == {"value": 8000, "source": "default"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("upstream_key", "", ""),
        ("wechat_secret", "x", "********"),
        ("log", "redis://:pass@host:6379/0", "redis://********@host:6379/0"),
        ("upstream", "https://api.example.com/v1", "https://api.example.com/v1"),
        ("urls", ["https://checker.example/judge?key=x"], ["https://checker.example/judge?********"]),
        ("tokens", ["a", "b"], ["********", "********"]),
        ("port", 8000, 8000),
    ],
)
def test_what_may_be_secret_is_masked(name: str, value: object, shown: object) -> None:
    assert _masked(name, value) == shown


async def test_a_wrong_setting_is_told_in_a_sentence(run: Run) -> None:
    ran = await run("config", env={"DAZI_PORT": "x"})
    assert (ran.out, ran.status) == ("", 2)
    assert ran.err.startswith("dazi: port='x' (environment DAZI_PORT) is wrong")
    ran = await run("config", "--config", "nowhere.toml")
    assert ran.err == "dazi: There is no file nowhere.toml. Correct --config, or leave it out.\n"
