from __future__ import annotations

import pytest
from starlette.datastructures import Headers, QueryParams

from dazi.errors import InvalidRequest
from dazi.log import START, Cursor
from dazi.web.options import (
    EVENTS_OPTIONS,
    START_OPTIONS,
    Options,
    read_key,
    read_options,
    wants_inband,
    wants_json,
)


def options(query: str = "", last_event_id: str | None = None) -> Options:
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    return read_options(QueryParams(query), Headers(headers), known=EVENTS_OPTIONS)


def refusal(query: str = "", last_event_id: str | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        options(query, last_event_id)
    assert caught.value.status == 400
    assert caught.value.remedy
    return caught.value


def test_without_options_it_is_append_ascii_full_from_the_start() -> None:
    asked = Options("append", "ascii", "full", "dazi", heartbeat=10, max=None, after=START, wait=0)
    assert options() == options("mode=append") == asked


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("mode=replace", "mode", "replace"),
        ("encoding=utf8", "encoding", "utf8"),
        ("encoding=url", "encoding", "url"),
        ("profile=plain", "profile", "plain"),
        ("format=openai", "dialect", "openai"),
        ("heartbeat=30", "heartbeat", 30),
        ("coalesce=0.04", "coalesce", 0.04),
        ("padding=64", "padding", 64),
        ("coalesce=5", "coalesce", 1),
        ("max=50", "max", 50),
        ("wait=2.5", "wait", 2.5),
        ("after=1-7", "after", Cursor(1, 7)),
        ("after=0", "after", START),
        ("after=999999999-999999999999999999", "after", Cursor(999999999, 999999999999999999)),
        ("mode=append&mode=replace", "mode", "replace"),
    ],
)
def test_each_option_is_taken(query: str, field: str, value: object) -> None:
    assert getattr(options(query), field) == value


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("heartbeat=0", "heartbeat", 1),
        ("heartbeat=0.5", "heartbeat", 1),
        ("heartbeat=61", "heartbeat", 60),
        ("heartbeat=-1", "heartbeat", 1),
        ("heartbeat=99999999999999999999", "heartbeat", 60),
        ("max=0", "max", 1),
        ("max=-5", "max", 1),
        ("max=3601", "max", 3600),
        ("wait=26", "wait", 25),
        ("wait=-3", "wait", 0),
        ("wait=12345678901", "wait", 25),
        (f"wait={'9' * 400}", "wait", 25),
        ("wait=1e999", "wait", 25),
        ("wait=1e-999", "wait", 0),
        ("coalesce=5E-1", "coalesce", 0.5),
    ],
)
def test_a_number_beyond_its_bounds_is_clamped(query: str, field: str, value: object) -> None:
    assert getattr(options(query), field) == value


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("mode=stream", "mode"),
        ("mode=", "mode"),
        ("mode=Append", "mode"),
        ("encoding=gbk", "encoding"),
        ("encoding=ascii%20", "encoding"),
        ("profile=fancy", "profile"),
        ("format=anthropic", "format"),
        ("inband=2", "inband"),
        ("padding=48", "padding"),
        ("padding=", "padding"),
        ("inband=true", "inband"),
        ("heartbeat=", "heartbeat"),
        ("heartbeat=soon", "heartbeat"),
        ("heartbeat=1s", "heartbeat"),
        ("heartbeat=nan", "heartbeat"),
        ("heartbeat=inf", "heartbeat"),
        ("heartbeat=%EF%BC%91", "heartbeat"),
        ("heartbeat=1_0", "heartbeat"),
        ("heartbeat=0x1", "heartbeat"),
        ("heartbeat=1e", "heartbeat"),
        ("heartbeat=1e1000", "heartbeat"),
        ("heartbeat=.5", "heartbeat"),
        ("heartbeat=%2B5", "heartbeat"),
        ("heartbeat=%201", "heartbeat"),
        ("max=1.2.3", "max"),
        ("wait=--1", "wait"),
        ("wait=1%0A", "wait"),
        ("colour=red", "colour"),
        ("Mode=append", "Mode"),
        ("key=secret", "key"),
        ("=", ""),
    ],
)
def test_an_unknown_option_or_value_is_refused_by_name(query: str, param: str) -> None:
    error = refusal(query)
    assert (error.code, error.param) == ("bad_option", param)


def test_the_refusal_names_the_value_and_what_would_do() -> None:
    error = refusal("mode=stream")
    assert "'stream'" in error.message
    assert "append or replace" in error.remedy
    unknown = refusal("colour=red")
    assert "'colour'" in unknown.message
    assert "encoding" in unknown.remedy


def test_an_endless_value_is_not_sent_back_whole() -> None:
    for query in (f"mode={'x' * 50_000}", f"heartbeat={'x' * 50_000}", f"after={'x' * 50_000}", f"{'x' * 50_000}=1"):
        error = refusal(query)
        assert len(str(error)) < 1000
        assert len(error.param or "") < 1000


@pytest.mark.parametrize("name", sorted(EVENTS_OPTIONS - START_OPTIONS))
def test_a_start_does_not_know_what_only_an_attachment_does(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_options(QueryParams(f"{name}=1"), Headers({}), known=START_OPTIONS)
    assert (caught.value.code, caught.value.param) == ("bad_option", name)


# Positions

BAD_POSITIONS = [
    "1",
    "-1",
    "1-",
    "-",
    "1-7-7",
    "1 7",
    "1-7x",
    "x1-7",
    " 1-7",
    "1--7",
    "-1-7",
    "1-٧",
    "１-７",
    "00",
    "1-1234567890123456789",
    "1234567890-1",
    "1-7\n",
    "null",
    "undefined",
    "[object Object]",
]


@pytest.mark.parametrize("position", [*BAD_POSITIONS, ""])
def test_what_is_no_position_is_refused(position: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_options(QueryParams({"after": position}), Headers({}), known=EVENTS_OPTIONS)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "bad_position", "after")
    assert repr(position) in caught.value.message


@pytest.mark.parametrize("position", ["", *(position for position in BAD_POSITIONS if position.isascii())])
def test_what_is_no_last_event_id_is_refused(position: str) -> None:
    error = refusal(last_event_id=position)
    assert (error.code, error.param) == ("bad_position", "Last-Event-ID")


def test_last_event_id_beats_after() -> None:
    assert options("after=1-7", "1-9").after == Cursor(1, 9)
    assert options("after=1-7", "0").after == START
    assert options("after=1-7").after == Cursor(1, 7)


def test_a_position_before_the_first_is_somewhere_else_but_no_error() -> None:
    assert options("after=1-0").after == Cursor(1, 0)
    assert options("after=0-0").after != Cursor(1, 1)


# Keys


@pytest.mark.parametrize("key", ["a", "~", "!", "k" * 255, "4f6c-" * 8, 'a"b,c;d'])
def test_a_key_of_visible_ascii_is_taken(key: str) -> None:
    assert read_key(Headers({"Idempotency-Key": key})) == key


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "k" * 50_000, "a\tb", "a\x7f", "caf\u00e9", "a\n"])
def test_another_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_key(Headers(raw=[(b"idempotency-key", key.encode("latin-1"))]))
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        400,
        "bad_idempotency_key",
        "Idempotency-Key",
    )
    assert len(str(caught.value)) < 1000


def test_no_key_is_no_key() -> None:
    assert read_key(Headers({})) is None


# What is wanted


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("text/event-stream", False),
        ("application/json", True),
        ("application/json, */*", True),
        ("text/event-stream, application/json", False),
        ("application/json, text/event-stream", False),
        ("Application/JSON", True),
        ("application/json;q=0.9", True),
    ],
)
def test_json_is_wanted_where_a_stream_is_not(accept: str, json: bool) -> None:  # noqa: FBT001  # a table's column
    assert wants_json(Headers({"Accept": accept})) is json


def test_errors_are_wanted_in_band_only_when_asked_for() -> None:
    assert wants_inband(QueryParams("inband=1"))
    assert not wants_inband(QueryParams("inband=0"))
    assert not wants_inband(QueryParams(""))
