"""Many generations, one after the other and some at a time, and whether memory stays flat.

usage: soak.py [--generations N] [--at-once N] [--json]

The log is small (its oldest answers go), so that what grows would be a leak. Prints the gateway's memory at each tenth; the run
fails if the last is more than a tenth, and 8 MiB, above the second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.gateway import Load, stage
from bench.harness.rivals import HERE, SERVERS, Server

TOKENS = 20
PARTS = 10


def _small(port: int, upstream: int, folder: Path) -> tuple[str, ...]:
    (folder / "dazi.toml").write_text("capacity = 4194304\n")
    return (*SERVERS["dazi"].command(port, upstream, folder), "--config", str(folder / "dazi.toml"))


def main() -> None:
    """Soak and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    SERVERS["soaked"] = Server(_small)
    load, sizes = Load(arguments.at_once, TOKENS, 0), []
    with stage() as here, here.upstream(load):
        server = here.server("soaked")
        pid = server.process.pid
        command = [sys.executable, str(HERE / "harness" / "load.py"), str(server.port), str(load.streams)]
        command += ["/v1/generations", "120", str(pid)]
        for _ in range(PARTS):
            for _ in range(max(1, arguments.generations // PARTS // arguments.at_once)):
                figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                if figures["tokens"] != load.streams * TOKENS:
                    raise RuntimeError(f"{figures['tokens']} of {load.streams * TOKENS} tokens came")
            sizes.append(psutil.Process(pid).memory_info().rss / 2**20)
            if not arguments.json:
                print(f"{len(sizes) * arguments.generations // PARTS:>8,} generations: {sizes[-1]:.1f} MiB", flush=True)
    if sizes[-1] > max(1.1 * sizes[1], sizes[1] + 8):
        raise RuntimeError(f"memory grew from {sizes[1]:.1f} to {sizes[-1]:.1f} MiB")
    if arguments.json:
        print(json.dumps({"generations": arguments.generations, "mib": sizes}))


if __name__ == "__main__":
    main()
