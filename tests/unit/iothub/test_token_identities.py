"""Whom a token speaks for when its audience can be read in two ways (rows 2, 3, 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.identity.authenticator import AuthRequest
from edgehub.protocol.sas import build_token
from iothub.errors import ErrorCode, HubError
from iothub.mqtt.authentication import MqttAuthenticator
from unit.iothub.hub_rig import HOST, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        yield made


async def token_of(rig: Rig, device_id: str, module_id: str | None = None, life_s: int = 3600) -> str:
    """As most clients make it: the ids of the audience are encoded once, with the rest of it."""
    identity = await rig.registry.identity(device_id, module_id)
    assert identity is not None
    path = f"{HOST}/devices/{device_id}" + (f"/modules/{module_id}" if module_id else "")
    return build_token(path, int(rig.clock.now) + life_s, key=identity.keys[0])


@pytest.mark.parametrize("device_id", ["a%41", "aA"])
async def test_row_13_an_id_that_looks_encoded_and_the_one_it_looks_like(rig: Rig, device_id: str) -> None:
    for name in ("a%41", "aA"):
        await rig.device(name)
    token = await token_of(rig, device_id)
    assert (await rig.authorizer.principal(token)).device_id == device_id
    head = MqttAuthenticator(rig.authorizer, rig.registry, HOST)
    assert (await head.authenticate(AuthRequest(IdentityId(device_id), token))).accepted
    other = "aA" if device_id == "a%41" else "a%41"
    assert not (await head.authenticate(AuthRequest(IdentityId(other), token))).accepted


async def test_row_13_modules_whose_ids_look_encoded(rig: Rig) -> None:
    await rig.device("d")
    for name in ("m%2B", "m+"):
        await rig.module("d", name)
    for name in ("m%2B", "m+"):
        principal = await rig.authorizer.principal(await token_of(rig, "d", name))
        assert (principal.device_id, principal.module_id) == ("d", name)


async def test_a_token_of_neither_is_refused_for_what_it_is(rig: Rig) -> None:
    for name in ("a%41", "aA"):
        await rig.device(name)
    stale = await token_of(rig, "a%41", life_s=-3600)
    with pytest.raises(HubError, match="expired") as caught:
        await rig.authorizer.principal(stale)
    assert caught.value.code is ErrorCode.IotHubUnauthorized
