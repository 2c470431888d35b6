"""Shared access policies and their keys, in both kinds of databases."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from iothub.database import Database
from iothub.policies import DEFAULT_POLICIES, OWNER_POLICY, Permission, load_policies, parse_permissions

if TYPE_CHECKING:
    from pathlib import Path


def test_policies_are_made_once_and_kept(place: Path | str) -> None:
    database = Database(place)
    made = load_policies(database.engine)
    assert load_policies(database.engine) == made
    database.close()
    database = Database(place)
    assert load_policies(database.engine) == made
    database.close()
    assert set(made) == set(DEFAULT_POLICIES)
    keys = [key for policy in made.values() for key in policy.keys]
    assert len(set(keys)) == 2 * len(made)
    assert {len(base64.b64decode(key)) for key in keys} == {32}
    assert made[OWNER_POLICY].permissions == ~Permission(0)
    assert made["registryRead"].permissions == Permission.REGISTRY_READ


def test_permissions_have_names() -> None:
    assert parse_permissions("RegistryRead,DeviceConnect") == (
        Permission.REGISTRY_READ | Permission.DEVICE_CONNECT
    )
    with pytest.raises(KeyError):
        parse_permissions("RegistryRead,Everything")
