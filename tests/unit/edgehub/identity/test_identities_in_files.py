"""Identities of a hub without parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.identity.identities_file import IdentitiesFile
from edgehub.identity.refresher import ScopeApiError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = '{"devices":[{"deviceId":"a"},{"deviceId":"b"}],"modules":[{"deviceId":"a","moduleId":"m"}]}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "identities.json"
    made.write_text(TEXT)
    return made


async def test_everything_and_one(path: Path) -> None:
    api = IdentitiesFile(path)
    assert [str(item.id) for item in await api.list_identities(["edge1"])] == ["a", "b", "a/m"]
    assert [str(item.id) for item in await api.get_identity(IdentityId("a", "m"), ["edge1"])] == ["a", "a/m"]
    assert await api.get_identity(IdentityId("c"), ["edge1"]) == []


async def test_an_edit_is_seen(path: Path) -> None:
    api = IdentitiesFile(path)
    path.write_text('{"devices":[{"deviceId":"c"}]}')  # noqa: ASYNC240
    assert [str(item.id) for item in await api.list_identities(["edge1"])] == ["c"]


@pytest.mark.parametrize("text", ["", "[]", '{"devices":[{"deviceID":"a"}]}'])
async def test_a_bad_file_is_named(path: Path, text: str) -> None:
    path.write_text(text)  # noqa: ASYNC240
    with pytest.raises(ScopeApiError, match=r"identities\.json"):
        await IdentitiesFile(path).list_identities(["edge1"])


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScopeApiError, match="No such file"):
        await IdentitiesFile(tmp_path / "none.json").get_identity(IdentityId("a"), ["edge1"])
