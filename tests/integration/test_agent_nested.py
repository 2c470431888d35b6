"""An agent below a parent edge hub: its identities and its link lead through the parent's ports alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.manager import IdentityManager
from edgeagent.identity.registry import HubRegistry, RegistrySettings
from edgeagent.link.settings import LinkSettings, UpstreamProtocol
from edgeagent.link.tls import upstream_context
from edgeagent.link.tokens import key_signer
from integration.test_agent_cloud import derive
from integration.test_nested_hubs import PARENT, NestedStack
from testkit.agent_hub import AGENT, connected, running_link
from testkit.iothub_devices import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def stack() -> AsyncIterator[NestedStack]:
    """The child is without a hub of its own."""
    async with NestedStack() as found:
        yield found


async def test_an_agent_below_a_parent_hub(stack: NestedStack, tmp_path: Path) -> None:
    tls = upstream_context(stack.authority.file.read_text())
    port = stack.ports["gateway_https"]
    settings = RegistrySettings(PARENT, stack.iothub_name, "child", tls, port=port)
    async with HubRegistry(settings, key_signer(stack.keys["child"])) as registry:
        cache = IdentityCache(tmp_path / "identities.json", stack.iothub_name, "child")
        identities = IdentityManager(registry, derive, cache)
        agent = await identities.provision_agent()
        result = await identities.ensure((AGENT, "$edgeHub", "m1"))
        assert not result.faults
        assert {AGENT, "$edgeHub", "m1"} <= set(result.by_id)

    await stack.api.update_desired("child", AGENT, {"schemaVersion": "1.1"})
    link_settings = LinkSettings(
        host=PARENT,
        hub_hostname=stack.iothub_name,
        device_id="child",
        protocols=(UpstreamProtocol.MQTT_WS,),
        websocket_port=port,
        trust_pem=stack.authority.file.read_text(),
    )
    key, _ = await derive(AGENT, agent.generation_id)
    async with running_link(link_settings, key) as (link, heard):
        await connected(link)
        twin = await link.get_twin()
        assert twin.desired == {"schemaVersion": "1.1"}
        await link.report({"lastDesiredVersion": twin.version})
        await stack.api.update_desired("child", AGENT, {"modules": {}})
        await until(lambda: bool(heard.patches))
        assert heard.patches[0].version == twin.version + 1
        assert (await link.get_twin()).reported == {"lastDesiredVersion": twin.version}
