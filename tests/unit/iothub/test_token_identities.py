"""Whom a token speaks for: ids that look encoded, and tokens of policies (rows 2, 3, 8, 13)."""

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


@pytest.mark.parametrize(
    ("scope", "device_id", "accepted"),
    [
        ("", "d1", True),
        ("/devices", "d1", True),
        ("/devices/d1", "d1", True),
        ("/devices/d1", "D1", False),
        ("/devices/d1", "d10", False),
        ("/devices/d%31", "d1", False),
        ("/devices/d1/modules/m", "d1", False),
        ("/twins/d1", "d1", False),
    ],
)
async def test_row_8_a_token_service_gives_each_device_a_token_of_its_own(
    rig: Rig, scope: str, device_id: str, accepted: bool
) -> None:
    """Signed with the key of the policy `device`; it speaks for that device and its modules alone."""
    for name in ("d1", "D1", "d10"):
        await rig.device(name)
    key = rig.authorizer._policies["device"].secondary_key
    token = build_token(f"{HOST}{scope}", int(rig.clock.now) + 60, key=key, policy="device")
    head = MqttAuthenticator(rig.authorizer, rig.registry, HOST)
    assert (await head.authenticate(AuthRequest(IdentityId(device_id), token))).accepted is accepted
    principal = await rig.authorizer.principal(token)
    assert principal.speaks_for(device_id, "m") is (accepted or scope.endswith("/m"))


async def test_row_8_tokens_of_one_policy_for_several_devices_live_side_by_side(rig: Rig) -> None:
    client = rig.client()
    key = rig.authorizer._policies["device"].primary_key
    for name in ("d1", "d2"):
        await rig.device(name)
        token = build_token(f"{HOST}/devices/{name}", int(rig.clock.now) + 60, key=key, policy="device")
        assert (await client.put_token(token))[0] == 200
    for name in ("d1", "d2"):
        link = await client.sender(f"/devices/{name}/messages/events")
        assert await client.send(link, b"x") == "accepted"
    await rig.device("d3")
    assert (await client.sender("/devices/d3/messages/events")).remote_refused
