"""Checks of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeagent.checks import connections
from edgeagent.checks.connections import container_connects, host_connects, is_needed
from edgeagent.checks.model import Result
from edgeagent.checks.ports import ProbeMissing, Route
from edgeagent.runtime.engine import Engine
from testkit.fake_probes import CONFIG, FakeProbes, said, situation

if TYPE_CHECKING:
    from edgeagent.checks.situation import Situation

OK, WARNING, ERROR, SKIPPED = Result.OK, Result.WARNING, Result.ERROR, Result.SKIPPED


@pytest.mark.parametrize(
    ("protocol", "needed"),
    [
        ("", {"mqtt", "https"}),
        ("Mqtt", {"mqtt", "https"}),
        ("MqttWs", {"https"}),
        ("Amqp", {"amqp", "mqtt", "https"}),
        ("AmqpWs", {"https"}),
    ],
)
def test_ports_that_are_needed(protocol: str, needed: set[str]) -> None:
    assert {kind for kind in connections.PORTS if is_needed(kind, protocol)} == needed


async def test_the_agent() -> None:
    probes = FakeProbes()
    given = situation(probes, management="unix:///m")
    assert (await connections.management(given)).info == {"version": "1.0"}
    assert probes.calls == [("management", "unix:///m")]
    probes.fail("management", "nobody listens")
    assert "nobody listens" in said(await connections.management(given))[1]


async def test_its_version() -> None:
    probes = FakeProbes()
    assert (await connections.agent_version(situation(probes))).result is SKIPPED
    assert (await connections.agent_version(situation(probes, expected_version="1.0"))).result is OK
    given = situation(probes, expected_version="2.0")
    assert "has version 1.0, expected is 2.0" in said(await connections.agent_version(given))[1]
    probes.fail("management")
    assert (await connections.agent_version(given)).reason == ""


async def test_the_clock() -> None:
    probes = FakeProbes()
    given = situation(probes, time_server="t:123")
    assert (await connections.clock(given)).result is OK
    probes.offset_s = -75.4
    found, texts = said(await connections.clock(given))
    assert found is WARNING
    assert "off by -75 s from t:123" in texts
    probes.faults["clock"] = ValueError("no server")  # type: ignore[assignment]
    assert said(await connections.clock(given))[0] is ERROR
    probes.fail("clock", "no answer")
    assert said(await connections.clock(given)) == (SKIPPED, "\nno answer of t:123: no answer".lstrip("\n"))


async def test_from_the_host() -> None:
    probes = FakeProbes()
    probes.add("/root.pem", "PEM")
    config = f'trust_bundle_cert = "file:///root.pem"\n{CONFIG}[agent.env]\nhttps_proxy = "http://p:1"'
    given = situation(probes, config)
    assert (await host_connects(given, "mqtt")).result is OK
    assert (await host_connects(given, "https")).result is OK
    assert [call[1] for call in probes.calls if call[0] == "tls"] == [
        Route("hub.example.net", 8883, "PEM"),
        Route("hub.example.net", 443, "PEM", "http://p:1"),
    ]
    assert "does not need the port" in said(await host_connects(given, "amqp"))[1]
    probes.fail("tls", "connection refused")
    found, texts = said(await host_connects(given, "mqtt"))
    assert found is ERROR
    assert "cannot connect to hub.example.net:8883: connection refused" in texts


async def test_a_trust_bundle_that_is_not_there() -> None:
    given = situation(config=f'trust_bundle_cert = "file:///root.pem"\n{CONFIG}')
    assert "/root.pem, the trust_bundle_cert, does not exist" in said(await host_connects(given, "mqtt"))[1]


async def test_below_a_parent_and_to_another_hub() -> None:
    probes = FakeProbes()
    await host_connects(situation(probes, f'parent_hostname = "p"\n{CONFIG}'), "mqtt")
    await host_connects(situation(probes, CONFIG, hub_hostname="h"), "mqtt")
    assert [call[1].host for call in probes.calls] == ["p", "h"]


async def test_without_a_hub() -> None:
    for given in (situation(config=""), situation(config=None)):
        assert (await host_connects(given, "mqtt")).result is SKIPPED
        assert (await container_connects(given, "mqtt", on_network=True)).result is SKIPPED


def with_engine(probes: FakeProbes, config: str = CONFIG) -> Situation:
    given = situation(probes, config, Engine("unix:///not/asked"), image="i")
    given.engine_info = {}
    return given


async def test_from_containers() -> None:
    probes = FakeProbes()
    given = with_engine(probes)
    assert (await container_connects(given, "mqtt", on_network=True)).result is OK
    assert (await container_connects(given, "https", on_network=False)).result is OK
    assert probes.calls == [
        ("container", "azure-iot-edge", "i", "hub.example.net", 8883),
        ("container", "", "i", "hub.example.net", 443),
    ]
    probes.fail("container", "timed out")
    assert (
        "a container on the default network fails: timed out"
        in said(await container_connects(given, "mqtt", on_network=False))[1]
    )
    probes.faults["container"] = ProbeMissing("no image")
    assert said(await container_connects(given, "mqtt", on_network=True)) == (SKIPPED, "no image")
    given.engine_info = None
    assert (await container_connects(given, "mqtt", on_network=True)).reason == ""


async def test_by_way_of_a_proxy_containers_are_not_tried() -> None:
    given = with_engine(FakeProbes(), f'{CONFIG}[agent.env]\nhttps_proxy = "http://p:1"')
    assert "proxy" in (await container_connects(given, "https", on_network=True)).reason


async def test_the_parent_from_a_container() -> None:
    probes = FakeProbes()
    given = with_engine(probes, 'parent_hostname = "p"')
    assert (await connections.parent_from_container(given)).result is OK
    assert probes.calls == [("container", "azure-iot-edge", "i", "p", None)]
    assert (await connections.parent_from_container(situation())).result is SKIPPED
    assert (await connections.parent_from_container(situation(config=None))).result is SKIPPED
