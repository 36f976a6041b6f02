"""The code in the documents runs, or says above itself why it does not: `<!-- not run: why -->`.

Here run the shell's lines, Python, settings and the proxies' configurations; JavaScript and TypeScript in sdk/test/docs.test.ts.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import re
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests.conftest import Serve, listening
from tests.nginx import nginx_with
from tests.servers import free_port, running

from dazi import create_app
from dazi.doctor import Patient, examine
from dazi.settings import load
from dazi.upstream.contract import LAWS
from dazi.upstream.demo import DemoUpstream

ROOT = Path(__file__).parent.parent
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
TRANSLATED = re.compile(r"(^|\s)(#|//) .*$", re.MULTILINE)
QUESTION = {"messages": [{"role": "user", "content": "why so 早 👋🏽"}]}
# What a program printed, what a person types into another program, and what the SDK's own test takes.
SHOWN = {"", "text"}
ELSEWHERE = {"js", "ts"}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    why: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(page, text[: found.start("language")].count("\n") + 1, found["language"], found["code"], found["why"])
        for found in FENCE.finditer(text)
    ]


FOLDERS = (".", "docs", "docs/quality", "examples/*", "preview", "sdk", "sdk/emulator")
PAGES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))
ENGLISH = [page for page in PAGES if not page.endswith(".zh-CN.md")]
BLOCKS = [block for page in ENGLISH for block in blocks_of(page)]


def told(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and not block.why]


each = pytest.mark.parametrize


@each("page", [page for page in PAGES if page.endswith(".zh-CN.md")])
def test_both_languages_have_the_same_code(page: str) -> None:
    chinese, english = (
        [
            (one.language, TRANSLATED.sub("", one.code).split(), bool(one.why))
            for one in blocks_of(name)
            if one.language not in SHOWN
        ]
        for name in (page, page.replace(".zh-CN", ""))
    )
    assert chinese == english


def test_every_block_is_run_or_says_why_not() -> None:
    """A new language needs a way to run it here, or the reason above each block."""
    known = {*SHOWN, *ELSEWHERE, "sh", "python", "toml", "nginx", "caddyfile"}
    assert [f"{block} ({block.language})" for block in BLOCKS if block.language not in known and not block.why] == []


@each("block", told("sh"), ids=str)
async def test_the_shell_runs_it(block: Block, serve: Serve, tmp_path: Path) -> None:
    served = await serve({"demo": DemoUpstream(pace=math.inf)})
    begun = await served.client.post("/v1/generations", json=QUESTION)
    code = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}").replace(
        "$ID", begun.headers["dazi-generation"]
    )
    assert re.findall(r"^(?!(?:\.venv/bin/)?(?:curl|dazi) ).+$", code, re.MULTILINE) == [], (
        "that may do anything: mark it"
    )
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", code.replace("curl ", "curl -sSf ").replace(".venv/bin/", "")),
        cwd=tmp_path,
        env={**os.environ, "PATH": programs},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    assert output


@each("page", sorted({block.page for block in told("python")}))
async def test_python_runs_it(page: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's blocks in order: what each defines, the next may import from `my_package`; what answers is asked."""
    monkeypatch.chdir(tmp_path)
    served = await serve({"demo": DemoUpstream(pace=math.inf)})
    package = ModuleType("my_package")
    monkeypatch.setitem(sys.modules, "my_package", package)
    for block in (one for one in told("python") if one.page == page):
        space: dict[str, Any] = {"__name__": "my_package"}
        code = compile(block.code.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}"), str(block), "exec")
        await asyncio.to_thread(exec, code, space)
        vars(package).update(space)
        for name, made in list(space.items()):
            if getattr(made, "__module__", "") == "my_package" or name == "app":
                await _use(made)


async def _use(made: Any) -> None:
    """Serve an app, a generator or an upstream; run a test."""
    if inspect.isclass(made):
        upstream: Any = made  # it takes its options, as documented
        await _answers(create_app({"mine": upstream({"word": "hello"})}))
    elif inspect.isasyncgenfunction(inspect.unwrap(made)) and inspect.unwrap(made) is made:
        await _answers(create_app({"mine": made}))
    elif inspect.iscoroutinefunction(made) and made.__name__.startswith("test_"):
        for law in LAWS:
            await made(law)
    elif callable(made) and not inspect.isfunction(made):
        await _answers(made)


async def _answers(app: Any) -> None:
    async with (
        listening(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        prefix = "" if hasattr(app, "gateway") else "/ai"
        answer = await client.post(f"{prefix}/v1/generations", json=QUESTION)
        assert '"type":"text"' in answer.text
        assert '"type":"done"' in answer.text


@each("block", told("toml"), ids=str)
def test_settings_are_taken(block: Block, tmp_path: Path) -> None:
    if "project" in tomllib.loads(block.code):
        return
    file = tmp_path / "dazi.toml"
    file.write_text(block.code, "utf-8")
    sources = load(environment={}, file=file).sources
    assert {sources[name] for name in tomllib.loads(block.code)} == {str(file)}


@each("block", told("nginx"), ids=str)
async def test_nginx_streams_with_it(block: Block, serve: Serve, tmp_path: Path) -> None:
    served = await serve({"demo": DemoUpstream()})
    location = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
    async with nginx_with(tmp_path, f"server {{ listen 8000; {location} }}", listen="8000") as port:
        assert await _troubles(f"http://127.0.0.1:{port}") == []


@each("block", told("caddyfile"), ids=str)
async def test_caddy_streams_with_it(block: Block, serve: Serve, tmp_path: Path) -> None:
    served, port = await serve({"demo": DemoUpstream()}), free_port()
    site = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}").replace(
        "chat.example.com {", f"http://127.0.0.1:{port} {{"
    )
    file = tmp_path / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + site)
    arguments = ("run", "--config", str(file), "--adapter", "caddyfile")
    async with running("caddy", *arguments, folder=tmp_path, port=port):
        assert await _troubles(f"http://127.0.0.1:{port}") == []


async def _troubles(url: str) -> list[str]:
    return [one.words async for one in examine(Patient(url=url, wait=2)) if one.is_trouble]
