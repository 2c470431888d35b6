"""Devices and modules with certificates (rows 14 and 15; section 1.2, 1.4.1; A-039)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_events import ConnectionOpened, TransportFailed
from iothub.config import HubLimits
from iothub.errors import ErrorCode, HubError
from iothub.registry.model import parse_device, parse_module
from testkit.x509 import DAY_S, Issued, authority, bundle, issue
from unit.iothub.hub_rig import NOW, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from unit.iothub.hub_rig import Client

ROOT = authority("root", NOW)
D1, OTHER = (issue("d1", now_s=NOW) for _ in range(2))
EVENTS = "/devices/d1/messages/events"
BY_AUTHORITY = {"type": "certificateAuthority"}


def printed(*thumbprints: str) -> dict[str, Any]:
    names = ("primaryThumbprint", "secondaryThumbprint")
    return {"type": "selfSigned", "x509Thumbprint": dict(zip(names, thumbprints, strict=False))}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path, client_ca_pem=bundle(ROOT)) as made:
        yield made


async def code_of(rig: Rig, shown: Issued, device_id: str, module_id: str | None = None) -> ErrorCode | None:
    """What a certificate is refused with, None if it is not."""
    try:
        principal = await rig.authorizer.certificate_principal(shown.der, device_id, module_id)
    except HubError as error:
        return error.code
    assert principal.speaks_for(device_id, module_id)
    assert principal.policy is None
    return None


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
@pytest.mark.parametrize("which", ["primary", "secondary"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_row_14_thumbprints(rig: Rig, digest: str, which: str, spelled: Callable[[str], str]) -> None:
    mine, others = spelled(getattr(D1, digest)), getattr(OTHER, digest)
    await rig.device(
        "d1", authentication=printed(*((mine, others) if which == "primary" else (others, mine)))
    )
    assert await code_of(rig, D1, "d1") is None


async def test_a_certificate_of_another_is_refused(rig: Rig) -> None:
    await rig.device("d1", authentication=printed(OTHER.sha256))
    await rig.device("d2", authentication=printed(D1.sha256))
    await rig.device("keyed")
    await rig.device("off", authentication=printed(D1.sha1), status="disabled")
    unauthorized = ErrorCode.IotHubUnauthorized
    assert await code_of(rig, D1, "d1") is unauthorized
    assert await code_of(rig, D1, "keyed") is unauthorized
    assert await code_of(rig, D1, "off") is ErrorCode.DeviceDisabled
    assert await code_of(rig, D1, "ghost") is ErrorCode.DeviceNotFound
    assert await code_of(rig, D1, "d1", "ghost") is ErrorCode.ModuleNotFound
    assert await code_of(rig, D1, "d2") is None


async def test_an_authority_vouches_for_the_common_name(rig: Rig) -> None:
    await rig.device("d1", authentication=BY_AUTHORITY)
    await rig.registry.put_module(parse_module("d1", "m", {"authentication": BY_AUTHORITY}), None)
    mine, modules = (issue(name, now_s=NOW, by=ROOT) for name in ("d1", "d1/m"))
    assert await code_of(rig, mine, "d1") is None
    assert await code_of(rig, modules, "d1", "m") is None
    for shown, *name in (
        (mine, "d1", "m"),
        (modules, "d1", None),
        (D1, "d1", None),
        (issue("D1", now_s=NOW, by=ROOT), "d1", None),
        (issue("d1", now_s=NOW, by=authority("root", NOW)), "d1", None),
        (issue("d1", now_s=NOW, by=ROOT, end_s=-1), "d1", None),
    ):
        assert await code_of(rig, shown, *name) is ErrorCode.IotHubUnauthorized


async def send(client: Client) -> str:
    return await client.send(await client.sender(EVENTS), b"x")


@pytest.mark.parametrize("sasl", [("EXTERNAL",), ()], ids=["external", "no SASL"])
async def test_a_connection_with_a_certificate_needs_no_token(rig: Rig, sasl: tuple[str, ...]) -> None:
    await rig.device("d1", authentication=printed(D1.sha256))
    client = rig.client(certificate=D1.der, sasl_mechanisms=sasl)
    assert await send(client) == "accepted"
    assert [event.origin.auth_type for event in await rig.events()] == ["selfSigned"]


async def test_a_certificate_with_anonymous_means_tokens(rig: Rig) -> None:
    await rig.device("d1", authentication=printed(D1.sha256))
    await rig.device("keyed")
    client = rig.client(certificate=D1.der, sasl_mechanisms=("ANONYMOUS",))
    assert (await client.sender(EVENTS)).remote_refused
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    await client.login("keyed")
    assert await client.send(await client.sender("/devices/keyed/messages/events"), b"x") == "accepted"


async def test_a_certificate_of_a_device_does_not_stand_for_its_modules(rig: Rig) -> None:
    await rig.device("d1", authentication=printed(D1.sha256))
    await rig.module("d1", "m")
    client = rig.client(certificate=D1.der)
    assert await send(client) == "accepted"
    assert (await client.sender("/devices/d1/modules/m/messages/events")).remote_refused
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_external_is_for_those_who_showed_a_certificate(rig: Rig) -> None:
    client = rig.client(sasl_mechanisms=("EXTERNAL",))
    await client.settle()
    assert not client.take(ConnectionOpened)
    assert client.take(TransportFailed)


@pytest.mark.parametrize("address", [EVENTS, "/devices/ghost/messages/events", "/devices/d2/messages/events"])
async def test_a_wrong_certificate_opens_no_link(rig: Rig, address: str) -> None:
    await rig.device("d1", authentication=printed(OTHER.sha256))
    await rig.device("d2")
    client = rig.client(certificate=D1.der, sasl_mechanisms=("EXTERNAL",))
    assert (await client.sender(address)).remote_refused
    wanted = amqp_errors.NOT_FOUND if "ghost" in address else amqp_errors.UNAUTHORIZED
    assert [fault.condition for fault in client.faults()] == [wanted]


@pytest.mark.parametrize(
    "changes",
    [{"authentication": printed(OTHER.sha256)}, {"status": "disabled", "authentication": printed(D1.sha256)}],
)
async def test_a_change_in_the_registry_ends_the_links(rig: Rig, changes: dict[str, Any]) -> None:
    await rig.device("d1", authentication=printed(D1.sha256))
    client = rig.client(certificate=D1.der)
    assert await send(client) == "accepted"
    await rig.registry.put_device(parse_device("d1", changes), "*")
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert (await client.sender(EVENTS)).remote_refused


async def test_the_end_of_a_certificate_ends_the_links(rig: Rig) -> None:
    await rig.device("d1", authentication=printed(D1.sha256))
    client = rig.client(certificate=D1.der)
    assert await send(client) == "accepted"
    rig.clock.now += DAY_S
    client.server.on_deadline(client.now)
    await client.settle()
    assert client.faults() == []
    rig.clock.now += 1
    client.server.on_deadline(client.now)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


@pytest.mark.parametrize(("room", "outcome"), [(1, "accepted"), (0, amqp_errors.UNAUTHORIZED)])
async def test_identities_of_a_connection_are_limited(tmp_path: Path, room: int, outcome: str) -> None:
    async with hub(tmp_path, HubLimits(tokens_max=room)) as rig:
        await rig.device("d1", authentication=printed(D1.sha256))
        client = rig.client(certificate=D1.der)
        link = await client.sender(EVENTS)
        faults = [fault.condition for fault in client.faults()]
        assert (faults or [await client.send(link, b"x")]) == [outcome]


def test_a_principal_does_not_show_its_certificate() -> None:
    from iothub.auth import Principal

    assert "certificate" not in repr(Principal(None, "d1", None, 0.0, None, b"DER"))
