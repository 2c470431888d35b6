"""The secret of a hub that has no key of its own (I-018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgehub.hub.own_key import SECRET_BYTES, SecretFileError, secret_of_file

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secret = secret_of_file(tmp_path / "secret")
    assert len(secret) == SECRET_BYTES
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert secret_of_file(tmp_path / "secret") == secret
    assert secret_of_file(tmp_path / "other") != secret


def test_what_a_power_cut_left_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_bytes(b"half")
    assert len(secret_of_file(tmp_path / "secret")) == SECRET_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_another_length_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(SecretFileError, match="5 bytes instead of 32"):
        secret_of_file(tmp_path / "secret")
    assert (tmp_path / "secret").read_bytes() == b"short"


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="cannot be used"):
        secret_of_file(tmp_path / "missing" / "secret")
