"""The preview's runtime, by a mini program that uses what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect
from tests.conftest import Serve
from tests.miniprogram.conftest import Programs
from tests.miniprogram.preview import FIXTURE, ROOT

from dazi.upstream.demo import DemoUpstream

TEXT = "从前有座山，👨\u200d👩\u200d👧 𠮷。" * 5


async def test_a_page_runs_with_events_data_and_components(program: Programs) -> None:
    fixture = await program("fixture").open()
    await fixture.tap("#counter")
    await expect(fixture.find("#counter")).to_have_text("count 4")
    await fixture.tap("wx-box wx-view")
    await expect(fixture.find("#answer")).to_have_text("opened 盒")
    await fixture.page.fill("#field input", "你好")
    await fixture.page.press("#field input", "Enter")
    await expect(fixture.find("#answer")).to_have_text("sent 你好")
    assert await fixture.page.input_value("#field input") == ""
    await fixture.check_clean()


async def test_pages_are_stacked_and_hear_of_it(program: Programs) -> None:
    fixture = await program("fixture").open()
    await fixture.tap("#go")
    await expect(fixture.find("#from")).to_have_text("from 首页")
    assert await fixture.ask("preview.routes()") == ["pages/index/index", "pages/second/index"]
    await fixture.tap("#back")
    await fixture.until("preview.routes().length === 1")
    assert await fixture.ask("preview.page().told") == ["load", "show", "ready", "hide", "show"]
    await fixture.check_clean()


async def test_a_stream_comes_in_chunks_through_the_emulator(program: Programs, serve: Serve) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text=TEXT)})
    fixture = await program("fixture").open(served.url, cut="bytes")
    await fixture.tap("#ask")
    await expect(fixture.find("#answer")).to_have_text(TEXT)
    (entry,) = await fixture.network()
    assert entry["statusCode"] == 200
    assert entry["chunkCount"] == entry["bytes"] > len(TEXT.encode())
    assert {chunk["length"] for chunk in entry["chunks"]} == {1}
    assert entry["sentTo"].startswith(served.url)


async def test_isolation_of_styles_is_wechats(program: Programs) -> None:
    fixture = await program("fixture").open()
    color = "getComputedStyle(document.querySelector({!r})).color"
    assert await fixture.ask(color.format("#counter")) == "rgb(255, 0, 0)"
    assert await fixture.ask(color.format("wx-box wx-view")) != "rgb(255, 0, 0)"
    assert await fixture.ask(color.format("#field .preview-placeholder")) == "rgb(1, 2, 3)"


async def test_the_theme_changes_styles_bar_and_listeners(program: Programs) -> None:
    fixture = await program("fixture").open(theme="light")
    background = "getComputedStyle(document.querySelector('wx-page')).backgroundColor"
    assert (await fixture.ask(background), await fixture.ask("preview.bar().background")) == (
        "rgb(255, 255, 255)",
        "#ffffff",
    )
    await fixture.ask("preview.theme('dark')")
    assert (await fixture.ask(background), await fixture.ask("preview.bar().background")) == (
        "rgb(17, 17, 17)",
        "#191919",
    )


@pytest.mark.parametrize(
    ("named", "models"), [({}, ["demo"]), ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_MODEL": "m"}, ["m"])]
)
def test_the_gateway_that_it_starts_types_chinese_unless_a_model_is_named(
    preview: str, monkeypatch: pytest.MonkeyPatch, named: dict[str, str], models: list[str]
) -> None:
    assert preview  # so that what it needs is installed
    for name in ("DAZI_MODEL", "DAZI_UPSTREAM", "DAZI_UPSTREAMS", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    dazi = Path(sys.executable).with_name("dazi")
    command: list[str | Path] = [
        "node",
        "--import",
        "tsx",
        "src/server/main.ts",
        FIXTURE,
        "--port",
        "0",
        "--dazi",
        dazi,
        "--no-login",
    ]
    with subprocess.Popen(command, cwd=ROOT / "preview", stdout=subprocess.PIPE, text=True) as process:
        try:
            said = dict(line.strip().split(": ", 1) for line, _ in zip(process.stdout or (), range(2), strict=False))
            answer = httpx.get(f"{said['gateway']}/v1/models", trust_env=False).json()
        finally:
            process.terminate()
    assert [model["id"] for model in answer["data"]] == models
