"""Merge patches: applying, finding the smallest, gathering what waits (heads spec 7.3, 7.4, T-007, T-012;
iothub spec rows 98 to 101 and 105, vector 12.6)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.merge_patch import Gathered, difference, merge

keys = st.sampled_from("abc")
leaves = st.integers(0, 2) | st.booleans() | st.lists(st.integers(0, 1), max_size=2)
documents = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
objects = st.dictionaries(keys, documents, max_size=3)
values = st.recursive(
    leaves | st.none(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
patches = st.dictionaries(keys, values, max_size=3)


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": [1, None]}, {"a": [1, None]}),
        ({}, {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_rows_99_to_101_t_012_merge(
    before: dict[str, Any], patch: dict[str, Any], after: dict[str, Any]
) -> None:
    kept = dict(before)
    assert merge(before, patch) == after
    assert before == kept


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": {"x": 1}, "b": {}}, {"a": {"x": 1, "y": 2}}, {"a": {"y": 2}, "b": None}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [2, 1]}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}),
    ],
)
def test_row_105_difference(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]) -> None:
    assert difference(old, new) == patch


@given(objects, patches, patches)
def test_row_98_the_last_writer_of_a_member_wins(
    target: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    once = merge(target, first)
    assert merge(once, first) == once
    both = merge(once, second)
    for key, value in second.items():
        if value is None:
            assert key not in both
        elif not isinstance(value, dict):
            assert both[key] == value
    assert all(both[key] == once[key] for key in both.keys() - second.keys())


@given(objects, objects)
def test_row_105_the_difference_leads_from_one_document_to_the_other(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    patch = difference(old, new)
    assert merge(old, patch) == new
    assert difference(new, new) == {}


@given(objects, st.lists(patches, max_size=6))
def test_gathered_patches_do_what_all_in_a_row_would_do(
    target: dict[str, Any], waiting: list[dict[str, Any]]
) -> None:
    gathered = reduce(Gathered.plus, waiting, Gathered())
    assert gathered.apply(target) == reduce(merge, waiting, target)
    assert reduce(merge, gathered.steps, target) == gathered.apply(target)


@given(objects, st.lists(patches, max_size=4), st.lists(patches, max_size=4))
def test_what_could_not_be_sent_goes_before_what_came_since(
    target: dict[str, Any], sent: list[dict[str, Any]], since: list[dict[str, Any]]
) -> None:
    gathered = reduce(Gathered.plus, sent, Gathered()).then(reduce(Gathered.plus, since, Gathered()))
    assert gathered.apply(target) == reduce(merge, [*sent, *since], target)


def test_nulls_are_kept_for_the_other_side() -> None:
    gathered = Gathered().plus({"a": 1, "b": {"c": 2}}).plus({"a": None, "b": {"c": None}})
    assert gathered == Gathered({}, {"a": None, "b": {"c": None}})
    assert len(gathered.steps) == 1


def test_an_object_that_comes_back_is_cleared_first() -> None:
    gathered = Gathered().plus({"a": None}).plus({"a": {"x": 1}})
    assert gathered.steps == ({"a": None}, {"a": {"x": 1}})
    assert gathered.plus({"a": 5}).steps == ({"a": 5},)


def test_nothing_waits() -> None:
    assert not Gathered()
    assert Gathered().plus({"a": None})
    assert Gathered().steps == ()
