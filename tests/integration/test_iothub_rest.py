"""The hub's REST API over loopback HTTPS: rows 9 to 11, 72 to 78, 80, 82, 93 and 103 of the conformance
points. `test_iothub_rest_rows` has more of them."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.heads.tls_listener import ListenError
from edgehub.protocol.sas import build_token
from iothub.config import HubConfig, HubLimits
from iothub.rest import app as rest_app
from iothub.server import HubServer
from iothub.telemetry.event import Origin
from iothub.telemetry.log import Append
from testkit.https import raw_request
from testkit.rest_api import HOST, Api, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as made:
        yield made


async def test_device_life(api: Api) -> None:
    """Row 77 in kind: create, read, update, delete; ETag header and member agree."""
    created = await api.call("PUT", "/devices/d1", {"deviceId": "d1"})
    assert created.status == 200
    assert created.headers["ETag"] == f'"{created.json["etag"]}"'
    assert created.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(created.json) >= {
        "deviceId",
        "generationId",
        "etag",
        "connectionState",
        "status",
        "authentication",
    }
    assert (await api.ok("GET", "/devices/d1")) == created.json
    updated = await api.call("PUT", "/devices/d1", {"status": "disabled"}, if_match=created.headers["ETag"])
    assert updated.json["status"] == "disabled"
    assert (await api.ok("GET", "/statistics/devices")) == {
        "totalDeviceCount": 1,
        "enabledDeviceCount": 0,
        "disabledDeviceCount": 1,
    }
    assert (await api.ok("GET", "/statistics/service")) == {"connectedDeviceCount": 0}
    stale = await api.call("DELETE", "/devices/d1", if_match=created.headers["ETag"])
    assert stale.error() == (412, "PreconditionFailed")
    assert (await api.call("DELETE", "/devices/d1")).status == 204
    assert (await api.call("GET", "/devices/d1")).error() == (404, "DeviceNotFound")


async def test_rows_78_and_82_errors(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {})
    cases: list[tuple[tuple[str, str, Any], tuple[int, str]]] = [
        (("PUT", "/devices/d1", {}), (409, "DeviceAlreadyExists")),
        (("PUT", "/devices/d2", {"deviceId": "d3"}), (400, "ArgumentInvalid")),
        (("PUT", "/devices/a%2Fb", {}), (400, "ArgumentInvalid")),
        (("PUT", "/devices/d2", [1]), (400, "IotHubFormatError")),
        (("PUT", "/devices/d2", {"deviceScope": "x"}), (400, "InvalidDeviceScope")),
        (("GET", "/devices/d2/modules", None), (404, "DeviceNotFound")),
        (("GET", "/devices/d1/modules/m", None), (404, "ModuleNotFound")),
        (("GET", "/devices/d2/modules/m", None), (404, "DeviceNotFound")),
        (("GET", "/twins/d2", None), (404, "DeviceNotFound")),
        (("GET", "/twins/d1/modules/m", None), (404, "ModuleNotFound")),
        (("PATCH", "/twins/d1", {"properties": {"desired": {"a.b": 1}}}), (400, "ArgumentInvalid")),
        (("POST", "/devices/d1", {}), (405, "GenericMethodNotAllowed")),
        (("GET", "/nothing", None), (404, "GenericNotFound")),
        (("GET", "/devices?top=x", None), (400, "ArgumentInvalid")),
    ]
    for (method, path, body), expected in cases:
        assert (await api.call(method, path, body)).error() == expected


@pytest.mark.parametrize("version", [None, "", "today", "2016-02-02", "2024-04-01", "2021-04-12-beta"])
async def test_row_74_api_version(api: Api, version: str | None) -> None:
    answer = await api.call("GET", "/devices", version=version)
    assert answer.error() == (400, "InvalidProtocolVersion")


@pytest.mark.parametrize("version", ["2016-02-03", "2018-08-30-preview", "2021-04-12", "2024-03-31"])
async def test_known_versions(api: Api, version: str) -> None:
    assert await api.ok("GET", "/devices", version=version) == []


async def test_row_80_listing_and_forms_of_paths(api: Api) -> None:
    for number in range(6):
        await api.ok("PUT", f"/devices/d{number}", {})
    assert len(await api.ok("GET", "/devices?top=5")) == 5
    assert len(await api.ok("GET", "/devices/?top=0")) == 6
    assert len(await api.ok("GET", "/Devices/")) == 6
    await api.ok("PUT", "/devices/Edge%2B1%23", {})
    assert (await api.ok("GET", "/DEVICES/Edge%2B1%23/"))["deviceId"] == "Edge+1#"
    assert (await api.call("GET", "/devices/edge%2B1%23")).status == 404


async def test_row_9_permissions(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {})
    rows = [
        ("service", "PUT", "/devices/d2", 401),
        ("service", "GET", "/devices/d1", 401),
        ("service", "GET", "/twins/d1", 200),
        ("registryRead", "GET", "/devices/d1", 200),
        ("registryRead", "PUT", "/devices/d2", 401),
        ("registryRead", "GET", "/twins/d1", 401),
        ("registryReadWrite", "PUT", "/devices/d2", 200),
        ("device", "GET", "/devices/d1", 401),
        ("device", "GET", "/telemetry?from=0&count=0", 401),
    ]
    for policy, method, path, status in rows:
        answer = await api.call(method, path, {} if method == "PUT" else None, token=api.token(policy))
        assert answer.status == status, (policy, method, path, answer)
        if status == 401:
            assert answer.error() == (401, "IotHubUnauthorizedAccess")


@pytest.mark.parametrize(
    ("scope", "policy", "path", "status"),
    [
        ("/devices", "registryRead", "/devices/d1", 200),
        ("/devices", "registryRead", "/devices", 200),
        ("/Devices/d1", "registryRead", "/devices/d1", 200),
        ("/devices/d1", "registryRead", "/devices/d1/modules", 200),
        ("/devices/d1", "registryRead", "/devices/d2", 401),
        ("/devices/d1", "registryRead", "/devices/D1", 401),
        ("/devices/d", "registryRead", "/devices/d1", 401),
        ("/devices/d1", "registryRead", "/devices", 401),
        ("/devices", "iothubowner", "/twins/d1", 401),
        ("/twins/d1", "service", "/twins/d1", 200),
        ("/devices", "service", "/devices/d1", 401),
    ],
)
async def test_a_policy_s_token_is_for_its_resource_and_what_is_below(
    api: Api, scope: str, policy: str, path: str, status: int
) -> None:
    """Section 1.2: resources match by the segments of their paths."""
    for device_id in ("d1", "d2", "D1"):
        await api.ok("PUT", f"/devices/{device_id}", {})
    key = api.server.policies[policy].primary_key
    token = build_token(f"{HOST}{scope}", int(time.time()) + 60, key=key, policy=policy)
    answer = await api.call("GET", path, token=token)
    assert answer.status == status
    if status == 401:
        assert answer.error() == (401, "IotHubUnauthorizedAccess")


async def test_row_10_bad_tokens(api: Api) -> None:
    expired = api.token(life=-301)
    forged = build_token(HOST, int(time.time()) + 60, key="AAAA", policy="iothubowner")
    unknown = build_token(HOST, int(time.time()) + 60, key="AAAA", policy="nobody")
    for token in (expired, forged, unknown, "", "junk", "SharedAccessSignature sr=x", "Bearer abc"):
        assert (await api.call("GET", "/devices", token=token)).error() == (401, "IotHubUnauthorized")
    assert (await api.call("GET", "/devices", token=api.token(life=-290))).status == 200


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("PUT", "/devices/d1", "If-Match"),
        ("DELETE", "/devices/d1", "If-Match"),
        ("POST", "/devices/d1/messages/deviceBound", "iothub-messageid"),
        ("POST", "/devices/d1/messages/deviceBound", "iothub-app-x"),
        ("POST", "/devices/d1/messages/events", "iothub-userid"),
    ],
)
async def test_headers_that_are_no_text_give_400(api: Api, method: str, path: str, header: str) -> None:
    await api.ok("PUT", "/devices/d1", {})
    first = f"{method} {path}?api-version=2021-04-12 HTTP/1.1\r\nAuthorization: {api.token()}\r\n{header}: "
    trusting = ssl.create_default_context(cafile=api.server.certificate.ca_file)
    status, body = await raw_request(
        HOST, api.server.https_port, trusting, first.encode() + b"\xff\r\n", b"{}"
    )
    assert (status, "is not UTF-8 text" in json.loads(body)["Message"]) == (400, True)


async def test_rows_72_and_76_a_device_manages_its_own_modules(api: Api) -> None:
    """The identity service's way: create, set keys with `If-Match: *`, delete; its audience may be in lower
    case."""
    device = await api.ok("PUT", "/devices/Gw", {"capabilities": {"iotEdge": True}})
    await api.ok("PUT", "/devices/other", {})
    key = device["authentication"]["symmetricKey"]["primaryKey"]
    token = build_token(f"{HOST}/devices/Gw", int(time.time()) + 30, key=key)
    base = {"deviceId": "Gw", "moduleId": "m", "managedBy": "IotEdge", "authentication": {"type": "none"}}
    created = await api.ok("PUT", "/devices/Gw/modules/m", base, token=token, version="2017-11-08-preview")
    assert created["authentication"]["type"] == "none"
    updated = await api.ok(
        "PUT", "/devices/Gw/modules/m", base | {"authentication": {"type": "sas"}}, token=token, if_match="*"
    )
    assert updated["generationId"] == created["generationId"]
    names = [module["moduleId"] for module in await api.ok("GET", "/devices/Gw/modules", token=token)]
    assert names == ["$edgeAgent", "$edgeHub", "m"]
    keys = {"managedBy": "IotEdge", "authentication": {"type": "sas"}}
    await api.ok("PUT", "/devices/Gw/modules/%24edgeHub", keys, token=token, if_match="*")
    unsaid = {"authentication": {"type": "sas"}}
    kept = await api.ok("PUT", "/devices/Gw/modules/%24edgeHub", unsaid, token=token, if_match="*")
    assert kept["managedBy"] == "IotEdge"
    taken = await api.call(
        "PUT", "/devices/Gw/modules/%24edgeHub", {"managedBy": "me"}, token=token, if_match="*"
    )
    assert taken.error() == (401, "SystemModuleModifyUnauthorizedAccess")
    gone = await api.call("DELETE", "/devices/Gw/modules/%24edgeHub", token=token)
    assert gone.error() == (401, "SystemModuleModifyUnauthorizedAccess")
    assert (await api.call("DELETE", "/devices/Gw/modules/m", token=token, if_match="*")).status == 204
    foreign = await api.call("GET", "/devices/other/modules", token=token)
    assert foreign.error() == (401, "IotHubUnauthorizedAccess")


async def test_rows_11_and_103_twins(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {"status": "disabled"})
    twin = await api.ok("GET", "/twins/d1")
    assert (twin["status"], twin["version"], twin["etag"]) == ("disabled", 1, "AAAAAAAAAAE=")
    patched = await api.call("PATCH", "/twins/d1", {"tags": {"t": 1}, "properties": {"desired": {"a": 1}}})
    assert patched.headers["ETag"] == f'"{patched.json["etag"]}"'
    assert patched.json["properties"]["desired"]["$version"] == 2
    stale = await api.call("PATCH", "/twins/d1", {"tags": {}}, if_match='"AAAAAAAAAAE="')
    assert stale.error() == (412, "PreconditionFailed")
    replaced = await api.ok("PUT", "/twins/d1", {"properties": {"desired": {"b": 2}}}, if_match="*")
    assert replaced["tags"] == {"t": 1}
    assert {key for key in replaced["properties"]["desired"] if not key.startswith("$")} == {"b"}
    await api.ok("PUT", "/devices/d1/modules/m", {})
    module = await api.ok("GET", "/twins/d1/modules/m")
    assert module["moduleId"] == "m"
    assert "capabilities" not in module


async def test_row_93_unknown_members_and_odd_bodies(api: Api) -> None:
    await api.ok("PUT", "/devices/d1", {"unknown": {"deep": [1, 2]}, "etag": "*"})
    for raw in (b"", b"{", b"[" * 200_000, b"\xff\xfe", b'"text"', b"NaN"):
        answer = await api.call("PUT", "/devices/d9", raw=raw)
        assert answer.error() == (400, "IotHubFormatError")
    too_large = await api.call(
        "PUT", "/devices/d9", raw=BytesIO(b" " * (HubLimits().http_body_bytes_max + 1))
    )
    assert too_large.error() == (413, "MessageTooLarge")
    assert (await api.call("GET", "/" + "x" * 3000)).error() == (400, "GenericBadRequest")


def append(api: Api, device_id: str, *bodies: bytes) -> None:
    from edgehub.protocol.amqp_message import encode_message

    for body in bodies:
        payload = encode_message(data=body)
        origin = Origin(device_id, None, "1", "sas")
        api.server.telemetry.append(Append(origin, 0, 1, payload, int(time.time() * 1000), lambda _: None))


async def read_lines(answer: aiohttp.ClientResponse, count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            line = await answer.content.readline()
            if line.strip():
                found.append(json.loads(line))
    return found


async def test_telemetry_is_followed_from_a_position(api: Api) -> None:
    append(api, "d1", b"1", b"2")
    append(api, "d2", b"3")
    await api.server.telemetry.drain()
    async with api.stream("/telemetry?from=earliest") as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert [event["body"] for event in await read_lines(answer, 3)] == ["1", "2", "3"]
        append(api, "d1", b"4")
        assert [event["sequenceNumber"] for event in await read_lines(answer, 1)] == [4]
    async with api.stream("/telemetry?from=2&count=2") as answer:
        assert [json.loads(line)["body"] async for line in answer.content] == ["2", "3"]
    async with api.stream("/telemetry?from=0&device=d2&count=1") as answer:
        assert [json.loads(line)["deviceId"] async for line in answer.content] == ["d2"]
    async with api.stream("/telemetry") as answer:
        await asyncio.sleep(0)
        append(api, "d1", b"5")
        assert [event["body"] for event in await read_lines(answer, 1)] == ["5"]
    assert (await api.call("GET", "/telemetry?from=yesterday", version=None)).error() == (
        400,
        "ArgumentInvalid",
    )


async def test_telemetry_streams_are_limited_and_end_with_the_hub(tmp_path: Path) -> None:
    async with running(tmp_path, HubLimits(tails_max=1)) as api, api.stream("/telemetry") as answer:
        assert answer.status == 200
        second = await api.call("GET", "/telemetry", version=None)
        assert second.error() == (429, "ThrottlingException")
        await api.server.stop()
        assert await answer.content.read() in (b"", b"\n")


async def test_requests_at_the_same_time_are_limited(tmp_path: Path) -> None:
    limits = HubLimits(http_requests_max=1)
    async with running(tmp_path, limits) as api, api.stream("/telemetry") as answer:
        assert answer.status == 200
        assert (await api.call("GET", "/devices")).error() == (429, "ThrottlingException")
        answer.close()
        async with asyncio.timeout(20):
            append(api, "d1", b"x")
            while (await api.call("GET", "/devices")).status != 200:
                append(api, "d1", b"x")


async def test_calls_that_wait_for_a_device_keep_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_app, "SHUTDOWN_SECS", 0.01)
    async with running(tmp_path, HubLimits(http_requests_max=1)) as api:
        await api.ok("PUT", "/devices/d1", {})
        body = {"methodName": "reset", "connectTimeoutInSeconds": 300}
        waiting = asyncio.create_task(api.call("POST", "/twins/d1/methods", body))
        async with asyncio.timeout(20):
            while not api.server.amqp.methods._calls.count:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
        assert (await api.call("GET", "/devices/d1")).status == 200
        waiting.cancel()


async def dial(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(api.server.certificate.ca_file))
    return await asyncio.open_connection(
        "127.0.0.1", api.server.https_port, ssl=context, server_hostname=HOST
    )


async def test_connections_are_limited_and_wait_for_their_turn(tmp_path: Path) -> None:
    async with running(tmp_path, HubLimits(https_connections_max=1)) as api:
        _, writer = await dial(api)
        waiting = asyncio.create_task(api.call("GET", "/devices"))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        writer.close()
        async with asyncio.timeout(20):
            assert (await waiting).status == 200


async def test_a_connection_that_asks_for_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_app, "REQUEST_WAIT_S", 0.01)
    async with running(tmp_path) as api, asyncio.timeout(20):
        reader, writer = await dial(api)
        assert await reader.read() == b""
        writer.close()


async def test_what_is_no_http_is_answered_and_not_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await dial(api)
    writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert caplog.text == ""


async def test_start_fails_clearly_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as api:
        taken = HubServer(HubConfig(tmp_path / "two", HOST, "127.0.0.1", 0, api.server.https_port))
        with pytest.raises(ListenError, match="Address already in use"):
            await taken.start()
    missing = tmp_path / "missing.pem"
    broken = HubServer(HubConfig(tmp_path / "three", HOST, "127.0.0.1", 0, 0, missing, missing))
    with pytest.raises(Exception, match=r"missing\.pem"):
        await broken.start()
