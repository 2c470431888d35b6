"""Identities on disk."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from edgeagent.identity.cache import CACHE_BYTES_MAX, IdentityCache
from edgeagent.identity.model import ModuleIdentity

if TYPE_CHECKING:
    from pathlib import Path

FOUND = [ModuleIdentity("n", "2", "IotEdge", ("p", "s")), ModuleIdentity("$edgeHub", "1")]


def cache(folder: Path, device_id: str = "d") -> IdentityCache:
    return IdentityCache(folder / "state" / "identities.json", "hub", device_id)


def test_they_come_back_without_keys(tmp_path: Path) -> None:
    cache(tmp_path).save(FOUND)
    assert cache(tmp_path).load() == {
        "n": ModuleIdentity("n", "2", "IotEdge"),
        "$edgeHub": ModuleIdentity("$edgeHub", "1"),
    }
    path = tmp_path / "state" / "identities.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b'"p"' not in path.read_bytes()


def test_those_of_another_device_are_forgotten(tmp_path: Path) -> None:
    cache(tmp_path).save(FOUND)
    assert cache(tmp_path, "other").load() == {}


def test_they_are_written_only_when_they_differ(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    kept.save(FOUND)
    path = tmp_path / "state" / "identities.json"
    before = path.stat().st_ino
    kept.save(reversed(FOUND))
    assert path.stat().st_ino == before
    kept.save(FOUND[:1])
    assert path.stat().st_ino != before


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"owner":"hub/d"}', b'{"owner":"hub/d","modules":[1]}', b"\xff"]
)
def test_what_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state" / "identities.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert cache(tmp_path).load() == {}


def test_no_file_one_too_large_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    assert cache(tmp_path).load() == {}
    path = tmp_path / "state" / "identities.json"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(CACHE_BYTES_MAX + 1)
    assert cache(tmp_path).load() == {}
    (tmp_path / "other").write_text("in the way")
    IdentityCache(tmp_path / "other" / "file", "hub", "d").save(FOUND)
