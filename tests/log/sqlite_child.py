"""A process that writes to a log when told to.

usage: sqlite_child.py FILE; then lines on standard input: create, append TEXT, renew, race (append for ever), commit (all of it
but the last step, which the next line does). Each is answered by a line.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import sys
from pathlib import Path

from dazi.errors import LogError
from dazi.events import Started, Text
from dazi.log import Draft, Opened
from dazi.log.sqlite import SqliteLog

LEASE = 0.5


class Child:
    def __init__(self, log: SqliteLog, path: Path) -> None:
        self._log = log
        self._other = sqlite3.connect(path, isolation_level=None)
        self._position = 1
        self._n = 0
        self._opened: Opened | None = None

    async def obey(self, order: str, text: str) -> str:
        if order == "create":
            self._opened = await self._log.create(Draft("owner", Started(secrets.token_hex(16), "m", 1)))
            return self._opened.generation
        if self._other.in_transaction:
            self._other.execute("COMMIT")
            return "committed"
        if order == "commit":
            self._other.execute("BEGIN IMMEDIATE")
            self._other.execute("UPDATE log SET model = 'changed'")
            return "committing"
        assert self._opened
        if order == "renew":
            held = {self._opened.generation: self._opened.epoch}
            return "lost" if await self._log.renew(held) else "held"
        if order == "append":
            return await self._append(text)
        while True:
            await self._append(f"{self._position} ")

    async def _append(self, *pieces: str) -> str:
        assert self._opened
        self._n += len(pieces[0])
        try:
            await self._log.append(
                self._opened.generation,
                (Text(pieces[0], self._n),),
                previous=self._position,
                epoch=self._opened.epoch,
            )
        except LogError as error:
            return type(error).__name__
        self._position += 1
        return "stored"


async def main(path: Path) -> None:
    log = SqliteLog(path, lease=LEASE)
    await log.open()
    child = Child(log, path)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order, _, text = line.strip().partition(" ")
        sys.stdout.write(f"{await child.obey(order, text)}\n")
        sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1])))
