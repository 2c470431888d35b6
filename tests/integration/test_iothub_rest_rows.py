"""More rows of the REST API over loopback HTTPS: 79, 81, 83, 84, 92, 93, 101, 103, 105 and 107, and all of it
with a registry in PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol.sas import build_token, device_audience
from iothub.config import HubLimits
from iothub.errors import ErrorCode
from testkit.amqp_device import AmqpDevice
from testkit.rest_api import HOST, Answer, Api, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from testkit.postgresql import Server


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as made:
        yield made


def device_token(view: dict[str, Any], which: str = "primaryKey", life: int = 600) -> str:
    """A token with a key of a device or module as REST shows it."""
    key = view["authentication"]["symmetricKey"][which]
    audience = device_audience(HOST, view["deviceId"], view.get("moduleId"))
    return build_token(audience, int(time.time()) + life, key=key)


FORMS = ["{}", '"{}"', "*", '"*"']


@pytest.mark.parametrize("path", ["/devices/d1", "/devices/d1/modules/m1"])
async def test_row_79_if_match_of_devices_and_modules(api: Api, path: str) -> None:
    await api.ok("PUT", "/devices/d1", {})
    if path != "/devices/d1":
        await api.ok("PUT", path, {})
    stale = (await api.ok("GET", path))["etag"]
    for form in FORMS:
        etag = (await api.ok("GET", path))["etag"]
        updated = await api.call("PUT", path, {}, if_match=form.format(etag))
        assert updated.status == 200, form
        assert updated.json["etag"] != etag
        assert updated.headers["ETag"] == f'"{updated.json["etag"]}"'
    for form in FORMS[:2]:
        for method in ("PUT", "DELETE"):
            body: dict[str, Any] | None = {} if method == "PUT" else None
            refused = await api.call(method, path, body, if_match=form.format(stale))
            assert refused.error() == (412, "PreconditionFailed")
            assert stale in refused.json["Message"]
    # The etag of the body counts for nothing, as that of the path does not.
    etag = (await api.ok("GET", path))["etag"]
    assert (await api.call("PUT", path, {"etag": stale}, if_match=f'"{etag}"')).status == 200
    assert (await api.call("DELETE", path, if_match='"*"')).status == 204
    for form in ("*", '"*"'):
        missing = await api.call("PUT", path, {}, if_match=form)
        assert missing.status == 404


@pytest.mark.parametrize("path", ["/twins/d1", "/twins/d1/modules/m1"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_row_103_if_match_of_twins(api: Api, path: str, method: str) -> None:
    await api.ok("PUT", "/devices/d1", {})
    await api.ok("PUT", "/devices/d1/modules/m1", {})
    body = {"tags": {"t": 1}, "properties": {"desired": {"a": 1}}}
    unconditional = await api.call(method, path, body)
    assert unconditional.status == 200
    stale = "AAAAAAAAAAE="
    for form in FORMS:
        etag = (await api.ok("GET", path))["etag"]
        changed = await api.call(method, path, body, if_match=form.format(etag))
        assert changed.status == 200, form
        assert changed.headers["ETag"] == f'"{changed.json["etag"]}"'
    before = await api.ok("GET", path)
    for form in FORMS[:2]:
        refused = await api.call(method, path, body, if_match=form.format(stale))
        assert refused.error() == (412, "PreconditionFailed")
    assert await api.ok("GET", path) == before
    assert before["properties"]["desired"]["$version"] == before["version"] == 6


async def test_row_83_keys_are_generated_and_kept_when_given(api: Api) -> None:
    for path in ("/devices/d1", "/devices/d1/modules/m1"):
        for body in ({}, {"authentication": {"type": "sas"}}, {"authentication": {"symmetricKey": None}}):
            made = await api.ok("PUT", path, body, if_match=None if body == {} else "*")
            keys = made["authentication"]["symmetricKey"]
            assert {len(base64.b64decode(key)) for key in keys.values()} == {32}
            assert keys["primaryKey"] != keys["secondaryKey"]
        again = await api.ok("PUT", path, made, if_match="*")
        assert again["authentication"] == made["authentication"]


async def test_row_84_statistics_follow_at_once(api: Api) -> None:
    async def numbers() -> tuple[list[int], int]:
        registered = await api.ok("GET", "/statistics/devices")
        connected = await api.ok("GET", "/Statistics/Service/")
        assert list(registered) == ["totalDeviceCount", "enabledDeviceCount", "disabledDeviceCount"]
        return list(registered.values()), connected["connectedDeviceCount"]

    assert await numbers() == ([0, 0, 0], 0)
    device = await api.ok("PUT", "/devices/d1", {})
    await api.ok("PUT", "/devices/d2", {"status": "disabled"})
    assert await numbers() == ([2, 1, 1], 0)
    await api.ok("PUT", "/devices/d2", {"status": "enabled"}, if_match="*")
    assert await numbers() == ([2, 2, 0], 0)
    server = api.server
    ca_file = server.certificate.ca_file
    assert ca_file is not None
    token = device_token(device)
    # The client has a thread of its own; its start and end wait for the hub, which is on this loop.
    client = AmqpDevice(HOST, server.amqp_port, ca_file, "d1", None, token)
    await asyncio.to_thread(client.__enter__)
    assert await numbers() == ([2, 2, 0], 1)
    assert (await api.ok("GET", "/devices/d1"))["connectionState"] == "Connected"
    assert (await api.ok("GET", "/twins/d1"))["connectionState"] == "Connected"
    await asyncio.to_thread(client.__exit__)
    async with asyncio.timeout(20):
        while (await numbers())[1] != 0:
            pass
    await api.ok("DELETE", "/devices/d1")
    assert await numbers() == ([1, 1, 0], 0)


async def test_row_81_bulk(api: Api) -> None:
    many = [{"id": f"d{number}", "importMode": "create"} for number in range(101)]
    assert (await api.call("POST", "/devices", many)).error() == (413, "TooManyDevices")
    assert await api.ok("GET", "/devices") == []
    assert await api.ok("POST", "/devices", many[:3]) == {"isSuccessful": True, "errors": [], "warnings": []}
    mixed = await api.call("POST", "/devices/", [{"id": "d1"}, {"id": "new"}])
    assert mixed.status == 400
    assert mixed.headers["iothub-errorcode"] == "BulkRegistryOperationFailure"
    assert mixed.json == {
        "isSuccessful": False,
        "errors": [
            {
                "deviceId": "d1",
                "moduleId": None,
                "errorCode": "DeviceAlreadyExists",
                "errorStatus": "Device d1 is already registered.",
                "operation": "create",
            }
        ],
        "warnings": [],
    }
    assert len(await api.ok("GET", "/devices")) == 4
    for body, expected in (({}, "IotHubFormatError"), ([1], "IotHubFormatError"), ([{}], "ArgumentNull")):
        assert (await api.call("POST", "/devices", body)).error() == (400, expected)
    refused = await api.call("POST", "/devices", [], token=api.token("registryRead"))
    assert refused.error() == (401, "IotHubUnauthorizedAccess")


async def test_row_92_keys_regenerate(api: Api) -> None:
    path = "/devices/keys/regenerate"
    device = await api.ok("PUT", "/devices/keys", {})
    await api.ok("PUT", "/devices/bare", {"authentication": {"type": "none"}})
    module = await api.ok("PUT", "/devices/keys/modules/m", {})
    targets = [{"id": "keys"}, {"id": "keys", "moduleId": "m"}]
    done = await api.call("POST", path, {"policyKey": "primaryKey", "devices": targets})
    assert (done.status, done.json["errors"], done.json["policyKey"]) == (200, [], "primaryKey")
    for old, new in zip((device, module), done.json["rotatedKeys"], strict=True):
        before = old["authentication"]["symmetricKey"]
        assert (new["id"], new["moduleId"]) == (old["deviceId"], old.get("moduleId"))
        assert new["primaryKey"] != before["primaryKey"]
        assert new["secondaryKey"] == before["secondaryKey"]
    # A device may list its modules: the old primary no longer does, the secondary does.
    modules = "/devices/keys/modules"
    assert (await api.call("GET", modules, token=device_token(device))).error() == (401, "IotHubUnauthorized")
    assert (await api.call("GET", modules, token=device_token(device, "secondaryKey"))).status == 200
    some = await api.call("POST", path, {"policyKey": "both", "devices": [{"id": "bare"}, {"id": "keys"}]})
    assert (some.status, len(some.json["rotatedKeys"])) == (207, 1)
    assert [error["errorCode"] for error in some.json["errors"]] == ["InvalidOperation"]
    none = await api.call("POST", path, {"policyKey": "both", "devices": [{"id": "bare"}]})
    assert (none.status, none.json["rotatedKeys"]) == (400, [])
    many = [{"id": "keys"}] * 101
    assert (await api.call("POST", path, {"policyKey": "both", "devices": many})).error() == (
        413,
        "TooManyDevices",
    )
    assert (await api.call("POST", path, {"policyKey": "third", "devices": targets})).error() == (
        400,
        "ArgumentInvalid",
    )


def filled(size: int) -> dict[str, Any]:
    """A section of exactly this many bytes."""
    whole, rest = divmod(size, 4096 + 4)
    section = {f"{number:04d}": "x" * 4096 for number in range(whole)}
    return section | ({f"{whole:04d}": "x" * (rest - 4)} if rest else {})


def nested(depth: int) -> dict[str, Any]:
    """A section with so many levels of objects below it."""
    document: dict[str, Any] = {"n": 1}
    for _ in range(depth):
        document = {"n": document}
    return document


def in_arrays(depth: int) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(depth - 1):
        value = [value]
    return value


def desired(document: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"desired": document}}


LIMITS = [
    ("tags", {"tags": filled(8 * 1024)}, {"tags": filled(8 * 1024 + 1)}),
    ("desired", desired(filled(32 * 1024)), desired(filled(32 * 1024 + 1))),
    ("text", desired({"a": "é" * 2048}), desired({"a": "é" * 2048 + "x"})),
    ("depth", desired(nested(10)), desired(nested(11))),
    ("arrays", desired({"a": in_arrays(10)}), desired({"a": in_arrays(11)})),
    ("name", desired({"k" * 1024: 1}), desired({"k" * 1025: 1})),
    ("integer", desired({"a": 2**52 - 1}), desired({"a": 2**52})),
    ("negative", desired({"a": -(2**52)}), desired({"a": -(2**52) - 1})),
    ("dot", desired({"a-b": 1}), desired({"a.b": 1})),
    ("dollar", desired({"a": 1}), desired({"$a": 1})),
    ("space", desired({"a_": 1}), desired({"a ": 1})),
    ("control", desired({"a\xa0": 1}), desired({"a\x9f": 1})),
]


async def test_row_101_limits(api: Api) -> None:
    for name, good, bad in LIMITS:
        await api.ok("PUT", f"/devices/{name}", {})
        await api.ok("PUT", f"/devices/{name}/modules/m1", {})
        for path in (f"/twins/{name}", f"/twins/{name}/modules/m1"):
            for method in ("PATCH", "PUT"):
                assert (await api.call(method, path, good)).status == 200, (method, path)
                before = await api.ok("GET", path)
                refused = await api.call(method, path, bad)
                assert refused.error() == (400, "ArgumentInvalid"), (method, path)
                assert await api.ok("GET", path) == before


async def test_row_105_and_vector_12_6_over_rest(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {})
    await api.ok("PUT", "/twins/d1", desired({"modules": {"a": {"x": 1}, "b": {}}}))
    heard: list[tuple[dict[str, Any], int]] = []
    api.server.twins.subscribe("d1", None, lambda patch, version: heard.append((patch, version)))
    answer = await api.ok("PUT", "/twins/d1", desired({"modules": {"a": {"x": 1, "y": 2}}}))
    assert heard == [({"modules": {"a": {"y": 2}, "b": None}}, answer["properties"]["desired"]["$version"])]


async def test_a_twin_that_was_read_can_be_written_back(api: Api) -> None:
    """Clients send whole documents: all that is not theirs to write is ignored (section 3.1)."""
    await api.ok("PUT", "/devices/d1", {"status": "disabled", "statusReason": "sold"})
    await api.ok("PATCH", "/twins/d1", {"tags": {"t": 1}, **desired({"a": {"b": 1}})})
    read = await api.ok("GET", "/twins/d1")
    assert read["statusReason"] == "sold"
    read["properties"]["reported"]["forged"] = 1
    for method in ("PUT", "PATCH"):
        written = await api.ok(method, "/twins/d1", read, if_match="*")
        assert written["tags"] == {"t": 1}
        assert written["properties"]["desired"]["a"] == {"b": 1}
        assert "forged" not in written["properties"]["reported"]


async def test_the_twin_tells_when_the_status_changed(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {})
    assert (await api.ok("GET", "/twins/d1"))["statusUpdateTime"] == "0001-01-01T00:00:00Z"
    changed = await api.ok("PUT", "/devices/d1", {"status": "disabled"}, if_match="*")
    twin = await api.ok("GET", "/twins/d1")
    assert twin["statusUpdateTime"] == changed["statusUpdatedTime"] + "Z"
    assert twin["statusUpdateTime"] > "2020"


async def test_row_107_a_report_does_not_disturb_the_service(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {})
    before = await api.ok("GET", "/twins/d1")
    await api.server.twins.report("d1", None, {"a": 1})
    after = await api.ok("PATCH", "/twins/d1", desired({"b": 1}), if_match=f'"{before["etag"]}"')
    assert (before["version"], after["version"]) == (1, 3)
    assert after["properties"]["reported"]["a"] == 1


async def refusals(api: Api) -> list[Answer]:
    """One answer for each way that a request can go wrong."""
    await api.ok("PUT", "/devices/d1", {})
    big = BytesIO(b" " * (HubLimits().http_body_bytes_max + 1))
    return [
        await api.call("GET", "/devices/no"),
        await api.call("GET", "/devices/d1", version=None),
        await api.call("GET", "/devices/d1", token=""),
        await api.call("GET", "/devices/d1", token=api.token("device")),
        await api.call("GET", "/nowhere"),
        await api.call("PATCH", "/devices/d1", {}),
        await api.call("PUT", "/devices/d1", {}),
        await api.call("PUT", "/devices/d1", {}, if_match='"x"'),
        await api.call("PUT", "/devices/d1", raw=b"{"),
        await api.call("PUT", "/devices/d1", raw=big),
        await api.call("PUT", "/devices/d%00", {}),
        await api.call("GET", "/devices/d%00"),
        await api.call("GET", "/twins/d%00/modules/%00"),
        await api.call("DELETE", "/devices/d1/modules/no"),
    ]


REFUSALS = [
    "DeviceNotFound", "InvalidProtocolVersion", "IotHubUnauthorized", "IotHubUnauthorizedAccess",
    "GenericNotFound", "GenericMethodNotAllowed", "DeviceAlreadyExists", "PreconditionFailed",
    "IotHubFormatError", "MessageTooLarge", "ArgumentInvalid", "DeviceNotFound", "ModuleNotFound",
    "ModuleNotFound",
]  # fmt: skip


async def check_refusals(api: Api) -> None:
    names = []
    for answer in await refusals(api):
        status, name = answer.error()
        assert status == ErrorCode[name].http_status
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        names.append(name)
    assert names == REFUSALS


async def test_section_2_4_header_body_and_status_agree(api: Api) -> None:
    await check_refusals(api)


PATHS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PUT", "/DEVICES/{}/", {}),
    ("GET", "/Devices/{}/Modules/", None),
    ("PUT", "/devices/{}/MODULES/Mod%23/", {}),
    ("GET", "/devices/{}/modules/Mod%23", None),
    ("GET", "/tWiNs/{}/", None),
    ("PATCH", "/Twins/{}/Modules/Mod%23/", {}),
    ("DELETE", "/devices/{}/modules/Mod%23/", None),
    ("DELETE", "/devices/{}", None),
]


async def test_section_2_2_paths_in_any_case_and_with_a_slash(api: Api) -> None:
    for method, path, body in PATHS:
        wrong = await api.call(method, path.format("edge%231%25"), body)
        assert wrong.status == (200 if method == "PUT" and "MODULES" not in path else 404)
        if wrong.status == 200:
            await api.ok("DELETE", "/devices/edge%231%25")
        await api.ok(method, path.format("Edge%231%25"), body)


async def test_a_registry_in_postgresql(tmp_path: Path, postgresql: Server) -> None:
    """The same answers, and the same hub after a restart; the data folder holds no registry."""
    with postgresql.database() as url:
        async with running(tmp_path, database_url=url) as api:
            await check_refusals(api)
            entries = [{"id": f"more{number}", "tags": {"n": number}} for number in range(100)]
            assert (await api.ok("POST", "/devices", entries))["isSuccessful"]
            before = await api.ok("GET", "/twins/more7"), api.server.policies
        assert not (tmp_path / "hub.db").exists()
        async with running(tmp_path, database_url=url) as api:
            assert (await api.ok("GET", "/twins/more7"), api.server.policies) == before


async def test_a_database_that_goes_away_and_comes_back(
    tmp_path: Path, postgresql: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with postgresql.database() as url:
        async with running(tmp_path, database_url=url) as api:
            await api.ok("PUT", "/devices/d1", {})
            with postgresql.closed(url):
                for method in ("GET", "DELETE"):
                    refused = await api.call(method, "/devices/d1")
                    assert refused.error() == (503, "ServiceUnavailable")
            assert (await api.ok("GET", "/devices/d1"))["deviceId"] == "d1"
    assert "not currently accepting connections" in caplog.text
    assert "Traceback" not in caplog.text
