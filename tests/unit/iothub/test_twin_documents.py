"""Twin documents: metadata, etags, limits, notifications (rows 101 to 103, 105, 107, 108)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.errors import EdgehubError
from edgehub.protocol.reported import check_reported
from iothub.errors import ErrorCode, HubError
from iothub.twins.model import Twin, TwinRequest, parse_twin_request, patch_twin, replace_twin, report

NOW = 1_767_225_600.0
STAMP = "2026-01-01T00:00:00.000Z"

keys = st.sampled_from("abc")
leaves = st.integers(0, 3) | st.booleans() | st.text(max_size=3) | st.lists(st.integers(0, 2), max_size=2)
documents = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
sections = st.dictionaries(keys, documents, max_size=3)
patches = st.dictionaries(
    keys,
    st.recursive(leaves | st.none(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8),
    max_size=3,
)


def desired(twin: Twin, patch: dict[str, Any], if_match: str | None = None) -> Twin:
    return patch_twin(twin, TwinRequest(None, patch), if_match, NOW).twin


@given(sections, patches)
def test_row_102_metadata_mirrors_the_document(section: dict[str, Any], patch: dict[str, Any]) -> None:
    twin = desired(Twin(), section) if section else Twin()
    twin = desired(twin, patch)

    def check(values: dict[str, Any], metadata: dict[str, Any]) -> None:
        assert "$lastUpdated" in metadata
        assert {key for key in metadata if not key.startswith("$")} == set(values)
        for key, value in values.items():
            if isinstance(value, dict):
                check(value, metadata[key])
            else:
                assert metadata[key] == {
                    "$lastUpdated": STAMP,
                    "$lastUpdatedVersion": metadata[key]["$lastUpdatedVersion"],
                }

    check(twin.desired.values, twin.desired.metadata)


def test_only_touched_nodes_are_stamped() -> None:
    twin = desired(desired(Twin(), {"a": 1, "b": {"c": 1, "d": 1}}), {"b": {"c": 2}})
    metadata = twin.desired.metadata
    assert metadata["a"]["$lastUpdatedVersion"] == 2
    assert metadata["b"]["$lastUpdatedVersion"] == 3
    assert metadata["b"]["c"]["$lastUpdatedVersion"] == 3
    assert metadata["b"]["d"]["$lastUpdatedVersion"] == 2
    assert twin.desired.version == 3


def test_row_103_and_107_etags() -> None:
    """The etag counts changes of the service; a report leaves it alone. Vector 12.2 for its shape."""
    twin = Twin()
    assert twin.etag == "AAAAAAAAAAE="
    reported = report(twin, {"x": 1}, None, NOW)
    assert reported.etag == twin.etag
    assert (reported.version, reported.reported.version) == (2, 2)
    changed = desired(reported, {"y": 1}, f'"{twin.etag}"')
    assert changed.etag == "AAAAAAAAAAI="
    for good in ("*", '"*"', changed.etag, f'"{changed.etag}"'):
        desired(changed, {"y": 2}, good)
    with pytest.raises(HubError) as caught:
        desired(changed, {"y": 2}, f'"{twin.etag}"')
    assert caught.value.code is ErrorCode.PreconditionFailed


def test_row_108_an_empty_report_is_a_probe() -> None:
    twin = Twin()
    assert report(twin, {}, None, NOW) is twin
    assert report(twin, {"$version": 9, "$metadata": {}}, None, NOW) is twin


def test_reports_may_name_the_version_they_build_on() -> None:
    twin = report(Twin(), {"a": 1}, 1, NOW)
    with pytest.raises(HubError) as caught:
        report(twin, {"a": 2}, 1, NOW)
    assert caught.value.code is ErrorCode.PreconditionFailed


def test_replacing_keeps_absent_sections_and_tells_the_difference() -> None:
    twin = patch_twin(Twin(), TwinRequest({"t": 1}, {"a": 1, "b": {"c": 1}}), None, NOW).twin
    change = replace_twin(twin, TwinRequest(None, {"b": {"c": 2}}), None, NOW)
    assert change.twin.tags == {"t": 1}
    assert change.twin.desired.values == {"b": {"c": 2}}
    assert change.notification == {"a": None, "b": {"c": 2}}
    tags_only = replace_twin(twin, TwinRequest({}, None), None, NOW)
    assert tags_only.twin.tags == {}
    assert tags_only.twin.desired is twin.desired
    assert tags_only.notification is None


def test_service_members_are_ignored_in_requests() -> None:
    """Section 3.1: clients send `$version` and `$metadata` back."""
    body = {
        "tags": {"a": 1, "$metadata": {}},
        "properties": {"desired": {"b": 1, "$version": 4}},
        "etag": "*",
    }
    assert parse_twin_request(body) == TwinRequest({"a": 1}, {"b": 1})
    assert parse_twin_request({}) == TwinRequest(None, None)


def nested(depth: int) -> dict[str, Any]:
    """A section with so many levels of objects below it."""
    document: dict[str, Any] = {"leaf": 1}
    for _ in range(depth):
        document = {"n": document}
    return document


def filled(size: int) -> dict[str, Any]:
    """A section of exactly this many bytes: keys of four and values of up to 4096."""
    section: dict[str, Any] = {}
    number = 0
    while size > 0:
        take = min(4096, size - 4)
        section[f"{number:04d}"] = "x" * take
        size -= take + 4
        number += 1
    return section


AT_LIMIT = [
    nested(10),
    {"a": "x" * 4096},
    {"a": "é" * 2048},
    {"k" * 1024: 1},
    {"a": 2**52 - 1, "b": -(2**52)},
    {"a": [[[1]]]},
    {"a": [[[[[[[[[[1]]]]]]]]]]},
    filled(32768),
    {"a": "\x01" * 5000},
]
BEYOND = [
    nested(11),
    {"a": "x" * 4097},
    {"a": "é" * 2049},
    {"k" * 1025: 1},
    {"a": [[[[[[[[[[[1]]]]]]]]]]]},
    {"a": 2**52},
    {"a": -(2**52) - 1},
    {"a.b": 1},
    {"$a": 1},
    {"a b": 1},
    {"a\x00": 1},
    {"a\x85": 1},
    {"": 1},
    {"a": {"b.c": 1}},
    {"a": [{"b.c": 1}]},
    filled(32769),
]


@pytest.mark.parametrize("section", AT_LIMIT, ids=range(len(AT_LIMIT)))
def test_row_101_at_the_limit(section: dict[str, Any]) -> None:
    assert desired(Twin(), section).desired.values == section
    assert report(Twin(), section, None, NOW).reported.values == section


@pytest.mark.parametrize("section", BEYOND, ids=range(len(BEYOND)))
def test_row_101_beyond_the_limit(section: dict[str, Any]) -> None:
    request = TwinRequest(None, section)
    for call in (
        lambda: patch_twin(Twin(), request, None, NOW),
        lambda: replace_twin(Twin(), request, None, NOW),
        lambda: report(Twin(), section, None, NOW),
    ):
        with pytest.raises(HubError) as caught:
            call()
        assert caught.value.code is ErrorCode.ArgumentInvalid


@pytest.mark.parametrize("section", [nested(10), nested(11)], ids=["10", "11"])
def test_levels_are_counted_as_the_gateway_counts_them(section: dict[str, Any]) -> None:
    """What a gateway took while it was offline must not be refused here."""
    judged = []
    for judge in (check_reported, lambda patch: report(Twin(), patch, None, NOW)):
        try:
            judge(section)
            judged.append(True)
        except EdgehubError:
            judged.append(False)
    assert judged in ([True, True], [False, False])


def test_tags_have_a_smaller_limit_and_null_cannot_be_stored() -> None:
    patch_twin(Twin(), TwinRequest(filled(8192), None), None, NOW)
    for request in (TwinRequest(filled(8193), None), TwinRequest({"a.b": 1}, None)):
        with pytest.raises(HubError):
            patch_twin(Twin(), request, None, NOW)
    with pytest.raises(HubError, match="null"):
        replace_twin(Twin(), TwinRequest(None, {"a": None}), None, NOW)


@pytest.mark.parametrize("body", [{"tags": 1}, {"properties": []}, {"properties": {"desired": "x"}}])
def test_malformed_requests(body: dict[str, Any]) -> None:
    with pytest.raises(HubError):
        parse_twin_request(body)


def test_row_104_device_view() -> None:
    twin = patch_twin(Twin(), TwinRequest({"t": 1}, {"a": 1}), None, NOW).twin
    assert twin.device_view() == {"desired": {"a": 1, "$version": 2}, "reported": {"$version": 1}}
