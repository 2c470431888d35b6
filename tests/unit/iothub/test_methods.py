"""Direct methods over AMQP (rows 30 to 32, 109 to 114)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from edgehub.common.method_calls import MethodAnswer
from edgehub.protocol.amqp_events import Received
from edgehub.protocol.amqp_message import decode_message
from edgehub.protocol.amqp_types import Int
from iothub.config import HubLimits
from iothub.errors import ErrorCode, HubError
from iothub.methods.service import parse_invocation
from unit.iothub.hub_rig import Client, Rig, hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

METHODS = "/devices/{}/methods/deviceBound"
KEY = ("d1", None)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with hub(tmp_path) as made:
        await made.device("d1")
        yield made


async def connected(rig: Rig, device_id: str = "d1", module_id: str | None = None) -> Client:
    client = rig.client()
    await client.login(device_id, module_id)
    return client


def invoke(rig: Rig, key: tuple[str, str | None] = KEY, **members: Any) -> asyncio.Task[MethodAnswer]:
    body = {"methodName": "reset", "payload": {"x": 1}, **members}
    request = parse_invocation(json.dumps(body).encode())
    return asyncio.create_task(rig.services.methods.invoke(key, request))


async def error_of(task: asyncio.Task[MethodAnswer]) -> ErrorCode:
    with pytest.raises(HubError) as caught:
        await task
    assert caught.value.structured
    return caught.value.code


async def test_rows_31_and_32_a_call_and_its_answer(rig: Rig) -> None:
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    task = invoke(rig)
    (call,) = await pair.calls()
    assert isinstance(call.correlation_id, UUID)
    assert call.application_properties == {"IoThub-methodname": "reset"}
    assert call.body == b'{"x": 1}'
    await pair.answer(call.correlation_id, b'{"ok":1}', IoThub_status=Int(202))
    assert await task == MethodAnswer(202, b'{"ok":1}')


async def test_an_id_comes_back_as_uuid_or_text_in_any_order(rig: Rig) -> None:
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    first, second = invoke(rig), invoke(rig)
    one, two = await pair.calls()
    await pair.answer(str(two.correlation_id).upper(), b"2", IoThub_status=Int(2))
    await pair.answer(one.correlation_id, b"1", IoThub_status=Int(1))
    assert ((await first).status, (await second).status) == (1, 2)


async def test_row_30_pairs_of_two_modules_do_not_mix(rig: Rig) -> None:
    await rig.edge("gw")
    for name in ("m", "n"):
        await rig.module("gw", name)
    client = rig.client()
    await client.login("gw", "m")
    await client.login("gw", "n")
    pairs = [
        await client.method_pair(f"/devices/gw/modules/{name}/methods/devicebound", pair=name)
        for name in ("m", "n")
    ]
    tasks = [invoke(rig, ("gw", name), payload=name) for name in ("m", "n")]
    received: list[Received] = []
    while len(received) < 2:
        await client.settle()
        received += client.take(Received)
    bodies = {event.link: decode_message(event.payload).body for event in received}
    assert bodies == {pairs[0].requests: b'"m"', pairs[1].requests: b'"n"'}
    for task in tasks:
        task.cancel()


async def test_row_109_a_call_waits_for_the_device(rig: Rig) -> None:
    assert await error_of(invoke(rig)) is ErrorCode.DeviceNotOnline
    task = invoke(rig, connectTimeoutInSeconds=60)
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    (call,) = await pair.calls()
    await pair.answer(call.correlation_id, IoThub_status=Int(200))
    assert (await task).status == 200


async def test_row_114_a_device_that_leaves_ends_the_wait(rig: Rig) -> None:
    client = await connected(rig)
    pair = await client.method_pair(METHODS.format("d1"))
    task = invoke(rig)
    await pair.calls()
    pair.requests.close()
    await client.settle()
    assert await error_of(task) is ErrorCode.DeviceConnectionClosedRemotely
    assert await error_of(invoke(rig)) is ErrorCode.DeviceNotOnline


async def test_a_newer_connection_takes_the_calls(rig: Rig) -> None:
    await (await connected(rig)).method_pair(METHODS.format("d1"))
    task = invoke(rig)
    await asyncio.sleep(0)
    newer = await (await connected(rig)).method_pair(METHODS.format("d1"))
    assert await error_of(task) is ErrorCode.DeviceConnectionClosedRemotely
    again = invoke(rig)
    (call,) = await newer.calls()
    await newer.answer(call.correlation_id, IoThub_status=Int(1))
    assert (await again).status == 1


async def test_odd_answers_are_ignored(rig: Rig) -> None:
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    task = invoke(rig)
    (call,) = await pair.calls()
    await pair.answer("unknown", IoThub_status=Int(200))
    await pair.answer(call.correlation_id)
    await pair.answer(call.correlation_id, IoThub_status="200")
    await pair.answer(None, IoThub_status=Int(200))
    pair.answers.send(b"\xff\xff")
    await pair.client.settle()
    assert not task.done()
    await pair.answer(call.correlation_id, b"", IoThub_status=Int(200))
    assert await task == MethodAnswer(200, b"")


async def test_row_110_no_answer(rig: Rig) -> None:
    await (await connected(rig)).method_pair(METHODS.format("d1"))
    request = msgspec.structs.replace(parse_invocation(b'{"methodName":"reset"}'), responseTimeoutInSeconds=0)
    task = asyncio.create_task(rig.services.methods.invoke(KEY, request))
    assert await error_of(task) is ErrorCode.GatewayTimeout


@pytest.mark.parametrize("status", [500, 404, 0, -1])
async def test_row_111_a_target_s_own_status_is_an_answer(rig: Rig, status: int) -> None:
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    task = invoke(rig)
    (call,) = await pair.calls()
    await pair.answer(call.correlation_id, IoThub_status=Int(status))
    assert (await task).status == status


async def test_row_113_the_payload_has_a_limit() -> None:
    fits = b'{"methodName":"m","payload":"%b"}' % (b"x" * (131_072 - 2))
    assert len(parse_invocation(fits).payload) == 131_072
    with pytest.raises(HubError) as caught:
        parse_invocation(fits.replace(b'"xx', b'"xxx'))
    assert caught.value.code is ErrorCode.ArgumentInvalid


@pytest.mark.parametrize(("size", "fits"), [(131_072, True), (131_073, False)])
async def test_row_113_so_has_the_response(rig: Rig, size: int, fits: bool) -> None:
    pair = await (await connected(rig)).method_pair(METHODS.format("d1"))
    task = invoke(rig)
    (call,) = await pair.calls()
    body = b'"%b"' % (b"x" * (size - 2))
    await pair.answer(call.correlation_id, body, IoThub_status=Int(200))
    if fits:
        assert await task == MethodAnswer(200, body)
    else:
        assert await error_of(task) is ErrorCode.ArgumentInvalid


async def test_unknown_and_disabled_devices(rig: Rig) -> None:
    assert await error_of(invoke(rig, ("nobody", None))) is ErrorCode.DeviceNotFound
    assert await error_of(invoke(rig, ("d1", "m"))) is ErrorCode.ModuleNotFound
    await rig.device("off", status="disabled")
    assert await error_of(invoke(rig, ("off", None))) is ErrorCode.DeviceDisabled


@pytest.mark.parametrize("members", [{"responseTimeoutInSeconds": 301}, {"methodName": "x" * 257}])
async def test_row_112_limits(rig: Rig, members: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        invoke(rig, **members)
    assert caught.value.code is ErrorCode.ArgumentInvalid
    parse_invocation(json.dumps({"methodName": "x" * 256, "responseTimeoutInSeconds": 300}).encode())


async def test_a_client_that_grants_no_credit_loses_its_link(tmp_path: Path) -> None:
    async with hub(tmp_path, HubLimits(method_queue_max=2)) as rig:
        await rig.device("d1")
        client = await connected(rig)
        await client.method_pair(METHODS.format("d1"), credit=0)
        tasks = [invoke(rig) for _ in range(3)]
        while not all(task.done() for task in tasks):
            await client.settle()
        assert {await error_of(task) for task in tasks} == {ErrorCode.DeviceConnectionClosedRemotely}
