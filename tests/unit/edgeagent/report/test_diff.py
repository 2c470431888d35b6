"""Patches (rows R08, R09)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.report.diff import applied, diff, split_removals


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({}, {"a": None}, {}),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"m": {"x": {"s": 1}, "y": {}}}, {"m": {"y": {}}}, {"m": {"x": None}}),
        ({"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 3]}),
        ({"a": [1, 2]}, {"a": [1, 2]}, {}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": "1"}, {"a": 1}, {"a": 1}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
    ],
)
def test_vectors(before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]) -> None:
    assert diff(before, after) == patch


leaves = (
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.text("ab", max_size=2)
    | st.lists(st.integers(0, 1), max_size=2)
)
values = st.recursive(
    leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=10
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def clean(value: Any) -> Any:
    """As a twin holds it: without nulls."""
    if not isinstance(value, dict):
        return value
    return {name: clean(inner) for name, inner in value.items() if inner is not None}


@given(objects, objects)
def test_a_patch_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    start, end = clean(before), clean(after)
    patch = diff(start, after)
    assert repr(sorted_deep(applied(start, patch))) == repr(sorted_deep(end))
    assert diff(end, after) == {}
    removals, rest = split_removals(patch)
    assert repr(sorted_deep(applied(applied(start, removals), rest))) == repr(sorted_deep(end))


def sorted_deep(value: Any) -> Any:
    """In which true is not 1, and order makes no difference."""
    if not isinstance(value, dict):
        return value
    return sorted((name, sorted_deep(inner)) for name, inner in value.items())


def test_splitting() -> None:
    patch = {"a": None, "b": {"c": None, "d": 1}, "e": {}, "f": [None]}
    assert split_removals(patch) == ({"a": None, "b": {"c": None}}, {"b": {"d": 1}, "e": {}, "f": [None]})
