"""The gateway on the web: PROTOCOL.md, over ASGI."""

from dazi.web.app import create_app

__all__ = ["create_app"]
