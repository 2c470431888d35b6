from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.workload.errors import SealingError
from edgeagent.workload.sealing import decrypt, encrypt, module_context, own_context, seal, unseal

KEY = bytes(range(32))
IV = b"0123456789abcdef0123456789abcdef"
CONTEXT = module_context("m1", "637000000000000000")
V2 = base64.b64decode("AuHCYhu0ms/Nqg/jlFtESWGbiKe/hOGB")
V1 = base64.b64decode("Ac2qD+OUW0RJYZuIp7+E4YHhwmIbtJrP")
TEXT = b'{"a":1}'


def test_w06_vectors() -> None:
    """Row W06, vectors of agent spec 12: written in the newer form, read in both."""
    assert encrypt(KEY, IV, TEXT, CONTEXT) == V2
    assert decrypt(KEY, IV, V2, CONTEXT) == TEXT
    assert decrypt(KEY, IV, V1, CONTEXT) == TEXT


@pytest.mark.parametrize(
    ("module_id", "generation_id"), [("m2", "637000000000000000"), ("m1", "1"), ("", "")]
)
def test_w07_another_module_or_generation(module_id: str, generation_id: str) -> None:
    """Row W07."""
    for ciphertext in (V1, V2):
        with pytest.raises(SealingError, match="not encrypted by this module"):
            decrypt(KEY, IV, ciphertext, module_context(module_id, generation_id))


@pytest.mark.parametrize("length", [8, 12, 16, 32, 128])
def test_w08_lengths_of_iv(length: int) -> None:
    """Row W08: 12, 16 and 32 bytes; and the ends of what is taken."""
    iv = bytes(length)
    assert decrypt(KEY, iv, encrypt(KEY, iv, TEXT, CONTEXT), CONTEXT) == TEXT


@pytest.mark.parametrize("length", [0, 7, 129])
def test_an_iv_beyond_the_limits(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes; expected 8 to 128"):
        encrypt(KEY, bytes(length), TEXT, CONTEXT)
    with pytest.raises(ValueError, match="expected 8 to 128"):
        decrypt(KEY, bytes(length), V2, CONTEXT)


@pytest.mark.parametrize(
    ("ciphertext", "text"),
    [
        (b"", "cut short"),
        (b"\x02", "cut short"),
        (b"\x02" + bytes(15), "cut short"),
        (b"\x03" + bytes(16), "version 3; expected 1 or 2"),
        (V2[:-1] + b"\0", "damaged"),
    ],
)
def test_malformed_ciphertexts(ciphertext: bytes, text: str) -> None:
    with pytest.raises(SealingError, match=text):
        decrypt(KEY, IV, ciphertext, CONTEXT)


@given(st.binary(max_size=200), st.binary(min_size=8, max_size=128), st.binary(max_size=50))
def test_what_goes_in_comes_out(text: bytes, iv: bytes, context: bytes) -> None:
    sealed = encrypt(KEY, iv, text, context)
    assert decrypt(KEY, iv, sealed, context) == text
    older = b"\x01" + sealed[-16:] + sealed[1:-16]
    assert decrypt(KEY, iv, older, context) == text


@given(st.binary(max_size=100))
def test_random_ciphertexts_raise_their_own_error_alone(ciphertext: bytes) -> None:
    with pytest.raises(SealingError):
        decrypt(KEY, IV, ciphertext, CONTEXT)
    with pytest.raises(SealingError):
        unseal(KEY, ciphertext, "backup")


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_one_flipped_bit_is_found(place: int, bit: int) -> None:
    sealed = bytearray(seal(KEY, TEXT, "backup"))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(SealingError):
        unseal(KEY, bytes(sealed), "backup")


@given(st.binary(max_size=300), st.from_regex(r"[a-z-]+", fullmatch=True))
def test_texts_of_the_agent(text: bytes, purpose: str) -> None:
    assert unseal(KEY, seal(KEY, text, purpose), purpose) == text


def test_another_purpose() -> None:
    sealed = seal(KEY, TEXT, "backup")
    assert sealed != seal(KEY, TEXT, "backup")
    with pytest.raises(SealingError):
        unseal(KEY, sealed, "twin")


def test_no_module_can_take_the_agents_context() -> None:
    assert own_context("m11") != module_context("m1", "1")
    assert own_context("m1").startswith(b"\0")
