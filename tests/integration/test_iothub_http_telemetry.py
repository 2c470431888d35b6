"""Telemetry of devices over HTTP (section 1.9, row 65)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from edgehub.protocol.sas import build_token
from iothub.config import HubLimits
from iothub.telemetry.event import events_of
from testkit.rest_api import HOST, Answer, Api, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

BATCH = "application/vnd.microsoft.iothub.json"
VERSION = "?api-version=2020-09-30"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path) as made:
        yield made


async def device_token(api: Api, device_id: str, **members: Any) -> str:
    """Registers a device; its token."""
    device = await api.ok("PUT", f"/devices/{device_id}", members)
    key = device["authentication"]["symmetricKey"]["primaryKey"]
    return build_token(f"{HOST}/devices/{device_id}", int(time.time()) + 60, key=key)


async def send(
    api: Api,
    device_id: str,
    token: str,
    body: bytes,
    version: str = "?api-version=2020-09-30",
    place: str = "messages/events",
    **headers: str,
) -> Answer:
    url = URL(f"https://{HOST}:{api.server.https_port}/devices/{device_id}/{place}{version}")
    named = {"Authorization": token} | {name.replace("_", "-"): value for name, value in headers.items()}
    session: aiohttp.ClientSession = api._session
    async with session.post(url, data=body, headers=named) as answer:
        raw = await answer.read()
        return Answer(answer.status, answer.headers, json.loads(raw) if raw else None)


async def test_row_65_single_and_batch(api: Api) -> None:
    token = await device_token(api, "d1")
    one = await send(api, "d1", token, b"1", iothub_app_temp="21", iothub_messageid="m1")
    assert (one.status, one.json) == (204, None)
    items = [{"body": "Mg==", "base64Encoded": True, "properties": {"a": "b"}}, {"body": "3"}]
    both = await send(api, "d1", token, json.dumps(items).encode(), Content_Type=BATCH)
    assert both.status == 204
    found = [event for chunk in await api.server.telemetry.read(0) for event in events_of(chunk)]
    assert [event.body for event in found] == [b"1", b"2", b"3"]
    assert [event.properties for event in found] == [{"temp": "21"}, {"a": "b"}, {}]
    assert found[0].system == {"message-id": "m1"}
    assert {(event.origin.device_id, event.origin.auth_type) for event in found} == {("d1", "sas")}


async def test_row_65_who_may_send(api: Api) -> None:
    token = await device_token(api, "d1")
    other = await device_token(api, "d2")
    await device_token(api, "d3", status="disabled")
    policy = api.token("device")
    assert (await send(api, "d1", policy, b"x")).status == 204
    assert (await send(api, "d1", other, b"x")).error() == (401, "IotHubUnauthorizedAccess")
    assert (await send(api, "d1", api.token("service"), b"x")).error() == (401, "IotHubUnauthorizedAccess")
    assert (await send(api, "d1", "x", b"x")).error() == (401, "IotHubUnauthorized")
    assert (await send(api, "d3", policy, b"x")).error() == (403, "DeviceDisabled")
    assert (await send(api, "nobody", policy, b"x")).error() == (404, "DeviceNotFound")
    assert (await send(api, "d1", token, b"x", version="")).error() == (400, "InvalidProtocolVersion")


@pytest.mark.parametrize("place", ["files", "files/notifications"])
async def test_files_have_nowhere_to_go(api: Api, place: str) -> None:
    token = await device_token(api, "d1")
    other = await device_token(api, "d2")
    wanted = b'{"blobName": "x"}'
    assert (await send(api, "d1", other, wanted, place=place)).error() == (401, "IotHubUnauthorizedAccess")
    refused = await send(api, "d1", token, wanted, place=place)
    assert refused.error() == (400, "DefaultStorageEndpointNotConfigured")


async def test_row_65_limits(api: Api) -> None:
    token = await device_token(api, "d1")
    largest = HubLimits().message_bytes_max
    assert (await send(api, "d1", token, b"x" * largest)).status == 204
    assert (await send(api, "d1", token, b"x" * (largest + 1))).error() == (413, "MessageTooLarge")
    assert (await send(api, "d1", token, b"{", Content_Type=BATCH)).error() == (400, "IotHubFormatError")
    api.server.telemetry._full = True
    assert (await send(api, "d1", token, b"x")).error() == (429, "ThrottlingException")
