from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from dazi.errors import ConfigError
from dazi.web.addresses import Addresses


def of(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = ()) -> str:
    headers = Headers(raw=[(b"x-forwarded-for", value.encode()) for value in forwarded])
    return Addresses(trusted).of({"type": "http", "client": None if peer is None else (peer, 1234)}, headers)


PROXIES = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "told"),
    [
        # Nobody is believed by default, this machine neither.
        ("9.9.9.9", ("1.2.3.4",), (), "9.9.9.9"),
        ("127.0.0.1", ("1.2.3.4",), (), "127.0.0.1"),
        # Who is no proxy of ours is not believed.
        ("9.9.9.9", ("1.2.3.4",), PROXIES, "9.9.9.9"),
        ("10.0.0.1", ("1.2.3.4",), PROXIES, "1.2.3.4"),
        ("10.0.0.1", (), PROXIES, "10.0.0.1"),
        # What stands to the left of the first stranger is the stranger's own word.
        ("10.0.0.1", ("6.6.6.6, 1.2.3.4",), PROXIES, "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6, 1.2.3.4, 10.0.0.9",), PROXIES, "1.2.3.4"),
        ("10.0.0.1", ("6.6.6.6", "1.2.3.4, 10.0.0.9"), PROXIES, "1.2.3.4"),
        ("10.0.0.1", ("10.0.0.7",), PROXIES, "10.0.0.7"),
        # What is no address ends it: whoever wrote that is the last that is known.
        ("10.0.0.1", ("1.2.3.4, nonsense",), PROXIES, "10.0.0.1"),
        ("10.0.0.1", ("1.2.3.4, nonsense, 10.0.0.9",), PROXIES, "10.0.0.9"),
        ("10.0.0.1", ("1.2.3.4:5678",), PROXIES, "1.2.3.4"),
        ("fd00::1", ("[2001:db8:1:2:3:4:5:6]:443",), PROXIES, "2001:db8:1:2::/64"),
        ("fd00::1", ("2001:db8:1:2:ffff::1",), PROXIES, "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", ("1.2.3.4",), PROXIES, "1.2.3.4"),
        ("fe80::1%eth0", (), (), "fe80::/64"),
        (None, ("1.2.3.4",), (), ""),
        (None, ("1.2.3.4",), ("unix",), "1.2.3.4"),
    ],
)
def test_an_address_is_believed_as_far_as_our_proxies_wrote_it(
    peer: str | None, forwarded: tuple[str, ...], trusted: tuple[str, ...], told: str
) -> None:
    assert of(peer, *forwarded, trusted=trusted) == told


@given(st.text(max_size=200), st.ip_addresses(v=4))
def test_whatever_a_client_writes_it_is_told_by_its_own_address(written: str, client: ipaddress.IPv4Address) -> None:
    said = written.encode("latin-1", "replace").decode("latin-1")
    headers = Headers(raw=[(b"x-forwarded-for", f"{said}, {client}".encode("latin-1"))])
    addresses = Addresses(["203.0.113.7"])
    told = addresses.of({"type": "http", "client": ("203.0.113.7", 1)}, headers)
    assert told == str(client) or str(client) == "203.0.113.7"


@pytest.mark.parametrize("name", ["10.0.0.0/33", "example.com", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_address_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Addresses([name])
