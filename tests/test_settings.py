from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dazi.errors import ConfigError
from dazi.settings import Loaded, Settings, load

KEY, OTHER_KEY = "alice-k3y-N7fQ2xW9pL4v", "bob-s3cr3t-M8gR5tY1zC6d"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No `dazi.toml` of this folder, and no variable of this shell, decides a test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def gather(flags: dict[str, Any] | None = None, *, toml: str | None = None, **environment: str) -> Loaded:
    file = None
    if toml is not None:
        file = Path("settings.toml")
        file.write_text(toml, "utf-8")
    return load(flags, environment=environment, file=file)


def refusal(flags: dict[str, Any] | None = None, *, toml: str | None = None, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        gather(flags, toml=toml, **environment)
    return str(caught.value)


# Where they come from


def test_the_defaults_are_safe() -> None:
    loaded = gather()
    assert loaded.settings == Settings()
    assert (loaded.settings.host, loaded.settings.port, loaded.settings.log) == ("127.0.0.1", 8000, "memory://")
    assert (loaded.settings.workers, loaded.settings.drain) == (1, 60)
    assert loaded.settings.api_keys == loaded.settings.origins == loaded.settings.hosts == ()
    assert set(loaded.sources.values()) == {"default"}


def test_a_flag_beats_the_environment_and_that_the_file() -> None:
    loaded = gather({"port": 1}, toml="port = 3\ndrain = 3\nworkers = 1", DAZI_PORT="2", DAZI_DRAIN="2")
    assert (loaded.settings.port, loaded.settings.drain, loaded.settings.workers) == (1, 2, 1)
    assert loaded.sources["port"] == "flag --port"
    assert loaded.sources["drain"] == "environment DAZI_DRAIN"
    assert loaded.sources["workers"] == "settings.toml"
    assert loaded.sources["host"] == "default"


def test_a_flag_that_was_not_given_decides_nothing() -> None:
    assert gather({"port": None}, DAZI_PORT="2").settings.port == 2


def test_the_file_of_the_current_folder_is_read_when_it_is_there(elsewhere: Path) -> None:
    (elsewhere / "dazi.toml").write_text('model = ["demo"]\n', "utf-8")
    loaded = gather()
    assert loaded.settings.model == ("demo",)
    assert loaded.sources["model"] == "dazi.toml"


def test_every_setting_can_be_set_in_every_place() -> None:
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        if isinstance(value, msgspec.Struct):
            text = msgspec.json.encode(value).decode()
        assert gather({name: text or None}).settings == Settings()
        assert load(None, environment={f"DAZI_{name.upper()}": text}).settings == Settings()


@pytest.mark.parametrize("value", ["demo,smollm2", " demo , smollm2 ,", ",demo,,smollm2"])
def test_a_list_is_written_with_commas(value: str) -> None:
    assert gather(DAZI_MODEL=value).settings.model == ("demo", "smollm2")
    assert gather({"model": value}).settings.model == ("demo", "smollm2")
    assert gather(toml=f'model = "{value}"').settings.model == ("demo", "smollm2")
    assert gather(toml='model = ["demo", "smollm2"]').settings.model == ("demo", "smollm2")


def test_names_that_other_tools_use_are_understood_and_ours_win() -> None:
    openai: dict[str, Any] = {"OPENAI_BASE_URL": "http://one/v1", "OPENAI_API_KEY": "sk-one", "OPENAI_MODEL": "one"}
    settings = gather(**openai).settings
    assert (settings.upstream, settings.upstream_key, settings.model) == ("http://one/v1", "sk-one", ("one",))
    ours: dict[str, Any] = {"DAZI_UPSTREAM": "http://two/v1", "DAZI_UPSTREAM_KEY": "sk-two", "DAZI_MODEL": "two"}
    for environment in ({**openai, **ours}, {**ours, **openai}):
        settings = gather(**environment).settings
        assert (settings.upstream, settings.upstream_key, settings.model) == ("http://two/v1", "sk-two", ("two",))


def test_an_empty_variable_is_none() -> None:
    assert gather(DAZI_PORT="", DAZI_API_KEYS="", OPENAI_BASE_URL="").settings == Settings()


def test_variables_of_others_are_ignored() -> None:
    assert gather(PATH="/bin", DAZIO="x", OPENAI_ORG="y").settings == Settings()


# What is wrong


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "eighty"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", "8000.5"),
        ("workers", "0"),
        ("workers", "many"),
        ("drain", "-1"),
        ("drain", "nan"),
        ("drain", "inf"),
        ("drain", "soon"),
        ("grace", "never"),
    ],
)
def test_a_wrong_value_is_named_with_where_it_came_from(name: str, value: str) -> None:
    variable = f"DAZI_{name.upper()}"
    for sentence, source in (
        (refusal({name: value}), f"flag --{name}"),
        (load_refusal({variable: value}), f"environment {variable}"),
        (refusal(toml=f'{name} = "{value}"'), "settings.toml"),
    ):
        assert name in sentence
        assert repr(value) in sentence
        assert source in sentence


def load_refusal(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, environment=environment)
    return str(caught.value)


def test_an_unknown_setting_is_named_with_the_known() -> None:
    for sentence in (refusal(DAZI_PROT="1"), refusal(toml="prot = 1")):
        assert "prot" in sentence.lower()
        assert "port" in sentence.lower()


def test_a_secret_is_never_repeated() -> None:
    for toml in (f'api_keys = [["{KEY}"]]', f'api_keys = {{ a = "{KEY}" }}', f'upstream_key = ["{KEY}"]'):
        assert KEY not in refusal(toml=toml)


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"no file nothing\.toml"):
        load(None, environment={}, file=Path("nothing.toml"))


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"port = 1\nport = 2"])
def test_a_file_that_is_no_toml_is_named(elsewhere: Path, content: bytes) -> None:
    (elsewhere / "dazi.toml").write_bytes(content)
    assert "dazi.toml cannot be read" in refusal()


def test_a_folder_is_no_file(elsewhere: Path) -> None:
    (elsewhere / "dazi.toml").mkdir()
    assert "dazi.toml cannot be read" in refusal()


# What does not go together


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "", "gateway.example", "127.0.0.1.example"])
def test_a_host_beyond_this_machine_needs_keys(host: str) -> None:
    sentence = refusal(toml=f'host = "{host}"')
    assert repr(host) in sentence
    assert "DAZI_API_KEYS" in sentence
    assert gather(toml=f'host = "{host}"\napi_keys = ["{KEY}"]').settings.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert gather({"host": host}).settings.host == host


@pytest.mark.parametrize(
    "log", ["", "memory", "memory:", "memory://x", "file:///x", "postgres://x", "sqlite://x", "/srv/x"]
)
def test_an_unknown_log_is_refused_with_the_known(log: str) -> None:
    sentence = refusal({"log": log})
    assert "memory://" in sentence


def test_a_password_in_a_logs_url_is_not_repeated() -> None:
    assert KEY not in refusal({"log": f"postgres://user:{KEY}@host/0"})


def test_memory_cannot_be_shared_by_workers() -> None:
    sentence = refusal({"workers": 2})
    assert "workers=2" in sentence
    assert "1 worker" in sentence


def test_an_upstream_needs_the_name_of_its_model() -> None:
    assert "DAZI_MODEL" in refusal(OPENAI_BASE_URL="http://one/v1")


@pytest.mark.parametrize("upstream", ["one", "ftp://one/v1", "one/v1", "://one"])
def test_an_upstream_is_a_url_of_the_web(upstream: str) -> None:
    assert repr(upstream) in refusal(DAZI_UPSTREAM=upstream, DAZI_MODEL="m")


# Several upstreams

UPSTREAMS = f"""
[[upstreams]]
name = "deepseek"
preset = "deepseek"
key = "{KEY}"
models = {{ chat = "deepseek-chat" }}
weight = 2
timeouts = {{ first_token = 30 }}

[[upstreams]]
name = "own"
preset = "vllm"
url = "http://10.0.0.5:8000/v1"
models = ["chat", "own"]
headers = {{ X-Secret = "{OTHER_KEY}" }}

[routing]
balance = "conversation"
continuation = true
"""


def test_upstreams_are_tables_in_the_file_and_json_in_the_environment() -> None:
    settings = gather(toml=UPSTREAMS).settings
    assert [one.name for one in settings.upstreams] == ["deepseek", "own"]
    assert settings.upstreams[0].names == {"chat": "deepseek-chat"}
    assert settings.upstreams[1].names == {"chat": "chat", "own": "own"}
    assert settings.upstreams[0].timeouts.first_token == 30
    assert (settings.routing.balance, settings.routing.continuation) == ("conversation", True)
    told = '[{"name": "n", "preset": "qwen", "models": ["m"]}]'
    again = gather(toml=UPSTREAMS, DAZI_UPSTREAMS=told, DAZI_ROUTING='{"attempts": 1}').settings
    assert ([one.name for one in again.upstreams], again.routing.attempts) == (["n"], 1)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DAZI_UPSTREAMS": "[{"}, "upstreams (environment DAZI_UPSTREAMS) is no JSON"),
        ({"DAZI_UPSTREAMS": '[{"name": "n"}]'}, "missing required field `models`"),
        ({"DAZI_UPSTREAMS": '[{"name": "n", "models": ["m"], "wieght": 1}]'}, "unknown field `wieght`"),
        ({"DAZI_UPSTREAMS": '[{"name": "n", "models": ["m"], "preset": "x"}]'}, "preset='x'"),
        ({"DAZI_ROUTING": '{"balance": "fair"}'}, "'fair'"),
        ({"DAZI_ROUTING": '{"attempts": 0}'}, "attempts"),
    ],
)
def test_upstreams_that_are_wrong_are_named(environment: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(**environment)


def test_upstreams_and_one_upstream_are_refused_and_so_is_a_model_that_none_serves() -> None:
    assert "beside upstreams" in refusal(toml=UPSTREAMS, OPENAI_BASE_URL="http://host/v1", DAZI_MODEL="chat")
    told = refusal({"model": "chat,nope"}, toml=UPSTREAMS)
    assert "model=nope" in told
    assert "chat, own" in told
    assert KEY not in told


def test_several_workers_may_share_upstreams() -> None:
    toml = f'log = "sqlite:///x.db"\nworkers = 2\n{UPSTREAMS}'
    assert gather(toml=toml).settings.workers == 2


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DAZI_RUNNING_PER_OWNER": "-1"}, "running_per_owner='-1' (environment DAZI_RUNNING_PER_OWNER) is wrong"),
        ({"DAZI_QUEUE": "5"}, "queue=5: nobody ever waits where nothing limits"),
        ({"DAZI_QUEUE": "10001", "DAZI_RUNNING_TOTAL": "1"}, "queue='10001'"),
        ({"DAZI_TIMEZONE": "Middle/Earth"}, "timezone='Middle/Earth' is not known here"),
        ({"DAZI_TIMEZONE": "../../etc/passwd"}, "is not known here"),
        ({"DAZI_UNREAD": "0"}, "unread='0'"),
        ({"DAZI_MAX_SECONDS": "soon"}, "max_seconds='soon'"),
    ],
)
def test_limits_that_are_wrong_are_named(environment: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(**environment)


def test_limits_are_taken_from_the_file_and_the_environment() -> None:
    toml = 'running_total = 7\nunread = 30\ntrusted_proxies = ["10.0.0.0/8"]\n'
    settings = gather(
        toml=toml, DAZI_TOKENS_PER_DAY="9", DAZI_TIMEZONE="Asia/Shanghai", DAZI_JWT_ALGORITHMS="ES256"
    ).settings
    assert (settings.running_total, settings.unread, settings.tokens_per_day) == (7, 30, 9)
    assert (settings.trusted_proxies, settings.jwt_algorithms) == (("10.0.0.0/8",), ("ES256",))
    assert gather(DAZI_UNREAD="keep").settings.unread == "keep"


def test_an_issuer_lets_a_gateway_listen_beyond_this_machine() -> None:
    assert gather(DAZI_HOST="0.0.0.0", DAZI_JWT_JWKS_URL="https://sso.example/keys").settings.host == "0.0.0.0"
