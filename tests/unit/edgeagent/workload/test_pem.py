from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.certificates import key_to_pem, to_pem
from edgeagent.workload.errors import AuthorityError
from edgeagent.workload.pem import BUNDLE_MAX, read_authority, read_certificates, read_key, unexpired
from testkit import x509 as testing

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeagent.workload.certificates import CertificateAuthority

NOW_S = datetime(2026, 8, 1, tzinfo=UTC).timestamp()
OWN = testing.issue("own CA", now_s=NOW_S, authority=True, key_usage="key_cert_sign")
OTHER = testing.authority("other CA", NOW_S)
WHOLE = OWN.pem + OWN.key_pem


def test_an_own_ca() -> None:
    read = read_authority(OWN.pem + OTHER.pem, OWN.key_pem, "ca")
    assert read.chain == (OWN.certificate, OTHER.certificate)
    assert read.common_name == "own CA"
    assert read.fingerprint == OWN.sha256


def test_key_and_certificate_in_one_text(quick_start_ca: CertificateAuthority) -> None:
    pem = (key_to_pem(quick_start_ca.key) + to_pem(quick_start_ca.chain)).encode()
    assert read_authority(pem, pem, "ca").certificate == quick_start_ca.certificate


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        (b"", OWN.key_pem, "ca: no PEM certificates"),
        (OWN.key_pem, OWN.key_pem, "ca: no PEM certificates"),
        (OWN.pem[:-40], OWN.key_pem, "ca: no PEM certificates"),
        (OWN.pem, b"", "ca: no PEM private key"),
        (OWN.pem, OWN.pem, "ca: no PEM private key"),
        (OWN.pem, OTHER.key_pem, "ca: the key is not that of the first certificate"),
        (OTHER.pem + OWN.pem, OWN.key_pem, "ca: the key is not that of the first certificate"),
        (OWN.pem * 11, OWN.key_pem, "ca: 11 certificates; at most 10"),
    ],
)
def test_what_is_wrong_is_said(certificate: bytes, key: bytes, text: str) -> None:
    with pytest.raises(AuthorityError, match=text):
        read_authority(certificate, key, "ca")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: testing.issue("x", now_s=NOW_S), "it has no basic constraints"),
        (lambda: testing.issue("x", now_s=NOW_S, authority=False), "its basic constraints say so"),
        (
            lambda: testing.issue("x", now_s=NOW_S, authority=True, key_usage="digital_signature"),
            "its key usage lacks keyCertSign",
        ),
    ],
)
def test_certificates_that_are_no_ca(made: Callable[[], testing.Issued], text: str) -> None:
    issued = made()
    with pytest.raises(AuthorityError, match=f"ca: the first certificate is not a CA: {text}"):
        read_authority(issued.pem, issued.key_pem, "ca")


def test_an_encrypted_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(AuthorityError, match="ca: the private key is encrypted"):
        read_key(pem, "ca")


def test_keys_of_other_kinds() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), dsa.generate_private_key(1024)):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(AuthorityError, match="neither RSA nor of an elliptic curve"):
            read_key(pem, "ca")


def test_the_length_of_a_bundle() -> None:
    assert len(read_certificates(OWN.pem * BUNDLE_MAX, "bundle")) == BUNDLE_MAX
    with pytest.raises(AuthorityError, match=f"bundle: {BUNDLE_MAX + 1} certificates; at most {BUNDLE_MAX}"):
        read_certificates(OWN.pem * (BUNDLE_MAX + 1), "bundle")


def test_unexpired() -> None:
    ended = testing.issue("old", now_s=NOW_S, authority=True, end_s=0)
    found = unexpired((ended.certificate, OWN.certificate), datetime.fromtimestamp(NOW_S, UTC))
    assert found == (OWN.certificate,)


@given(st.binary(max_size=300) | st.integers(0, len(WHOLE)).map(lambda cut: WHOLE[:cut]))
def test_random_and_cut_texts_raise_their_own_error_alone(pem: bytes) -> None:
    with suppress(AuthorityError):
        read_authority(pem, pem, "ca")


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_one_changed_byte_raises_nothing_else(place: int, value: int) -> None:
    changed = WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]
    with suppress(AuthorityError):
        read_authority(changed, changed, "ca")


@given(st.data())
def test_changed_der_raises_nothing_else(data: st.DataObject) -> None:
    """Below the PEM armour, where the parser is."""
    import base64

    der = bytearray(OWN.der)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
    with suppress(AuthorityError):
        read_authority(pem, OWN.key_pem, "ca")
