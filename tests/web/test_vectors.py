from __future__ import annotations

import json

import msgspec
import pytest
from tests.log.contract import fold
from tests.web.scenarios import REPLACES, RESUME, VECTORS, Held, Json, Stage, Story, write_case
from tests.web.virtual import in_virtual_time

from dazi.events import Event
from dazi.sse import Parser

STORIES: dict[str, dict[str, Json]] = {
    folder: {case["name"]: case for case in json.loads((VECTORS / folder / "stories.json").read_text("utf-8"))}
    for folder in ("resume", "replace")
}
CASES = [
    pytest.param(case, id=f"{folder}: {name}") for folder, cases in STORIES.items() for name, case in cases.items()
]
every_story = pytest.mark.parametrize("case", CASES)


@pytest.mark.parametrize(("folder", "stories"), [("resume", RESUME), ("replace", REPLACES)])
def test_the_vectors_are_the_stories_and_their_names_unique(folder: str, stories: tuple[Story, ...]) -> None:
    assert list(STORIES[folder]) == [story.name for story in stories]
    written = [in_virtual_time(write_case(story)) for story in stories]
    assert written == list(STORIES[folder].values()), "python -m tests.web.scenarios writes them anew"


@every_story
def test_the_gateway_sends_what_the_vector_says(case: Json) -> None:
    async def enact() -> None:
        stage = Stage(case["log"])
        for connection in case["connections"]:
            assert await stage.enact(connection) == (connection["status"], connection["body"].encode())

    in_virtual_time(enact())


@every_story
def test_a_client_that_reads_what_arrived_holds_what_the_vector_says(case: Json) -> None:
    held = Held()
    for connection in case["connections"]:
        body = connection["body"].encode()
        held.take(body[: connection.get("cut", len(body))], connection["query"])
        assert held.state() == connection["state"]


@every_story
def test_the_last_state_is_the_fold_of_the_log(case: Json) -> None:
    answer = fold(msgspec.convert(case["log"], list[Event]))
    state = case["connections"][-1]["state"]
    assert (state["text"], state["n"], state["reasoning"]) == (answer.text, answer.n, answer.reasoning)
    assert state["end"] == msgspec.to_builtins(answer.end)
    assert answer.end is not None
    assert (state["n"], state["crc32"]) == (answer.end.n, answer.end.crc32)
    assert [call["call_id"] for call in state["tool_calls"]] == [call.call_id for call in answer.tool_calls]
    assert [call["arguments"] for call in state["tool_calls"]] == [call.arguments for call in answer.tool_calls]


@every_story
def test_at_every_other_cut_what_is_held_is_what_the_id_says(case: Json) -> None:
    """Wherever the line breaks, the client holds the answer exactly up to the id with which it would attach again."""
    for connection in case["connections"]:
        body = connection["body"].encode()
        if connection["last_event_id"]:
            continue  # what it held before would have to be known for each cut; a first line is enough
        for cut in range(len(body) + 1):
            held = Held()
            held.take(body[:cut], connection["query"])
            said = case["log"][: int(held.id.partition("-")[2] or 0)]
            answer = fold(msgspec.convert(said, list[Event]))
            assert (held.text, held.reasoning) == (answer.text, answer.reasoning)


@every_story
def test_the_parser_sees_the_same_events_as_the_simple_client(case: Json) -> None:
    for connection in case["connections"]:
        body = connection["body"].encode()
        blocks = [block for block in body.split(b"\n\n")[:-1] if b"data: " in block]
        assert len(Parser().feed(body)) == len(blocks)
