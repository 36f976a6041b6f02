"""What of a prompt, and of a tool call, is words: all that a checker is to read.

Laws: nothing that a caller or a model can write freely is left out, wherever it stands; JSON's escapes are undone, and hide nothing
where the JSON is cut off, or says a name twice. Images and files, by their address or as data, are no words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dazi.events import Joiner
from dazi.upstream import Prompt

# Fields that say what something is, as long as they say it in a word; and parts of a message that are no words.
_MARKS = frozenset({"role", "type", "id", "tool_call_id"})
_MARK = re.compile(r"[A-Za-z0-9_.:-]{0,64}")
_MEDIA = frozenset({"image_url", "input_audio", "video_url", "file"})
# Names that are the dialect's, not the caller's; any other name is a word of the caller's.
_NAMES = (
    _MARKS
    | _MEDIA
    | {
        *(
            "content",
            "text",
            "name",
            "refusal",
            "reasoning_content",
            "tool_calls",
            "function",
            "arguments",
            "description",
        ),
        *("parameters", "properties", "items", "required", "enum", "strict", "schema", "json_schema"),
    }
)
# A string of JSON, and an escape in one (RFC 8259, 7).
_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def texts_of(prompt: Prompt) -> Iterator[str]:
    """Yield all words that a caller sends: one text for each message, and one for each option that holds any."""
    for part in (*prompt.messages, *prompt.options.values()):
        if text := "\n".join(_words(part)):
            yield text


def text_of_call(name: str | None, arguments: str) -> str:
    """Return the words of a tool call."""
    return "\n".join((name or "", *_words_of_json(arguments)))


def _words(part: Any) -> Iterator[str]:  # noqa: ANN401  # messages and options are the dialect's
    match part:
        case str():
            yield part
        case Mapping():
            for name, value in part.items():
                if name not in _NAMES:
                    yield name
                if name == "arguments" and isinstance(value, str):
                    yield from _words_of_json(value)
                elif not _is_no_word(name, value, part):
                    yield from _words(value)
        case list() | tuple():
            for value in part:
                yield from _words(value)


def _is_no_word(name: str, value: object, part: Mapping[str, object]) -> bool:
    if name in _MARKS:
        return isinstance(value, str) and _MARK.fullmatch(value) is not None
    return name in _MEDIA and part.get("type") == name


def _words_of_json(text: str) -> Iterator[str]:
    """Yield the strings, names too; all of the text where it is not whole, or no JSON."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        yield _without_escapes(text)
    else:
        yield from map(_without_escapes, _STRING.findall(text))


def _without_escapes(text: str) -> str:
    if "\\" not in text:
        return text
    joiner = Joiner()
    return joiner.join(_ESCAPE.sub(_meant, text)) + joiner.flush()


def _meant(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _LETTERS.get(escape[2], escape[2])
