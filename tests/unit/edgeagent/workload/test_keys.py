from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from edgeagent.workload.errors import KeyFileError
from edgeagent.workload.keys import (
    ENCRYPTION_KEY_FILE,
    IDENTITY_KEY_FILE,
    MasterKeys,
    load_or_create_keys,
    sign,
)

if TYPE_CHECKING:
    from pathlib import Path

KEYS = MasterKeys(bytes(range(32)), bytes(range(32)))
GENERATION = "637000000000000000"


def test_x01_module_keys() -> None:
    """Row X01, vectors of agent spec 12."""
    primary, secondary = KEYS.module_keys("m1", GENERATION)
    assert primary == "JLAZ2vpz69vF648X44sx5VRK+i4+rCc4XU0BZcasrzQ="
    assert secondary == "IXFI4rEww0DCWNfPtDXfvwFOzjI/uWquTSbU72gO5DA="


def test_another_generation_has_other_keys() -> None:
    assert KEYS.module_key("m1", "1") != KEYS.module_key("m1", "2")
    assert KEYS.module_key("m1", "1") != KEYS.module_key("$m1", "1")


def test_sign_is_hmac_sha256() -> None:
    """RFC 4231, test case 2."""
    assert sign(b"Jefe", b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426")


def test_keys_are_made_once(tmp_path: Path) -> None:
    made = load_or_create_keys(tmp_path / "keys")
    assert len(made.identity) == len(made.encryption) == 32
    assert made.identity != made.encryption
    assert load_or_create_keys(tmp_path / "keys") == made
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for name in (IDENTITY_KEY_FILE, ENCRYPTION_KEY_FILE):
        assert stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) == 0o600


def test_a_key_open_to_others_is_closed(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / IDENTITY_KEY_FILE).chmod(0o644)
    load_or_create_keys(tmp_path)
    assert stat.S_IMODE((tmp_path / IDENTITY_KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / IDENTITY_KEY_FILE).write_bytes(content)
    with pytest.raises(KeyFileError, match=f"{IDENTITY_KEY_FILE}: expected 32 bytes"):
        load_or_create_keys(tmp_path)
    assert (tmp_path / IDENTITY_KEY_FILE).read_bytes() == content


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyFileError, match="keys in"):
        load_or_create_keys(tmp_path / "keys")


def test_keys_are_in_no_text() -> None:
    assert "0102" not in repr(KEYS)
    assert repr(KEYS) == "MasterKeys()"
