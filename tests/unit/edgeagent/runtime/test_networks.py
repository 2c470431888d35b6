"""The network of the modules (row C10)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgeagent.runtime.errors import EngineError
from edgeagent.runtime.networks import AddressPool, NetworkSettings, ensure_network, network_body
from testkit.fake_engine import Fault

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine


async def test_c10_made_once_if_missing(fake: FakeEngine, engine: Engine) -> None:
    assert await ensure_network(engine, NetworkSettings())
    assert not await ensure_network(engine, NetworkSettings())
    assert fake.paths("POST") == ["POST /networks/create"]
    assert fake.state.networks["azure-iot-edge"]["Driver"] == "bridge"


async def test_c10_a_longer_name_is_another_network(fake: FakeEngine, engine: Engine) -> None:
    fake.state.networks["azure-iot-edge-2"] = {"Name": "azure-iot-edge-2"}
    assert await ensure_network(engine, NetworkSettings())


def test_c10_ipv6_and_addresses() -> None:
    pools = (AddressPool("172.20.0.0/16", "172.20.0.1", "172.20.1.0/24"), AddressPool("2001:db8::/64"))
    assert network_body(NetworkSettings("n1", ipv6=True, pools=pools)) == {
        "Name": "n1",
        "Driver": "bridge",
        "CheckDuplicate": True,
        "EnableIPv6": True,
        "IPAM": {
            "Config": [
                {"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1", "IPRange": "172.20.1.0/24"},
                {"Subnet": "2001:db8::/64"},
            ]
        },
    }


async def test_c10_two_at_once_make_one(fake: FakeEngine, engine: Engine) -> None:
    together = asyncio.Event()
    fake.faults.append(Fault("POST", "/networks/create", hold=together, times=2))
    tasks = [asyncio.create_task(ensure_network(engine, NetworkSettings())) for _ in range(2)]
    await fake.received("POST", "/networks/create", count=2)
    together.set()
    assert sorted(await asyncio.gather(*tasks)) == [False, True]


async def test_what_the_engine_refuses_is_an_error(fake: FakeEngine, engine: Engine) -> None:
    for status in (400, 403, 409):
        fake.faults.append(Fault("POST", "/networks/create", status=status, message="Pool overlaps"))
        with pytest.raises(EngineError, match="Pool overlaps"):
            await ensure_network(engine, NetworkSettings())


@pytest.mark.parametrize("name", ["host", "none", "bridge"])
async def test_networks_of_the_engine_itself_are_there(fake: FakeEngine, engine: Engine, name: str) -> None:
    assert not await ensure_network(engine, NetworkSettings(name))
    assert fake.paths() == []
