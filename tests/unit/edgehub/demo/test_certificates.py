from __future__ import annotations

import ipaddress
import stat
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from edgehub.demo.certificates import CLOCK_SLACK, VALIDITY, Authority

if TYPE_CHECKING:
    from pathlib import Path


def test_a_certificate_verifies_for_its_names(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("hub", ("127.0.0.2", "localhost"))
    chain = x509.load_pem_x509_certificates(files.chain.read_bytes())
    store = Store(x509.load_pem_x509_certificates(authority.file.read_bytes()))
    names = (x509.IPAddress(ipaddress.ip_address("127.0.0.2")), x509.DNSName("localhost"))
    for name in names:
        verifier = PolicyBuilder().store(store).build_server_verifier(name)
        assert len(verifier.verify(chain[0], chain[1:])) == 2


def test_certificates_are_short_lived_and_keys_private(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("hub", ("127.0.0.2",))
    leaf = x509.load_pem_x509_certificates(files.chain.read_bytes())[0]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == VALIDITY + CLOCK_SLACK
    assert timedelta(days=7) > VALIDITY
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("ca*.key")), "the authority's key stays in memory"
