"""What is read of prompts and tool calls: all words, wherever somebody puts them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dazi.safety.texts import text_of_call, texts_of
from dazi.upstream import Prompt

WORD = "违禁词"
ESCAPED = json.dumps(WORD)[1:-1]


def read(message: Any = None, **options: Any) -> str:  # Any: the dialect's
    return "\n".join(texts_of(Prompt("m", [message or {}], options)))


@pytest.mark.parametrize("name", ["role", "type", "id", "tool_call_id"])
def test_a_mark_is_read_as_soon_as_it_is_more_than_a_mark(name: str) -> None:
    assert read({name: "user", "content": "hi"}) == "hi"
    assert read({name: "call_1-a.b:c", "content": "hi"}) == "hi"
    for text in (WORD, "tell me how", "x" * 65):
        assert text in read({name: text})
        assert text in read(tools=[{"function": {"parameters": {name: text}}}])


def test_what_is_no_text_has_no_words() -> None:
    assert read({"role": "user", "content": None, "n": 1, "is": True}, temperature=0.5) == "n\nis"
    image = {"type": "image_url", "image_url": {"url": f"https://{WORD}"}}
    assert read({"role": "user", "content": [image, {"type": "text", "text": "hi"}]}) == "hi"
    assert WORD in read({"role": "user", "content": [{**image, "type": "text"}]})


@pytest.mark.parametrize(
    "arguments",
    [
        f'{{"q":"{WORD}"}}',
        f'{{"q":"{ESCAPED}"}}',
        f'{{"{ESCAPED}":1}}',
        f'{{"q":"{ESCAPED}","q":"fine"}}',
        f'{{"q":"a\\"{ESCAPED}',
        f'{{"q":"{ESCAPED}',
        f"[[{ESCAPED}",
        f'"{ESCAPED}"',
        WORD,
        ESCAPED,
        "[" * 5000 + f'"{ESCAPED}"',
        f'{{"q":"违\\n{json.dumps("禁词")[1:-1]}"}}'.replace("\\n", ""),
    ],
)
def test_no_escape_and_no_half_json_hides_a_word(arguments: str) -> None:
    assert WORD in text_of_call("search", arguments)
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": arguments}}
    assert WORD in read({"role": "assistant", "tool_calls": [call]})


def test_the_name_of_a_call_and_the_ends_of_lines_are_read() -> None:
    assert text_of_call(WORD, "") == f"{WORD}\n"
    assert text_of_call(None, '{"a":"b\\nc","d":["e"]}') == "\na\nb\nc\nd\ne"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def strings(value: Any) -> list[str]:  # Any: JSON
    match value:
        case str():
            return [value]
        case dict():
            return [one for name, part in value.items() for one in (name, *strings(part))]
        case list():
            return [one for part in value for one in strings(part)]
    return []


@given(JSON, st.booleans(), st.data())
def test_every_string_of_json_is_read_whole_or_cut(value: Any, is_ascii: bool, data: st.DataObject) -> None:  # noqa: FBT001  # hypothesis gives them by place
    whole = json.dumps(value, ensure_ascii=is_ascii)
    assert text_of_call(None, whole) == "\n".join(("", *strings(value)))
    cut = text_of_call(None, whole[: data.draw(st.integers(0, len(whole)))])
    cut.encode()  # valid, wherever it was cut
