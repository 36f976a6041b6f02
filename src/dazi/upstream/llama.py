"""The program that `LocalUpstream` runs: llama.cpp's HTTP server, in a process of its own.

Run by its path, so that it imports nothing of Dazi. Laws:

- it reads one line of JSON from standard input (the settings, the key among them, so that no key is in the arguments
  or the environment) and answers with one: `{"address"}`, or `{"error"}`;
- it ends when its standard input does, and so never outlives its parent, however that died; no signal that is meant for
  the parent ends it before, for its parent may be draining;
- llama.cpp's own logging is off: it would print prompts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

# Prompt tokens evaluated between two looks at whether the client has left. Measured: as fast as 512 with a model this
# small, and a client that leaves is noticed within a second.
_BATCH = 64
_SILENT = -1


def _start(settings: dict[str, Any]) -> tuple[object, str]:
    """Load the model; returns the server, to be kept alive, and its address."""
    import xllamacpp  # noqa: PLC0415  # where its absence can be told to the parent

    parameters = xllamacpp.CommonParams()
    parameters.verbosity = _SILENT
    parameters.model.path = settings["weights"]
    parameters.api_keys = [settings["key"]]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0  # any free one
    parameters.n_parallel = settings["slots"]
    parameters.n_ctx = settings["context"] * settings["slots"]
    parameters.n_batch = parameters.n_ubatch = _BATCH
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.cache_ram_mib = 0  # no second copy of past conversations
    parameters.ui = parameters.endpoint_slots = parameters.endpoint_props = False
    server = xllamacpp.Server(parameters)
    return server, server.listening_address


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _server, address = _start(json.loads(sys.stdin.readline()))
        answer = {"address": address}
    except (ImportError, RuntimeError, OSError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # nothing to save, and an orderly shutdown would wait for answers that nobody reads


if __name__ == "__main__":
    main()
