"""The last good deployment on disk (rows O05 to O07)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from edgeagent.files import read_optional, write_secret
from edgeagent.source.backup import SEALED_BYTES_MAX, Backup, BackupError
from edgeagent.source.desired import Desired

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Desired(7, {"schemaVersion": "1.1", "runtime": {"password": "geheim"}})


def turned(data: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in data)


async def turn(data: bytes) -> bytes:
    """Seals, and unseals."""
    return turned(data)


def backup(folder: Path) -> Backup:
    return Backup(folder / "state" / "backup.json", turn, turn)


async def test_o05_a_good_deployment_is_kept_sealed(tmp_path: Path) -> None:
    """Row O05."""
    kept = backup(tmp_path)
    assert await kept.save(GOOD)
    path = tmp_path / "state" / "backup.json"
    assert b"geheim" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert turned(path.read_bytes()).startswith(b'{"deploymentConfig":')


async def test_o05_it_is_written_only_when_it_differs(tmp_path: Path) -> None:
    """Row O05."""
    kept = backup(tmp_path)
    assert await kept.save(GOOD)
    assert not await kept.save(Desired(7, dict(GOOD.document)))
    assert await kept.save(Desired(8, GOOD.document))
    again = backup(tmp_path)
    assert await again.load() == Desired(8, GOOD.document)
    assert not await again.save(Desired(8, GOOD.document))


async def test_o06_it_comes_back_after_a_restart(tmp_path: Path) -> None:
    """Row O06."""
    await backup(tmp_path).save(GOOD)
    assert await backup(tmp_path).load() == GOOD
    assert await backup(tmp_path / "elsewhere").load() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version":"1"}', b"\xff\xfe", b"{" * 5000])
async def test_one_that_cannot_be_used_counts_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state" / "backup.json"
    write_secret(path, turned(content))
    assert await backup(tmp_path).load() is None


async def test_one_sealed_elsewhere_counts_as_none(tmp_path: Path) -> None:
    async def refused(_: bytes) -> bytes:
        raise RuntimeError("wrong key")

    await backup(tmp_path).save(GOOD)
    assert await Backup(tmp_path / "state" / "backup.json", turn, refused).load() is None


async def test_one_that_is_too_large_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state" / "backup.json"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(SEALED_BYTES_MAX + 1)
    assert await backup(tmp_path).load() is None


async def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(BackupError, match=r"backup\.json cannot be written"):
        await backup(tmp_path).save(GOOD)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_secret(path, b"old")
    with pytest.raises(TypeError):
        write_secret(path, "text")  # type: ignore[arg-type]
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert read_optional(path, 3) == b"old"
    with pytest.raises(ValueError, match="more than 2 bytes"):
        read_optional(path, 2)
    assert read_optional(tmp_path / "none", 1) is None
