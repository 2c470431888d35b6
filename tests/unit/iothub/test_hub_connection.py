"""The hub's AMQP side on a fake wire: rows 11, 12, 16 to 27, 33 to 42 and 44 of the conformance points."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_batch import BATCH_FORMAT, join_batch
from edgehub.protocol.amqp_events import ConnectionOpened, TransportFailed
from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.amqp_types import Int, Ulong
from edgehub.protocol.sas import build_token
from iothub.config import HubLimits
from iothub.twins.model import TwinRequest
from unit.iothub.hub_rig import HOST, Client, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVENTS = "/devices/{}/messages/events"
DESIRED = "/notifications/twin/properties/desired"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        yield made


async def connected(rig: Rig, device_id: str = "d1", module_id: str | None = None) -> Client:
    client = rig.client()
    await client.login(device_id, module_id)
    return client


# ---- tokens


@pytest.mark.parametrize("message_id", ["cbs-1", UUID(int=9), Ulong(77)], ids=["string", "uuid", "ulong"])
@pytest.mark.parametrize("sasl", [(), ("ANONYMOUS",), ("MSSBCBS",)], ids=["none", "anonymous", "mssbcbs"])
async def test_row_16_put_token(rig: Rig, message_id: Any, sasl: tuple[str, ...]) -> None:
    await rig.device("d1")
    client = rig.client(sasl_mechanisms=sasl)
    status, correlation_id = await client.put_token(await rig.token("d1"), message_id=message_id)
    assert (status, correlation_id, type(correlation_id)) == (200, message_id, type(message_id))


async def test_row_17_bad_tokens_are_answered_and_the_connection_stays(rig: Rig) -> None:
    await rig.device("d1")
    await rig.device("off", status="disabled")
    client = rig.client()
    good = await rig.token("d1")
    forged = build_token(f"{HOST}/devices/d1", int(rig.clock.now) + 60, key="AAAA")
    foreign = build_token("other.example/devices/d1", int(rig.clock.now) + 60, key="AAAA")
    unknown = build_token(f"{HOST}/devices/ghost", int(rig.clock.now) + 60, key="AAAA")
    off = await rig.registry.identity("off", None)
    assert off is not None
    disabled = build_token(f"{HOST}/devices/off", int(rig.clock.now) + 60, key=off.keys[0])
    expired = await rig.token("d1", life=-301)
    answers = [
        (await client.put_token(token))[0] for token in (forged, foreign, unknown, disabled, expired, "junk")
    ]
    assert answers == [401, 401, 404, 403, 401, 400]
    assert (await client.put_token(good))[0] == 200


async def test_policy_tokens(rig: Rig) -> None:
    """Row 8: the device policy speaks for any device; others do not."""
    await rig.device("d1")
    client = rig.client()
    assert (await client.put_token(rig.policy_token("service")))[0] == 200
    refused = await client.sender(EVENTS.format("d1"))
    assert refused.remote_refused
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert (await client.put_token(rig.policy_token("device")))[0] == 200
    link = await client.sender(EVENTS.format("d1"))
    assert await client.send(link, b"x") == "accepted"


async def test_row_73_a_lower_cased_audience_is_matched_by_its_name(rig: Rig) -> None:
    """Row 3: the id's case comes from the name beside the token."""
    await rig.device("Dev1")
    identity = await rig.registry.identity("Dev1", None)
    assert identity is not None
    token = build_token(f"{HOST}/devices/dev1", int(rig.clock.now) + 60, key=identity.keys[0])
    client = rig.client()
    assert (await client.put_token(token, name=f"{HOST}/devices/Dev1"))[0] == 200
    assert await client.send(await client.sender(EVENTS.format("Dev1")), b"x") == "accepted"


async def test_tokens_per_connection_are_limited(tmp_path: Path) -> None:
    async with hub(tmp_path, HubLimits(tokens_max=1)) as rig:
        await rig.device("d1")
        await rig.device("d2")
        client = rig.client()
        assert (await client.put_token(await rig.token("d1")))[0] == 200
        assert (await client.put_token(await rig.token("d2")))[0] == 403
        assert (await client.put_token(await rig.token("d1")))[0] == 200


@pytest.mark.parametrize(
    ("user", "token_of", "accepted"),
    [
        ("d1@sas.hub", "d1", True),
        ("d1@hub", "d1", True),
        ("d1@sas.HUB", "d1", True),
        ("gw/modules/$edgeHub@sas.hub", "gw/$edgeHub", True),
        ("d2@sas.hub", "d1", False),
        ("d1@sas.other", "d1", False),
        ("d1", "d1", False),
    ],
)
async def test_row_42_sasl_plain(rig: Rig, user: str, token_of: str, accepted: bool) -> None:
    await rig.device("d1")
    await rig.edge("gw")
    device_id, _, module_id = token_of.partition("/")
    token = await rig.token(device_id, module_id or None)
    client = rig.client(sasl_mechanisms=("PLAIN",), sasl_user=user, sasl_password=token)
    await client.settle()
    assert bool(client.take(ConnectionOpened)) is accepted
    assert bool(client.take(TransportFailed)) is not accepted
    if accepted and not module_id:
        assert await client.send(await client.sender(EVENTS.format("d1")), b"x") == "accepted"


async def test_sasl_plain_with_a_policy_and_with_junk(rig: Rig) -> None:
    await rig.device("d1")
    token = rig.policy_token("device")
    client = rig.client(sasl_mechanisms=("PLAIN",), sasl_user="device@sas.root.hub", sasl_password=token)
    await client.settle()
    assert await client.send(await client.sender(EVENTS.format("d1")), b"x") == "accepted"
    bad = rig.client(sasl_mechanisms=("PLAIN",), sasl_user="d1@sas.hub", sasl_password="junk")
    await bad.settle()
    assert bad.take(TransportFailed)


# ---- attach


async def test_row_21_attach_before_a_token(rig: Rig) -> None:
    await rig.device("d1")
    client = rig.client()
    link = await client.sender(EVENTS.format("d1"))
    assert link.remote_refused
    (fault,) = client.faults()
    assert fault.condition == amqp_errors.UNAUTHORIZED
    assert json.loads(fault.description)["errorCode"] == 401002


@pytest.mark.parametrize("address", ["/devices/d1/nothing", "/", "/devices/d1", "queue1"])
async def test_row_22_unknown_addresses(rig: Rig, address: str) -> None:
    await rig.device("d1")
    client = await connected(rig)
    await client.sender(address)
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_FOUND]


@pytest.mark.parametrize("node", ["messages/deviceBound"])
async def test_nodes_that_are_not_offered_say_so(rig: Rig, node: str) -> None:
    await rig.device("d1")
    client = await connected(rig)
    await client.sender(f"/devices/d1/{node}")
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_IMPLEMENTED]


@pytest.mark.parametrize(
    "address",
    [
        f"amqps://{HOST}/devices/d1/messages/events",
        "devices/d1/Messages/EVENTS",
        "/devices/d1/messages/events/",
    ],
)
async def test_row_23_forms_of_an_address(rig: Rig, address: str) -> None:
    await rig.device("d1")
    client = await connected(rig)
    assert await client.send(await client.sender(address), b"x") == "accepted"


async def test_a_token_of_another_device_does_not_help(rig: Rig) -> None:
    await rig.device("d1")
    await rig.device("d2")
    client = await connected(rig, "d1")
    await client.sender(EVENTS.format("d2"))
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_device_tokens_cover_modules_but_not_the_other_way(rig: Rig) -> None:
    """I-003."""
    await rig.device("d1")
    await rig.module("d1", "m1")
    client = await connected(rig, "d1")
    assert (
        await client.send(await client.sender("/devices/d1/modules/m1/messages/events"), b"x") == "accepted"
    )
    module = await connected(rig, "d1", "m1")
    await module.sender(EVENTS.format("d1"))
    assert [fault.condition for fault in module.faults()] == [amqp_errors.UNAUTHORIZED]
    assert [event.origin.module_id for event in await rig.events()] == ["m1"]


# ---- telemetry


async def test_row_19_two_identities_with_the_same_link_names(rig: Rig) -> None:
    for device_id in ("d1", "d2"):
        await rig.device(device_id)
    client = await connected(rig, "d1")
    await client.login("d2")
    links = [await client.sender(EVENTS.format(device_id)) for device_id in ("d1", "d2")]
    for link in links:
        assert await client.send(link, b"x") == "accepted"
    assert [event.origin.device_id for event in await rig.events()] == ["d1", "d2"]


async def test_row_20_five_hundred_identities_on_one_connection(rig: Rig) -> None:
    ids = [f"d{number:03d}" for number in range(500)]
    for device_id in ids:
        await rig.device(device_id)
    client = rig.client()
    assert (await client.put_token(rig.policy_token("device")))[0] == 200
    links = []
    for device_id in ids:
        session = client.engine.new_session()
        links.append(session.attach_sender("TelemetrySenderLink", EVENTS.format(device_id)))
    await client.settle()
    for link, device_id in zip(links, ids, strict=True):
        link.send(encode_message(data=device_id.encode()))
    await client.settle()
    events = await rig.events()
    assert len(events) == 500
    assert all(event.body.decode() == event.origin.device_id for event in events)
    assert rig.services.connections.connected_devices() == 500


async def test_row_24_accepted_only_after_the_commit(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    held: list[Any] = []
    rig.telemetry.log.append = held.append  # type: ignore[method-assign, assignment]
    link.send(encode_message(data=b"x"))
    for _ in range(20):
        client.server.feed(client.engine.outbound())
        client.engine.feed(client.server.engine.outbound())
        await asyncio.sleep(0)
    assert len(held) == 1
    assert len(link.unsettled) == 1
    rig.telemetry._finish(held, None)
    await client.settle()
    assert len(link.unsettled) == 0


async def test_a_message_that_could_not_be_stored_is_rejected(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))

    def failing(item: Any) -> None:
        rig.telemetry._finish([item], OSError("full"))

    rig.telemetry.log.append = failing  # type: ignore[method-assign]
    assert await client.send(link, b"x") == amqp_errors.INTERNAL_ERROR
    assert rig.services.stats.events_accepted == 0


async def test_row_25_batches(rig: Rig) -> None:
    """Vector 12.4: messages in order, one disposition."""
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    payload = bytes.fromhex("005375a006005375a00161005375a006005375a00162")
    assert await client.transfer(link, payload, BATCH_FORMAT) == "accepted"
    assert [event.body for event in await rig.events()] == [b"a", b"b"]
    assert rig.services.stats.events_accepted == 2


async def test_row_26_sizes(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    assert await client.send(link, bytes(262_144)) == "accepted"
    assert await client.send(link, bytes(262_145)) == amqp_errors.MESSAGE_SIZE
    assert await client.send(link, b"still open") == "accepted"
    assert await client.send(link, bytes(1_048_576)) == "none"
    assert [fault.condition for fault in client.faults()] == [amqp_errors.MESSAGE_SIZE]


async def test_malformed_messages_are_rejected_and_nothing_is_stored(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    good = encode_message(data=b"x")
    for payload, message_format in ((b"junk", 0), (b"", 0), (b"junk", BATCH_FORMAT), (good, 99)):
        assert await client.transfer(link, payload, message_format) == amqp_errors.DECODE_ERROR
    assert await client.transfer(link, join_batch([good, b"junk"]), BATCH_FORMAT) == amqp_errors.DECODE_ERROR
    assert await rig.events() == []
    assert await client.send(link, b"x") == "accepted"


async def test_row_27_other_property_types(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    assert await client.send(link, b"x", application_properties={"n": Int(1), "t": "text"}) == "accepted"
    (event,) = await rig.events()
    assert event.properties == {"t": "text"}


async def test_credit_is_topped_up(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    assert link.credit == 100
    for number in range(250):
        assert await client.send(link, b"%d" % number) == "accepted"
    assert link.credit == 100


async def test_reading_stops_when_the_log_falls_behind(tmp_path: Path) -> None:
    async with hub(tmp_path, HubLimits(ingest_bytes_max=1000)) as rig:
        await rig.device("d1")
        heard: list[bool] = []
        rig.telemetry.listen_room(heard.append)
        client = await connected(rig)
        link = await client.sender(EVENTS.format("d1"))
        for _ in range(20):
            link.send(encode_message(data=bytes(200)))
        await client.settle()
        assert heard[0] is True
        assert heard[-1] is False
        assert len(await rig.events()) == 20


# ---- on behalf of


async def nested(rig: Rig) -> tuple[Client, str]:
    """top > gw > leaf, with the token of top's edge hub on a connection."""
    top = await rig.edge("top")
    gateway = await rig.edge("gw", parentScopes=[top.device_scope])
    await rig.device("leaf", deviceScope=gateway.device_scope)
    await rig.module("leaf", "m")
    await rig.module("gw", "filter")
    await rig.device("stranger")
    return await connected(rig, "top", "$edgeHub"), "top"


@pytest.mark.parametrize(
    ("address", "chain"),
    [
        ("/devices/leaf/messages/events", "leaf;gw;top"),
        ("/devices/leaf/modules/m/messages/events", "leaf/m;leaf;gw;top"),
        ("/devices/gw/modules/filter/messages/events", "gw/filter;gw;top"),
        ("/devices/gw/messages/events", "gw;top"),
    ],
)
async def test_row_40_valid_chains(rig: Rig, address: str, chain: str) -> None:
    client, _ = await nested(rig)
    link = await client.sender(address, auth_chain=chain)
    assert await client.send(link, b"x") == "accepted"
    (event,) = await rig.events()
    target = chain.partition(";")[0].split("/")
    assert [event.origin.device_id, event.origin.module_id] == [
        target[0],
        target[1] if len(target) > 1 else None,
    ]


@pytest.mark.parametrize(
    "chain",
    [
        "leaf;top",
        "leaf;gw",
        "leaf;gw;stranger",
        "stranger;top",
        "gw;top",
        "leaf;ghost;top",
        "leaf/m;leaf;gw;top",
        "leaf;gw;top;gw",
        ";",
        "leaf",
    ],
)
async def test_row_40_chains_that_do_not_lead_there(rig: Rig, chain: str) -> None:
    client, _ = await nested(rig)
    await client.sender("/devices/leaf/messages/events", auth_chain=chain)
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_chains_need_the_actor_s_own_token(rig: Rig) -> None:
    await nested(rig)
    client = await connected(rig, "gw", "filter")
    await client.sender("/devices/leaf/messages/events", auth_chain="leaf;gw")
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_a_disabled_link_of_the_chain_ends_it(rig: Rig) -> None:
    client, _ = await nested(rig)
    link = await client.sender("/devices/leaf/messages/events", auth_chain="leaf;gw;top")
    assert await client.send(link, b"x") == "accepted"
    await rig.registry.delete_device("leaf", None)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_FOUND]


# ---- identities come and go


async def test_row_37_an_expired_token_takes_its_links_along_and_no_others(rig: Rig) -> None:
    for device_id in ("d1", "d2"):
        await rig.device(device_id)
    client = rig.client()
    await client.put_token(await rig.token("d1", life=100))
    await client.put_token(await rig.token("d2", life=5000))
    links = [await client.sender(EVENTS.format(device_id)) for device_id in ("d1", "d2")]
    rig.clock.now += 100 + 300 + 1
    client.server.on_deadline(500.0)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]
    assert await client.send(links[1], b"x") == "accepted"
    assert not rig.services.connections.is_connected("d1", None)


async def test_the_deadline_follows_the_first_token_to_end(rig: Rig) -> None:
    await rig.device("d1")
    client = rig.client()
    await client.put_token(await rig.token("d1", life=-200))
    deadline = client.server.deadline(1000.0)
    assert deadline is not None
    assert deadline <= 1100.0


async def test_row_38_a_second_token_keeps_the_links(rig: Rig) -> None:
    await rig.device("d1")
    client = rig.client()
    await client.put_token(await rig.token("d1", life=100))
    link = await client.sender(EVENTS.format("d1"))
    await client.put_token(await rig.token("d1", life=5000))
    rig.clock.now += 1000
    client.server.on_deadline(1000.0)
    assert await client.send(link, b"x") == "accepted"
    assert client.faults() == []


async def test_row_39_the_newest_connection_wins(rig: Rig) -> None:
    await rig.device("d1")
    old = await connected(rig)
    await old.sender(EVENTS.format("d1"))
    new = await connected(rig)
    link = await new.sender(EVENTS.format("d1"))
    await old.settle()
    fault = old.closed_with()
    assert fault is not None
    assert fault.condition == amqp_errors.CONNECTION_FORCED
    assert await new.send(link, b"x") == "accepted"
    assert rig.services.connections.is_connected("d1", None)


async def test_row_39_a_shared_connection_loses_that_identity_alone(rig: Rig) -> None:
    for device_id in ("d1", "d2"):
        await rig.device(device_id)
    shared = await connected(rig, "d1")
    await shared.login("d2")
    await shared.sender(EVENTS.format("d1"))
    kept = await shared.sender(EVENTS.format("d2"))
    new = await connected(rig, "d1")
    await new.sender(EVENTS.format("d1"))
    await shared.settle()
    assert [fault.condition for fault in shared.faults()] == [amqp_errors.DETACH_FORCED]
    assert await shared.send(kept, b"x") == "accepted"


async def test_A_037_a_second_link_of_the_same_kind_replaces_the_first(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    session = client.engine.new_session()
    await client.sender(EVENTS.format("d1"), session)
    second = await client.sender(EVENTS.format("d1"), session, name="another")
    assert [fault.condition for fault in client.faults()] == [amqp_errors.LINK_STOLEN]
    assert await client.send(second, b"x") == "accepted"


async def test_rows_11_and_12_changes_of_the_registry_reach_connections(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    await client.sender(EVENTS.format("d1"))
    await rig.registry.delete_device("d1", None)
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.NOT_FOUND]
    token = await _old_token(rig)
    assert (await client.put_token(token))[0] == 401


async def _old_token(rig: Rig) -> str:
    await rig.device("d1")
    old = await rig.token("d1")
    await rig.registry.delete_device("d1", None)
    await rig.device("d1")
    return old


async def test_new_keys_end_links_that_lived_by_the_old_ones(rig: Rig) -> None:
    """I-015."""
    await rig.edge("gw")
    client = await connected(rig, "gw", "$edgeHub")
    await client.sender("/devices/gw/modules/$edgeHub/messages/events")
    await rig.module("gw", "$edgeHub", if_match="*")
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_a_change_that_matters_not_leaves_links_alone(rig: Rig) -> None:
    await rig.edge("gw")
    await rig.module("gw", "other")
    client = await connected(rig, "gw", "$edgeHub")
    link = await client.sender("/devices/gw/modules/$edgeHub/messages/events")
    await rig.registry.delete_module("gw", "other", None)
    await client.settle()
    assert await client.send(link, b"x") == "accepted"


async def test_delete_token_ends_its_links(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    await client.sender(EVENTS.format("d1"))
    assert client._cbs is not None
    request = {"operation": "delete-token", "type": "x", "name": f"{HOST}/devices/d1"}
    client._cbs[0].send(
        encode_message(properties={"message_id": "1"}, application_properties=request, value=None)
    )
    await client.settle()
    assert [fault.condition for fault in client.faults()] == [amqp_errors.UNAUTHORIZED]


async def test_closing_gives_the_identity_up(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    link = await client.sender(EVENTS.format("d1"))
    assert rig.services.connections.is_connected("d1", None)
    link.close()
    await client.settle()
    assert not rig.services.connections.is_connected("d1", None)


# ---- twins

TWIN = "/devices/d1/twin"


@pytest.mark.parametrize("body", [b"", b" "])
async def test_row_33_twin_get(rig: Rig, body: bytes) -> None:
    await rig.device("d1")
    await rig.twins.patch("d1", None, TwinRequest({"tag": 1}, {"a": 1}), None)
    pair = await (await connected(rig)).twin_pair(TWIN)
    (answer,) = await pair.ask("GET", body, UUID(int=3))
    assert answer.annotations["status"] == 200
    assert type(answer.annotations["status"]) is Int
    assert answer.correlation_id == UUID(int=3)
    assert json.loads(answer.body) == {"desired": {"a": 1, "$version": 2}, "reported": {"$version": 1}}


async def test_row_34_twin_patch_and_its_version(rig: Rig) -> None:
    await rig.device("d1")
    pair = await (await connected(rig)).twin_pair(TWIN)
    (answer,) = await pair.ask("PATCH", b'{"x": {"y": 1}}', resource="/properties/reported")
    assert (answer.annotations["status"], answer.annotations["version"], answer.body) == (204, 2, b"")
    (probe,) = await pair.ask("PATCH", b"{}", resource=None, version=None)
    assert (probe.annotations["status"], probe.annotations["version"]) == (204, 2)
    (stale,) = await pair.ask("PATCH", b'{"x": 1}', version=1)
    assert stale.annotations["status"] == 412
    assert (await rig.twins.get("d1", None)).reported.values == {"x": {"y": 1}}


async def test_row_35_desired_notifications(rig: Rig) -> None:
    await rig.device("d1")
    pair = await (await connected(rig)).twin_pair(TWIN)
    (subscribed,) = await pair.ask("PUT", resource=DESIRED)
    assert subscribed.annotations["status"] == 200
    await rig.twins.patch("d1", None, TwinRequest(None, {"a": {"b": 1}, "gone": None}), None)
    (notice,) = await pair.messages()
    assert notice.correlation_id is None
    assert notice.annotations == {"resource": DESIRED, "version": 2}
    assert json.loads(notice.body) == {"a": {"b": 1}, "gone": None, "$version": 2}
    await rig.twins.replace("d1", None, TwinRequest(None, {"c": 1}), None)
    (notice,) = await pair.messages()
    assert json.loads(notice.body) == {"a": None, "c": 1, "$version": 3}
    await rig.twins.patch("d1", None, TwinRequest({"only": "tags"}, None), None)
    assert await pair.messages() == []
    await pair.ask("DELETE", resource=DESIRED)
    await rig.twins.patch("d1", None, TwinRequest(None, {"a": 1}), None)
    assert await pair.messages() == []


async def test_row_36_bad_twin_requests(rig: Rig) -> None:
    await rig.device("d1")
    pair = await (await connected(rig)).twin_pair(TWIN)
    deep: Any = 1
    for _ in range(12):
        deep = {"n": deep}
    cases: list[tuple[str, bytes, dict[str, Any]]] = [
        ("PATCH", json.dumps(deep).encode(), {}),
        ("PATCH", b"{broken", {}),
        ("PATCH", b"[]", {}),
        ("PATCH", b"[" * 100_000, {}),
        ("PATCH", b"{}", {"resource": "/properties/desired"}),
        ("PATCH", b"{}", {"version": "one"}),
        ("PUT", b"", {"resource": "/elsewhere"}),
        ("MOVE", b"", {}),
    ]
    for operation, body, named in cases:
        (answer,) = await pair.ask(operation, body, **named)
        assert answer.annotations["status"] == 400
        assert "errorCode" in json.loads(answer.body)["Message"]


async def test_requests_without_correlation_id_are_done_without_answer(rig: Rig) -> None:
    await rig.device("d1")
    pair = await (await connected(rig)).twin_pair(TWIN)
    assert await pair.ask("PATCH", b'{"x":1}', None) == []
    assert (await rig.twins.get("d1", None)).reported.values == {"x": 1}
    pair.requests.send(b"junk")
    assert await pair.messages() == []


async def test_two_pairs_do_not_mix(rig: Rig) -> None:
    """Row 30 in kind: answers go to the partner with the same correlation id."""
    await rig.device("d1")
    client = await connected(rig)
    one, two = await client.twin_pair(TWIN, "1"), await client.twin_pair(TWIN, "2")
    assert len(await one.ask("GET")) == 1
    assert len(await two.ask("GET")) == 1
    assert client.faults() == []


async def test_a_device_that_grants_no_credit_loses_its_twin_link(tmp_path: Path) -> None:
    async with hub(tmp_path, HubLimits(twin_queue_max=3)) as rig:
        await rig.device("d1")
        client = await connected(rig)
        session = client.engine.new_session()
        properties = {"com.microsoft:channel-correlation-id": "twin:1"}
        requests = session.attach_sender("o", TWIN, properties=properties)
        session.attach_receiver("i", TWIN, properties=properties, credit=0)
        await client.settle()
        for _ in range(4):
            requests.send(
                encode_message(annotations={"operation": "GET"}, properties={"correlation_id": "1"}, data=b"")
            )
        await client.settle()
        assert [fault.condition for fault in client.faults()] == [amqp_errors.RESOURCE_LIMIT]


async def test_notifications_end_with_the_link(rig: Rig) -> None:
    await rig.device("d1")
    client = await connected(rig)
    pair = await client.twin_pair(TWIN)
    await pair.ask("PUT", resource=DESIRED)
    pair.answers.close()
    await client.settle()
    assert not rig.twins._listeners


# ---- the connection


async def test_connections_that_never_open_are_closed(rig: Rig) -> None:
    client = Client(rig)
    assert client.server.deadline(0.0) == 60.0
    client.server.on_deadline(59.0)
    assert not client.server.closing
    client.server.on_deadline(60.0)
    assert client.server.closing


async def test_A_005_too_small_idle_times_are_refused(rig: Rig) -> None:
    client = rig.client(idle_timeout_ms=4999)
    await client.settle()
    fault = client.closed_with()
    assert fault is not None
    assert fault.condition == amqp_errors.NOT_ALLOWED


async def test_the_control_queue_is_limited(tmp_path: Path) -> None:
    async with hub(tmp_path, HubLimits(control_queue_max=5)) as rig:
        client = rig.client()
        session = client.engine.new_session()
        for number in range(20):
            session.attach_sender(f"l{number}", EVENTS.format("d1"))
        await client.settle()
        fault = client.closed_with()
        assert fault is not None
        assert fault.condition == amqp_errors.RESOURCE_LIMIT


@pytest.mark.parametrize("seed", range(20))
async def test_row_44_random_bytes_close_that_connection_alone(rig: Rig, seed: int) -> None:
    await rig.device("d1")
    good = await connected(rig)
    link = await good.sender(EVENTS.format("d1"))
    rng = random.Random(seed)
    bad = Client(rig)
    head = b"AMQP\x00\x01\x00\x00" if seed % 2 else b""
    bad.server.feed(head + rng.randbytes(300))
    bad.server.feed_eof()
    bad.server.engine.outbound()
    assert bad.server.engine.finished
    bad.server.dispose()
    assert await good.send(link, b"x") == "accepted"
