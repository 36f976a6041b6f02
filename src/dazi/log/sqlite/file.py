"""The file: how it is opened, made and upgraded, and what its errors mean.

Laws: a file that is not ours, or newer than this program, is left alone; an upgrade happens in place, in one transaction,
once, however many processes open the file together. Whoever may read the file may read the answers, so nobody but the user
who made it may.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from dazi.errors import ConfigError

Fsync = Literal["full", "normal"]

# Four letters in the header that tell our files from others': "Dazi".
_APPLICATION = 0x44617A69
# Seconds for which another process may hold the write lock. A commit takes milliseconds; what takes longer is stuck.
_BUSY = 5.0
# The same for one who found it stuck the last time: then who writes is told at once.
_STUCK = 0.1
# Seconds between two attempts at the write lock. SQLite's own wait backs off to a tenth of a second, which readers would feel.
_PAUSE = 0.001
# Statements that stay compiled: two for each number of rows in a commit, and the rest.
_STATEMENTS = 256
# Pages in the write-ahead log until they are moved to the file: 16 MiB.
_CHECKPOINT = 4000
_PAGE = 4096

# What takes a file from each version to the next. Only ever add to it.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            generation TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            key TEXT,
            fingerprint TEXT NOT NULL,
            model TEXT NOT NULL,
            created INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            retracted INTEGER NOT NULL DEFAULT 0,
            renewed REAL NOT NULL,
            lease REAL NOT NULL,
            ended REAL,
            "end" TEXT
        )""",
        "CREATE UNIQUE INDEX log_of_key ON log (owner, key) WHERE key IS NOT NULL",
        "CREATE INDEX log_of_owner ON log (owner)",
        "CREATE INDEX log_running ON log (id) WHERE ended IS NULL",
        "CREATE INDEX log_ended ON log (ended) WHERE ended IS NOT NULL",
        # Rows are in the order of commits, and ids are never used again: what follows an id is what came later.
        """CREATE TABLE entry (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            log INTEGER NOT NULL,
            previous INTEGER NOT NULL,
            position INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            writer INTEGER NOT NULL,
            n INTEGER NOT NULL,
            crc32 INTEGER NOT NULL,
            body TEXT NOT NULL
        )""",
        "CREATE UNIQUE INDEX entry_of_log ON entry (log, position)",
        "CREATE TABLE clock (now REAL NOT NULL, mark REAL NOT NULL, boot TEXT NOT NULL)",
        "INSERT INTO clock VALUES (0, 0, '')",
    ),
    (
        # As the rows before, but each names the one before it in its log, instead of an index, which cost a page a row. Under another
        # name: a process of the first version that still runs finds no table, and does not write past this one's back.
        """CREATE TABLE part (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            log INTEGER NOT NULL,
            prior INTEGER NOT NULL,
            previous INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            writer INTEGER NOT NULL,
            body TEXT NOT NULL
        )""",
        """INSERT INTO part SELECT id, log, coalesce(
               (SELECT id FROM entry AS earlier WHERE earlier.log = entry.log AND earlier.position = entry.previous), 0),
               previous, epoch, writer, body FROM entry ORDER BY id""",
        """CREATE TABLE head (
            log INTEGER PRIMARY KEY,
            part INTEGER NOT NULL,
            position INTEGER NOT NULL,
            n INTEGER NOT NULL,
            crc32 INTEGER NOT NULL
        )""",
        "INSERT INTO head SELECT log, id, max(position), n, crc32 FROM entry GROUP BY log",
        "DROP TABLE entry",
    ),
)

_REASONS = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_PERM: "may not be written by this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk failed",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
}


def explain(path: Path, error: sqlite3.Error) -> str:
    """Tell what is wrong with the file, in a sentence."""
    # The low byte is the kind; extended codes tell more, to people who debug SQLite.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    reason = _REASONS.get(code & 0xFF, f"failed: {error}")
    return f"The log file {path} {reason} ({name})."


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process had the write lock for longer than was waited."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_BUSY


def connect(path: Path, *, fsync: Fsync, busy: float = _BUSY) -> sqlite3.Connection:
    """Open a connection for one thread, which waits `busy` seconds for locks; transactions are begun by hand."""
    connection = sqlite3.connect(
        path, timeout=busy, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    connection.execute(f"PRAGMA synchronous = {fsync}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    # Or the write-ahead log would stay as long as its longest commit made it.
    connection.execute(f"PRAGMA journal_size_limit = {_CHECKPOINT * _PAGE}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, *, stuck: bool = False) -> Iterator[None]:
    """Write all of what follows, or nothing; where another was `stuck` in a commit already, without much waiting for it."""
    _begin(connection, _STUCK if stuck else _BUSY)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin(connection: sqlite3.Connection, seconds: float) -> None:
    """Wait for the write lock. Raises `sqlite3.OperationalError`."""
    until = time.monotonic() + seconds
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
        else:
            return
        time.sleep(_PAUSE)


def prepare(path: Path, *, fsync: Fsync, now: float) -> float:
    """Make the file, or bring it up to date. Raises `ConfigError`.

    Args:
        path: of the file; its folder must exist.
        fsync: see `SqliteLog`.
        now: monotonic seconds.

    Returns what the store's clock is ahead of the monotonic one.
    """
    _touch(path)
    try:
        with closing(connect(path, fsync=fsync)) as connection:
            _check_ours(path, connection)
            if (mode := connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
                raise ConfigError(f"The log file {path} is on a disk that cannot share it ({mode}). Use a local one.")
            with transaction(connection):
                _upgrade(connection)
                return _set_clock(connection, now)
    except sqlite3.Error as error:
        raise ConfigError(f"{explain(path, error)} Choose another with --log.") from None


def _touch(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"The log file {path} cannot be opened: {os.strerror(error.errno or 0)}. Make its folder, or choose another with --log."
        ) from None


def _check_ours(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not is_empty and application != _APPLICATION:
        raise ConfigError(f"The file {path} is a database of another program. Choose another with --log.")
    if version > len(STEPS):
        raise ConfigError(
            f"The log file {path} was made by a newer Dazi (version {version}, this one knows {len(STEPS)}). Upgrade Dazi."
        )
    if is_empty:
        # What is deleted shrinks the file. Only before the first table: afterwards it takes a whole rewrite.
        connection.execute("PRAGMA auto_vacuum = FULL")


def _upgrade(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for step in STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {max(version, len(STEPS))}")


def _set_clock(connection: sqlite3.Connection, monotonic: float) -> float:
    """Tell how far the store's clock is ahead of the monotonic one.

    All processes of one boot share the monotonic clock (CLOCK_MONOTONIC; it stands while the machine sleeps, and with it
    everybody whose lease it judges), so among them the difference is constant. Another boot begins it anew: then the store's
    clock goes on where it was last seen, which keeps logs rather too long than too short, and every lease has run out.
    """
    now, mark, name = connection.execute("SELECT now, mark, boot FROM clock").fetchone()
    if name == boot() and monotonic >= mark:
        return float(now - mark)
    connection.execute("UPDATE clock SET mark = ?, boot = ?", (monotonic, boot()))
    connection.execute("UPDATE log SET renewed = ?, lease = 0 WHERE ended IS NULL", (monotonic,))
    return float(now - monotonic)


def boot() -> str:
    """Name this boot of the machine; "" where the system does not tell, and a clock that went back must do."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
