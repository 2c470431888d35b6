"""Decisions of the MQTT head (heads spec 1.2, 1.3, 1.5, 1.7, 1.8, 5.1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState, SqliteState, StateError
from edgehub.heads import control_topics
from edgehub.heads import mqtt as mqtt_module
from edgehub.heads.backend import MqttRules
from edgehub.identity.client_certificates import ClientCertificates
from edgehub.identity.model import AuthType, ServiceIdentity
from testkit.fake_core import (
    Grants,
    LogEvent,
    NoticeEvent,
    PublishEvent,
    StoreFailedEvent,
    SubscribeEvent,
    UnsubscribeEvent,
    UpstreamReadyEvent,
)
from testkit.head_bench import HeadBench
from testkit.identities import EDGE_SCOPE, edge_identity, sas_identity, token_for, username_for
from testkit.x509 import issue

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = "devices/edge1/modules/m/inputs/#"


@pytest.fixture
async def bench() -> HeadBench:
    return HeadBench()


# CONNECT


async def test_a_known_client_is_accepted_in_the_same_turn(bench: HeadBench) -> None:
    assert bench.connect(1, "leaf") == ["accept 1"]
    assert bench.observer.take() == ["+leaf"]
    assert bench.connections.count == 1


async def test_grants_of_a_module(bench: HeadBench) -> None:
    bench.core.push(bench.connect_event(1, "edge1/m", username=username_for("edge1/m", "&model-id=dtmi:x;1")))
    bench.pump.pump()
    (call,) = bench.core.take_calls("accept")
    assert call.grants == Grants(
        device_id="edge1",
        module_id="m",
        telemetry_topics=("devices/edge1/modules/m/messages/events",),
        inputs_endpoint_prefix="edge1/m/",
        inputs_topic_prefixes=("devices/edge1/modules/m/inputs/",),
        model_id="dtmi:x;1",
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_id": ""}, 3),
        ({"username": None}, 3),
        ({"username": "hub/leaf"}, 3),
        ({"password": None}, 5),
        ({"password": b""}, 5),
        ({"client_id": "Leaf"}, 5),
        ({"client_id": "edge1/m"}, 5),
        ({"password": b"SharedAccessSignature sr=x"}, 5),
        ({"password": b"\xff"}, 5),
    ],
)
async def test_refusals(
    bench: HeadBench, changes: dict[str, Any], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert bench.connect(7, "leaf", **changes) == [f"refuse 7 {code}"]
    (told,) = bench.observer.take()
    assert told.startswith("!" if code == 5 else "?")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "10.0.0.1:7" in line
    assert f"refused with {code}" in line
    assert bench.closed(7, "refused", accepted=False) == []
    assert bench.observer.take() == []
    assert bench.connections.count == 0


async def test_m_017_a_certificate_alone_is_refused(
    bench: HeadBench, caplog: pytest.LogCaptureFixture
) -> None:
    assert bench.connect(1, "leaf", password=None, certificates=(b"DER",)) == ["refuse 1 5"]
    assert "ClientCertAuthEnabled" in caplog.text


async def test_m_017_unless_it_is_the_registered_one() -> None:
    device = issue("dev", now_s=1_700_000_000.0)
    bench = HeadBench(certificates=ClientCertificates(None))
    known = ServiceIdentity(
        IdentityId("dev"),
        auth_type=AuthType.THUMBPRINT,
        thumbprints=(device.sha1,),
        device_scope=EDGE_SCOPE,
        parent_scopes=(EDGE_SCOPE,),
    )
    bench.api.put(known)
    bench.cache.apply_one(known.id, [known])
    assert bench.connect(1, "dev", password=None, certificates=(device.der,)) == ["accept 1"]
    bench.api.put(replace(known, thumbprints=(device.sha256,)))
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    assert bench.calls() == [
        "close 1 reauthentication failed: the device is no longer registered for this certificate"
    ]


async def test_m_018_a_password_wins_over_a_certificate(bench: HeadBench) -> None:
    assert bench.connect(1, "leaf", certificates=(b"DER",)) == ["accept 1"]
    bad = token_for("leaf", bench.clock, signer="other").encode()
    bench.connect(2, "leaf", password=bad, certificates=(b"DER",))
    assert await bench.settle() == ["refuse 2 5"]


@pytest.mark.parametrize("ttl_s", [-301, -100_000])
async def test_m_016_an_expired_token_is_refused_at_once(bench: HeadBench, ttl_s: int) -> None:
    token = token_for("leaf", bench.clock, ttl_s=ttl_s).encode()
    assert bench.connect(1, "leaf", password=token) == ["refuse 1 5"]


async def test_a_refused_password_is_never_logged(bench: HeadBench, caplog: pytest.LogCaptureFixture) -> None:
    token = token_for("leaf", bench.clock, signer="other")
    bench.connect(1, "leaf", password=token.encode())
    await bench.settle()
    signature = token.split("sig=")[1].split("&")[0]
    assert signature not in caplog.text


async def test_an_unknown_client_waits_for_the_parent_hub_and_holds_nobody_back(bench: HeadBench) -> None:
    bench.api.put(sas_identity("fresh"))
    assert bench.connect(1, "fresh") == []
    assert bench.connect(2, "leaf") == ["accept 2"]
    assert await bench.settle() == ["accept 1"]
    assert bench.observer.take() == ["+leaf", "+fresh"]


async def test_an_unknown_client_that_the_parent_hub_does_not_know_is_refused(bench: HeadBench) -> None:
    assert bench.connect(1, "ghost") == []
    assert await bench.settle() == ["refuse 1 5"]
    assert bench.observer.take() == ["!ghost"]


async def test_a_client_that_leaves_while_it_waits_gets_no_answer(bench: HeadBench) -> None:
    bench.api.put(sas_identity("fresh"))
    bench.connect(1, "fresh")
    assert bench.closed(1, "eof", accepted=False) == []
    assert await bench.settle() == []
    assert bench.observer.take() == []
    assert bench.connections.count == 0


async def test_m_007_packets_behind_a_waiting_connect_are_served_after_it(bench: HeadBench) -> None:
    bench.api.put(sas_identity("fresh"))
    bench.connect(1, "fresh", clean_session=True)
    assert bench.feed(SubscribeEvent(1, 2, [("a", 1)])) == []
    assert await bench.settle() == ["accept 1", "suback 1 2 01"]


async def test_the_number_of_waiting_clients_is_bounded(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.head, "_rules", MqttRules(auth_waits_max=3))
    events = [bench.connect_event(number, f"ghost{number}") for number in range(5)]
    assert bench.feed(*events) == ["refuse 3 3", "refuse 4 3"]
    assert bench.connect(10, "leaf") == ["accept 10"]
    bench.closed(0, "eof", accepted=False)
    assert bench.connect(5, "ghost5") == []
    assert sorted(await bench.settle()) == ["refuse 1 5", "refuse 2 5", "refuse 5 5"]
    assert bench.connect(6, "ghost6") == []


async def test_m_019_a_client_behind_a_child_edge_device() -> None:
    bench = HeadBench(())
    scope2 = "s2"
    bench.cache.replace_all(
        [
            edge_identity(),
            edge_identity("edge2", scope2, [edge_identity().device_scope]),
            sas_identity("edge2/$edgeHub"),
            sas_identity("deep", parent_scope=scope2),
        ]
    )
    token = token_for("edge2/$edgeHub", bench.clock).encode()
    name = username_for("deep", "&auth-chain=deep;edge2")
    assert bench.connect(1, "deep", username=name, password=token) == ["accept 1"]
    stolen = username_for("edge1", "&auth-chain=deep;edge2")
    assert bench.connect(2, "edge1", username=stolen, password=token) == ["refuse 2 5"]


async def test_an_unforeseen_failure_before_the_connack_gives_code_3(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*parts: object) -> None:
        raise RuntimeError("on purpose")

    bench.api.put(sas_identity("fresh"))
    monkeypatch.setattr(mqtt_module, "grants_for", broken)
    assert bench.connect(1, "leaf") == ["refuse 1 3"]
    bench.connect(2, "fresh")
    assert await bench.settle() == ["refuse 2 3"]
    assert "on purpose" in caplog.text
    monkeypatch.undo()
    assert bench.connect(3, "leaf") == ["accept 3"]
    monkeypatch.setattr(control_topics, "parse_twin_topic", broken)
    assert bench.feed(PublishEvent(3, 1, "$iothub/twin/GET/?$rid=1", b"", 1)) == ["close 3 internal error"]


async def test_i_020_client_101_of_100_is_refused() -> None:
    bench = HeadBench(["a", "b", "c"], clients_max=2)
    assert bench.connect(1, "a") == ["accept 1"]
    assert bench.connect(2, "b") == ["accept 2"]
    assert bench.connect(3, "c") == ["refuse 3 3"]
    assert bench.connect(4, "a") == ["accept 4", "close 1 taken over by 10.0.0.1:4"]
    assert bench.connect(5, "c") == ["refuse 5 3"]
    bench.closed(2)
    assert bench.connect(6, "c") == ["accept 6"]


async def test_hubs_below_do_not_count_as_clients() -> None:
    bench = HeadBench(["edge2/$edgeHub", "a"], clients_max=1)
    assert bench.connect(1, "edge2/$edgeHub") == ["accept 1"]
    assert bench.connect(2, "a") == ["accept 2"]
    assert bench.connections.count == 1


# Sessions


async def test_m_021_m_023_a_session_comes_back(bench: HeadBench) -> None:
    assert bench.connect(1, "edge1/m") == ["accept 1"]
    assert bench.feed(SubscribeEvent(1, 5, [(INPUTS, 1), ("$iothub/twin/res/#", 0)])) == [
        "suback 1 5 0100 inputs_active"
    ]
    bench.closed(1)
    assert bench.connect(2, "edge1/m") == [
        f"accept 2 session_present inputs_active {INPUTS}:1 $iothub/twin/res/#:0"
    ]
    assert bench.feed(UnsubscribeEvent(2, 6, [INPUTS])) == ["unsuback 2 6"]
    bench.closed(2)
    assert bench.connect(3, "edge1/m") == ["accept 3 session_present $iothub/twin/res/#:0"]


async def test_a_session_without_subscribe_is_not_kept(bench: HeadBench) -> None:
    bench.connect(1, "leaf")
    bench.closed(1)
    assert bench.connect(2, "leaf") == ["accept 2"]
    assert bench.feed(UnsubscribeEvent(2, 1, ["x"])) == ["unsuback 2 1"]
    bench.closed(2)
    assert bench.connect(3, "leaf") == ["accept 3 session_present"]


async def test_m_022_a_clean_session_forgets(bench: HeadBench) -> None:
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("a", 1)]))
    bench.closed(1)
    assert bench.connect(2, "leaf", clean_session=True) == ["accept 2"]
    bench.feed(SubscribeEvent(2, 1, [("b", 1)]))
    bench.closed(2)
    assert bench.connect(3, "leaf") == ["accept 3"]


async def test_a_taken_over_client_leaves_its_session_behind(bench: HeadBench) -> None:
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("a", 1)]))
    assert bench.connect(2, "leaf") == ["accept 2 session_present a:1", "close 1 taken over by 10.0.0.1:2"]
    assert bench.feed(SubscribeEvent(1, 2, [("late", 1)])) == []
    assert bench.closed(1, "server", detail="taken over") == []
    assert bench.observer.take() == ["+leaf", "+leaf"]
    bench.closed(2)
    assert bench.observer.take() == ["-leaf"]
    assert bench.connect(3, "leaf") == ["accept 3 session_present a:1"]


async def test_m_021_a_session_survives_a_restart_and_is_durable_before_the_suback(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    bench = HeadBench(state=state)
    bench.connect(1, "leaf")
    assert bench.feed(SubscribeEvent(1, 1, [("a", 1)])) == []
    await bench.head.drain()
    assert bench.calls() == ["suback 1 1 01"]
    state.close()
    state = SqliteState(tmp_path / "state.db")
    bench = HeadBench(state=state)
    assert bench.connect(1, "leaf") == ["accept 1 session_present a:1"]
    assert bench.feed(SubscribeEvent(1, 2, [("a", 1)])) == ["suback 1 2 01"], "nothing new to store"
    state.close()


async def test_deleting_a_session_is_durable_before_the_connack(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    bench = HeadBench(state=state)
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("a", 1)]))
    await bench.head._lanes.drain()
    bench.closed(1)
    bench.calls()
    assert bench.connect(2, "leaf", clean_session=True) == []
    await bench.head._lanes.drain()
    assert bench.calls() == ["accept 2"]
    state.close()


class FailingState:
    """A state whose disk is full."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def get(self, bucket: str, key: str) -> bytes | None:
        return None

    def items(self, bucket: str) -> list[tuple[str, bytes]]:
        return []

    def write(self, changes: object) -> asyncio.Future[None] | None:
        if self.at_once:
            raise StateError("disk full")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(StateError("disk full"))
        return future

    def close(self) -> None:
        return


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_session_that_cannot_be_stored_ends_the_connection(at_once: bool) -> None:
    bench = HeadBench(state=FailingState(at_once=at_once))
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("a", 1)]))
    assert await bench.settle() == ["close 1 session not stored"]
    bench.closed(1, "server")
    bench.connect(2, "leaf")
    bench.feed(UnsubscribeEvent(2, 1, ["a"]))
    assert await bench.settle() == ["close 2 session not stored"]
    bench.closed(2, "server")
    bench.connect(3, "leaf", clean_session=True)
    assert bench.feed(SubscribeEvent(3, 1, [("a", 1)])) == ["suback 3 1 01"]


async def test_a_state_that_cannot_be_read_gives_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    state = FailingState(at_once=True)
    monkeypatch.setattr(state, "items", lambda bucket: [("leaf", b"{}")] if bucket == "sessions" else [])

    def broken(bucket: str, key: str) -> bytes | None:
        raise StateError("cannot read")

    monkeypatch.setattr(state, "get", broken)
    bench = HeadBench(state=state)
    assert bench.connect(1, "leaf") == ["refuse 1 3"]


async def test_a_damaged_session_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    state = MemoryState()
    state.write([("sessions", "leaf", b"damage")])
    bench = HeadBench(state=state)
    assert bench.connect(1, "leaf") == ["accept 1"]
    assert "Session of leaf starts anew" in caplog.text


async def test_m_024_filters_nobody_serves_are_granted_and_told_once(
    bench: HeadBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.connect(1, "leaf")
    for packet_id in (1, 2):
        assert bench.feed(SubscribeEvent(1, packet_id, [("some/where", 2)])) == [f"suback 1 {packet_id} 01"]
    assert caplog.text.count("where nothing is sent") == 1


async def test_subscriptions_are_told_when_the_client_has_its_answer(bench: HeadBench) -> None:
    """T-018: whoever sets up the parent hub's side learns the kinds, restored ones after the CONNACK."""
    bench.connect(1, "edge1/m")
    assert bench.observer.take_subscriptions() == []
    bench.feed(SubscribeEvent(1, 1, [(INPUTS, 1), ("$iothub/methods/POST/#", 1)]))
    assert bench.observer.take_subscriptions() == ["edge1/m: methods module_messages"]
    bench.feed(UnsubscribeEvent(1, 2, [INPUTS]))
    assert bench.observer.take_subscriptions() == ["edge1/m: methods"]
    bench.closed(1)
    bench.connect(2, "edge1/m")
    assert bench.observer.take_subscriptions() == ["edge1/m: methods"]
    bench.feed(UnsubscribeEvent(2, 3, ["$iothub/methods/POST/#"]))
    assert bench.observer.take_subscriptions() == ["edge1/m: nothing"]
    bench.closed(2)
    bench.connect(3, "edge1/m", clean_session=True)
    assert bench.observer.take_subscriptions() == []


async def test_subscriptions_of_a_client_that_was_taken_over_are_not_told(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    bench = HeadBench(state=state)
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("$iothub/twin/res/#", 1)]))
    bench.connect(2, "leaf")
    assert bench.observer.take_subscriptions() == ["leaf: twin_response"], "the second one's, restored"
    await bench.head.drain()
    assert "suback 1 1 01" in bench.calls()
    assert bench.observer.take_subscriptions() == []
    state.close()


# Control topics


async def test_control_topics_before_connect_are_ignored(bench: HeadBench) -> None:
    assert bench.feed(PublishEvent(1, 3, "$iothub/twin/GET/?$rid=1", b"", 1)) == []
    assert bench.feed(SubscribeEvent(1, 3, [("a", 1)]), UnsubscribeEvent(1, 3, ["a"])) == []


# Ends, notices, others


@pytest.mark.parametrize("reason", ["disconnect", "eof", "keep_alive_timeout", "protocol_error"])
async def test_the_end_of_a_client_is_told_once(
    bench: HeadBench, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.connect(1, "leaf")
    bench.closed(1, reason, detail="some detail")
    bench.closed(1, reason)
    assert bench.observer.take() == ["+leaf", "-leaf"]
    assert f"Client leaf from 10.0.0.1:1 disconnected ({reason}: some detail)" in caplog.text


async def test_what_a_client_asked_for_before_it_left_is_done(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    bench = HeadBench(state=state)
    bench.connect(1, "leaf")
    bench.feed(SubscribeEvent(1, 1, [("a", 1)]), PublishEvent(1, 2, "$iothub/twin/GET/?$rid=1", b"", 1))
    bench.closed(1)
    assert bench.observer.take() == ["+leaf"]
    await bench.head._lanes.drain()
    assert bench.calls()[:2] == ["suback 1 1 01", "puback 1 2"]
    assert bench.observer.take() == ["-leaf"]
    state.close()


@pytest.mark.parametrize(
    ("reason", "logged"), [("tls_error", True), ("connect_timeout", True), ("eof", False)]
)
async def test_connections_that_never_became_clients(
    bench: HeadBench, reason: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench.closed(1, reason, accepted=False, detail="why")
    assert (reason in caplog.text) is logged


async def test_refusals_cannot_flood_the_log(bench: HeadBench, caplog: pytest.LogCaptureFixture) -> None:
    for conn in range(500):
        bench.connect(conn, "leaf", password=None)
    assert len(caplog.records) == 100
    bench.clock.advance(1)
    bench.connect(501, "leaf", password=None)
    assert "400 more refused connections" in caplog.text


async def test_a_crowd_of_clients_cannot_flood_the_log(
    bench: HeadBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for conn in range(150):
        bench.connect(conn, "leaf")
        bench.closed(conn)
    assert len(caplog.records) == 200
    bench.connect(500, "leaf", password=None)
    assert "Client 'leaf' from 10.0.0.1:500 refused" in caplog.text, "outsiders have lines of their own"
    bench.clock.advance(1)
    bench.connect(501, "leaf")
    assert "100 more clients came or went" in caplog.text
    assert "Client leaf connected from 10.0.0.1:501" in caplog.text


async def test_notices_are_logged(bench: HeadBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect(1, "leaf")
    bench.feed(
        NoticeEvent(1, "foreign_topic", "devices/other/messages/events/"), NoticeEvent(2, "bad_properties")
    )
    assert "Client leaf: foreign topic: devices/other/messages/events/" in caplog.text
    assert "connection 2" in caplog.text


async def test_a_filter_that_the_rules_refuse(bench: HeadBench) -> None:
    bench.head._rules = MqttRules(may_subscribe=lambda identity, name: name == f"{identity}/a")
    bench.connect(1, "leaf")
    assert bench.feed(SubscribeEvent(1, 2, [("leaf/a", 1), ("leaf/b", 1)])) == ["suback 1 2 0180"]


async def test_events_for_others(bench: HeadBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.feed(UpstreamReadyEvent(), StoreFailedEvent("disk gone"), LogEvent(30, "store", "takes nothing"))
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("edgehub.core.store", "takes nothing")
    ]
    assert (bench.upstream_ready, bench.store_faults) == (1, ["disk gone"])


async def test_draining_refuses_new_clients_and_those_that_wait(bench: HeadBench) -> None:
    bench.api.put(sas_identity("fresh"))
    bench.connect(1, "fresh")
    await bench.head.drain()
    assert bench.calls() == ["refuse 1 3"]
    assert await bench.settle() == []
    assert bench.connect(2, "leaf") == ["refuse 2 3"]
