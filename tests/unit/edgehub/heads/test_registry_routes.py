"""Modules of devices below, for their identity services (heads spec 3.4; H-016, H-017)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edgehub.common.ids import IdentityId
from edgehub.errors import EdgehubError
from edgehub.identity.refresher import ScopeApiError
from testkit.children import SCOPES, Answer, ChildBench, Door
from testkit.https import HOST, TrustedServer, raw_request
from testkit.identities import sas_identity, token_for

MODULE = {"deviceId": "edge2", "moduleId": "m", "managedBy": "IotEdge", "authentication": {"type": "none"}}
DEEP = {**MODULE, "deviceId": "deep"}
NESTED = "/devices/edge2/modules/$edgeHub/"
DIRECT_CALLS = [
    ("PUT", "/devices/edge2/modules/m", MODULE),
    ("GET", "/devices/edge2/modules/m", None),
    ("DELETE", "/devices/edge2/modules/m", None),
    ("GET", "/devices/edge2/modules?api-version=2017-11-08-preview", None),
]
NESTED_CALLS = [
    ("PUT", "putModuleOnBehalfOf", {"module": DEEP}),
    ("POST", "getModuleOnBehalfOf", {"targetModuleId": "m"}),
    ("POST", "getModulesOnTargetDevice", {}),
    ("POST", "deleteModuleOnBehalfOf", {"moduleId": "m"}),
]


async def nested(door: Door, call: tuple[str, str, Any], chain: Any = "deep;edge2", **options: Any) -> Answer:
    method, operation, body = call
    return await door.call(method, NESTED + operation, {"authChain": chain, **body}, **options)


def refused(answer: Answer, status: int) -> str:
    assert answer.status == status, answer
    assert list(answer.json) == ["errorMessage"]
    return str(answer.json["errorMessage"])


# ---- what goes to the parent hub


@pytest.mark.parametrize(
    ("call", "operation", "sent"),
    [
        (DIRECT_CALLS[0], ("PUT", "putModuleOnBehalfOf"), {"module": MODULE}),
        (DIRECT_CALLS[1], ("POST", "getModuleOnBehalfOf"), {"targetModuleId": "m"}),
        (DIRECT_CALLS[2], ("POST", "deleteModuleOnBehalfOf"), {"moduleId": "m"}),
        (DIRECT_CALLS[3], ("POST", "getModulesOnTargetDevice"), {}),
    ],
)
async def test_h_016_calls_of_a_device_go_up_on_its_behalf(
    child_door: Door, call: tuple[str, str, Any], operation: tuple[str, str], sent: dict[str, Any]
) -> None:
    answer = await child_door.call(*call, who="edge2")
    assert (answer.status, answer.json) == (200, {"moduleId": "m"})
    assert child_door.bench.registry.taken() == [(*operation, {"authChain": "edge2;edge1", **sent}, None)]


@pytest.mark.parametrize("call", NESTED_CALLS)
@pytest.mark.parametrize(
    ("chain", "whole"),
    [
        ("deep;edge2", "deep;edge2;edge1"),
        ("edge3;edge2", "edge3;edge2;edge1"),
        ("deepest;edge3;edge2", "deepest;edge3;edge2;edge1"),
        ("edge2", "edge2;edge1"),
    ],
)
async def test_h_016_and_row_75_a_child_s_calls_go_up_with_the_whole_chain(
    child_door: Door, call: tuple[str, str, Any], chain: str, whole: str
) -> None:
    method, operation, body = call
    if "module" in body:
        body = {"module": {**MODULE, "deviceId": chain.partition(";")[0]}}
    answer = await nested(child_door, (method, operation, body), chain)
    assert (answer.status, answer.json) == (200, {"moduleId": "m"})
    assert child_door.bench.registry.taken() == [(method, operation, {"authChain": whole, **body}, None)]


@pytest.mark.parametrize("if_match", ["*", '"MQ=="'])
async def test_h_016_if_match_of_an_update_is_passed_on(child_door: Door, if_match: str) -> None:
    await child_door.call(*DIRECT_CALLS[0], who="edge2", if_match=if_match)
    await nested(child_door, NESTED_CALLS[0], if_match=if_match)
    assert [call[3] for call in child_door.bench.registry.taken()] == [if_match] * 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'[{"moduleId": "m"}]'),
        (204, b""),
        (401, b'{"Message":"ErrorCode:IotHubUnauthorizedAccess;no"}'),
        (404, b'{"Message":"ErrorCode:ModuleNotFound;no"}'),
        (409, b'{"Message":"ErrorCode:ModuleAlreadyExistsOnDevice;no"}'),
        (412, b'{"Message":"ErrorCode:PreconditionFailed;no"}'),
        (503, b'{"errorMessage":"later"}'),
    ],
)
async def test_h_016_status_and_body_come_back_as_they_are(
    child_door: Door, status: int, body: bytes
) -> None:
    child_door.bench.registry.answer = (status, body)
    for answer in (
        await child_door.call(*DIRECT_CALLS[1], who="edge2"),
        await nested(child_door, NESTED_CALLS[1]),
    ):
        assert answer.status == status
        assert answer.json == (json.loads(body) if body else None)


async def test_an_if_match_that_is_no_text_is_not_passed_on(child_door: Door, trusted: TrustedServer) -> None:
    port = int(child_door.url.rpartition(":")[2])
    token = token_for("edge2", child_door.bench.clock)
    head = f"PUT /devices/edge2/modules/m HTTP/1.1\r\nAuthorization: {token}\r\nIf-Match: ".encode()
    body = json.dumps(MODULE).encode()
    status, answer = await raw_request(HOST, port, trusted.client_context, head + b"\xff\r\n", body)
    assert (status, json.loads(answer)) == (400, {"errorMessage": "If-Match is not UTF-8 text"})
    assert child_door.bench.registry.taken() == []


async def test_ids_are_decoded_and_the_module_is_sent_as_it_came(child_door: Door) -> None:
    raw = b'{"deviceId":"edge2",  "moduleId":"a$b c", "odd":1e3}'
    await child_door.call("PUT", "/devices/edge2/modules/a%24b%20c", raw, who="edge2")
    assert raw in child_door.bench.registry.calls[0].body


# ---- what is refused before


@pytest.mark.parametrize("call", DIRECT_CALLS)
@pytest.mark.parametrize("who", ["edge2/m", "edge2/$edgeHub", "edge4", "edge1", "nobody"])
async def test_h_016_a_device_speaks_for_itself_alone(
    child_door: Door, call: tuple[str, str, Any], who: str
) -> None:
    for token in ("", None, "SharedAccessSignature x"):
        answer = await child_door.call(*call, who=who, token=token)
        assert (answer.status, answer.json) == (401, None)
    assert child_door.bench.registry.calls == []


@pytest.mark.parametrize("call", NESTED_CALLS)
@pytest.mark.parametrize(
    ("chain", "who"),
    [
        ("deep;edge2", "edge2"),
        ("deep;edge2", "edge4/$edgeHub"),
        ("deep;edge4", "edge2/$edgeHub"),
        ("deep", "edge2/$edgeHub"),
        ("deep;edge3;edge2", "edge2/$edgeHub"),
        ("far;edge4;edge2", "edge2/$edgeHub"),
        ("deep;edge2;edge1", "edge2/$edgeHub"),
        ("edge1", "edge2/$edgeHub"),
        ("ghost;edge2", "edge2/$edgeHub"),
    ],
)
async def test_row_75_a_broken_chain_or_one_out_of_the_subtree_gives_401(
    child_door: Door, call: tuple[str, str, Any], chain: str, who: str
) -> None:
    method, operation, body = call
    if "module" in body:
        body = {"module": {**MODULE, "deviceId": chain.partition(";")[0]}}
    token = token_for(who, child_door.bench.clock, signer="edge2/m") if who == "edge2" else ""
    answer = await nested(child_door, (method, operation, body), chain, who=who, token=token)
    refused(answer, 401)
    assert child_door.bench.registry.calls == []


@pytest.mark.parametrize("call", NESTED_CALLS)
async def test_h_016_only_the_edge_hub_acts_for_others(child_door: Door, call: tuple[str, str, Any]) -> None:
    method, operation, body = call
    where = f"/devices/edge2/modules/m/{operation}"
    answer = await child_door.call(method, where, {"authChain": "deep;edge2", **body}, who="edge2/m")
    assert "cannot act for others" in refused(answer, 401)


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        b"[]",
        {},
        {**MODULE, "deviceId": "deep"},
        {**MODULE, "moduleId": "other"},
        {"deviceId": "edge2"},
        {"moduleId": "m"},
        {**MODULE, "moduleId": 7},
    ],
)
async def test_h_016_ids_in_the_body_equal_those_of_the_path(child_door: Door, body: Any) -> None:
    refused(await child_door.call("PUT", "/devices/edge2/modules/m", body, who="edge2"), 400)
    assert child_door.bench.registry.calls == []


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (0, {}),
        (0, {"module": None}),
        (0, {"module": [1]}),
        (0, {"module": {**DEEP, "deviceId": "edge2"}}),
        (0, {"module": {**DEEP, "moduleId": " "}}),
        (1, {}),
        (1, {"targetModuleId": 1}),
        (3, {}),
        (3, {"moduleId": None}),
    ],
)
async def test_bodies_of_children_that_are_no_requests(
    child_door: Door, number: int, body: dict[str, Any]
) -> None:
    method, operation, _ = NESTED_CALLS[number]
    refused(await nested(child_door, (method, operation, body)), 400)


@pytest.mark.parametrize("chain", [None, 1, "", "deep/m;deep;edge2", "deep;deep;edge2", "deep;edge2/x"])
async def test_chains_that_cannot_be_read(child_door: Door, chain: Any) -> None:
    for call in NESTED_CALLS:
        refused(await nested(child_door, call, chain), 400)


async def test_h_017_a_list_without_version_tells_what_answers_here(child_door: Door) -> None:
    for path in ("/devices/edge2/modules", "/devices/nobody/modules?api-version="):
        answer = await child_door.call("GET", path, token=None)
        refused(answer, 400)
        assert answer.headers["iothub-errorcode"] == "InvalidProtocolVersion"


async def test_other_routes_do_not_look_at_the_version(child_door: Door) -> None:
    for query in ("", "?api-version=1970-01-01"):
        answer = await child_door.call("GET", f"/devices/edge2/modules/m{query}", who="edge2")
        assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/devices/edge2/modules/m", 405),
        ("GET", NESTED + "getModuleOnBehalfOf", 405),
        ("POST", NESTED + "other", 404),
        ("GET", "/devices/edge2", 404),
        ("POST", "/devices/edge2/messages/events", 404),
    ],
)
async def test_what_is_not_served_has_an_empty_body(
    child_door: Door, method: str, path: str, status: int
) -> None:
    answer = await child_door.call(method, path, who="edge2")
    assert (answer.status, answer.json) == (status, None)


async def test_a_body_over_the_limit_is_refused(child_door: Door) -> None:
    body = {**MODULE, "much": "x" * 300_000}
    answer = await child_door.call(*DIRECT_CALLS[0][:2], body, who="edge2")
    assert (answer.status, answer.json) == (413, None)


# ---- offline, and devices that are new


async def test_offline_the_registry_fails_with_500(child_door: Door) -> None:
    child_door.bench.registry.answer = EdgehubError("the parent hub cannot be reached: refused")
    for answer in (
        await child_door.call(*DIRECT_CALLS[1], who="edge2"),
        await nested(child_door, NESTED_CALLS[1]),
    ):
        assert refused(answer, 500) == "the parent hub cannot be reached: refused"


async def test_without_a_parent_hub_there_is_no_registry(trusted: TrustedServer) -> None:
    bench = ChildBench()
    bench.registry = None  # type: ignore[assignment]
    head = bench.head()
    head.use_certificate(trusted.chain_pem, trusted.key_pem)
    port = await head.start(HOST, 0)
    async with trusted.session() as session:
        door = Door(bench, session, f"https://{HOST}:{port}")
        refused(await door.call(*DIRECT_CALLS[1], who="edge2"), 500)
    await head.close()


async def test_a_device_that_is_new_is_asked_for_once(child_door: Door) -> None:
    bench = child_door.bench
    bench.api.put(sas_identity("fresh", parent_scope=SCOPES["edge2"]))
    assert (await nested(child_door, NESTED_CALLS[2], "fresh;edge2")).status == 200
    assert bench.api.asked == [IdentityId("fresh")]
    for _ in range(2):
        refused(await nested(child_door, NESTED_CALLS[2], "ghost;edge2"), 401)
    assert bench.api.asked.count(IdentityId("ghost")) == 1
    bench.api.failure = ScopeApiError("offline")
    refused(await nested(child_door, NESTED_CALLS[2], "spirit;edge2"), 401)


async def test_a_body_that_does_not_come_is_not_waited_for(
    child_door: Door, trusted: TrustedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehub.heads.rest.BODY_WAIT_S", 0.05)
    port = int(child_door.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HOST, port, ssl=trusted.client_context)
    token = token_for("edge2", child_door.bench.clock)
    head = f"PUT /devices/edge2/modules/m HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
    writer.write(f"{head}Content-Length: 10\r\n\r\n{{".encode())
    assert b" 408 " in await reader.readline()
    writer.close()
    with child_door.bench.access.place("edge2"):
        pass
    assert child_door.bench.registry.calls == []
