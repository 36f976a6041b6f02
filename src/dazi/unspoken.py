"""A URL whose query is not told.

httpx logs the URL of every call, at level `info`; and in queries stand secrets: WeChat's hold the AppSecret, codes and access tokens, others' the
keys of a service.
"""

from __future__ import annotations

import httpx


class Unspoken(httpx.URL):
    """What a request's `url` may be replaced by before it is sent."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None))

    __repr__ = __str__
