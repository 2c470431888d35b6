"""Options of `iothub device create` for certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iothub.cli.client import ClientError
from iothub.cli.x509 import x509_authentication
from testkit.x509 import issue

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = (issue("d1", now_s=1_700_000_000.0) for _ in range(2))


def with_colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def test_without_options_a_device_has_keys() -> None:
    assert x509_authentication((), (), False) is None


def test_an_authority() -> None:
    assert x509_authentication((), (), True) == {"type": "certificateAuthority"}


def test_thumbprints_as_other_tools_print_them_and_files(tmp_path: Path) -> None:
    chain, key = ONE.write(tmp_path, "one", TWO)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + b"# a comment\n" + chain.read_bytes())
    wanted = {"primaryThumbprint": TWO.sha1.upper(), "secondaryThumbprint": ONE.sha256.upper()}
    for file in (chain, both):
        found = x509_authentication([with_colons(TWO.sha1)], [file], False)
        assert found == {"type": "selfSigned", "x509Thumbprint": wanted}
    single = x509_authentication((), [chain], False)
    assert single == {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": ONE.sha256.upper()}}


@pytest.mark.parametrize("text", ["", "AA", "G" * 40, "0" * 41, "0" * 63, "\u0660" * 40])
def test_what_is_no_thumbprint(text: str) -> None:
    with pytest.raises(ClientError, match=r"40 \(SHA-1\) or 64 \(SHA-256\) hexadecimal digits"):
        x509_authentication([text], (), False)


def test_contradictions_and_too_many(tmp_path: Path) -> None:
    chain, _ = ONE.write(tmp_path, "one")
    with pytest.raises(ClientError, match="--x509-ca stands alone"):
        x509_authentication([ONE.sha1], (), True)
    with pytest.raises(ClientError, match="--x509-ca stands alone"):
        x509_authentication((), [chain], True)
    with pytest.raises(ClientError, match="2 thumbprints at most, not 3"):
        x509_authentication([ONE.sha1, TWO.sha1], [chain], False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n",
        b"-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
        b"\x30\x82\x00",
    ],
)
def test_files_without_a_certificate(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ClientError, match=r"c: expected a PEM file"):
        x509_authentication((), [tmp_path / "c"], False)
    with pytest.raises(ClientError, match="No such file"):
        x509_authentication((), [tmp_path / "none"], False)
