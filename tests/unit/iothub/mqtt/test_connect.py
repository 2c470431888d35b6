"""Who is let in over MQTT (sections 1.2, 1.5.1, 1.7.3; rows 47, 48)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol.sas import build_token, device_audience
from iothub.config import HubLimits
from iothub.errors import ErrorCode, HubError
from unit.iothub.hub_rig import HOST
from unit.iothub.mqtt.mqtt_rig import KEY, OTHER_KEY, SAS, MqttRig, mqtt_hub, username

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MqttRig]:
    async with mqtt_hub(tmp_path) as made:
        yield made


def token(rig: MqttRig, audience: str, key: str = KEY, life: int = 60) -> bytes:
    return build_token(audience, int(rig.hub.clock.now) + life, key=key).encode()


async def test_a_device_and_its_module(rig: MqttRig) -> None:
    await rig.hub.module("d1", "m")
    assert await rig.connect(1, "d1") == ["accept 1"]
    assert await rig.connect(2, "d1/m") == ["accept 2"]
    assert rig.is_connected("d1")
    assert rig.is_connected("d1", "m")
    assert not rig.is_connected("d2")
    await rig.closed(1)
    assert not rig.is_connected("d1")
    assert rig.is_connected("d1", "m")


@pytest.mark.parametrize(
    "name",
    [
        f"{HOST}/d1",
        f"{HOST}/d1/",
        f"{HOST}/d1/api-version=2021-04-12",
        f"{HOST}/d1/?DeviceClientType=py%2F1&api-version=2019-10-01",
        "elsewhere/d1/?api-version=2021-04-12",
    ],
)
async def test_row_47_forms_of_the_user_name(rig: MqttRig, name: str) -> None:
    assert await rig.connect(1, "d1", username=name) == ["accept 1"]


async def test_tokens_that_are_as_good(rig: MqttRig) -> None:
    await rig.hub.module("d1", "m")
    await rig.hub.device("UPPER", **SAS)
    own = device_audience(HOST, "d1")
    lowered = token(rig, device_audience(HOST, "upper"))
    assert await rig.connect(10, "UPPER", password=lowered) == ["accept 10"]
    for number, password in enumerate(
        (
            token(rig, own, OTHER_KEY),
            token(rig, own, life=-299),
            rig.hub.policy_token("device").encode(),
            rig.hub.policy_token("iothubowner").encode(),
        ),
        1,
    ):
        calls = await rig.connect(number, "d1", password=password)
        assert calls[0] == f"accept {number}"
    assert await rig.connect(9, "d1/m", password=token(rig, own)) == ["accept 9"], "the device's own key"


async def test_row_48_what_is_refused(rig: MqttRig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.hub.device("off", status="disabled")
    await rig.hub.module("d1", "m")
    off = await rig.hub.registry.identity("off", None)
    assert off is not None
    own = device_audience(HOST, "d1")
    refused: list[tuple[str, dict[str, Any]]] = [
        ("d1", {"password": token(rig, own, "AAAA")}),
        ("d1", {"password": token(rig, own, life=-301)}),
        ("d1", {"password": token(rig, device_audience("other.example", "d1"))}),
        ("d1", {"password": token(rig, device_audience(HOST, "d2"))}),
        ("d1", {"password": token(rig, device_audience(HOST, "d1", "m"))}),
        ("d1", {"password": rig.hub.policy_token("service").encode()}),
        ("d1", {"password": b"secret"}),
        ("d1", {"password": b"\xff"}),
        ("d1", {"password": None}),
        ("d1", {"password": None, "certificates": (b"DER",)}),
        ("d2", {"username": username("d1")}),
        ("ghost", {"password": token(rig, device_audience(HOST, "ghost"))}),
        ("D1", {"password": token(rig, own), "username": username("D1")}),
        ("off", {"password": token(rig, device_audience(HOST, "off"), off.keys[0])}),
    ]
    for conn, (identity, changes) in enumerate(refused, 1):
        assert await rig.connect(conn, identity, **changes) == [f"refuse {conn} 5"], (identity, changes)
    assert "secret" not in caplog.text
    assert not rig.is_connected("d1")


@pytest.mark.parametrize("name", [None, "", "hub", f"{HOST}/d2", f"{HOST}/d1/?version=1"])
async def test_user_names_that_cannot_be_read(rig: MqttRig, name: str | None) -> None:
    assert await rig.connect(1, "d1", username=name) == ["refuse 1 3"]


async def nested(rig: MqttRig) -> None:
    """top > gw > leaf."""
    top = await rig.hub.edge("top")
    gateway = await rig.hub.edge("gw", parentScopes=[top.device_scope])
    await rig.hub.device("leaf", deviceScope=gateway.device_scope)


async def test_an_edge_device_acts_for_those_below_it(rig: MqttRig) -> None:
    await nested(rig)
    password = (await rig.hub.token("top", "$edgeHub")).encode()

    async def connect(conn: int, identity: str, chain: str) -> list[str]:
        return await rig.connect(
            conn, identity, username=username(identity, f"&auth-chain={chain}"), password=password
        )

    assert await connect(1, "leaf", "leaf;gw;top") == ["accept 1"]
    assert await connect(2, "gw", "gw;top") == ["accept 2"]
    for chain in ("leaf;top", "leaf;gw", "gw;top", "leaf;ghost;top", ";"):
        assert await connect(3, "leaf", chain) == ["refuse 3 5"], chain
    await rig.hub.registry.delete_device("gw", None)
    reason = "The auth chain leads over gw, which is not available."
    assert sorted(await rig.take(2)) == [f"close 1 {reason}", f"close 2 {reason}"]


async def test_clients_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    async with mqtt_hub(tmp_path, HubLimits(mqtt_connections_max=1)) as rig:
        assert await rig.connect(1, "d1") == ["accept 1"]
        assert await rig.connect(2, "d2") == ["refuse 2 3"]
        await rig.closed(1)
        assert await rig.connect(3, "d2") == ["accept 3"]


async def test_a_registry_that_cannot_be_read_is_no_verdict(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*parts: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(rig.hub.registry, "identity", broken)
    password = token(rig, device_audience(HOST, "d1"))
    assert await rig.connect(1, "d1", password=password) == ["refuse 1 3"]


async def test_a_registry_that_does_not_answer_is_no_refusal(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*parts: object) -> None:
        raise HubError(ErrorCode.ServiceUnavailable, "no answer, on purpose")

    monkeypatch.setattr(rig.hub.registry, "identity", away)
    password = token(rig, device_audience(HOST, "d1"))
    assert await rig.connect(1, "d1", password=password) == ["refuse 1 3"]
    assert "no answer, on purpose" in caplog.text
    assert "Traceback" not in caplog.text


async def test_the_engine_is_told_the_rules(rig: MqttRig) -> None:
    options = rig.core.options
    assert options["keep_alive_max_ms"] == 1_767_000, "row 61"
    assert options["closes_on_drop"] is True, "row 60"
    assert options["message_bytes_max"] > options["packet_bytes_max"]
    assert options["will_property"] == "iothub-MessageType", "row 53"
    assert options["storage_dir"].endswith("mqtt/messages")
    assert rig.core.started


async def test_a_draining_endpoint_lets_nobody_in(rig: MqttRig) -> None:
    assert rig.endpoint.listen("127.0.0.1", 0, b"chain", b"key") > 0
    rig.core.take_calls()
    await rig.endpoint.drain()
    assert await rig.take() == ["close_listener"]
    assert await rig.connect(1, "d1") == ["refuse 1 3"]
    await rig.endpoint.drain()
    assert await rig.take() == []
