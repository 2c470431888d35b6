"""Encryption at rest (I-018)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.identity.sealing import Sealer, SealError, hkdf_sha256

SECRET = bytes(range(32))


def test_the_key_derivation_follows_rfc_5869() -> None:
    # Appendix A.3: SHA-256 with zero-length salt and info.
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf_sha256(b"\x0b" * 22, b"", 42).hex() == expected


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_for_the_same_key_and_place(value: bytes, place: str) -> None:
    sealed = Sealer(SECRET).seal(value, place)
    assert Sealer(SECRET).open(sealed, place) == value


def test_sealed_values_differ_and_hide_the_value() -> None:
    sealer = Sealer(SECRET)
    first, second = sealer.seal(b"the secret key", "p"), sealer.seal(b"the secret key", "p")
    assert first != second
    assert b"secret" not in first


def test_another_key_or_place_does_not_open() -> None:
    sealed = Sealer(SECRET).seal(b"value", "scope/a")
    for sealer, place in ((Sealer(SECRET[::-1]), "scope/a"), (Sealer(SECRET), "scope/b")):
        with pytest.raises(SealError, match=place):
            sealer.open(sealed, place)


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(Sealer(SECRET).seal(b"value", "p"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        Sealer(SECRET).open(bytes(sealed), "p")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(40), bytes(60)])
def test_other_forms_are_refused(sealed: bytes) -> None:
    with pytest.raises(SealError, match="known sealed form"):
        Sealer(SECRET).open(sealed, "p")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SealError, match="16 bytes"):
        Sealer(b"short")
