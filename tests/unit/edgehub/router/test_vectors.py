"""The conformance vectors through the Python face: every row, as the Rust tests have them."""

from __future__ import annotations

from typing import Any

import pytest

from edgehub.router import Condition, RouteError, Router, check
from testkit.routing_vectors import LETTERS, load, message, place


def letter(condition: str, told: dict[str, Any], *, twin_change_includes: bool = False) -> str:
    try:
        compiled = Condition(condition, twin_change_includes=twin_change_includes)
    except RouteError:
        return "E"
    return LETTERS[compiled.evaluate(told)]


def test_conditions() -> None:
    vectors = load("conditions.json")
    fixtures = {name: message(fixture) for name, fixture in vectors["fixtures"].items()}
    wrong = []
    for case in vectors["cases"]:
        fixture, condition = case["fixture"], case["condition"]
        expected = case.get("here", case["expect"])
        found = letter(condition, fixtures[fixture], twin_change_includes=fixture == "T")
        if found != expected:
            wrong.append(f"{fixture} {expected} got {found}: {condition}")
    assert not wrong
    assert len(vectors["cases"]) >= 613


def test_bodies() -> None:
    cases = load("bodies.json")["cases"]
    found = {case["row"]: letter(case["condition"], message(case)) for case in cases}
    assert found == {case["row"]: case["expect"] for case in cases}
    assert len(cases) >= 67


def test_errors_of_conditions() -> None:
    vectors = load("errors.json")
    for case in vectors["cases"]:
        with pytest.raises(RouteError) as raised:
            Condition(case["condition"])
        found = [{"at": place(fault), "message": fault.message} for fault in raised.value.faults]
        assert found == case["errors"], case["condition"]
        assert {fault.route for fault in raised.value.faults} == {""}
    assert len(vectors["cases"]) >= 18


def test_errors_of_routes() -> None:
    cases = load("errors.json")["routes"]
    for case in cases:
        with pytest.raises(RouteError) as raised:
            Router({"r": case["route"]})
        checked = check({"r": case["route"]}).routes["r"].errors
        for faults in (raised.value.faults, checked):
            found = [{"at": place(fault), "message": fault.message} for fault in faults]
            assert found == case["errors"], case["route"]
    assert cases


def test_route_texts() -> None:
    cases = load("routes.json")["cases"]
    for case in cases:
        report = check({"r": case["route"]}, edge_device_id="edge")
        faults = report.routes["r"].errors
        if case["expect"] == "ok":
            assert not faults, case
            assert Router({"r": case["route"]}, edge_device_id="edge").endpoints == (case["endpoint"],)
            continue
        codes = [fault.code for fault in faults]
        assert (codes if "codes" in case else codes[0]) == case.get("codes", case.get("code")), case
        assert place(faults[0]) == case.get("at", place(faults[0])), case
        assert not report.valid
    assert len(cases) > 70


def test_sources() -> None:
    cases = load("sources.json")["cases"]
    sources = {
        "device": "/messages/",
        "module": "/messages/modules/m1/",
        "output": "/messages/modules/m1/outputs/o1/",
        "twinChange": "/twinChangeNotifications/",
    }
    for case in cases:
        router = Router({"r": f"FROM {case['source']} INTO $upstream"})
        matches = {name: bool(router.match({"source": source})) for name, source in sources.items()}
        assert matches == {name: case[name] for name in sources}, case
        assert {
            name: bool(router.verdicts({"source": source})) for name, source in sources.items()
        } == matches
    assert len(cases) >= 25


def test_deliveries() -> None:
    cases = load("deliveries.json")["cases"]
    for case in cases:
        routes = {
            row["name"]: {
                "route": row["text"],
                "priority": row.get("priority"),
                "timeToLiveSecs": row.get("ttlSecs"),
            }
            for row in case["routes"]
        }
        router = Router(routes, edge_device_id="edge")
        found = [
            {"endpoint": d.endpoint, "priority": d.priority, "ttlSecs": d.ttl_secs, "route": d.route}
            for d in router.match({"properties": {"kind": "a"}})
        ]
        assert found == case["expect"], case["name"]
    assert len(cases) >= 5


def declared(case: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What becomes of a declaration: outcome, and the values in force."""
    value = case.get("object", case.get("text"))
    schema = case["schema"]
    report = check({case["name"]: value}, schema=schema)
    if not report.valid:
        return report.routes[case["name"]].errors[0].code, {}
    router = Router({case["name"]: value}, schema=schema)
    if not router.routes:
        return "skipped", {}
    (delivery,) = router.match({})
    return "ok", {"priority": delivery.priority, "ttlSecs": delivery.ttl_secs}


def test_declarations() -> None:
    cases = load("declarations.json")["cases"]
    for case in cases:
        outcome, values = declared(case)
        assert outcome == case["expect"], case
        assert values == {key: case.get(key, value) for key, value in values.items()}, case
    assert len(cases) >= 24


def warned(routes: dict[str, Any], *, with_name: bool) -> list[dict[str, Any]]:
    report = check(routes, edge_device_id="edge")
    return [
        {
            "code": warning.code,
            "line": warning.line,
            "column": warning.column,
            "endLine": warning.end_line,
            "endColumn": warning.end_column,
        }
        | ({"name": name} if with_name else {})
        for name, found in report.routes.items()
        for warning in found.warnings
    ]


def test_warnings() -> None:
    cases = load("lint.json")["cases"]
    for case in cases:
        if "route" in case:
            routes: dict[str, Any] = {"r": case["route"]}
        else:
            routes = {
                row["name"]: {key: row[key] for key in ("route", "priority", "timeToLiveSecs") if key in row}
                for row in case["routes"]
            }
            assert len(routes) == len(case["routes"])
        assert warned(routes, with_name="routes" in case) == case["warnings"], case
        assert check(routes).valid != case.get("fails", False), case
    assert len(cases) >= 164
