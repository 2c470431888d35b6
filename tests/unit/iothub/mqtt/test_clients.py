"""Twins, methods, takeovers and ends of MQTT clients (rows 39, 50 to 60, 63, 104, 108, 113, 114)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.method_calls import MethodAnswer
from edgehub.protocol import amqp_errors
from iothub.errors import ErrorCode, HubError
from iothub.methods.service import parse_invocation
from iothub.mqtt import clients as clients_module
from iothub.registry.model import parse_device
from iothub.twins.model import parse_twin_request
from testkit.fake_core import (
    ConnectEvent,
    PublishEvent,
    SendDoneEvent,
    SubscribeEvent,
    UnsubscribeEvent,
)
from unit.iothub.mqtt.mqtt_rig import DESIRED, METHODS, SAS, TWIN_ANSWERS, MqttRig, mqtt_hub, until, username

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from edgehub.common.ids import IdentityId

GET = "$iothub/twin/GET/?$rid=r1"
PATCH = "$iothub/twin/PATCH/properties/reported/?$rid=r1"
CLOUD_TO_DEVICE = "devices/d1/messages/devicebound/#"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MqttRig]:
    async with mqtt_hub(tmp_path) as made:
        assert await made.connect(1, "d1") == ["accept 1"]
        yield made


async def change_twin(rig: MqttRig, desired: dict[str, Any], device_id: str = "d1") -> None:
    request = parse_twin_request({"properties": {"desired": desired}})
    await rig.hub.twins.patch(device_id, None, request, None)


async def put_device(rig: MqttRig, **members: Any) -> None:
    await rig.hub.registry.put_device(parse_device("d1", {**SAS, **members}), "*")


# Subscriptions


async def test_row_51_what_is_granted_and_what_not(rig: MqttRig) -> None:
    filters = [(TWIN_ANSWERS, 0), (METHODS, 2), (CLOUD_TO_DEVICE, 1), ("other", 1), ("devices/d2/#", 1)]
    assert await rig.feed(SubscribeEvent(1, 3, filters)) == ["suback 1 3 0001018080"]


async def test_a_session_comes_back(rig: MqttRig) -> None:
    assert await rig.connect(2, "d2", clean_session=False) == ["accept 2"]
    await rig.subscribe(2, DESIRED)
    await rig.closed(2)
    assert await rig.connect(3, "d2", clean_session=False) == [f"accept 3 session_present {DESIRED}:1"]
    await change_twin(rig, {"a": 1}, "d2")
    (call,) = await rig.take(1)
    assert call.startswith("send 3 $iothub/twin/PATCH/properties/desired/?$version=2 ")


# Twins


async def test_rows_57_and_104_a_twin_is_read_without_metadata(rig: MqttRig) -> None:
    await change_twin(rig, {"interval": 5})
    acknowledged, answer = await rig.publish(1, GET)
    assert acknowledged == "puback 1 5"
    twin = b'{"desired":{"interval":5,"$version":2},"reported":{"$version":1}}'
    assert answer == f"send 1 $iothub/twin/res/200/?$rid=r1 {twin!r} qos1"


async def test_row_57_a_reported_patch_is_answered_with_its_version(rig: MqttRig) -> None:
    for version, patch in ((2, b'{"a":{"b":1}}'), (3, b'{"a":null}'), (3, b"{}")):
        assert await rig.publish(1, PATCH, patch) == [
            f"send 1 $iothub/twin/res/204/?$rid=r1&$version={version} b'' qos1",
            "puback 1 5",
        ]
    assert (await rig.hub.twins.get("d1", None)).reported.values == {}


async def test_a_patch_for_another_version_is_refused(rig: MqttRig) -> None:
    status, error = await refused(rig, PATCH + "&$version=7", b'{"a":1}')
    assert (status, error["errorCode"]) == (412, 412001)
    calls = await rig.publish(1, PATCH + "&$version=1", b'{"a":1}')
    assert calls[0].startswith("send 1 $iothub/twin/res/204/")


async def refused(rig: MqttRig, topic: str, patch: bytes) -> tuple[int, dict[str, Any]]:
    """Status and error of a patch that is not taken; it is acknowledged all the same."""

    rig.core.push(PublishEvent(1, 5, topic, patch, 1))
    await until(lambda: len(rig.core.calls) >= 2)
    answer, acknowledged = rig.core.take_calls()
    assert acknowledged.name == "puback"
    status = int(answer.topic.split("/")[3])
    error = json.loads(answer.payload)
    assert set(error) == {"errorCode", "trackingId", "message", "timestampUtc"}
    return status, error


@pytest.mark.parametrize(
    ("topic", "patch", "code"),
    [
        (PATCH, b"", 400006),
        (PATCH, b"{", 400006),
        (PATCH, b"[]", 400006),
        (PATCH, b'{"a.b":1}', 400004),
        (PATCH, b'{"a":"%s"}' % (b"x" * 4097), 400004),
        (PATCH + "&$version=", b"{}", 400004),
        (PATCH + "&$version=x", b"{}", 400004),
        (PATCH + "&$version=-1", b"{}", 400004),
    ],
)
async def test_bad_patches(rig: MqttRig, topic: str, patch: bytes, code: int) -> None:
    status, error = await refused(rig, topic, patch)
    assert (status, error["errorCode"]) == (400, code)
    assert (await rig.hub.twins.get("d1", None)).reported.version == 1


async def test_a_fault_of_the_hub_is_answered(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*parts: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(rig.hub.twins, "get", broken)
    _, answer = await rig.publish(1, GET)
    assert answer.startswith("send 1 $iothub/twin/res/500/?$rid=r1 ")
    assert "on purpose" in caplog.text


async def test_row_58_desired_patches_come_while_there_is_a_filter(rig: MqttRig) -> None:
    await change_twin(rig, {"a": 1})
    assert await rig.take() == []
    await rig.subscribe(1, DESIRED)
    await rig.subscribe(1, DESIRED)
    await change_twin(rig, {"a": None, "b": {"c": 2}})
    body = b'{"a":null,"b":{"c":2},"$version":3}'
    assert await rig.take(1) == [f"send 1 $iothub/twin/PATCH/properties/desired/?$version=3 {body!r} qos1"]
    assert await rig.feed(UnsubscribeEvent(1, 2, [DESIRED])) == ["unsuback 1 2"]
    await change_twin(rig, {"a": 2})
    assert await rig.take() == []


# Methods


def invoke(rig: MqttRig, **members: Any) -> asyncio.Task[MethodAnswer]:
    body = {"methodName": "re set", "payload": {"x": 1}, **members}
    request = parse_invocation(json.dumps(body).encode())
    return asyncio.create_task(rig.hub.services.methods.invoke(("d1", None), request))


async def called(rig: MqttRig) -> tuple[str, int]:
    """Request id and token of the one call on its way."""
    await until(lambda: bool(rig.core.calls))
    (call,) = rig.core.take_calls()
    assert call.topic.startswith("$iothub/methods/POST/re set/?$rid=")
    assert (call.conn, call.payload, call.qos) == (1, b'{"x": 1}', 0)
    return call.topic.partition("?$rid=")[2], call.token


async def error_of(task: asyncio.Task[MethodAnswer]) -> ErrorCode:
    with pytest.raises(HubError) as caught:
        await task
    return caught.value.code


async def test_row_59_a_call_and_its_answer(rig: MqttRig) -> None:
    await rig.subscribe(1, METHODS)
    task = invoke(rig)
    rid, token = await called(rig)
    answer = f"$iothub/methods/res/207/?$rid={rid}"
    assert await rig.feed(SendDoneEvent(1, token, "sent"), count=0) == []
    assert await rig.publish(1, answer, b'{"ok":1}', count=1) == ["puback 1 5"]
    assert await task == MethodAnswer(207, b'{"ok":1}')
    assert await rig.publish(1, answer, b"late", count=1) == ["puback 1 5"]


async def test_row_63_a_client_without_filter_is_not_online(rig: MqttRig) -> None:
    assert await error_of(invoke(rig)) is ErrorCode.DeviceNotOnline
    await rig.subscribe(1, METHODS)
    assert await rig.feed(UnsubscribeEvent(1, 2, [METHODS])) == ["unsuback 1 2"]
    assert await error_of(invoke(rig)) is ErrorCode.DeviceNotOnline


async def test_row_109_a_call_waits_for_its_client(rig: MqttRig) -> None:
    task = invoke(rig, connectTimeoutInSeconds=20)
    await rig.take()
    _, call = await rig.feed(SubscribeEvent(1, 1, [(METHODS, 1)]), count=2)
    rid = call.partition("?$rid=")[2].partition(" ")[0]
    await rig.publish(1, f"$iothub/methods/res/200/?$rid={rid}", b"1", count=1)
    assert (await task).status == 200


async def test_row_114_a_client_that_leaves_is_told(rig: MqttRig) -> None:
    await rig.subscribe(1, METHODS)
    task = invoke(rig)
    await called(rig)
    await rig.closed(1)
    assert await error_of(task) is ErrorCode.DeviceConnectionClosedRemotely


async def test_a_client_that_does_not_read_is_told(rig: MqttRig) -> None:
    await rig.subscribe(1, METHODS)
    task = invoke(rig)
    _, token = await called(rig)
    await rig.feed(SendDoneEvent(1, token, "overflow"), count=0)
    assert await error_of(task) is ErrorCode.DeviceConnectionClosedRemotely


# What ends a connection


@pytest.mark.parametrize("topic", ["$iothub/other", "$iothub/twin/PUT/?$rid=1", "$iothub/twin/GET/"])
async def test_unknown_requests_end_it(rig: MqttRig, topic: str) -> None:
    (call,) = await rig.publish(1, topic, count=1)
    assert call.startswith("close 1 bad topic")


async def test_row_55_the_newest_connection_wins(rig: MqttRig) -> None:
    await rig.subscribe(1, METHODS, DESIRED)
    task = invoke(rig)
    await called(rig)
    assert await rig.connect(2, "d1") == ["accept 2", "close 1 taken over by 10.0.0.1:2"]
    assert await error_of(task) is ErrorCode.DeviceConnectionClosedRemotely
    await rig.closed(1)
    assert rig.is_connected("d1")
    await change_twin(rig, {"a": 1})
    assert await rig.take() == [], "it has no filter yet"
    await rig.subscribe(2, DESIRED)
    await change_twin(rig, {"a": 2})
    assert len(await rig.take(1)) == 1


async def test_row_39_takeovers_between_protocols(rig: MqttRig) -> None:
    await rig.subscribe(1, METHODS, DESIRED)
    client = rig.hub.client()
    await client.login("d1")
    pair = await client.twin_pair("/devices/d1/twin")
    assert await rig.take(1) == ["close 1 a newer connection of this identity was opened"]
    await change_twin(rig, {"a": 1})
    assert await error_of(invoke(rig)) is ErrorCode.DeviceNotOnline
    assert await rig.take() == [], "nothing is sent to the old connection"
    await rig.feed(SubscribeEvent(1, 3, [(DESIRED, 1)]))
    await change_twin(rig, {"a": 2})
    assert await rig.take() == []
    await rig.closed(1, "server")
    assert rig.is_connected("d1"), "over AMQP"
    assert len(await pair.ask("GET")) == 1

    assert await rig.connect(2, "d1") == ["accept 2"]
    await client.settle()
    assert {fault.condition for fault in client.faults()} == {amqp_errors.DETACH_FORCED}
    assert rig.is_connected("d1")
    await rig.closed(2)
    assert not rig.is_connected("d1")


async def test_a_disabled_device_is_cut_off(rig: MqttRig) -> None:
    await rig.hub.module("d1", "m")
    await rig.connect(2, "d1/m")
    await rig.connect(3, "d2")
    await put_device(rig, status="disabled")
    assert sorted(await rig.take(2)) == ["close 1 Device d1 is disabled.", "close 2 Device d1 is disabled."]


async def test_a_changed_key_cuts_those_who_used_it(rig: MqttRig) -> None:
    await put_device(rig, statusReason="nothing that matters")
    assert await rig.take() == []
    await put_device(rig, authentication={})
    assert await rig.take(1) == ["close 1 The token is refused: the signature does not match."]


async def test_a_changed_module_concerns_itself_alone(rig: MqttRig) -> None:
    await rig.hub.module("d1", "m")
    await rig.hub.module("d1", "n")
    await rig.connect(2, "d1/m")
    await rig.connect(3, "d1/n")
    await rig.hub.module("d1", "m", if_match="*")
    assert await rig.take(1) == ["close 2 The token is refused: the signature does not match."]


async def test_a_change_while_a_client_is_let_in_is_not_missed(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old session is being deleted when its device is disabled."""
    await rig.connect(2, "d2", clean_session=False)
    await rig.subscribe(2, METHODS)
    await rig.closed(2)
    forgotten: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asked: list[IdentityId] = []

    def forget(identity: IdentityId) -> asyncio.Future[None]:
        asked.append(identity)
        return forgotten

    monkeypatch.setattr(rig.endpoint.head._sessions, "forget", forget)
    password = (await rig.hub.token("d2")).encode()
    rig.core.push(ConnectEvent(3, "d2", username("d2"), password, clean_session=True))
    await until(lambda: bool(asked))
    await rig.hub.registry.put_device(parse_device("d2", {**SAS, "status": "disabled"}), "*")
    assert rig.core.calls == []
    forgotten.set_result(None)
    assert await rig.take(2) == ["accept 3", "close 3 Device d2 is disabled."]


async def test_an_edge_hub_that_loses_its_key_takes_its_clients_along(rig: MqttRig) -> None:
    gateway = await rig.hub.edge("gw")
    await rig.hub.module("gw", "filter")
    await rig.hub.device("leaf", deviceScope=gateway.device_scope)
    password = (await rig.hub.token("gw", "$edgeHub")).encode()
    for conn, identity, chain in ((2, "leaf", "leaf;gw"), (3, "gw/filter", "gw%2Ffilter;gw")):
        name = username(identity, f"&auth-chain={chain}")
        assert await rig.connect(conn, identity, username=name, password=password) == [f"accept {conn}"]
    await rig.hub.module("gw", "$edgeHub", if_match="*")
    reason = "The token is refused: the signature does not match."
    assert sorted(await rig.take(2)) == [f"close 2 {reason}", f"close 3 {reason}"]


async def test_a_deleted_device_leaves_no_session(rig: MqttRig) -> None:
    await rig.hub.module("d2", "m")
    for conn, identity in ((2, "d2"), (3, "d2/m")):
        await rig.connect(conn, identity, clean_session=False)
        await rig.subscribe(conn, METHODS)
        await rig.closed(conn)
    await rig.hub.registry.delete_device("d2", None)
    await until(lambda: not rig.endpoint.head._sessions._known)
    await rig.hub.device("d2", **SAS)
    assert await rig.connect(4, "d2", clean_session=False) == ["accept 4"]


async def test_an_identity_that_cannot_be_checked_is_cut_off(
    rig: MqttRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*parts: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(rig.hub.registry, "identity", broken)
    rig.endpoint.clients.identity_changed("d1", None)
    assert await rig.take(1) == ["close 1 its identity cannot be checked"]
    assert "on purpose" in caplog.text


@contextlib.contextmanager
def database_away(rig: MqttRig) -> Iterator[None]:
    """The registry does not answer."""

    async def identity(*parts: object) -> None:
        raise HubError(ErrorCode.ServiceUnavailable, "no answer, on purpose")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rig.hub.registry, "identity", identity)
        yield


async def test_nobody_is_cut_off_while_the_registry_does_not_answer(
    rig: MqttRig, caplog: pytest.LogCaptureFixture
) -> None:
    with database_away(rig):
        await put_device(rig, status="disabled")
        await until(lambda: "cannot be checked now" in caplog.text)
        assert await rig.take() == []
        assert rig.is_connected("d1")
    await rig.endpoint.clients.recheck()
    assert await rig.take(1) == ["close 1 Device d1 is disabled."]


async def test_sessions_of_deleted_devices_go_once_the_registry_answers(
    rig: MqttRig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.connect(2, "d2", clean_session=False)
    await rig.subscribe(2, METHODS)
    await rig.closed(2)
    with database_away(rig):
        await rig.hub.registry.delete_device("d2", None)
        await until(lambda: "cannot be checked now" in caplog.text)
        assert rig.endpoint.head._sessions._known
    await rig.endpoint.clients.recheck()
    await until(lambda: not rig.endpoint.head._sessions._known)


async def test_changes_that_wait_are_bounded(rig: MqttRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "CHANGES_MAX", 3)
    for number in range(10):
        rig.endpoint.clients.identity_changed(f"x{number}", None)
    rig.endpoint.clients.identity_changed("d1", None)
    assert len(rig.endpoint.clients._changed) == 3
    assert len(rig.endpoint.clients._to_check) == 1, "connected clients are always checked"
    await rig.endpoint.clients.recheck()
    assert not rig.endpoint.clients._changed


async def test_an_expired_token_ends_it(rig: MqttRig) -> None:
    rig.hub.clock.now += 3600 + 299
    await rig.endpoint.clients.expire()
    assert await rig.take() == []
    rig.hub.clock.now += 2
    await rig.endpoint.clients.expire()
    assert await rig.take(1) == ["close 1 the token has expired"]


async def test_tokens_are_looked_at_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients_module, "EXPIRY_PERIOD_S", 0.01)
    async with mqtt_hub(tmp_path) as rig:
        await rig.connect(1, "d1")
        rig.hub.clock.now += 4000
        assert (await rig.take(1))[0] == "close 1 the token has expired"
