"""Links while the registry changes below them, or does not answer; links that take each other's place."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_types import Int
from iothub.amqp.rechecks import RETRY_S
from iothub.errors import ErrorCode, HubError
from iothub.methods.service import parse_invocation
from iothub.registry.model import parse_device
from unit.iothub.hub_rig import Client, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from testkit.postgresql import Server

EVENTS = "/devices/{}/messages/events"
TWIN = "/devices/d1/twin"
METHODS = "/devices/d1/methods/deviceBound"
DESIRED = "/notifications/twin/properties/desired"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        await made.device("d1")
        yield made


async def connected(rig: Rig, device_id: str = "d1", module_id: str | None = None) -> Client:
    client = rig.client()
    await client.login(device_id, module_id)
    return client


async def put(rig: Rig, device_id: str, **members: Any) -> None:
    """Changes a device; its keys stay."""
    device = await rig.registry.device(device_id)
    assert device is not None
    keys = device.authentication.view()
    await rig.registry.put_device(parse_device(device_id, {"authentication": keys, **members}), "*")


@contextlib.contextmanager
def database_away(rig: Rig) -> Iterator[None]:
    """The registry does not answer."""

    async def identity(*parts: object) -> None:
        raise HubError(ErrorCode.ServiceUnavailable, "no answer, on purpose")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rig.registry, "identity", identity)
        yield


# ---- the registry does not answer


async def test_links_stay_while_the_registry_does_not_answer(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    client.server.on_deadline(100.0)
    with database_away(rig):
        await put(rig, "d1", status="disabled")
        await client.settle()
        assert "cannot be checked now" in caplog.text
        assert await client.send(link, b"x") == "accepted"
        at = client.server.deadline(100.0)
        assert at == 100.0 + RETRY_S
        client.server.on_deadline(at - 0.1)
        await client.settle()
        assert caplog.text.count("cannot be checked now") == 1, "it waits before it asks again"
        client.server.on_deadline(at)
        await client.settle()
        assert caplog.text.count("cannot be checked now") == 2
    at = client.server.deadline(200.0)
    assert at is not None
    client.server.on_deadline(at)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert not rig.services.connections.is_connected("d1", None)


async def test_links_stay_while_postgresql_is_away(tmp_path: Path, postgresql: Server) -> None:
    with postgresql.database() as url:
        async with hub(tmp_path, place=url) as rig:
            await rig.device("d1")
            client = await connected(rig)
            link = await client.sender(EVENTS.format("d1"))
            client.server.on_deadline(100.0)
            with postgresql.closed(url):
                rig.registry._changed("d1", None)
                await client.settle()
                assert client.server.deadline(100.0) == 100.0 + RETRY_S
                assert await client.send(link, b"x") == "accepted"
            client.server.on_deadline(100.0 + RETRY_S)
            await client.settle()
            assert client.faults() == []
            assert client.server.deadline(200.0) != 200.0 + RETRY_S


async def test_a_further_change_is_looked_at_without_waiting(rig: Rig) -> None:
    client = await connected(rig)
    await client.sender(EVENTS.format("d1"))
    with database_away(rig):
        await put(rig, "d1", status="disabled")
        await client.settle()
    await put(rig, "d1", status="disabled", statusReason="again")
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_many_changes_are_one_operation(rig: Rig) -> None:
    """The control queue is bounded, and a service may change a thousand things at once."""
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    for _ in range(10_000):
        client.server.identity_changed("d1", None)
    assert len(client.server._control) == 1
    await client.settle()
    assert await client.send(link, b"x") == "accepted"


# ---- chains


async def nested(rig: Rig) -> Client:
    """top > gw > leaf, with the token of top's edge hub on a connection."""
    top = await rig.edge("top")
    gateway = await rig.edge("gw", parentScopes=[top.device_scope])
    await rig.device("leaf", deviceScope=gateway.device_scope)
    return await connected(rig, "top", "$edgeHub")


async def move_leaf(rig: Rig) -> None:
    other = await rig.edge("other")
    await put(rig, "leaf", deviceScope=other.device_scope)


async def disable_gateway(rig: Rig) -> None:
    gateway = await rig.registry.device("gw")
    assert gateway is not None
    await put(
        rig, "gw", status="disabled", capabilities={"iotEdge": True}, parentScopes=[gateway.parent_scope]
    )


async def move_gateway(rig: Rig) -> None:
    await put(rig, "gw", capabilities={"iotEdge": True})


@pytest.mark.parametrize("change", [move_leaf, disable_gateway, move_gateway])
async def test_a_chain_that_is_broken_later_ends_its_links(
    rig: Rig, change: Callable[[Rig], Awaitable[None]]
) -> None:
    client = await nested(rig)
    await client.sender(EVENTS.format("leaf"), auth_chain="leaf;gw;top")
    kept = await client.sender("/devices/top/modules/$edgeHub/messages/events")
    await change(rig)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert not rig.services.connections.is_connected("leaf", None)
    assert await client.send(kept, b"x") == "accepted"


async def test_a_chain_that_breaks_during_its_attach_ends_it_too(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await nested(rig)
    verify = rig.authorizer.verify_chain
    once = [True]

    async def verified_before(chain: Any) -> None:
        await verify(chain)
        if once.pop() if once else False:
            await move_leaf(rig)

    monkeypatch.setattr(rig.authorizer, "verify_chain", verified_before)
    await client.sender(EVENTS.format("leaf"), auth_chain="leaf;gw;top")
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_a_token_that_ends_during_an_attach_opens_no_link(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await connected(rig)
    require = rig.authorizer.require_identity

    async def slow(*key: Any) -> Any:
        found = await require(*key)
        rig.clock.now += 10_000
        client.server.on_deadline(1.0)
        return found

    monkeypatch.setattr(rig.authorizer, "require_identity", slow)
    await client.sender(EVENTS.format("d1"))
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert not rig.services.connections.is_connected("d1", None)


# ---- channels


async def test_a_newer_methods_link_of_a_channel_is_called(rig: Rig) -> None:
    client = await connected(rig)
    await client.method_pair(METHODS)
    newer = await client.method_pair(METHODS)
    assert {fault.condition for fault in client.faults()} == {amqp_errors.LINK_STOLEN}
    request = parse_invocation(json.dumps({"methodName": "reset"}).encode())
    task = asyncio.create_task(rig.services.methods.invoke(("d1", None), request))
    (call,) = await newer.calls()
    await newer.answer(call.correlation_id, IoThub_status=Int(200))
    assert (await task).status == 200


async def test_a_newer_twin_link_of_a_channel_subscribes_for_itself(rig: Rig) -> None:
    client = await connected(rig)
    older = await client.twin_pair(TWIN)
    await older.ask("PUT", resource=DESIRED)
    newer = await client.twin_pair(TWIN)
    assert not rig.twins._listeners, "it has not asked"
    await newer.ask("PUT", resource=DESIRED)
    assert rig.twins._listeners
    assert len(await newer.ask("GET")) == 1


async def test_channels_end_with_their_links(rig: Rig) -> None:
    client = await connected(rig)
    await client.sender(EVENTS.format("d1"))
    for number in range(5):
        twin = await client.twin_pair(TWIN, str(number))
        methods = await client.method_pair(METHODS, str(number))
        for link in (twin.requests, twin.answers, methods.requests, methods.answers):
            link.close()
        await client.settle()
    served = client.server._links.serve(("d1", None))
    assert list(served.links) == ["events"]
    assert not served.twins
    assert not served.methods
