"""Where a call comes from: the address of whoever is connected, or what a proxy that is trusted says of it.

Laws: a header is believed only as far as trusted proxies wrote it: from its right end, up to the first address that is none of
theirs; whatever a client puts into it stands to the left of that. Addresses of one IPv6 network of 64 bits, which one household has,
count as one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Scope

from dazi.errors import ConfigError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Proxies in a row that are looked behind; more is somebody's nonsense.
_MOST_PROXIES = 20
_HOUSEHOLD = 64


class Addresses:
    """Tells the address of a call.

    Args:
        trusted: addresses and networks of our own proxies, such as `10.0.0.0/8`; `unix` for whoever comes by a socket that is a
            file. Raises `ConfigError`.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        names = set(trusted)
        self._trusts_unix = "unix" in names
        self._trusted = tuple(_network(name) for name in sorted(names - {"unix"}))

    def of(self, scope: Scope, headers: Headers) -> str:
        """Tell the address, or the network, that a call is counted under; "" where there is none."""
        client = scope.get("client")
        peer = _address(client[0]) if client else None
        if not (self._trusts_unix if peer is None else self._is_trusted(peer)):
            return _name(peer)
        return _name(self._behind(peer, ",".join(headers.getlist("x-forwarded-for"))))

    def _behind(self, peer: _Address | None, forwarded: str) -> _Address | None:
        for entry in reversed(forwarded.split(",")[-_MOST_PROXIES:]):
            address = _address(entry.strip())
            if address is None:
                break
            peer = address
            if not self._is_trusted(address):
                break
        return peer

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ConfigError(
            f"trusted_proxies (DAZI_TRUSTED_PROXIES): {name[:60]!r} is no address or network ({error}). Write 10.0.0.5, 10.0.0.0/8 or unix."
        ) from None


def _address(text: str) -> _Address | None:
    """Read an address, perhaps with a port; one of IPv4 inside IPv6 is that of IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address


def _name(address: _Address | None) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _HOUSEHOLD), strict=False))
    return str(address or "")
