from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from dazi.errors import ConfigError, Forbidden, Unauthorized
from dazi.web.guard import COOKIE, COOKIE_SECONDS, Doors, Keys, preflight

ALICE = "alice-k3y-N7fQ2xW9pL4v"
BOB = "bob-s3cr3t-M8gR5tY1zC6d"


def headers(**fields: str) -> Headers:
    return Headers(raw=[(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()])


@pytest.fixture
def keys() -> Keys:
    return Keys([ALICE, BOB])


# Keys


def test_a_key_is_an_owner_of_its_own(keys: Keys) -> None:
    alice, bob = (keys.owner_of(headers(authorization=f"Bearer {key}")) for key in (ALICE, BOB))
    assert alice != bob
    assert ALICE not in alice
    assert alice == keys.owner_of_key(ALICE)


def test_an_owner_stays_the_same_when_keys_are_added_or_moved() -> None:
    assert Keys([ALICE]).owner_of_key(ALICE) == Keys([BOB, ALICE]).owner_of_key(ALICE)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_knows_no_case(keys: Keys, scheme: str) -> None:
    assert keys.owner_of(headers(authorization=f"{scheme} {ALICE}"))


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {ALICE}x",
        f"Bearer {ALICE[:-1]}",
        f"Bearer {ALICE.upper()}",
        f"Bearer {ALICE}, Bearer {BOB}",
        "Bearer",
        "Bearer ",
        "Bearer caf\u00e9",
        f"Basic {ALICE}",
        ALICE,
        f"Bearer{ALICE}",
        "Bearer ' OR 1=1 --",
        "",
    ],
)
def test_no_other_header_lets_anybody_in(keys: Keys, authorization: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        keys.owner_of(headers(authorization=authorization))
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    assert ALICE not in str(caught.value)
    assert caught.value.remedy


def test_without_keys_everybody_is_local_whatever_they_send() -> None:
    keys = Keys()
    assert not keys
    assert keys.owner_of(headers(authorization="Bearer anything", cookie=f"{COOKIE}=x")) == "local"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "Sh0rt!",
        "x" * 64,
        "abababababababababab",
        "sk-1234567890abcdef",
        "SK-1234567890ABCDEF",
        "your-api-key-here",
        "changemechangeme",
        "1234567890123456",
        "has a space in its middle",
        "caf\u00e9-caf\u00e9-caf\u00e9-1234",
        "tab\tin-its-middle-1234",
    ],
)
def test_a_weak_key_stops_the_start_and_is_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keys([ALICE, key])
    assert not key or key not in str(caught.value)
    assert "DAZI_API_KEYS" in str(caught.value)


# The cookie


def cookie(value: str) -> Headers:
    return headers(cookie=f"{COOKIE}={value}")


def test_a_cookie_proves_its_owner_without_holding_the_key(keys: Keys) -> None:
    alice = keys.owner_of_key(ALICE)
    value = keys.cookie_for(alice)
    assert keys.owner_of(cookie(value)) == alice
    assert ALICE not in value


@pytest.mark.parametrize(
    "others",
    [
        "theme=dark; {}",
        "{}; theme=dark",
        'state={{"a": 1, "b": [2]}}; {}',
        "bad name=1; {}",
        "a=b=c; {}; d",
        "caf\u00e9=1; {}",
        '"; {}',
        "; ;{};;",
    ],
)
def test_cookies_of_other_servers_on_this_host_do_not_hide_it(keys: Keys, others: str) -> None:
    """A browser sends a host's cookies to all its ports."""
    alice = keys.owner_of_key(ALICE)
    assert keys.owner_of(headers(cookie=others.format(f"{COOKIE}={keys.cookie_for(alice)}"))) == alice


def test_an_expired_cookie_is_refused(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr("dazi.web.guard.time.time", lambda: now)
    value = keys.cookie_for(keys.owner_of_key(ALICE))
    now += COOKIE_SECONDS - 1
    assert keys.owner_of(cookie(value))
    now += 1
    with pytest.raises(Unauthorized, match="expired"):
        keys.owner_of(cookie(value))


def test_a_cookie_cannot_be_made_anothers_or_longer(keys: Keys) -> None:
    alice, bob = keys.owner_of_key(ALICE), keys.owner_of_key(BOB)
    owner, expires, signature = keys.cookie_for(alice).split("|")
    forged = [
        f"{bob}|{expires}|{signature}",
        f"{owner}|{int(expires) + 1}|{signature}",
        f"{owner}|{expires}|{signature[:-1]}",
        f"{owner}|{expires}|{signature}0",
        f"{owner}|{expires}|",
        f"{owner}|{expires}",
        f"{owner}",
        f"{owner}||{signature}",
        f"|{expires}|{signature}",
        f"local|{expires}|{signature}",
        f"{owner}|{expires}|{'0' * 64}",
        f"{owner}|{expires}|caf\u00e9",
        f"{owner}|{expires}|{signature.upper()}",
        f"{owner}|\u00b2|{signature}",
        "",
    ]
    for value in forged:
        with pytest.raises(Unauthorized):
            keys.owner_of(cookie(value))


def test_a_cookie_dies_with_its_key() -> None:
    value = Keys([ALICE]).cookie_for(Keys([ALICE]).owner_of_key(ALICE))
    assert Keys([ALICE, BOB]).owner_of(cookie(value))
    with pytest.raises(Unauthorized):
        Keys([BOB]).owner_of(cookie(value))


def test_a_wrong_key_is_refused_even_with_a_good_cookie(keys: Keys) -> None:
    value = keys.cookie_for(keys.owner_of_key(ALICE))
    with pytest.raises(Unauthorized):
        keys.owner_of(headers(authorization="Bearer wrong", cookie=f"{COOKIE}={value}"))


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_no_cookie_header_breaks_anything(value: str) -> None:
    keys = Keys([ALICE])
    owner = keys.owner_of_key(ALICE)
    for text in (value, f"{COOKIE}={value}", f"{COOKIE}={owner}|{value}", f"{COOKIE}={owner}|99999999999|{value}"):
        with pytest.raises(Unauthorized):
            keys.owner_of(headers(cookie=text))


# Hosts


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:8000", "[::1]", "[::1]:8000", "localhost:"],
)
def test_names_of_this_machine_are_hosts(host: str) -> None:
    assert Doors().check(headers(host=host)) == []


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#localhost",
        "localhost#evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost/evil",
        "localhost?x",
        "localhost\\x",
        "localhost evil.example",
        "evil.example, localhost",
        "127.0.0.2",
        "0.0.0.0",
        "192.168.0.1",
        "[::2]",
        "[::1",
        "::1",
        "[localhost]",
        "localhost:8000:9000",
        "localhost:x",
        "2130706433",
        "0x7f.1",
        "localh\u00f6st",
        "",
        ":8000",
    ],
)
def test_another_host_is_refused(host: str) -> None:
    """So that a page elsewhere cannot rebind its own name to this machine and read."""
    with pytest.raises(Forbidden) as caught:
        Doors().check(headers(host=host))
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "forbidden_host", "Host")
    assert repr(host) in caught.value.message


def test_no_host_at_all_is_refused() -> None:
    with pytest.raises(Forbidden):
        Doors().check(Headers({}))


def test_a_host_on_the_list_is_allowed_and_no_other() -> None:
    doors = Doors(hosts=["AI.example"])
    assert doors.check(headers(host="ai.EXAMPLE:443")) == []
    assert doors.check(headers(host="localhost")) == []
    with pytest.raises(Forbidden):
        doors.check(headers(host="x.ai.example"))


def test_a_star_allows_any_host() -> None:
    assert Doors(hosts=["*"]).check(headers(host="whatever.example")) == []


# Origins


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("127.0.0.1", "https://127.0.0.1"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_gateways_own_pages_may_call_it(host: str, origin: str) -> None:
    assert Doors().check(headers(host=host, origin=origin)) == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "http://localhost",
        "http://localhost:8000.evil.example",
        "http://evil.example/localhost:8000",
        "http://user@localhost:8000",
        "null",
        "",
        "file://",
        "localhost:8000",
        "//localhost:8000",
        "chrome-extension://localhost:8000",
        "http://[::1",
        "http://caf\u00e9",
    ],
)
def test_another_origin_is_refused(origin: str) -> None:
    with pytest.raises(Forbidden) as caught:
        Doors().check(headers(host="localhost:8000", origin=origin))
    assert (caught.value.code, caught.value.param) == ("forbidden_origin", "Origin")
    assert repr(origin) in caught.value.message


def test_no_host_and_no_origin_are_not_the_same_place() -> None:
    for origin in ("null", "", "file://"):
        with pytest.raises(Forbidden):
            Doors(hosts=["*"]).check(headers(host="", origin=origin))


def test_an_origin_on_the_list_gets_its_cors_headers() -> None:
    doors = Doors(origins=["https://App.example/"])
    answer = dict(doors.check(headers(host="localhost", origin="https://app.example")))
    assert answer[b"access-control-allow-origin"] == b"https://app.example"
    assert answer[b"vary"] == b"Origin"
    assert answer[b"access-control-expose-headers"] == b"Dazi-Generation, Retry-After, RateLimit, RateLimit-Policy"
    assert b"access-control-allow-credentials" not in answer
    for other in ("http://app.example", "https://app.example:444", "https://x.app.example"):
        with pytest.raises(Forbidden):
            doors.check(headers(host="localhost", origin=other))


def test_an_endless_host_or_origin_is_not_sent_back_whole() -> None:
    for fields in ({"host": "x" * 50_000}, {"host": "localhost", "origin": "x" * 50_000}):
        with pytest.raises(Forbidden) as caught:
            Doors().check(headers(**fields))
        assert len(str(caught.value)) < 500


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_no_host_or_origin_header_breaks_anything(value: str) -> None:
    for fields in (
        {"host": value},
        {"host": "localhost", "origin": value},
        {"host": value, "origin": f"http://{value}"},
    ):
        try:
            assert Doors().check(headers(**fields)) == []
        except Forbidden as error:
            assert error.status == 403  # noqa: PT017  # either outcome is fine, a crash is not


def test_a_preflight_allows_the_headers_that_are_used_and_no_other() -> None:
    asked = headers(access_control_request_headers="Authorization, X-Evil,content-type , idempotency-key,last-event-id")
    answer = dict(preflight(asked, []))
    assert answer[b"access-control-allow-methods"] == b"GET, POST"
    assert answer[b"access-control-allow-headers"] == b"authorization, content-type, idempotency-key, last-event-id"
    assert dict(preflight(Headers({}), []))[b"access-control-allow-headers"] == b""
