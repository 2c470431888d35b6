"""Many identities in one request (rows 81 and 92)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol import amqp_errors
from iothub import jsonio
from iothub.errors import ErrorCode, HubError
from iothub.registry.bulk import (
    BULK_MAX,
    BulkRegistry,
    BulkResult,
    ImportMode,
    parse_renewal,
    read_entries,
)
from iothub.registry.model import KeyChoice
from unit.iothub.hub_rig import Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        yield made


async def apply(rig: Rig, *entries: dict[str, Any]) -> BulkResult:
    return await BulkRegistry(rig.registry, rig.twins).apply(read_entries(list(entries)))


def codes(result: BulkResult) -> list[tuple[str, str | None, str]]:
    return [(error["deviceId"], error["moduleId"], error["errorCode"]) for error in result.errors]


async def devices(rig: Rig) -> list[str]:
    return [device.device_id for device in await rig.registry.devices(1000)]


async def test_row_81_a_hundred_devices_and_no_more(rig: Rig) -> None:
    entries = [{"id": f"d{number:03}", "importMode": "create"} for number in range(BULK_MAX + 1)]
    with pytest.raises(HubError) as caught:
        read_entries(entries)
    assert caught.value.code is ErrorCode.TooManyDevices
    result = await apply(rig, *entries[:BULK_MAX])
    assert result.view() == {"isSuccessful": True, "errors": [], "warnings": []}
    assert len(await devices(rig)) == BULK_MAX == 100


async def test_row_81_good_and_bad_entries(rig: Rig) -> None:
    await rig.device("there")
    result = await apply(
        rig,
        {"id": "one"},
        {"id": "there", "importMode": "create"},
        {"id": "a/b"},
        {"id": "two", "status": "asleep"},
        {"id": "absent", "importMode": "update"},
        {"id": "absent2", "importMode": "delete"},
        {"id": "three", "importMode": "replace"},
        {"id": "four", "importMode": 4},
        {"id": "there", "moduleId": "m", "importMode": "update"},
        {"id": "five", "deviceScope": "ms-azure-iot-edge://nobody-1"},
        {"id": "last"},
    )
    assert codes(result) == [
        ("there", None, "DeviceAlreadyExists"),
        ("a/b", None, "ArgumentInvalid"),
        ("two", None, "ArgumentInvalid"),
        ("absent", None, "DeviceNotFound"),
        ("absent2", None, "DeviceNotFound"),
        ("three", None, "ArgumentInvalid"),
        ("four", None, "ArgumentInvalid"),
        ("there", "m", "ModuleNotFound"),
        ("five", None, "InvalidDeviceScope"),
    ]
    assert result.errors[0]["errorStatus"] == "Device there is already registered."
    assert [error["operation"] for error in result.errors[3:7]] == ["update", "delete", "replace", "create"]
    assert not result.view()["isSuccessful"]
    assert await devices(rig) == ["last", "one", "there"]


async def test_without_a_database_the_rest_is_given_up_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def unavailable(device_id: str, _if_match: str | None) -> None:
        tried.append(device_id)
        raise HubError(ErrorCode.ServiceUnavailable, "The registry database does not answer.")

    monkeypatch.setattr(rig.registry, "delete_device", unavailable)
    gone = [{"id": f"d{number}", "importMode": "delete"} for number in range(3)]
    result = await apply(rig, {"id": "made"}, *gone)
    assert codes(result) == [(entry["id"], None, "ServiceUnavailable") for entry in gone]
    assert (tried, await devices(rig)) == (["d0"], ["made"])


async def test_an_identity_counts_once(rig: Rig) -> None:
    result = await apply(
        rig,
        {"id": "d1", "status": "disabled"},
        {"id": "d1", "importMode": "delete"},
        {"id": "d1", "moduleId": "m"},
        {"id": "d1", "moduleId": "m", "importMode": "delete"},
    )
    assert codes(result) == [
        ("d1", None, "DeviceDefinedMultipleTimes"),
        ("d1", "m", "DeviceDefinedMultipleTimes"),
    ]
    device = await rig.registry.device("d1")
    assert device is not None
    assert device.status == "disabled"
    assert await rig.registry.module("d1", "m") is not None


async def test_update_and_delete_by_etag(rig: Rig) -> None:
    device = await rig.device("d1")
    change = {"id": "d1", "status": "disabled", "importMode": "updateIfMatchETag"}
    assert codes(await apply(rig, change)) == [("d1", None, "ArgumentNull")]
    assert codes(await apply(rig, {**change, "eTag": "b3RoZXI="})) == [("d1", None, "EtagDoesNotMatch")]
    assert codes(await apply(rig, {**change, "eTag": device.etag})) == []
    now = await rig.registry.device("d1")
    assert now is not None
    assert now.status == "disabled"
    gone = {"id": "d1", "importMode": "DELETEIFMATCHETAG"}
    assert codes(await apply(rig, {**gone, "eTag": device.etag})) == [("d1", None, "EtagDoesNotMatch")]
    assert codes(await apply(rig, {**gone, "eTag": f'"{now.etag}"'})) == []
    assert await devices(rig) == []


async def test_modules(rig: Rig) -> None:
    await rig.device("d1")
    made = {"id": "d1", "moduleId": "m", "managedBy": "me", "authentication": {"type": "none"}}
    assert codes(await apply(rig, made)) == []
    module = await rig.registry.module("d1", "m")
    assert module is not None
    assert (module.managed_by, module.authentication.type) == ("me", "none")
    assert codes(await apply(rig, {"id": "d1", "moduleId": "m", "importMode": "update"})) == []
    assert codes(await apply(rig, {"id": "d1", "moduleId": "m", "importMode": "delete"})) == []
    assert await rig.registry.module("d1", "m") is None
    assert await devices(rig) == ["d1"]


async def test_twins_of_new_and_known_devices(rig: Rig) -> None:
    content = {"tags": {"site": 1}, "properties": {"desired": {"a": 1}, "reported": {"b": 1}}}
    assert codes(await apply(rig, {"id": "d1", **content})) == []
    twin = await rig.twins.get("d1", None)
    assert (twin.tags, twin.desired.values, twin.reported.values) == ({"site": 1}, {"a": 1}, {})
    patch = {"id": "d1", "importMode": "updateTwin", "properties": {"desired": {"a": None, "b": 2}}}
    assert codes(await apply(rig, patch)) == []
    guarded = {**patch, "importMode": "updateTwinIfMatchETag"}
    assert codes(await apply(rig, guarded)) == [("d1", None, "ArgumentNull")]
    assert codes(await apply(rig, {**guarded, "twinETag": twin.etag})) == [("d1", None, "EtagDoesNotMatch")]
    changed = await rig.twins.get("d1", None)
    assert changed.desired.values == {"b": 2}
    assert codes(await apply(rig, {**guarded, "twinETag": changed.etag})) == []
    assert codes(await apply(rig, {**patch, "id": "no"})) == [("no", None, "DeviceNotFound")]


async def test_a_device_whose_twin_cannot_be_written_is_there_with_a_warning(rig: Rig) -> None:
    result = await apply(rig, {"id": "d1", "properties": {"desired": {"a.b": 1}}}, {"id": "d2", "tags": 1})
    assert [(item["deviceId"], item["warningCode"]) for item in result.warnings] == [
        ("d1", "DeviceRegisteredWithoutTwin")
    ]
    assert "'a.b'" in result.warnings[0]["warningStatus"]
    assert codes(result) == [("d2", None, "ArgumentInvalid")]
    assert await devices(rig) == ["d1"]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([{"id": "d1"}, 5], ErrorCode.IotHubFormatError),
        ([{"id": "d1"}, {}], ErrorCode.ArgumentNull),
        ([{"id": 5}], ErrorCode.ArgumentNull),
        ([{"id": ""}], ErrorCode.ArgumentNull),
        ([{"id": "d1", "moduleId": 5}], ErrorCode.IotHubFormatError),
    ],
)
def test_entries_that_name_nobody_stop_the_request(entries: list[Any], code: ErrorCode) -> None:
    with pytest.raises(HubError) as caught:
        read_entries(entries)
    assert caught.value.code is code


names_or_nothing = st.none() | st.text(max_size=3)


@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "moduleId", "x"), names_or_nothing)),
        max_size=8,
    )
)
def test_any_list_is_read_or_refused(entries: list[dict[str, Any]]) -> None:
    codes = []
    try:
        read = read_entries(entries)
        assert [entry.document for entry in read] == entries
        assert {entry.mode() for entry in read} <= {ImportMode.CREATE}
    except HubError as error:
        codes.append(error.code)
    assert codes in ([], [ErrorCode.ArgumentNull])


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"[", b'"[]"'])
def test_the_body_must_be_an_array(raw: bytes) -> None:
    with pytest.raises(HubError) as caught:
        jsonio.parse_array(raw, "it")
    assert caught.value.code is ErrorCode.IotHubFormatError


async def renew(rig: Rig, *devices: dict[str, Any], key: str = "primaryKey") -> tuple[list[Any], BulkResult]:
    renewal = parse_renewal({"policyKey": key, "devices": list(devices)})
    return await BulkRegistry(rig.registry, rig.twins).renew_keys(renewal)


async def test_row_92_new_keys_and_the_old_primary_is_refused(rig: Rig) -> None:
    await rig.device("d1")
    await rig.module("d1", "m")
    old = [await rig.token("d1"), await rig.token("d1", "m")]
    renewed, result = await renew(rig, {"id": "d1"}, {"id": "d1", "moduleId": "m"})
    assert result.errors == []
    assert [(item["id"], item["moduleId"]) for item in renewed] == [("d1", None), ("d1", "m")]
    device = await rig.registry.device("d1")
    assert device is not None
    assert (renewed[0]["primaryKey"], renewed[0]["secondaryKey"]) == device.authentication.keys
    for token in old:
        with pytest.raises(HubError) as caught:
            await rig.authorizer.principal(token)
        assert caught.value.code is ErrorCode.IotHubUnauthorized
    for token in (await rig.token("d1"), await rig.token("d1", "m")):
        await rig.authorizer.principal(token)


async def test_row_92_who_is_connected_by_an_old_key_is_cut_off(rig: Rig) -> None:
    await rig.device("d1")
    client = rig.client()
    await client.login("d1")
    await client.sender("/devices/d1/messages/events")
    await renew(rig, {"id": "d1"})
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_row_92_some_and_none(rig: Rig) -> None:
    await rig.device("d1")
    await rig.device("d2", authentication={"type": "none"})
    renewed, result = await renew(rig, {"id": "d1"}, {"id": "d2"}, {"id": "no"}, {"id": "d1"}, key="Both")
    assert [item["id"] for item in renewed] == ["d1"]
    assert [(error["deviceId"], error["errorCode"], error["operation"]) for error in result.errors] == [
        ("d2", "InvalidOperation", "regenerateKeys"),
        ("no", "DeviceNotFound", "regenerateKeys"),
        ("d1", "DeviceDefinedMultipleTimes", "regenerateKeys"),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"devices": [{"id": "d"}]}, ErrorCode.ArgumentInvalid),
        ({"policyKey": "third", "devices": [{"id": "d"}]}, ErrorCode.ArgumentInvalid),
        ({"policyKey": 1, "devices": [{"id": "d"}]}, ErrorCode.ArgumentInvalid),
        ({"policyKey": "both"}, ErrorCode.ArgumentInvalid),
        ({"policyKey": "both", "devices": []}, ErrorCode.ArgumentInvalid),
        ({"policyKey": "both", "devices": {"id": "d"}}, ErrorCode.ArgumentInvalid),
        ({"policyKey": "both", "devices": [{}]}, ErrorCode.ArgumentNull),
        ({"policyKey": "both", "devices": [{"id": "d"}] * 101}, ErrorCode.TooManyDevices),
    ],
)
def test_row_92_bad_requests(body: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(HubError) as caught:
        parse_renewal(body)
    assert caught.value.code is code
    assert parse_renewal({"policyKey": "both", "devices": [{"id": "d"}] * 100}).choice is KeyChoice.BOTH
