"""Twins in the database and word of their changes (rows 98 to 108), on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.merge_patch import merge
from iothub.database import Database
from iothub.errors import ErrorCode, HubError
from iothub.registry.model import parse_device, parse_module
from iothub.registry.service import Registry
from iothub.twins.model import Twin, TwinRequest
from iothub.twins.service import Twins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_767_225_600.0
Key = tuple[str, str | None]
KEYS: list[Key] = [("d1", None), ("d1", "m1")]


class Hub:
    """Registry and twins over one database, with a device `d1` that has a module `m1`."""

    def __init__(self, place: Path | str) -> None:
        self.database = Database(place)
        self.registry = Registry(self.database, lambda: NOW)
        self.twins = Twins(self.database, lambda: NOW)

    async def register(self) -> None:
        await self.registry.put_device(parse_device("d1", {}), None)
        await self.registry.put_module(parse_module("d1", "m1", {}), None)

    def listen(self, key: Key) -> list[dict[str, Any]]:
        """Notifications of desired changes from now on, as a subscriber gets them."""
        heard: list[dict[str, Any]] = []
        self.twins.subscribe(*key, lambda patch, version: heard.append({**patch, "$version": version}))
        return heard


@pytest.fixture
async def hub(place: Path | str) -> AsyncIterator[Hub]:
    made = Hub(place)
    await made.register()
    yield made
    made.database.close()


def desired(patch: dict[str, Any]) -> TwinRequest:
    return TwinRequest(None, patch)


async def code_of(call: Any) -> ErrorCode:
    with pytest.raises(HubError) as caught:
        await call
    return caught.value.code


@pytest.mark.parametrize("key", KEYS, ids=str)
async def test_a_twin_is_kept_as_it_is_told(hub: Hub, key: Key, place: Path | str) -> None:
    document: dict[str, Any] = {
        "text": "ä\x00\U0001f600",
        "list": [None, 1.5, {"x": []}],
        "deep": {"n": 2**52 - 1, "b": False},
    }
    await hub.twins.patch(*key, TwinRequest({"site": {"a": "\x00"}}, document), None)
    told = await hub.twins.report(*key, document)
    assert (told.desired.values, told.reported.values) == (document, document)
    assert (told.tags, told.version) == ({"site": {"a": "\x00"}}, 3)
    hub.database.close()
    again = Hub(place)
    assert await again.twins.get(*key) == told
    again.database.close()


async def test_a_new_twin_is_empty_and_those_of_one_device_are_apart(hub: Hub) -> None:
    assert await hub.twins.get("d1", None) == Twin()
    await hub.twins.patch("d1", "m1", desired({"a": 1}), None)
    assert await hub.twins.get("d1", None) == Twin()


async def test_twins_come_and_go_with_their_identity(hub: Hub) -> None:
    await hub.twins.patch("d1", "m1", desired({"a": 1}), None)
    await hub.registry.delete_module("d1", "m1", None)
    assert await code_of(hub.twins.get("d1", "m1")) is ErrorCode.ModuleNotFound
    await hub.registry.put_module(parse_module("d1", "m1", {}), None)
    assert await hub.twins.get("d1", "m1") == Twin()
    await hub.registry.delete_device("d1", None)
    assert await code_of(hub.twins.get("d1", None)) is ErrorCode.DeviceNotFound
    assert await code_of(hub.twins.get("d1", "m1")) is ErrorCode.ModuleNotFound


@pytest.mark.parametrize("key", [("no", None), ("d1", "no"), ("d\x00", None)], ids=repr)
async def test_twins_of_nobody(hub: Hub, key: Key) -> None:
    want = ErrorCode.DeviceNotFound if key[1] is None else ErrorCode.ModuleNotFound
    assert await code_of(hub.twins.get(*key)) is want
    assert await code_of(hub.twins.patch(*key, desired({}), "*")) is want
    assert await code_of(hub.twins.replace(*key, desired({}), '"*"')) is want
    assert await code_of(hub.twins.report(*key, {"a": 1})) is want


@pytest.mark.parametrize("form", [None, "*", '"*"', "{}", '"{}"'])
@pytest.mark.parametrize("change", ["patch", "replace"])
async def test_row_103_etags_that_match(hub: Hub, change: str, form: str | None) -> None:
    before = await hub.twins.get("d1", None)
    if_match = None if form is None else form.format(before.etag)
    after: Twin = await getattr(hub.twins, change)("d1", None, desired({"a": 1}), if_match)
    assert (after.etag, after.desired.version) == ("AAAAAAAAAAI=", 2)
    assert await hub.twins.get("d1", None) == after


@pytest.mark.parametrize("if_match", ["AAAAAAAAAAE=", '"AAAAAAAAAAE="', "", '""', "AAAAAAAAAAI", "1"])
@pytest.mark.parametrize("change", ["patch", "replace"])
async def test_row_103_stale_etags_change_nothing(hub: Hub, change: str, if_match: str) -> None:
    heard = hub.listen(("d1", None))
    before = await hub.twins.patch("d1", None, desired({"a": 1}), None)
    call = getattr(hub.twins, change)("d1", None, desired({"a": 2}), if_match)
    assert await code_of(call) is ErrorCode.PreconditionFailed
    assert await hub.twins.get("d1", None) == before
    assert heard == [{"a": 1, "$version": 2}]


async def test_one_of_two_changes_with_the_same_etag_is_taken(hub: Hub) -> None:
    etag = (await hub.twins.get("d1", None)).etag
    calls = [hub.twins.patch("d1", None, desired({"a": number}), etag) for number in range(5)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(item, Twin) for item in done] == [True, False, False, False, False]


@pytest.mark.parametrize("key", KEYS, ids=str)
async def test_row_105_and_vector_12_6_the_smallest_notification(hub: Hub, key: Key) -> None:
    old = {"modules": {"a": {"x": 1}, "b": {}}}
    new = {"modules": {"a": {"x": 1, "y": 2}}}
    await hub.twins.replace(*key, desired(old), None)
    heard = hub.listen(key)
    after = await hub.twins.replace(*key, desired(new), None)
    assert after.desired.version == 3
    assert heard == [{"modules": {"a": {"y": 2}, "b": None}, "$version": 3}]


async def test_row_105_a_subscriber_that_merges_has_what_a_reader_gets(hub: Hub) -> None:
    heard = hub.listen(("d1", None))
    documents: list[dict[str, Any]] = [
        {"a": {"b": 1, "c": [1]}, "d": 1},
        {"a": 5, "d": {"e": {}}},
        {"a": {"c": True}},
        {"a": {"c": 1}},
        {},
    ]
    for document in documents:
        after = await hub.twins.replace("d1", None, desired(document), None)
        versions = [patch["$version"] for patch in heard]
        merged: dict[str, Any] = reduce(merge, heard, {})
        assert merged == after.desired.device_view()
    assert versions == [2, 3, 4, 5, 6]


async def test_tags_and_reports_are_not_notified(hub: Hub) -> None:
    heard = hub.listen(("d1", None))
    await hub.twins.patch("d1", None, TwinRequest({"a": 1}, None), None)
    await hub.twins.replace("d1", None, TwinRequest({}, None), None)
    await hub.twins.report("d1", None, {"a": 1})
    assert heard == []


async def test_a_patch_of_what_is_there_already_is_a_change(hub: Hub) -> None:
    """Section 3.2: clients may count on the version."""
    heard = hub.listen(("d1", None))
    for _ in range(2):
        await hub.twins.patch("d1", None, desired({"a": 1}), None)
    assert heard == [{"a": 1, "$version": 2}, {"a": 1, "$version": 3}]


async def test_row_106_nothing_is_kept_for_who_is_away(hub: Hub) -> None:
    cancel = hub.twins.subscribe("d1", None, lambda *_: pytest.fail("the device is away"))
    cancel()
    await hub.twins.patch("d1", None, desired({"a": 1, "b": 1}), None)
    await hub.twins.patch("d1", None, desired({"b": None}), None)
    heard = hub.listen(("d1", None))
    view = (await hub.twins.get("d1", None)).device_view()
    assert view["desired"] == {"a": 1, "$version": 3}
    assert heard == []
    await hub.twins.patch("d1", None, desired({"c": 1}), None)
    assert heard == [{"c": 1, "$version": 4}]


async def test_row_107_a_report_does_not_disturb_the_etag(hub: Hub) -> None:
    before = await hub.twins.get("d1", None)
    reported = await hub.twins.report("d1", None, {"a": 1})
    assert (reported.etag, reported.version, reported.reported.version) == (before.etag, 2, 2)
    await hub.twins.patch("d1", None, desired({"a": 1}), before.etag)


async def test_row_108_an_empty_report_changes_nothing(hub: Hub) -> None:
    before = await hub.twins.report("d1", None, {"a": 1})
    assert await hub.twins.report("d1", None, {}) == before
    assert await hub.twins.get("d1", None) == before
