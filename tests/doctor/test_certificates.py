"""The doctor before certificates: an authority of the test's own signs whole chains, broken ones, and such for other names and times."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.conftest import Serve
from tests.nginx import nginx

from dazi.doctor import Finding, Patient, examine
from dazi.upstream.demo import DemoUpstream

NOW = datetime.now(UTC)
Front = Callable[[list["Signed"]], Awaitable[int]]


class Signed:
    """A certificate with its key, signed by `issuer`; by itself without one."""

    def __init__(self, name: str, issuer: Signed | None = None, *, days: int = 90, is_authority: bool = True) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer or self
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=100))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(alternative, critical=False)
            .sign(signer._key, hashes.SHA256())
        )

    def pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def key(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


ROOT = Signed("root")
MIDDLE = Signed("middle", ROOT)


@pytest.fixture
async def front(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """Put nginx in front of a gateway, with a chain; its port. This process trusts the root, as its system would."""
    trusted, chain = tmp_path / "trusted.pem", tmp_path / "chain.pem"
    trusted.write_bytes(ROOT.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    served = await serve({"demo": DemoUpstream()})
    async with AsyncExitStack() as stack:

        async def start(certificates: list[Signed]) -> int:
            chain.write_bytes(certificates[0].key() + b"".join(one.pem() for one in certificates))
            return await stack.enter_async_context(nginx(tmp_path / "nginx", behind=served.port, tls=chain))

        yield start


async def tls_of(port: int) -> Finding:
    """Return what is said of the certificate; the rest takes seconds, and is for others."""
    async with aclosing(examine(Patient(url=f"https://localhost:{port}", wait=1))) as findings:
        return await anext(one async for one in findings if one.check == "tls")


async def test_behind_a_whole_chain_nothing_has_to_be_mended(front: Front) -> None:
    port = await front([Signed("localhost", MIDDLE, is_authority=False), MIDDLE])
    found = {one.check: one.verdict async for one in examine(Patient(url=f"https://localhost:{port}", wait=1))}
    assert (found["tls"], found["resume"]) == ("healthy", "healthy")
    assert {"warning", "fault"}.isdisjoint(found.values()), found


@pytest.mark.parametrize(
    ("certificates", "words", "fix"),
    [
        ([Signed("localhost", MIDDLE, is_authority=False)], "unable to get local issuer", "fullchain.pem"),
        ([Signed("chat.example.com", MIDDLE, is_authority=False), MIDDLE], "Hostname mismatch", "for this name"),
        ([Signed("localhost", MIDDLE, days=-1, is_authority=False), MIDDLE], "expired", "Renew it"),
        ([Signed("localhost", is_authority=False)], "self-signed", "an authority that phones know"),
    ],
    ids=["without the one in the middle", "another name's", "over", "its own"],
)
async def test_what_phones_would_not_trust_is_named(
    front: Front, certificates: list[Signed], words: str, fix: str
) -> None:
    tls = await tls_of(await front(certificates))
    assert tls.verdict == "fault"
    assert words in tls.words
    assert fix in tls.fix


async def test_one_that_ends_soon_is_told(front: Front) -> None:
    tls = await tls_of(await front([Signed("localhost", MIDDLE, days=5, is_authority=False), MIDDLE]))
    assert tls.verdict == "warning"
    assert "ends in 4 days" in tls.words


async def test_a_port_without_tls_is_told(serve: Serve) -> None:
    served = await serve({"demo": DemoUpstream()})
    tls = await tls_of(served.port)
    assert "speaks no TLS" in tls.words
