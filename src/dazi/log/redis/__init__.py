"""Logs in Redis: shared by all machines, and by all processes of one.

`RedisLog` states the laws; `places` is where a log lies, `scripts` what Redis does in one step, `answers` what comes back of it,
`entries` how events lie in a Stream, `appends` how those of many logs travel together, `followers` who hears of what, and `store` the
connections.
"""

from dazi.log.redis.log import RedisLog

__all__ = ["RedisLog"]
