"""Routes from desired documents (settings spec 3.3; C7 to C11)."""

from __future__ import annotations

from typing import Any

import pytest

from edgehub.common.state import MemoryState, StateError
from edgehub.config.desired import NO_LIMITS, DesiredConfigError, RouteSpec, StoreLimits
from edgehub.hub.routes import BUCKET, LAST_GOOD, ConfigStatus, RoutesService
from testkit.fake_core import Engine, core_module

ROUTE = "FROM /* INTO $upstream"
OTHER = "FROM /messages INTO $upstream"


class Bench:
    def __init__(self, state: MemoryState | None = None, limits: StoreLimits = NO_LIMITS) -> None:
        self.core = Engine()
        self.state = state if state is not None else MemoryState()
        self.routes = RoutesService(
            self.core,
            core_module.check_routes,
            self.state,
            edge_device_id="edge1",
            default_limits=limits,
        )

    def applied(self) -> list[tuple[list[tuple[str, str, int | None, int]], int]]:
        return [(call.routes, call.default_ttl_secs) for call in self.core.take_calls("set_routes")]

    def quotas(self) -> list[tuple[int | None, str]]:
        return [(call.bytes_max, call.overflow_policy) for call in self.core.take_calls("set_quota")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def document(version: int = 1, **routes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "1.1",
        "routes": routes,
        "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
        "$version": version,
    }


def test_a_document_is_applied_as_a_whole(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hot = {"route": OTHER, "priority": 1, "timeToLiveSecs": 9}
    assert bench.routes.take_document(document(up=ROUTE, hot=hot)) == ConfigStatus(200, "", 1)
    assert bench.applied() == [([("up", ROUTE, None, 0), ("hot", OTHER, 1, 9)], 7200)]
    lines = [record.getMessage() for record in caplog.records]
    assert "Set the following 2 route(s) in edge hub" in lines
    assert f"up: {ROUTE}" in lines
    assert "Updated message store TTL to 7200 seconds" in lines


def with_limits(limits: dict[str, Any] | None) -> dict[str, Any]:
    store = {"timeToLiveSecs": 1, "storeLimits": limits}
    return document(up=ROUTE) | {"storeAndForwardConfiguration": store}


def test_limits_of_the_store_are_applied_when_they_change(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for limits in (
        {"maxSizeBytes": 5_000_000},
        {"maxSizeBytes": 5_000_000, "overflowPolicy": None},
        {"maxSizeBytes": 5_000_000, "overflowPolicy": "dropoldest"},
        {"maxSizeBytes": -3, "overflowPolicy": "dropLowestPriority"},
        {},
        None,
    ):
        assert bench.routes.take_document(with_limits(limits)).code == 200
    assert [call.name for call in bench.core.calls].count("set_routes") == 1
    assert bench.quotas() == [
        (5_000_000, "rejectNew"),
        (5_000_000, "dropOldest"),
        (0, "dropLowestPriority"),
        (0, "rejectNew"),
        (None, "rejectNew"),
    ]
    assert "Messages may take 5000000 bytes, then: dropOldest" in caplog.text


def test_bad_limits_leave_those_in_force(bench: Bench) -> None:
    bench.routes.take_document(with_limits({"maxSizeBytes": 7_000_000}))
    status = bench.routes.take_document(with_limits({"maxSizeBytes": 1, "overflowPolicy": "dropNew"}))
    assert status.code == 400
    assert '"dropNew"' in status.description
    assert bench.quotas() == [(7_000_000, "rejectNew")]


def test_where_the_document_has_no_limits_those_of_the_settings_hold() -> None:
    bench = Bench(limits=StoreLimits(9_000_000, "dropOldest"))
    bench.routes.take_document(document(up=ROUTE))
    bench.routes.take_document(with_limits({"maxSizeBytes": 8_000_000}))
    bench.routes.take_document(with_limits({"maxSizeBytes": 8_000_000, "overflowPolicy": "rejectNew"}))
    assert bench.quotas() == [
        (9_000_000, "dropOldest"),
        (8_000_000, "dropOldest"),
        (8_000_000, "rejectNew"),
    ]


def test_an_unchanged_document_is_not_applied_again(bench: Bench) -> None:
    bench.routes.take_document(document(up=ROUTE))
    bench.applied()
    assert bench.routes.take_document(document(2, up=ROUTE)) == ConfigStatus(200, "", 2)
    assert bench.applied() == []


def test_a_patch_removes_and_adds(bench: Bench) -> None:
    bench.routes.take_document(document(a=ROUTE, b=ROUTE))
    status = bench.routes.take_patch({"routes": {"a": None, "c": OTHER}, "$version": 2})
    assert status == ConfigStatus(200, "", 2)
    assert bench.applied()[-1] == ([("b", ROUTE, None, 0), ("c", OTHER, None, 0)], 7200)


def test_a_patch_without_a_document_asks_for_one(bench: Bench) -> None:
    assert bench.routes.take_patch({"routes": {}}) is None


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ({"x": "BAD INTO"}, "Error parsing route x - 1:1: Syntax error."),
        ({"a b": "FROM nothing"}, "Error parsing route ['a b'] - 1:1: Syntax error."),
        ({"x": 1}, "Malformed route specification"),
    ],
)
def test_a_bad_route_leaves_everything_as_it_is(bench: Bench, bad: dict[str, Any], part: str) -> None:
    bench.routes.take_document(document(up=ROUTE))
    bench.applied()
    status = bench.routes.take_patch({"routes": bad, "$version": 2})
    assert status is not None
    assert (status.code, status.version) == (400, 2)
    assert status.description.startswith("Error while parsing desired properties - ")
    assert part in status.description
    assert bench.applied() == []


def test_all_faults_of_all_routes_are_told(bench: Bench) -> None:
    status = bench.routes.take_document(document(a="BAD", b="BAD"))
    assert "route a" in status.description
    assert "route b" in status.description


def test_a_second_patch_can_mend_the_first(bench: Bench) -> None:
    bench.routes.take_document(document(up=ROUTE))
    bench.routes.take_patch({"routes": {"bad": "BAD", "good": OTHER}, "$version": 2})
    status = bench.routes.take_patch({"routes": {"bad": None}, "$version": 3})
    assert status == ConfigStatus(200, "", 3)
    assert bench.applied()[-1][0] == [("up", ROUTE, None, 0), ("good", OTHER, None, 0)]


def test_the_last_good_document_serves_after_a_restart() -> None:
    first = Bench()
    first.routes.take_document(document(up=ROUTE))
    first.routes.take_document(document(2, up="BAD"))
    second = Bench(first.state)
    assert not second.routes.configured
    assert second.routes.load_last_good()
    assert second.routes.configured
    assert second.applied() == [([("up", ROUTE, None, 0)], 7200)]
    assert second.routes.take_patch({"routes": {"up": OTHER}, "$version": 3}) == ConfigStatus(200, "", 3)


@pytest.mark.parametrize("stored", [None, b"", b"[]", b"{}", b'{"schemaVersion":"2.0"}', b"\xff"])
def test_without_a_usable_stored_document(stored: bytes | None) -> None:
    bench = Bench()
    if stored is not None:
        bench.state.write([(BUCKET, LAST_GOOD, stored)])
    assert not bench.routes.load_last_good()
    assert not bench.routes.configured
    assert bench.applied() == []


def test_a_document_from_a_file_is_not_kept() -> None:
    bench = Bench()
    bench.routes.take_document(document(up=ROUTE), keep=False)
    assert bench.state.get(BUCKET, LAST_GOOD) is None


def test_a_full_disk_does_not_stop_a_configuration(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(changes: object) -> None:
        raise StateError("disk full")

    monkeypatch.setattr(bench.state, "write", full)
    assert bench.routes.take_document(document(up=ROUTE)).code == 200
    assert "disk full" in caplog.text


def test_routes_of_the_settings(bench: Bench) -> None:
    bench.routes.apply_fixed([RouteSpec("r1", ROUTE)], -1)
    assert bench.applied() == [([("r1", ROUTE, None, 0)], -1)]
    with pytest.raises(DesiredConfigError, match="r2"):
        bench.routes.apply_fixed([RouteSpec("r2", "BAD")], -1)


def test_a_warning_of_a_later_schema_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert bench.routes.take_document(document(up=ROUTE) | {"schemaVersion": "1.9"}).code == 200
    assert "1.9" in caplog.text
