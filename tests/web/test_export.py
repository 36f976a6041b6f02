"""An answer as a file: the label for people, the label for programs, and the text unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.conftest import Serve
from tests.puppet import Puppet, Scripted
from tests.web.wire import HELLO

from dazi.settings import Settings

ALICE, BOB = "alice-k3y-N7fQ2xW9pL4v", "bob-s3cr3t-M8gR5tY1zC6d"
JSON = {"accept": "application/json"}


def parts(file: str) -> tuple[Mapping[str, object], str, str]:
    """Take a file apart: front matter, label and text."""
    assert file.startswith("---\n")
    front, _, rest = file.removeprefix("---\n").partition("\n---\n\n")
    label, _, text = rest.partition("\n\n")
    return (
        {name: json.loads(value) for name, _, value in (line.partition(": ") for line in front.split("\n"))},
        label,
        text,
    )


@pytest.mark.parametrize("text", ["你好，世界。\n\n---\n# *a*", "", "👩🏽‍🚀\r\n"])
async def test_a_file_says_for_people_and_for_programs_that_an_ai_made_it(serve: Serve, text: str) -> None:
    served = await serve({'m"\n': Scripted(text)}, settings=Settings(ai_producer="某公司"))
    started = await served.client.post("/v1/generations", json=HELLO, headers=JSON)
    generation = started.json()["generation"]
    await served.client.get(f"/v1/generations/{generation}/events?wait=9&after=1-1", headers=JSON)
    response = await served.client.get(f"/v1/generations/{generation}/markdown")
    front, label, said = parts(response.content.decode())
    assert front["AIGC"] == {
        "Label": "1",
        "ContentProducer": "某公司",
        "ProduceID": generation,
        "ReservedCode1": "",
        "ContentPropagator": "某公司",
        "PropagateID": generation,
        "ReservedCode2": "",
    }
    assert (front["model"], front["status"]) == ('m"\n', "done")
    assert "人工智能生成" in label
    assert "AI-generated" in label
    assert said == f"{text}\n"
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{generation}.md"'
    assert response.headers["dazi-generation"] == generation


async def test_nobody_else_gets_the_file(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB)))
    alice, bob = ({"authorization": f"Bearer {key}"} for key in (ALICE, BOB))
    started = await served.client.post("/v1/generations", json=HELLO, headers={**JSON, **alice})
    path = f"/v1/generations/{started.json()['generation']}/markdown"
    assert (await served.client.get(path, headers=bob)).status_code == 404
    assert (await served.client.get(path)).status_code == 401
    running = await served.client.get(path, headers=alice)
    assert parts(running.text)[0]["status"] == "running"
    (await puppet.play()).finish()
