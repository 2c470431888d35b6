"""Declared routes: forms, errors, replacement."""

from __future__ import annotations

import pickle
from collections import UserDict
from typing import Any

import pytest

from edgehub.router import Condition, Delivery, RouteError, RouteFault, Router, check

UP = "FROM /* INTO $upstream"

MALFORMED: list[tuple[str, Any, str]] = [
    ("1.1", None, "expected a string or an object, found None"),
    ("1.1", 7, "expected a string or an object, found int"),
    ("1.1", ["x"], "expected a string or an object, found list"),
    ("1.0", True, "expected a string or an object, found bool"),
    ("1.1", {}, "key 'route' is missing"),
    ("1.1", {"route": None}, "key 'route' must be str, not None"),
    ("1.2", {"route": 5}, "key 'route' must be str, not int"),
    ("1.1", {"route": UP, "priority": "5"}, "key 'priority' must be a whole number, not str"),
    ("1.1", {"route": UP, "priority": True}, "key 'priority' must be a whole number, not bool"),
    ("1.3", {"route": UP, "priority": 1.0}, "key 'priority' must be a whole number, not float"),
    ("1.1", {"route": UP, "timeToLiveSecs": []}, "key 'timeToLiveSecs' must be a whole number, not list"),
    ("1.1", {"route": UP, "timeToLiveSecs": 2**70}, f"key 'timeToLiveSecs' is out of range: {2**70}"),
]


@pytest.mark.parametrize(("schema", "value", "text"), MALFORMED)
def test_malformed_routes_are_told(schema: str, value: Any, text: str) -> None:
    routes = {"good": UP, "bad": value}
    with pytest.raises(RouteError) as raised:
        Router(routes, schema=schema)
    (fault,) = raised.value.faults
    assert (fault.route, fault.code) == ("bad", "malformed")
    assert fault.message == f"Malformed route specification: {text}."
    assert str(raised.value) == f"route 'bad': {fault.message}"
    report = check(routes, schema=schema)
    assert not report.valid
    assert [len(route.errors) for route in report.routes.values()] == [0, 1]
    (told,) = report.routes["bad"].errors
    assert (told.code, told.message, told.hint) == ("malformed", fault.message, None)
    assert (told.line, told.column, told.end_line, told.end_column) == (1, 1, 1, 1)


@pytest.mark.parametrize("routes", [None, 7, "FROM", [UP], [("r", UP)]])
def test_routes_are_a_mapping(routes: Any) -> None:
    for call in (Router, check):
        with pytest.raises(TypeError) as raised:
            call(routes)
        assert str(raised.value) == (
            f"routes must be a mapping of names to routes, not {type(routes).__name__}"
        )


def test_names_are_strings() -> None:
    for call in (Router, check):
        with pytest.raises(TypeError) as raised:
            call({7: UP})  # type: ignore[dict-item]
        assert str(raised.value) == "names of routes must be str, not int: 7"
    with pytest.raises(ValueError, match="half a surrogate pair is no text"):
        Router({"r": "\ud800"})


@pytest.mark.parametrize("schema", ["", "1", "2.0", "0.9", "1.x", "1.", "v1.1", "1.1.", "1..1", "\uff11.1"])
def test_unknown_schemas_are_refused(schema: str) -> None:
    for call in (Router, check):
        with pytest.raises(ValueError, match=r"is not known; expected 1\.0 or a later 1\.x$"):
            call({"r": UP}, schema=schema)


@pytest.mark.parametrize("schema", ["1.1", "1.2", "1.3", "1.4", "1.10", "1.1.0"])
def test_later_schemas_take_objects(schema: str) -> None:
    router = Router({"r": {"route": UP, "priority": 3, "timeToLiveSecs": 5}}, schema=schema)
    assert router.match({}) == (Delivery("iothub", "r", 3, 5),)


def test_schema_1_0_takes_strings_and_skips_blank_ones() -> None:
    routes = {"a": UP, "b": None, "c": "", "d": " \t"}
    assert Router(routes, schema="1.0").routes == ("a",)
    assert list(check(routes, schema="1.0").routes) == ["a"]
    with pytest.raises(RouteError, match=r"schema 1\.0 takes a route as a string only"):
        Router({"a": {"route": UP}}, schema="1.0")


def test_keys_of_an_object_are_read_as_the_hub_reads_them() -> None:
    value = UserDict({"Route": UP, "PRIORITY": 3, "timetolivesecs": None, "priority": 4})
    assert Router({"r": value}).match({}) == (Delivery("iothub", "r", 4, 0),)
    report = check({"r": {"route": UP, "ttl": 5, 7: ""}})  # type: ignore[dict-item]
    assert report.valid
    assert [(w.code, w.message) for w in report.routes["r"].warnings if w.code == "unknown-key"] == [
        ("unknown-key", "Key 'ttl' is ignored; expected route, priority, timeToLiveSecs."),
        ("unknown-key", "Key 7 is ignored; expected route, priority, timeToLiveSecs."),
    ]


def test_all_faults_are_told_in_the_order_of_the_routes() -> None:
    routes = {
        "one": "FROM /* WHERE 1 = 'a' AND f(2) INTO $upstream",
        "two": 5,
        "three": UP,
        "four": {"route": UP, "priority": 11},
        "": UP,
    }
    with pytest.raises(RouteError) as raised:
        Router(routes)  # type: ignore[arg-type]
    told = [(fault.route, fault.code) for fault in raised.value.faults]
    assert told == [
        ("one", "binary-operands"),
        ("one", "unknown-function"),
        ("two", "malformed"),
        ("four", "priority"),
        ("", "empty-name"),
    ]
    report = check(routes)  # type: ignore[arg-type]
    assert list(report.routes) == ["", "one", "two", "three", "four"]
    found = [(name, fault.code) for name, route in report.routes.items() for fault in route.errors]
    assert sorted(found) == sorted(told)
    assert report.routes["three"].errors == []
    assert repr(report) == "<Report valid=False of 5 routes>"
    assert repr(report.routes["four"]) == "<RouteReport errors=1 warnings=0>"


def test_a_fault_says_where_and_what_is_right() -> None:
    with pytest.raises(RouteError) as raised:
        Router({"r": "FROM /messages\nWHERE temp > 20 INTO $upstream"})
    (fault,) = raised.value.faults
    assert isinstance(fault, RouteFault)
    assert (fault.line, fault.column, fault.end_line, fault.end_column) == (2, 12, 2, 13)
    assert fault.hint is not None
    assert "as_number" in fault.hint
    assert fault.text == f"{fault.message} {fault.hint}"
    assert str(raised.value) == f"route 'r' at 2:12-2:13: {fault.text}"
    assert repr(fault).startswith('RouteFault("r", "binary-operands", 2:12, "Invalid operands')
    with pytest.raises(RouteError, match=r"^at 1:1-1:2: Invalid built-in function 'f'"):
        Condition("f(1)")


def test_too_many_routes_are_a_fault_of_the_set() -> None:
    routes = {f"r{i}": UP for i in range(10_001)}
    with pytest.raises(RouteError, match=r"^10001 routes are more than 10000\.") as raised:
        Router(routes)
    assert [(fault.route, fault.code) for fault in raised.value.faults] == [("", "too-many-routes")]
    report = check(routes)
    assert next(iter(report.routes)) == ""
    assert [fault.code for fault in report.routes[""].errors] == ["too-many-routes"]
    assert not report.valid


def test_check_does_not_stop_at_the_first_route() -> None:
    report = check({"a": "FROM", "b": UP, "c": {"route": UP, "priority": 99}})
    codes = {name: [fault.code for fault in route.errors] for name, route in report.routes.items()}
    assert codes == {"a": ["syntax"], "b": [], "c": ["priority"]}
    assert check({"b": UP}).valid
    assert check({}).valid
    assert check({}).routes == {}


def test_check_looks_at_the_text_of_a_route_whose_priority_is_wrong() -> None:
    report = check({"r": {"route": "FROM /* WHERE a == 3 INTO $upstream", "priority": 12}})
    assert [error.code for error in report.routes["r"].errors] == ["priority", "syntax"]


def test_replacement_is_all_or_nothing() -> None:
    router = Router(
        {"a": UP, "b": "FROM /x/* INTO BrokeredEndpoint('/modules/m/inputs/i')"}, edge_device_id="e"
    )
    assert (router.routes, router.endpoints) == (("a", "b"), ("iothub", "e/m/i"))
    assert repr(router) == "<Router of 2 routes to 2 endpoints>"
    with pytest.raises(RouteError):
        router.replace({"c": UP, "d": "FROM"})
    assert router.routes == ("a", "b")
    router.replace({"c": "FROM /* INTO BrokeredEndpoint('/modules/n/inputs/i')"})
    assert (*router.routes, *router.endpoints) == ("c", "e/n/i")
    assert [delivery.route for delivery in router.match({})] == ["c"]
    router.replace({})
    assert router.match({}) == ()


def test_a_replacement_keeps_to_the_schema() -> None:
    router = Router({"a": ""}, schema="1.0")
    assert router.routes == ()
    with pytest.raises(RouteError):
        router.replace({"a": {"route": UP}})


def test_a_delivery_is_a_value() -> None:
    delivery = Delivery("iothub", "r", 1, 2)
    assert delivery == Delivery("iothub", "r", 1, 2)
    assert len({delivery, Delivery("iothub", "r", 1, 2), Delivery("iothub", "s", 1, 2)}) == 2
    others = [("x", "r", 1, 2), ("iothub", "x", 1, 2), ("iothub", "r", 0, 2), ("iothub", "r", 1, 0)]
    assert all(delivery != Delivery(*other) for other in others)
    assert delivery != ("iothub", "r", 1, 2)
    assert repr(delivery) == "Delivery(endpoint='iothub', route='r', priority=1, ttl_secs=2)"
    assert pickle.loads(pickle.dumps(delivery)) == delivery
    with pytest.raises(AttributeError):
        delivery.priority = 5
    match delivery:
        case Delivery(endpoint, "r", priority):
            assert (endpoint, priority) == ("iothub", 1)
        case _:
            pytest.fail("no match by position")


def test_results_are_made_once() -> None:
    router = Router({"a": "FROM /* WHERE kind = 'a' INTO $upstream"})
    message = {"properties": {"kind": "a"}}
    first, second = router.match_many([message, message])
    assert first is second
    assert first[0] is router.match(message)[0]
    assert first[0] is router.match_encoded(encode_twice(message))[1][0]


def encode_twice(message: dict[str, Any]) -> bytes:
    from edgehub.router import encode_many

    return encode_many([message, message])


def test_more_lists_of_deliveries_than_are_kept() -> None:
    """13 routes that match or not make 8192 lists, twice as many as are kept."""
    names = [f"p{i}" for i in range(13)]
    routes = {
        name: f"FROM /* WHERE {name} = '1' INTO BrokeredEndpoint('/modules/m/inputs/{name}')"
        for name in names
    }
    router = Router(routes)
    bits = [format(number, "013b") for number in range(2**13)]
    messages = [{"properties": dict(zip(names, row, strict=True))} for row in bits]
    for _ in range(2):
        results = router.match_many(messages)
        found = ["".join("1" if name in {d.route for d in row} else "0" for name in names) for row in results]
        assert found == bits


def test_conditions_tell_their_text_and_complexity() -> None:
    condition = Condition("NOT is_defined(a) OR {$b} = 'c'")
    assert (condition.text, condition.complexity) == ("NOT is_defined(a) OR {$b} = 'c'", 11)
    assert repr(Condition("a = 'x'")) == "Condition(\"a = 'x'\")"
    text = "twin_change_includes(properties.reported.a)"
    with pytest.raises(RouteError):
        Condition(text)
    included = Condition(text, twin_change_includes=True)
    system = {"contentType": "application/json", "contentEncoding": "utf-8"}
    body = '{"properties":{"reported":{"a":1}}}'
    assert included.evaluate({"systemProperties": system, "body": body}) == "true"
