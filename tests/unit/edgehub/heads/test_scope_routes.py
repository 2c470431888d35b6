"""The device scope for child edge devices over HTTPS (heads spec 3.3; H-011 to H-015)."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from edgehub.common.ids import IdentityId
from edgehub.heads import child_access
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.refresher import ScopeApiError
from edgehub.identity.scope import RefreshPolicy
from testkit.children import SCOPES, Answer, Door
from testkit.identities import EDGE_SCOPE, key_of, sas_identity, token_for

EDGE2_SCOPE_NAMES = ["deep", "deep/m", "edge2", "edge2/$edgeHub", "edge2/m", "edge3"]


def path(call: str, actor: str = "edge2", module: str = "$edgeHub") -> str:
    return f"/devices/{actor}/modules/{module}/{call}?api-version=2020-06-30-preview"


async def listing(door: Door, chain: Any, actor: str = "edge2", **options: Any) -> Answer:
    body = {"pageSize": 10, "continuationLink": None, "authChain": chain}
    where = path("devicesAndModulesInTargetDeviceScope", actor, options.pop("module", "$edgeHub"))
    return await door.call("POST", where, body, **{"who": f"{actor}/$edgeHub", **options})


async def lookup(
    door: Door, target: str, chain: Any = "edge2", actor: str = "edge2", **options: Any
) -> Answer:
    identity = IdentityId.parse(target)
    body = {
        "targetDeviceId": identity.device_id,
        "targetModuleId": identity.module_id,
        "authChain": chain,
    }
    where = path("getDeviceAndModuleOnBehalfOf", actor, options.pop("module", "$edgeHub"))
    return await door.call("POST", where, body, **{"who": f"{actor}/$edgeHub", **options})


def refused(answer: Answer, status: int) -> str:
    """The text of an error, whose body has nothing else."""
    assert answer.status == status, answer
    assert list(answer.json) == ["ErrorMessage"]
    return str(answer.json["ErrorMessage"])


# ---- listing


@pytest.mark.parametrize(
    ("chain", "actor", "names"),
    [
        ("edge2", "edge2", EDGE2_SCOPE_NAMES),
        ("edge3;edge2", "edge2", ["deepest", "edge3", "edge3/$edgeHub"]),
        ("edge3", "edge3", ["deepest", "edge3", "edge3/$edgeHub"]),
        ("deep;edge2", "edge2", ["deep", "deep/m"]),
        ("edge4", "edge4", ["edge4", "edge4/$edgeHub", "far"]),
    ],
)
async def test_h_011_children_and_the_target_itself(
    child_door: Door, chain: str, actor: str, names: list[str]
) -> None:
    answer = await listing(child_door, chain, actor)
    assert answer.status == 200, answer
    assert answer.names() == names
    assert answer.json["continuationLink"] is None


@pytest.mark.parametrize(
    ("chain", "actor"),
    [
        ("edge1", "edge2"),
        ("edge4", "edge2"),
        ("edge4;edge2", "edge2"),
        ("edge2", "edge4"),
        ("edge2;edge4", "edge4"),
        ("edge2;edge3", "edge3"),
        ("far;edge2", "edge2"),
        ("leaf;edge2", "edge2"),
        ("ghost;edge2", "edge2"),
        ("deepest;edge2", "edge2"),
        ("edge3;ghost;edge2", "edge2"),
        ("edge3;edge4;edge2", "edge2"),
        ("edge2;edge1", "edge2"),
        ("edge3", "edge2"),
    ],
)
async def test_h_012_nothing_beside_or_above_is_shown(child_door: Door, chain: str, actor: str) -> None:
    text = refused(await listing(child_door, chain, actor), 401)
    assert "key" not in text


@pytest.mark.parametrize("module", ["$edgeAgent", "m", "$edgehub", "x"])
async def test_h_012_only_the_edge_hub_asks(child_door: Door, module: str) -> None:
    for answer in (
        await listing(child_door, "edge2", who="edge2/m", module=module),
        await lookup(child_door, "deep", who="edge2/m", module=module),
    ):
        assert "cannot act for others" in refused(answer, 401)


@pytest.mark.parametrize(
    "token", [None, "Bearer x", "SharedAccessSignature x", "signed by another", "expired", "of a sibling"]
)
async def test_h_012_a_bad_token_is_refused(child_door: Door, token: str | None) -> None:
    clock = child_door.bench.clock
    shown = {
        "signed by another": token_for("edge2", clock, signer="edge2/m"),
        "expired": token_for("edge2/$edgeHub", clock, ttl_s=-1000),
        "of a sibling": token_for("edge4/$edgeHub", clock),
    }.get(str(token), token)
    refused(await listing(child_door, "edge2", token=shown), 401)
    refused(await lookup(child_door, "deep", token=shown), 401)


async def test_h_012_a_token_in_the_query_does_not_count(child_door: Door) -> None:
    token = token_for("edge2/$edgeHub", child_door.bench.clock)
    where = path("devicesAndModulesInTargetDeviceScope") + "&sig=" + token.replace(" ", "%20")
    answer = await child_door.call("POST", where, {"authChain": "edge2"}, token=None)
    assert refused(answer, 401) == "Authorization header missing"


@pytest.mark.parametrize(
    "chain", ["edge2/m;edge2", "deep/m;deep;edge2", "edge2/m", "", ";", "a;b/c", "edge2;edge2"]
)
async def test_h_013_a_chain_begins_with_a_device(child_door: Door, chain: str) -> None:
    refused(await listing(child_door, chain), 400)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"{}", b'{"authChain":null}', b'{"authChain":["edge2"]}', b"\xff"]
)
async def test_a_body_that_is_no_request_gives_400(child_door: Door, body: bytes) -> None:
    for call in ("devicesAndModulesInTargetDeviceScope", "getDeviceAndModuleOnBehalfOf"):
        refused(await child_door.call("POST", path(call), body), 400)


async def test_unknown_members_and_an_encoded_module_are_fine(child_door: Door) -> None:
    body = {"authChain": "edge2", "more": [1], "pageSize": "many"}
    where = "/devices/edge2/modules/%24edgeHub/devicesAndModulesInTargetDeviceScope"
    assert (await child_door.call("POST", where, body)).names() == EDGE2_SCOPE_NAMES


async def test_a_disabled_edge_device_and_what_is_below_it_get_nothing(child_door: Door) -> None:
    bench = child_door.bench
    edge2 = bench.cache.get(IdentityId("edge2"))
    assert edge2 is not None
    disabled = dataclasses.replace(edge2, enabled=False)
    bench.api.put(disabled)
    bench.put(disabled)
    refused(await listing(child_door, "edge2"), 401)
    assert "edge2 above edge3 is disabled" in refused(await listing(child_door, "edge3", "edge3"), 401)
    edge3 = bench.cache.get(IdentityId("edge3"))
    assert edge3 is not None
    bench.put(dataclasses.replace(edge2, enabled=True), dataclasses.replace(edge3, enabled=False))
    assert "edge3 above deepest is disabled" in refused(await listing(child_door, "deepest;edge3;edge2"), 401)


async def test_a_child_that_is_new_is_asked_for_and_brings_what_is_below_it(child_door: Door) -> None:
    bench = child_door.bench
    gone = [
        item for item in bench.cache.all() if item.id.device_id not in ("edge2", "deep", "edge3", "deepest")
    ]
    bench.cache.replace_all(gone)
    answer = await listing(child_door, "edge2")
    assert answer.names() == EDGE2_SCOPE_NAMES
    assert bench.api.asked == [IdentityId("edge2", "$edgeHub")]
    assert bench.api.listed == ["edge2;edge1", "edge3;edge2;edge1"]


# ---- lookup


async def test_h_014_the_parent_hub_is_asked_first_and_a_module_comes_with_its_device(
    child_door: Door,
) -> None:
    bench = child_door.bench
    fresh = dataclasses.replace(sas_identity("deep/m"), keys=(key_of("other"), key_of("other", "secondary")))
    bench.api.put(fresh)
    answer = await lookup(child_door, "deep/m")
    assert answer.names() == ["deep", "deep/m"]
    assert answer.json["modules"][0]["authentication"]["symmetricKey"]["primaryKey"] == key_of("other")
    assert bench.api.asked == [IdentityId("deep", "m")]
    assert (await lookup(child_door, "deep")).names() == ["deep"]
    # Whoever asks twice is answered afresh twice: only the child knows why it asks.
    await lookup(child_door, "deep")
    assert bench.api.asked[1:] == [IdentityId("deep")] * 2


@pytest.mark.parametrize(
    ("target", "chain"),
    [("deepest", "edge3;edge2"), ("deepest", "edge2"), ("edge3/$edgeHub", "edge2"), ("edge2/m", "edge2")],
)
async def test_h_014_anywhere_below(child_door: Door, target: str, chain: str) -> None:
    assert target in (await lookup(child_door, target, chain)).names()


@pytest.mark.parametrize(
    ("target", "chain", "actor"),
    [
        ("far", "edge2", "edge2"),
        ("leaf", "edge2", "edge2"),
        ("edge1/m", "edge2", "edge2"),
        ("edge4/$edgeHub", "edge2", "edge2"),
        ("ghost", "edge2", "edge2"),
        ("deep/ghost", "edge2", "edge2"),
        ("far", "edge4;edge2", "edge2"),
        ("deep", "edge3;edge2", "edge2"),
        ("deep", "edge3", "edge3"),
        ("far", "edge4", "edge2"),
        ("deepest", "edge3;ghost;edge2", "edge2"),
    ],
)
async def test_h_012_and_row_70_nothing_else_is_told(
    child_door: Door, target: str, chain: str, actor: str
) -> None:
    refused(await lookup(child_door, target, chain, actor), 401)


async def test_who_asks_for_others_does_not_make_the_hub_ask(child_door: Door) -> None:
    refused(await lookup(child_door, "far", "edge4;edge2"), 401)
    assert child_door.bench.api.asked == []


async def test_an_identity_that_is_new_is_found_and_one_that_is_gone_is_told(child_door: Door) -> None:
    bench = child_door.bench
    bench.api.put(sas_identity("fresh", parent_scope=SCOPES["edge2"]))
    assert (await lookup(child_door, "fresh")).names() == ["fresh"]
    bench.api.remove("fresh")
    refused(await lookup(child_door, "fresh"), 401)
    assert bench.cache.get(IdentityId("fresh")) is None


async def test_offline_the_cache_answers_and_what_nobody_knows_is_503(child_door: Door) -> None:
    """401 would make the child forget an identity that this hub cannot know about."""
    child_door.bench.api.failure = ScopeApiError("no route to host")
    assert (await lookup(child_door, "deep")).names() == ["deep"]
    assert (await listing(child_door, "edge2")).names() == EDGE2_SCOPE_NAMES
    assert "no route to host" in refused(await lookup(child_door, "ghost"), 503)


async def test_before_the_first_load_strangers_are_told_to_come_again(child_door: Door) -> None:
    """A hub that starts without a stored scope, while its parent hub is away, knows none of its children."""
    bench = child_door.bench
    known = bench.cache.all()
    bench.cache.replace_all(())
    bench.refresher._policy = RefreshPolicy(period_s=3600, gap_s=120)
    for answer in (await listing(child_door, "edge2"), await lookup(child_door, "deep")):
        assert "does not know its device scope yet" in refused(answer, 503)
    bench.cache.replace_all(known)
    refused(await lookup(child_door, "deep", token=token_for("far", bench.clock)), 401)
    assert (await lookup(child_door, "deep")).status == 200, "what is known from the run before is enough"


async def test_a_parent_hub_that_hangs_is_not_waited_for(
    child_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> list[ServiceIdentity]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(child_door.bench.api, "get_identity", hang)
    monkeypatch.setattr("edgehub.identity.scope_answers.REFRESH_WAIT_S", 0.01)
    monkeypatch.setattr("edgehub.identity.scope_answers.LOOKUP_WAIT_S", 0.02)
    assert (await lookup(child_door, "deep")).names() == ["deep"]
    assert "no answer in time" in refused(await lookup(child_door, "ghost"), 503)


# ---- the answer


async def test_h_015_names_and_values(child_door: Door) -> None:
    bench = child_door.bench
    bench.put(
        ServiceIdentity(
            IdentityId("deep"), "77", False, AuthType.THUMBPRINT, (), ("AB", "CD"),
            device_scope=SCOPES["edge2"], parent_scopes=(SCOPES["edge2"],),
        ),
        ServiceIdentity(IdentityId("deep", "m"), "78", auth_type=AuthType.NONE),
    )  # fmt: skip
    found = (await listing(child_door, "edge2")).json
    assert list(found) == ["devices", "modules", "continuationLink"]
    devices = {item["deviceId"]: item for item in found["devices"]}
    assert devices["deep"] == {
        "deviceId": "deep",
        "generationId": "77",
        "status": "disabled",
        "authentication": {
            "type": "selfSigned",
            "symmetricKey": {"primaryKey": None, "secondaryKey": None},
            "x509Thumbprint": {"primaryThumbprint": "AB", "secondaryThumbprint": "CD"},
        },
        "capabilities": {"iotEdge": False},
        "deviceScope": SCOPES["edge2"],
        "parentScopes": [SCOPES["edge2"]],
    }
    assert devices["edge2"]["capabilities"] == {"iotEdge": True}
    assert devices["edge2"]["status"] == "enabled"
    assert devices["edge2"]["parentScopes"] == [EDGE_SCOPE]
    modules = {f"{item['deviceId']}/{item['moduleId']}": item for item in found["modules"]}
    assert modules["deep/m"] == {
        "deviceId": "deep",
        "generationId": "78",
        "authentication": {
            "type": "none",
            "symmetricKey": {"primaryKey": None, "secondaryKey": None},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
        "moduleId": "m",
    }
    keys = modules["edge2/m"]["authentication"]["symmetricKey"]
    assert keys == {"primaryKey": key_of("edge2/m"), "secondaryKey": key_of("edge2/m", "secondary")}


async def test_row_71_all_keys_are_there_without_modules(child_door: Door) -> None:
    child_door.bench.api.put(sas_identity("lone", parent_scope=SCOPES["edge2"]))
    found = (await lookup(child_door, "lone")).json
    assert (found["modules"], found["continuationLink"]) == ([], None)


# ---- limits


async def test_one_child_has_so_many_places_and_others_have_theirs(
    child_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_access, "REQUESTS_PER_CHILD_MAX", 1)
    monkeypatch.setattr(child_access, "REQUESTS_MAX", 2)
    access = child_door.bench.access
    with access.place("edge2"):
        assert "too many requests" in refused(await listing(child_door, "edge2"), 429)
        assert (await listing(child_door, "edge4", "edge4")).status == 200
        with access.place("edge3"):
            refused(await listing(child_door, "edge4", "edge4"), 429)
    assert (await listing(child_door, "edge2")).status == 200


async def test_strangers_wait_in_places_of_their_own(
    child_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_access, "AUTH_WAITS_MAX", 1)
    bench = child_door.bench
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> list[ServiceIdentity]:
        asked.set()
        await go_on.wait()
        return []

    monkeypatch.setattr(bench.api, "get_identity", slow)
    stranger = asyncio.create_task(listing(child_door, "ghost", "ghost"))
    await asked.wait()
    assert "try again later" in refused(await listing(child_door, "other", "other"), 429)
    assert (await listing(child_door, "edge2")).status == 200
    go_on.set()
    refused(await stranger, 401)
    refused(await listing(child_door, "other", "other"), 401)


async def test_refusals_are_logged_up_to_a_limit(
    child_door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await listing(child_door, "edge4;edge2")
    assert "refused: edge4 is not known to be below edge4;edge2" in caplog.text
    assert "SharedAccessSignature" not in caplog.text
    for _ in range(150):
        child_door.bench.access._tell(_FakeRequest(), "x")  # type: ignore[arg-type]
    lines = caplog.text.count(" refused: ")
    assert lines == child_access.LINES_BURST
    child_door.bench.clock.advance(1)
    child_door.bench.access._tell(_FakeRequest(), "x")  # type: ignore[arg-type]
    assert "more refused requests were not logged one by one" in caplog.text


class _FakeRequest:
    method, path, remote = "POST", "/", "10.0.0.1"
