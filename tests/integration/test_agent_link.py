"""The agent's link to the real `iothub`, over TCP and over WebSocket: twin, patches, methods, a hub that is
killed, tokens that end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from edgeagent.link.errors import LinkDownError, RequestRefusedError
from edgeagent.link.settings import UpstreamProtocol
from iothub.methods.service import parse_invocation
from testkit.agent_hub import (
    AGENT,
    HOST,
    HubProcess,
    connected,
    link_settings,
    register_edge_device,
    running_link,
    set_agent_desired,
    settings_for,
    start_hub,
)
from testkit.connect_proxy import ConnectProxy
from testkit.iothub_devices import OTHER_KEY, authority, events, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from iothub.server import HubServer

WRONG_KEY = "A" * 44


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    made = await start_hub(tmp_path)
    await register_edge_device(made)
    yield made
    await made.stop()


@pytest.fixture(params=list(UpstreamProtocol))
def protocol(request: pytest.FixtureRequest) -> UpstreamProtocol:
    return UpstreamProtocol(request.param)


async def test_twin_patches_and_reported(server: HubServer, protocol: UpstreamProtocol) -> None:
    await set_agent_desired(server, {"schemaVersion": "1.1", "big": {f"m{n}": "x" * 500 for n in range(50)}})
    async with running_link(settings_for(server, protocol)) as (link, heard):
        await connected(link)
        twin = await link.get_twin()
        assert (twin.version, twin.desired["schemaVersion"], len(twin.desired["big"])) == (2, "1.1", 50)
        assert twin.reported == {}
        await set_agent_desired(server, {"schemaVersion": None, "more": {"a": 1}})
        await until(lambda: bool(heard.patches))
        assert heard.patches[0].version == 3
        assert heard.patches[0].patch == {"schemaVersion": None, "more": {"a": 1}}
        assert await link.report({"lastDesiredVersion": 3, "modules": {"m": {"text": "ü" * 2000}}}) == 2
        assert (await link.get_twin()).reported["lastDesiredVersion"] == 3
    view = (await server.twins.get("e1", AGENT)).device_view()
    assert view["reported"]["modules"]["m"]["text"] == "ü" * 2000


async def test_methods_and_messages(server: HubServer, protocol: UpstreamProtocol) -> None:
    async with running_link(settings_for(server, protocol)) as (link, _):
        await connected(link)
        invocation = parse_invocation(b'{"methodName": "RestartModule", "payload": {"id": "m"}}')
        answer = await server.amqp.methods.invoke(("e1", AGENT), invocation)
        told = json.loads(answer.payload)
        assert (answer.status, told["method"], json.loads(told["payload"])) == (
            207,
            "RestartModule",
            {"id": "m"},
        )
        await link.send_event(
            b"\x01\x02", {"$.ct": "application/x-azureiot-edgeruntimediagnostics", "a b": "c/d"}
        )
    (event,) = await events(server, 1)
    assert (event.origin.device_id, event.origin.module_id, event.body) == ("e1", AGENT, b"\x01\x02")
    assert event.properties == {"a b": "c/d"}
    assert event.system["content-type"] == "application/x-azureiot-edgeruntimediagnostics"


async def test_many_requests_at_once(server: HubServer, protocol: UpstreamProtocol) -> None:
    """Answers that arrive together are all read, though TLS has decrypted them at once."""
    await set_agent_desired(server, {f"m{n}": "x" * 1000 for n in range(20)})
    async with running_link(settings_for(server, protocol)) as (link, _):
        await connected(link)
        twins = await asyncio.gather(*(link.get_twin() for _ in range(30)))
    assert {twin.version for twin in twins} == {2}


async def test_a_refused_patch(server: HubServer) -> None:
    async with running_link(settings_for(server)) as (link, _):
        await connected(link)
        with pytest.raises(RequestRefusedError, match="400") as caught:
            await link.report({"a": "x" * 40_000})
        assert caught.value.status == 400


async def test_o09_wrong_keys_are_told_and_tried_again(server: HubServer, protocol: UpstreamProtocol) -> None:
    """Row O09: whoever listens may make the identity anew."""
    settings = settings_for(server, protocol)
    async with running_link(settings, WRONG_KEY) as (link, heard):
        await until(lambda: len(heard.refusals) == 2)
        assert "not authorized" in heard.refusals[0]
        assert not link.connected
        with pytest.raises(LinkDownError):
            await link.get_twin()


async def test_through_a_proxy(server: HubServer) -> None:
    """With WebSocket alone, as in the reference."""
    async with ConnectProxy().running() as proxy:
        settings = settings_for(server, UpstreamProtocol.MQTT_WS, proxy=proxy.url)
        async with running_link(settings) as (link, _):
            await connected(link)
            assert (await link.get_twin()).version == 1
        assert proxy.asked == [f"{HOST}:{server.https_port}"]
        assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in proxy.headers[0]
        async with running_link(settings_for(server, proxy=proxy.url)) as (link, _):
            await connected(link)
        assert len(proxy.asked) == 1


async def test_an_unknown_authority(server: HubServer) -> None:
    settings = settings_for(server)
    alone = type(settings)(settings.host, settings.hub_hostname, settings.device_id, settings.protocols)
    async with running_link(alone) as (link, heard):
        await until(lambda: link.stats.failures > 0)
        assert not heard.refusals


async def test_token_renewal(server: HubServer, protocol: UpstreamProtocol) -> None:
    """A new connection with a new token, long before the hub would end the old one."""
    settings = settings_for(server, protocol, token_life_s=6.0, renew_before_s=5.5)
    async with running_link(settings, OTHER_KEY) as (link, heard):
        await until(lambda: heard.ups >= 3)
        assert set(heard.downs) == {"the token is renewed"}
        assert link.stats.losses == link.stats.failures == 0


async def test_the_hub_is_killed_and_comes_back(tmp_path: Path, protocol: UpstreamProtocol) -> None:
    first = await start_hub(tmp_path, mqtt_port=None)
    await register_edge_device(first)
    await first.stop()
    with await asyncio.to_thread(HubProcess, tmp_path) as serving:
        settings = link_settings(authority(first), serving.ports, protocol)
        async with running_link(settings) as (link, heard):
            await connected(link)
            assert (await link.get_twin()).version == 1
            await asyncio.to_thread(serving.kill)
            await until(lambda: not link.connected)
            await until(lambda: link.stats.failures > 0)
            with await asyncio.to_thread(HubProcess, tmp_path, serving.ports):
                await until(lambda: heard.ups == 2)
                assert (await link.get_twin()).version == 1
    assert len(heard.downs) == 2
