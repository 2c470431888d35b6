"""Prometheus text (settings spec 6; M1 to M5) and the health answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgehub.common.ids import IdentityId
from edgehub.metrics.collector import HubCollector, render
from edgehub.metrics.core_totals import CoreTotals, MetricsFormatError, decode_core_totals
from edgehub.metrics.health import Health
from edgehub.metrics.totals import IDS_MAX, HubTotals, IdCounter, Summary
from testkit.clock import ManualClock

CORE: dict[str, object] = {
    "counters": {"qos0-dropped": 4},
    "received": [("edge1/m", "o", 7)],
    "sent": [("edge1/m", "upstream", "o", "", 2000000000, 5), ("leaf", "edge1/m", "", "in1", 0, 2)],
    "dropped": [("no_route", "leaf", "", 3)],
    "unack": [("storage_failure", "leaf", "", 1)],
    "routes": [("up", 9)],
    "queues": [("iothub", 2000000000, 12)],
    "lost": [("iothub", 5, "expired", 6)],
    "lag": [("up", "iothub", 5, 3, 4000, 2500), ("in", "edge1/m/in1", 0, 0, 0, 0)],
    "connections": {"open": 2},
    "store": {"bytes": 4096},
    "memory": {"io_kept_bytes": 8192},
}


class Bench:
    def __init__(self, core: dict[str, object] | None = None) -> None:
        self.clock = ManualClock()
        self.totals = HubTotals(self.clock, "hub.test")
        self.collector = HubCollector(
            ("hub.test", "edge1", "n1"),
            lambda: decode_core_totals(CORE if core is None else core),
            self.totals,
            lambda: 2,
            self.clock.monotonic_s,
        )

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = render(self.collector).decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = dict(sample.labels)
                for name, value in (
                    ("iothub", "hub.test"),
                    ("edge_device", "edge1"),
                    ("instance_number", "n1"),
                ):
                    assert labels.pop(name) == value
                found[sample.name, frozenset(labels.items())] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[f"edgehub_{name}", frozenset(labels.items())]


def test_messages() -> None:
    bench = Bench()
    assert bench.value("messages_received_total", id="edge1/m", route_output="o", ms_telemetry="True") == 7
    up = {"from": "edge1/m", "to": "upstream", "from_route_output": "o", "to_route_input": ""}
    assert bench.value("messages_sent_total", **up, priority="2000000000", ms_telemetry="True") == 5
    down = {"from": "leaf", "to": "edge1/m", "from_route_output": "", "to_route_input": "in1"}
    assert bench.value("messages_sent_total", **down, priority="0", ms_telemetry="True") == 2
    lost = {"from": "leaf", "from_route_output": "", "ms_telemetry": "True"}
    assert bench.value("messages_dropped_total", reason="no_route", **lost) == 3
    assert bench.value("messages_unack_total", reason="storage_failure", **lost) == 1
    assert bench.value("queue_length", endpoint="iothub", priority="2000000000", ms_telemetry="True") == 12


def test_clients() -> None:
    bench = Bench()
    bench.totals.connected(IdentityId("edge1", "m"))
    bench.totals.connected(IdentityId("leaf"))
    bench.totals.connected(IdentityId("leaf"))
    bench.totals.disconnected(IdentityId("leaf"))
    bench.totals.refused("leaf", not_authenticated=True)
    bench.totals.refused("leaf", not_authenticated=False)
    leaf = "DeviceId: leaf [IotHubHostName: hub.test]"
    module = "DeviceId: edge1; ModuleId: m [IotHubHostName: hub.test]"
    assert bench.value("client_connect_success_total", id=leaf) == 2
    assert bench.value("client_connect_success_total", id=module) == 1
    assert bench.value("client_disconnect_total", id=leaf) == 1
    failed = {"id": "leaf", "reason": "not_authenticated", "ms_telemetry": "True"}
    assert bench.value("client_connect_failed_total", **failed) == 1
    assert bench.value("connected_clients") == 2


def test_being_offline() -> None:
    bench = Bench()
    hub = {"id": "edge1/$edgeHub", "ms_telemetry": "True"}
    bench.clock.advance(3)
    bench.totals.link_up()
    bench.totals.link_up()
    assert bench.value("offline_duration_seconds_sum", **hub) == 3
    assert ("edgehub_offline_count_total", frozenset(hub.items())) not in bench.samples()
    bench.totals.link_down()
    bench.totals.link_down()
    bench.clock.advance(7)
    bench.totals.link_up()
    assert bench.value("offline_count_total", **hub) == 1
    assert bench.value("offline_duration_seconds_count", **hub) == 2
    assert bench.value("offline_duration_seconds_sum", **hub) == 10
    assert bench.value("offline_duration_seconds", **hub, quantile="0.99") == 3
    assert bench.value("offline_duration_seconds", **hub, quantile="0.1") == 3


def test_what_the_reference_does_not_have() -> None:
    bench = Bench()
    assert bench.value("core_qos0_dropped_total") == 4
    assert bench.value("connections_open") == 2
    assert bench.value("route_matches_total", route="up") == 9
    assert bench.value("queue_lost_total", endpoint="iothub", priority="5", cause="expired") == 6
    up = {"route": "up", "endpoint": "iothub", "priority": "5"}
    assert bench.value("route_lag_messages", **up) == 3
    assert bench.value("route_lag_bytes", **up) == 4000
    assert bench.value("route_lag_seconds", **up) == 2.5
    assert bench.value("route_lag_seconds", route="in", endpoint="edge1/m/in1", priority="0") == 0
    assert bench.value("store_bytes") == 4096
    assert bench.value("memory_io_kept_bytes") == 8192


def test_ids_with_odd_characters_survive() -> None:
    bench = Bench()
    evil = 'a"b\\c\nd'
    bench.totals.refused(evil, not_authenticated=True)
    failed = {"id": evil, "reason": "not_authenticated", "ms_telemetry": "True"}
    assert bench.value("client_connect_failed_total", **failed) == 1


def test_a_core_without_totals() -> None:
    assert decode_core_totals({}) == CoreTotals()
    assert Bench({}).value("connected_clients") == 2


@pytest.mark.parametrize(
    "totals",
    [{"received": [("a", "b")]}, {"counters": {"a": "1"}}, {"queues": None}, {"sent": [(1, 2, 3, 4, 5, 6)]}],
)
def test_another_layout_is_named(totals: dict[str, object]) -> None:
    with pytest.raises(MetricsFormatError, match=next(iter(totals))):
        decode_core_totals(totals)


def test_the_number_of_ids_is_bounded() -> None:
    counter = IdCounter(2)
    for label in ("a", "b", "c", "d", "a"):
        counter.add(label)
    assert counter.items() == [("a", 2), ("b", 1), ("other", 2)]
    assert IDS_MAX >= 1000


def test_quantiles_forget_after_ten_minutes() -> None:
    summary = Summary()
    for value in range(101):
        summary.observe(value, 0)
    assert summary.quantiles(600) == [(0.1, 10), (0.5, 50), (0.9, 90), (0.99, 99)]
    assert all(math.isnan(value) for _, value in summary.quantiles(601))
    assert (summary.count, summary.sum) == (101, 5050)


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({}, 503, "starting"),
        ({"started": True}, 200, "ok"),
        ({"started": True, "stopping": True}, 503, "stopping"),
        ({"started": True, "store_fault": "disk gone"}, 503, "failed"),
    ],
)
def test_health(changes: dict[str, Any], status: int, text: str) -> None:
    answer = Health(**changes).answer()
    assert (answer[0], answer[1]["status"]) == (status, text)
    assert ("reason" in answer[1]) is (status != 200)
