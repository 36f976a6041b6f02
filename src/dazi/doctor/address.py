"""The address: can it be reached, is its certificate whole, and would a mini program be allowed to call it?"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult

from dazi.doctor.finding import NGINX_CHAIN, Finding, healthy

_CONNECT = 10.0
# A certificate that nobody renewed by then will not be renewed by itself.
_FEW_DAYS = 14
_DAY = 86_400
# What mends what OpenSSL complains of, by its codes (X509_V_ERR_…); all else is mended by a whole chain.
_FIXES = {
    10: "It has ended. Renew it, and let that be automatic.",
    18: "It vouches for itself. Take one of an authority that phones know, such as Let's Encrypt.",
    62: "It is another name's. Get one for this name, or call the gateway by a name that stands in it.",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the address could be reached: `is_trusted` is whether its certificate can be verified."""

    findings: list[Finding]
    is_open: bool
    is_trusted: bool = True


def is_this_machine(host: str) -> bool:
    """Whether a host name is this very machine's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def reach(url: SplitResult) -> Reached:
    """Connect, and look at the certificate."""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if url.scheme != "https":
        refusal = await _connect(host, port, None)
        return Reached([refusal or healthy("connection", f"{host} port {port} takes connections.")], refusal is None)
    try:
        refusal = await _connect(host, port, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        return Reached([_distrust(host, error)], is_open=True, is_trusted=False)
    if refusal:
        return Reached([refusal], is_open=False)
    return Reached([await _certificate(host, port)], is_open=True)


async def _connect(host: str, port: int, context: ssl.SSLContext | None) -> Finding | None:
    try:
        async with asyncio.timeout(_CONNECT):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            await _close(writer)
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        return Finding("tls", "fault", f"{host} port {port} speaks no TLS that we know: {error.reason}.", NGINX_CHAIN)
    except socket.gaierror:
        return Finding("connection", "fault", f"The name {host} is not known.", "Correct it, or add its DNS record.")
    except TimeoutError:
        return Finding(
            "connection",
            "fault",
            f"{host} port {port} did not answer within {_CONNECT:g} seconds.",
            "Open the port in the firewall or security group.",
        )
    except OSError as error:
        return Finding(
            "connection",
            "fault",
            f"{host} port {port} takes no connection: {error.strerror or error}.",
            "Start the gateway or the proxy there, or correct the port.",
        )
    return None


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _distrust(host: str, error: ssl.SSLCertVerificationError) -> Finding:
    reason = error.verify_message or error.reason
    fix = _FIXES.get(error.verify_code, NGINX_CHAIN)
    return Finding("tls", "fault", f"The certificate of {host} cannot be verified: {reason}.", fix)


async def _certificate(host: str, port: int) -> Finding:
    _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    session: ssl.SSLObject = writer.get_extra_info("ssl_object")
    await _close(writer)
    ends = ssl.cert_time_to_seconds(str((session.getpeercert() or {}).get("notAfter")))
    days = int((ends - time.time()) / _DAY)
    if days < _FEW_DAYS:
        return Finding(
            "tls", "warning", f"The certificate ends in {days} days.", "Renew it, and let that be automatic."
        )
    return healthy("tls", f"{session.version()}, with a certificate that is whole and stays valid for {days} days.")


def rules_of_mini_programs(url: SplitResult) -> Iterator[Finding]:
    """Tell what WeChat asks of a request's address (its network page)."""
    host = url.hostname or ""
    verdict = "note" if is_this_machine(host) else "warning"
    broken = list(_broken_rules(url, host))
    for words, fix in broken:
        yield Finding("mini_program", verdict, words, fix)  # type: ignore[arg-type]  # one of two literals
    if not broken:
        yield healthy(
            "mini_program", "A mini program may call it, once it is on the list of request domains (request 合法域名)."
        )


def _broken_rules(url: SplitResult, host: str) -> Iterator[tuple[str, str]]:
    if url.scheme != "https":
        yield (
            "A mini program on a phone calls https alone.",
            "Put TLS in front. In DevTools, “do not verify domains” (不校验合法域名) lets http pass for a while.",
        )
    if _is_address(host) or host == "localhost":
        yield (f"A mini program calls domain names, not {host}.", "Use a name with an ICP filing (备案).")
    if url.port not in (None, 443):
        yield (
            f"The port {url.port} must stand in the list of request domains just so: https://{host}:{url.port}.",
            "Use port 443, which need not be named.",
        )
    if host == "api.weixin.qq.com":
        yield ("api.weixin.qq.com cannot be a request domain.", "Call it from your server.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
