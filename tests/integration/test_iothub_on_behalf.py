"""Modules of devices below an edge device, at the hub's REST API (section 1.8.2; rows 72, 74 to 76)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol.sas import build_token, device_audience
from testkit.rest_api import HOST, Answer, Api, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

VERSION = "2020-06-30-preview"
EDGE: dict[str, Any] = {"capabilities": {"iotEdge": True}}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "putModuleOnBehalfOf", {"module": {"deviceId": "low", "moduleId": "n"}}),
    ("POST", "getModuleOnBehalfOf", {"targetModuleId": "m"}),
    ("POST", "getModulesOnTargetDevice", {}),
    ("POST", "deleteModuleOnBehalfOf", {"moduleId": "m"}),
]


class Gateways:
    """`top` with `low` below it and `leaf` below that; `side` beside `top`. `low` has a module `m`."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.tokens: dict[str, str] = {}

    async def register(self) -> None:
        top = await self._edge("top")
        low = await self._edge("low", parentScopes=[top["deviceScope"]])
        await self._edge("side")
        await self.api.ok("PUT", "/devices/leaf", {"deviceScope": low["deviceScope"]})
        await self.api.ok("PUT", "/devices/low/modules/m", {})

    async def _edge(self, name: str, **members: Any) -> Any:
        device = await self.api.ok("PUT", f"/devices/{name}", {**EDGE, **members})
        keys = {"authentication": {"type": "sas"}}
        where = f"/devices/{name}/modules/%24edgeHub"
        module = await self.api.ok("PUT", where, keys, if_match="*")
        key = module["authentication"]["symmetricKey"]["primaryKey"]
        audience = device_audience(HOST, name, "$edgeHub")
        self.tokens[name] = build_token(audience, int(time.time()) + 60, key=key)
        return device

    async def call(
        self,
        method: str,
        operation: str,
        body: Any,
        *,
        chain: Any = "low;top",
        actor: str = "top",
        **options: Any,
    ) -> Answer:
        where = f"/devices/{actor}/modules/%24edgeHub/{operation}"
        settings = {"token": self.tokens[actor], "version": VERSION, **options}
        return await self.api.call(method, where, {"authChain": chain, **body}, **settings)


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Gateways]:
    async with running(tmp_path) as api:
        made = Gateways(api)
        await made.register()
        yield made


async def test_rows_72_and_75_create_update_read_list_delete(gateways: Gateways) -> None:
    module = {"deviceId": "low", "moduleId": "n", "managedBy": "IotEdge", "authentication": {"type": "none"}}
    created = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": module})
    assert (created.status, created.json["authentication"]["type"]) == (200, "none")
    again = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": module})
    assert again.error() == (409, "ModuleAlreadyExistsOnDevice")
    keys = {**module, "authentication": {"type": "sas"}}
    updated = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": keys}, if_match="*")
    assert updated.json["generationId"] == created.json["generationId"]
    assert updated.headers["ETag"] == f'"{updated.json["etag"]}"'
    stale = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": keys}, if_match=created.json["etag"])
    assert stale.error() == (412, "PreconditionFailed")
    read = await gateways.call("POST", "getModuleOnBehalfOf", {"targetModuleId": "n"})
    assert read.json == updated.json
    listed = await gateways.call("POST", "getModulesOnTargetDevice", {})
    assert [item["moduleId"] for item in listed.json] == ["$edgeAgent", "$edgeHub", "m", "n"]
    gone = await gateways.call("POST", "deleteModuleOnBehalfOf", {"moduleId": "n"})
    assert (gone.status, gone.json) == (204, None)
    for operation, body in (
        ("getModuleOnBehalfOf", {"targetModuleId": "n"}),
        ("deleteModuleOnBehalfOf", {"moduleId": "n"}),
    ):
        assert (await gateways.call("POST", operation, body)).error() == (404, "ModuleNotFound")


async def test_row_75_longer_chains_and_the_edge_device_itself(gateways: Gateways) -> None:
    for chain, actor in (("leaf;low;top", "top"), ("leaf;low", "low"), ("low", "low"), ("top", "top")):
        answer = await gateways.call("POST", "getModulesOnTargetDevice", {}, chain=chain, actor=actor)
        assert answer.status == 200, answer
        assert all(item["deviceId"] == chain.partition(";")[0] for item in answer.json)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("chain", "actor"),
    [
        ("low;side", "side"),
        ("low", "top"),
        ("low;top;side", "side"),
        ("leaf;top", "top"),
        ("top;low", "low"),
        ("side;top", "top"),
        ("ghost;top", "top"),
        ("low;top", "low"),
        ("low;low;top", "top"),
        ("", "top"),
    ],
)
async def test_row_75_broken_chains_give_401(
    gateways: Gateways, call: tuple[str, str, dict[str, Any]], chain: str, actor: str
) -> None:
    answer = await gateways.call(*call, chain=chain, actor=actor)
    assert answer.error() == (401, "IotHubUnauthorizedAccess")


@pytest.mark.parametrize("call", CALLS)
async def test_row_75_only_the_edge_hub_acts_for_others(
    gateways: Gateways, call: tuple[str, str, dict[str, Any]]
) -> None:
    foreign = await gateways.call(*call, token=gateways.tokens["side"])
    assert foreign.error() == (401, "IotHubUnauthorizedAccess")
    policy = await gateways.call(*call, token=gateways.api.token())
    assert policy.error() == (401, "IotHubUnauthorizedAccess")
    method, operation, body = call
    where = f"/devices/top/modules/%24edgeAgent/{operation}"
    agent = await gateways.api.call(
        method, where, {"authChain": "low;top", **body}, token=gateways.tokens["top"]
    )
    assert agent.error() == (401, "IotHubUnauthorizedAccess")


async def test_row_75_a_disabled_edge_device_on_the_way(gateways: Gateways) -> None:
    low = await gateways.api.ok("GET", "/devices/low")
    disabled = {**EDGE, "status": "disabled", "parentScopes": low["parentScopes"]}
    await gateways.api.ok("PUT", "/devices/low", disabled, if_match="*")
    answer = await gateways.call("POST", "getModulesOnTargetDevice", {}, chain="leaf;low;top")
    assert answer.error() == (401, "IotHubUnauthorizedAccess")


async def test_row_76_system_modules_stay(gateways: Gateways) -> None:
    gone = await gateways.call("POST", "deleteModuleOnBehalfOf", {"moduleId": "$edgeHub"})
    assert gone.error() == (401, "SystemModuleModifyUnauthorizedAccess")
    module = {"deviceId": "low", "moduleId": "$edgeAgent", "authentication": {"type": "sas"}}
    keys = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": module}, if_match="*")
    assert keys.status == 200
    assert keys.json["managedBy"] == "IotEdge"
    taken = {**module, "managedBy": "me"}
    refused = await gateways.call("PUT", "putModuleOnBehalfOf", {"module": taken}, if_match="*")
    assert refused.error() == (401, "SystemModuleModifyUnauthorizedAccess")


async def test_row_74_and_bodies_that_are_no_requests(gateways: Gateways) -> None:
    for call in CALLS:
        answer = await gateways.call(*call, version=None)
        assert answer.error() == (400, "InvalidProtocolVersion")
        assert (await gateways.call(*call, chain=None)).error() == (400, "ArgumentInvalid")
    for operation, body in (
        ("putModuleOnBehalfOf", {}),
        ("putModuleOnBehalfOf", {"module": "m"}),
        ("putModuleOnBehalfOf", {"module": {"deviceId": "low"}}),
        ("putModuleOnBehalfOf", {"module": {"deviceId": "top", "moduleId": "m"}}),
        ("getModuleOnBehalfOf", {}),
        ("deleteModuleOnBehalfOf", {"moduleId": 7}),
    ):
        method = "PUT" if operation.startswith("put") else "POST"
        assert (await gateways.call(method, operation, body)).error() == (400, "ArgumentInvalid")
