"""The way through an HTTP proxy: `CONNECT`, as `HTTPS_PROXY` and `NO_PROXY` of the environment say.

For https alone: what is not encrypted is on the way to a server nearby. Loopback is never asked for through a proxy.

Laws: the proxy gets the host and the port, and sees nothing else of an encrypted line; a proxy that refuses, stalls or talks nonsense is
`upstream_unreachable`; its user name and password are never in a sentence.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote, urlsplit

from dazi.errors import ConfigError, UpstreamError
from dazi.upstream.response import fault

# Bytes of a proxy's answer that are read: a line and some fields.
_MAX_ANSWER = 16 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens, and the value of the field that lets us in, or ""."""

    host: str
    port: int
    authorization: str = ""


def proxy_for(host: str, port: int, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy that the environment names for this https server, or None. Raises `ConfigError` for one that is no HTTP proxy."""
    environment = os.environ if environment is None else environment
    url = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    spared = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not url or host in _LOOPBACK or _is_spared(host, port, spared):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_valid = parts.scheme == "http" and bool(parts.hostname)
        at = parts.port or 80
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigError(
            f"HTTPS_PROXY is no address like http://host:3128. Correct or unset it, or spare {host} by NO_PROXY."
        )
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}" if parts.username else ""
    return Proxy(parts.hostname or "", at, authorization)


def _is_spared(host: str, port: int, spared: str) -> bool:
    """Tell whether `NO_PROXY` has this server: by its name, a domain that it is in, its name and port, or `*`."""
    for entry in (part.strip().lower().lstrip(".") for part in spared.split(",")):
        if entry in {"*", host, f"{host}:{port}"} or (entry and host.endswith(f".{entry}")):
            return True
    return False


async def dig(proxy: Proxy, host: str, port: int, protocol: asyncio.Protocol, tls: ssl.SSLContext) -> None:
    """Make an encrypted line to the server through the proxy, and give it to `protocol`. May raise as connecting may."""
    loop = asyncio.get_running_loop()
    transport, tunnel = await loop.create_connection(lambda: _Tunnel(host, port, proxy), proxy.host, proxy.port)
    try:
        await tunnel.ready
        secure = await loop.start_tls(transport, protocol, tls, server_hostname=host)
    except BaseException:
        transport.abort()
        raise
    if secure is None:  # asyncio's, for a line that was lost meanwhile
        raise ConnectionResetError
    protocol.connection_made(secure)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a line to a server. `ready` is done when there is one; what follows is the line's."""

    def __init__(self, host: str, port: int, proxy: Proxy) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        fields = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if proxy.authorization:
            fields.append(f"Proxy-Authorization: {proxy.authorization}")
        self._request = "\r\n".join(fields).encode("ascii") + b"\r\n\r\n"
        self._answer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        # Not asserted: uvloop's transports are asyncio's in behaviour only.
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        self._answer += data
        head, end, rest = bytes(self._answer).partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > _MAX_ANSWER:
                self._settle(fault("upstream_unreachable", "The proxy sent no end of its answer."))
            return
        words = head.split(b"\r\n")[0].split(b" ")
        status = words[1].decode("latin-1") if len(words) > 1 and words[0].startswith(b"HTTP/1.") else "no HTTP"
        if status != "200":
            why = status if status.isdigit() else "no HTTP"
            self._settle(fault("upstream_unreachable", f"The proxy to the model's server answered {why}."))
        elif rest:
            self._settle(fault("upstream_unreachable", "The proxy to the model's server spoke before it was asked."))
        else:
            self._settle(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that there will be no line."""
        error = fault("upstream_unreachable", "The proxy to the model's server closed the connection.")
        error.__cause__ = exc
        self._settle(error)

    def _settle(self, error: UpstreamError | None) -> None:
        if self.ready.done():
            return
        if error is None:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(error)
