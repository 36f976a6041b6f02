"""Logs in a SQLite file: they outlive their process, and several processes of one machine may share them.

Laws: those of `dazi.log`. One thread of a process writes: what waits for it goes into one commit, one row a generation; only
what is committed is shown. Another thread reads, and while somebody observes, it looks for what other processes
committed: at a counter in shared memory first, and at the file only where that moved. Nothing of this blocks the loop.
"""

from dazi.log.sqlite.log import SqliteLog

__all__ = ["SqliteLog"]
