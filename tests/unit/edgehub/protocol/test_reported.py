"""Limits of reported properties (heads spec 7.5, T-011, T-012, DEV-7)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.reported import ReportedError, check_reported, parse_reported


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {"leaf": 1}
    for _ in range(levels):
        document = {"level": document}
    return document


def arrays(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"a": value}


def sized(total: int) -> dict[str, Any]:
    """A patch of that many bytes as JSON, of values that are not too long."""
    document = {f"k{index}": "x" * 4000 for index in range(8)}
    document["rest"] = ""
    missing = total - len(json.dumps(document, separators=(",", ":")))
    return {**document, "rest": "y" * missing}


ALLOWED = {
    "empty": {},
    "all types": {"s": "x", "i": 1, "f": 1.5, "b": True, "n": None, "o": {"a": 1}, "l": [1, "a", [2.5]]},
    "integer max": {"i": 4503599627370495},
    "integer min": {"i": -4503599627370496},
    "name of 1024 bytes": {"n" * 1024: 1},
    "name of 1024 bytes in two-byte letters": {"ä" * 512: 1},
    "text of 4096 bytes": {"s": "x" * 4096},
    "depth 10": nested(10),
    "arrays count as levels": arrays(10),
    "null deletes deep down": {"a": {"b": {"c": None}}},
    "array of objects": {"a": [{"x": 1}, {"y": {"z": 2}}]},
    "document of 32768 bytes": sized(32768),
}
REFUSED = {
    "integer above": ({"a": {"i": 4503599627370496}}, "a.i is outside"),
    "integer below": ({"i": -4503599627370497}, "i is outside"),
    "name of 1025 bytes": ({"n" * 1025: 1}, "the root has more than 1024"),
    "name of 1026 bytes in two-byte letters": ({"a": {"ä" * 513: 1}}, "a has more than 1024"),
    "dot": ({"a.b": 1}, "'a.b'"),
    "dollar": ({"a": {"$b": 1}}, r"'\$b' in a"),
    "hash": ({"a#": 1}, "'a#'"),
    "space": ({"a b": 1}, "'a b'"),
    "line separator": ({"a\u2028": 1}, "white space"),
    "control character": ({"a\x01": 1}, "control"),
    "upper control character": ({"a\x9f": 1}, "control"),
    "name in an object in an array": ({"a": [{"b.c": 1}]}, r"'b\.c' in a"),
    "text of 4097 bytes": ({"s": "x" * 4097}, "s has 4097 bytes"),
    "text of 4098 bytes in two-byte letters": ({"s": ["ä" * 2049]}, "s has 4098 bytes"),
    "depth 11": (nested(11), "deeper than 10"),
    "arrays nested too deep": (arrays(11), "deeper than 10"),
    "null in an array": ({"a": [1, None]}, "a has a null in an array"),
    "null in an object in an array": ({"a": [{"b": {"c": None}}]}, "a.b.c has a null"),
    "document of 32769 bytes": (sized(32769), "32769 bytes"),
}


@pytest.mark.parametrize("patch", ALLOWED.values(), ids=ALLOWED)
def test_t_011_allowed(patch: dict[str, Any]) -> None:
    assert parse_reported(json.dumps(patch).encode()) == patch


@pytest.mark.parametrize(("patch", "told"), REFUSED.values(), ids=REFUSED)
def test_t_011_refused(patch: dict[str, Any], told: str) -> None:
    with pytest.raises(ReportedError, match=told):
        parse_reported(json.dumps(patch).encode())


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e400}', "a is a number"),
        (b'{"a":' * 100_000, "not JSON"),
    ],
)
def test_dev_7_what_is_not_an_object_is_the_clients_fault(payload: bytes, told: str) -> None:
    with pytest.raises(ReportedError, match=told):
        parse_reported(payload)


def test_the_version_that_a_client_sends_back_is_left_out() -> None:
    assert parse_reported(b'{"a": 1, "$version": 7}') == {"a": 1}
    with pytest.raises(ReportedError):
        parse_reported(b'{"a": {"$version": 7}}')


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_patch_or_a_clear_error(payload: bytes) -> None:
    try:
        patch = parse_reported(payload)
    except ReportedError:
        return
    check_reported(patch)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values))
def test_any_document_is_taken_as_it_is_or_refused(document: dict[str, Any]) -> None:
    try:
        patch = parse_reported(json.dumps(document).encode())
    except ReportedError:
        return
    assert json.dumps(patch) == json.dumps({key: item for key, item in document.items() if key != "$version"})
