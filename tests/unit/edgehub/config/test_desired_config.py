"""Desired properties: validation texts and merging (C1 to C8, C11; settings spec 3)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.config.desired import (
    ROUTES_MAX,
    DesiredConfigError,
    RouteSpec,
    document_version,
    merge_patch,
    parse_desired,
    path_name,
)

ROUTE = "FROM /* INTO $upstream"
STORE = {"timeToLiveSecs": 7200}


def document(version: object = "1.1", **keys: Any) -> dict[str, Any]:
    return {"schemaVersion": version, "routes": {}, "storeAndForwardConfiguration": STORE} | keys


def refusal(value: Any) -> str:
    with pytest.raises(DesiredConfigError) as error:
        parse_desired(value)
    assert error.value.description == f"Error while parsing desired properties - {error.value}"
    return str(error.value)


def test_a_whole_document() -> None:
    config = parse_desired(
        document(
            routes={
                "up": ROUTE,
                "hot": {"route": ROUTE, "priority": 0, "timeToLiveSecs": 60},
                "low": {"route": ROUTE, "priority": 2_000_000_000},
            },
            storeAndForwardConfiguration={"timeToLiveSecs": -1, "storeLimits": {"maxSizeBytes": 1000}},
            **{"$version": 3, "$metadata": {}, "else": 1},
        )
    )
    assert config.routes == (
        RouteSpec("up", ROUTE, None, 0),
        RouteSpec("hot", ROUTE, 0, 60),
        RouteSpec("low", ROUTE, None, 0),
    )
    assert (config.ttl_secs, config.store_bytes_max, config.warnings) == (-1, 1000, ())


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3", "1.1.0", "1.1.0.0", " 1.1 "])
def test_known_versions(version: str) -> None:
    assert parse_desired(document(version)).warnings == ()


@pytest.mark.parametrize("version", ["1.4", "1.99"])
def test_later_minor_versions_are_read_with_a_warning(version: str) -> None:
    (warning,) = parse_desired(document(version)).warnings
    assert version in warning


@pytest.mark.parametrize(
    "version", ["1", "abc", "", "1.", ".1", "1.1.1.1.1", "-1.0", "1.x", None, 1.1, 7, {}]
)
def test_texts_that_are_no_version(version: object) -> None:
    shown = "null" if version is None else str(version)
    text = refusal(document(version))
    assert text.startswith(f"Error parsing schema version string: {shown}")
    assert ", Exception: " in text


@pytest.mark.parametrize("version", ["2.0", "0.9", "99.1"])
def test_other_major_versions(version: str) -> None:
    assert refusal(document(version)) == f"EdgeHub config contains unsupported SchemaVersion: {version}"


def test_missing_version() -> None:
    assert refusal({}) == "EdgeHub config missing SchemaVersion"
    assert refusal({"SchemaVersion": "1.1"}) == "EdgeHub config missing SchemaVersion"


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_not_an_object(value: object) -> None:
    assert "Expected a JSON object" in refusal(value)


@pytest.mark.parametrize(
    "keys", [{"routes": {"\ud800": ROUTE}}, {"routes": {"r": "\udfff"}}, {"other": ["\ud800"]}]
)
def test_half_of_a_character(keys: dict[str, Any]) -> None:
    assert refusal(document(**keys)).startswith('Text with half of a character: "\\ud')


def test_objects_without_end() -> None:
    endless: list[Any] = []
    for _ in range(100_000):
        endless = [endless]
    assert refusal(document(other=endless)) == "Objects are nested too deeply"


def test_routes_are_optional_in_1_0_only() -> None:
    plain = {"schemaVersion": "1.0", "storeAndForwardConfiguration": STORE}
    assert parse_desired(plain).routes == ()
    assert "'routes'" in refusal(plain | {"schemaVersion": "1.1"})
    assert "'routes'" in refusal(document(routes=None))


def test_1_0_takes_text_only() -> None:
    assert parse_desired(document("1.0", routes={"a": ROUTE, "b": None, "c": " "})).routes == (
        RouteSpec("a", ROUTE),
    )
    assert refusal(document("1.0", routes={"a": {"route": ROUTE}})).startswith(
        "Malformed route specification"
    )


@pytest.mark.parametrize("value", [1, None, [], True, {}, {"priority": 1}, {"route": 1}, {"route": None}])
def test_malformed_routes(value: object) -> None:
    assert refusal(document(routes={"a": value})).startswith("Malformed route specification: ")


@pytest.mark.parametrize("value", ["", "  ", {"route": " "}])
def test_blank_routes(value: object) -> None:
    assert refusal(document(routes={"a b": value})) == "Error parsing route ['a b'] - the route is empty"


def test_empty_route_names() -> None:
    assert refusal(document(routes={" ": ROUTE})).startswith("Empty route name in {")


@pytest.mark.parametrize("priority", [10, -1, 1_999_999_999, 2_000_000_001, 2**40])
def test_priorities_out_of_range(priority: int) -> None:
    text = refusal(document(routes={"a": {"route": ROUTE, "priority": priority}}))
    assert text.startswith(f"Invalid priority for route: {ROUTE}, priority can only be between 0-9")
    assert str(priority) in text


@pytest.mark.parametrize("priority", range(10))
def test_priorities_in_range(priority: int) -> None:
    assert (
        parse_desired(document(routes={"a": {"route": ROUTE, "priority": priority}})).routes[0].priority
        == priority
    )


@pytest.mark.parametrize("ttl", [-1, 2**32, "x", 1.5, True, {}])
def test_times_to_live_of_routes_out_of_range(ttl: object) -> None:
    assert "routes.a.timeToLiveSecs" in refusal(
        document(routes={"a": {"route": ROUTE, "timeToLiveSecs": ttl}})
    )


@pytest.mark.parametrize(("ttl", "expected"), [(0, 0), (None, 0), (1, 1), (2**32 - 1, 2**32 - 1), ("60", 60)])
def test_times_to_live_of_routes(ttl: object, expected: int) -> None:
    config = parse_desired(document(routes={"a": {"route": ROUTE, "timeToLiveSecs": ttl}}))
    assert config.routes[0].ttl_secs == expected


@pytest.mark.parametrize("store", [None, "x", [], 1])
def test_the_store_section_is_required(store: object) -> None:
    assert "storeAndForwardConfiguration" in refusal(document(storeAndForwardConfiguration=store))


def test_the_store_section_must_be_there() -> None:
    assert "storeAndForwardConfiguration" in refusal({"schemaVersion": "1.1", "routes": {}})


@pytest.mark.parametrize(
    ("store", "ttl", "limit"),
    [
        ({}, 0, None),
        ({"timeToLiveSecs": None}, 0, None),
        ({"TIMETOLIVESECS": 5}, 5, None),
        ({"timeToLiveSecs": -(2**31)}, -(2**31), None),
        ({"timeToLiveSecs": 1, "storeLimits": None}, 1, None),
        ({"timeToLiveSecs": 1, "storeLimits": {}}, 1, 0),
        ({"timeToLiveSecs": 1, "storeLimits": {"maxSizeBytes": 2**40}}, 1, 2**40),
    ],
)
def test_store_sections(store: dict[str, Any], ttl: int, limit: int | None) -> None:
    config = parse_desired(document(storeAndForwardConfiguration=store))
    assert (config.ttl_secs, config.store_bytes_max) == (ttl, limit)


@pytest.mark.parametrize(
    "store",
    [
        {"timeToLiveSecs": 2**31},
        {"timeToLiveSecs": "soon"},
        {"storeLimits": 1},
        {"storeLimits": {"maxSizeBytes": "x"}},
        {"storeLimits": {"overflowPolicy": "dropOldest"}},
        {"storeLimits": {"maxSizeBytes": 1, "overflowPolicy": "dropNewest"}},
        {"storeLimits": {"maxSizeBytes": 1, "overflowPolicy": 1}},
    ],
)
def test_bad_store_sections(store: dict[str, Any]) -> None:
    assert "must be" in refusal(document(storeAndForwardConfiguration=store))


def test_the_number_of_routes_is_bounded() -> None:
    routes = {f"r{number}": ROUTE for number in range(ROUTES_MAX)}
    assert len(parse_desired(document(routes=routes)).routes) == ROUTES_MAX
    assert str(ROUTES_MAX) in refusal(document(routes=routes | {"one": ROUTE}))


def test_keys_other_than_the_version_are_found_in_any_case() -> None:
    config = parse_desired(
        {"schemaVersion": "1.1", "ROUTES": {"a": {"Route": ROUTE}}, "storeandforwardconfiguration": STORE}
    )
    assert config.routes == (RouteSpec("a", ROUTE),)


def test_names_in_messages() -> None:
    assert path_name("up_1") == "up_1"
    assert path_name("a b") == "['a b']"


def test_version_numbers() -> None:
    assert document_version({"$version": 7}) == 7
    assert document_version({"$version": "7"}) is None
    assert document_version({"$version": True}) is None
    assert document_version({}) is None


def test_merging_deletes_merges_and_replaces() -> None:
    base = {"routes": {"a": "1", "b": {"route": "2", "priority": 1}}, "list": [1, 2], "x": {"y": 1}}
    patch = {
        "routes": {"a": None, "b": {"priority": None}, "c": "3"},
        "list": [3],
        "x": 5,
        "new": {"z": None},
    }
    assert merge_patch(base, patch) == {
        "routes": {"b": {"route": "2"}, "c": "3"},
        "list": [3],
        "x": 5,
        "new": {},
    }
    assert base["routes"] == {"a": "1", "b": {"route": "2", "priority": 1}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


@given(OBJECT, OBJECT)
def test_merging_twice_is_merging_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(base, patch)
    assert merge_patch(once, patch) == once


@given(OBJECT)
def test_merging_nothing_changes_nothing(base: dict[str, Any]) -> None:
    assert merge_patch(base, {}) == base


@given(
    st.dictionaries(
        st.sampled_from(["schemaVersion", "routes", "storeAndForwardConfiguration", "mqttBroker"]),
        JSON | st.just("1.2"),
    )
)
def test_any_document_is_parsed_or_refused(value: dict[str, Any]) -> None:
    with contextlib.suppress(DesiredConfigError):
        parse_desired(value)
