"""Re-authentication of live connections (heads spec 4.5; I-014 to I-016)."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from edgehub.heads import mqtt as mqtt_module
from edgehub.hub.reauthentication import CHECKS_PER_SLICE
from testkit.fake_core import PublishEvent
from testkit.head_bench import HeadBench
from testkit.identities import edge_identity, key_of, sas_identity, token_for, username_for


@pytest.fixture
async def bench() -> HeadBench:
    made = HeadBench(["leaf", "leaf/m", "other"])
    for conn, identity in enumerate(["leaf", "leaf/m", "other"]):
        made.connect(conn, identity)
    return made


async def test_good_clients_stay(bench: HeadBench) -> None:
    await bench.reauthenticator.sweep()
    assert bench.calls() == []


async def test_i_016_an_expired_token_ends_the_connection(bench: HeadBench) -> None:
    bench.connect(9, "other", password=token_for("other", bench.clock, ttl_s=60).encode())
    bench.calls()
    bench.clock.advance(60 + 299)
    await bench.reauthenticator.sweep()
    assert bench.calls() == []
    bench.clock.advance(2)
    await bench.reauthenticator.sweep()
    assert bench.calls() == ["close 9 reauthentication failed: the token has expired"]


async def refresh(bench: HeadBench) -> list[str]:
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    return bench.calls()


async def test_i_014_a_removed_identity_is_closed(bench: HeadBench) -> None:
    bench.api.remove("leaf/m")
    assert await refresh(bench) == ["close 1 identity removed"]


async def test_a_removed_device_closes_its_modules_too(bench: HeadBench) -> None:
    bench.api.remove("leaf")
    bench.api.remove("leaf/m")
    assert sorted(await refresh(bench)) == ["close 0 identity removed", "close 1 identity removed"]


async def test_i_015_a_changed_key_closes_who_used_it(bench: HeadBench) -> None:
    bench.api.put(dataclasses.replace(sas_identity("other"), keys=(key_of("new"),)))
    assert await refresh(bench) == ["close 2 reauthentication failed: the signature does not match"]


async def test_one_that_was_registered_anew_is_another(bench: HeadBench) -> None:
    for generation in ("1", "2"):
        bench.api.put(dataclasses.replace(sas_identity("other"), generation_id=generation))
        closed = await refresh(bench)
    assert closed == ["close 2 identity removed"]


async def test_a_change_that_does_not_matter_closes_nobody(bench: HeadBench) -> None:
    bench.api.put(dataclasses.replace(sas_identity("other"), generation_id="new"))
    bench.api.put(sas_identity("fresh"))
    assert await refresh(bench) == []


async def test_a_disabled_device_is_closed_with_its_modules(bench: HeadBench) -> None:
    bench.api.put(sas_identity("leaf", enabled=False))
    assert await refresh(bench) == [
        "close 0 reauthentication failed: leaf is disabled",
        "close 1 reauthentication failed: leaf is disabled",
    ]


async def test_clients_of_a_child_follow_the_child() -> None:
    bench = HeadBench(())
    bench.api.put(
        edge_identity("edge2", "s2", [edge_identity().device_scope]),
        sas_identity("edge2/$edgeHub"),
        sas_identity("deep", parent_scope="s2"),
    )
    await refresh(bench)
    name = username_for("deep", "&auth-chain=deep;edge2")
    token = token_for("edge2/$edgeHub", bench.clock).encode()
    assert bench.connect(1, "deep", username=name, password=token) == ["accept 1"]
    bench.api.put(dataclasses.replace(sas_identity("edge2/$edgeHub"), keys=(key_of("new"),)))
    assert await refresh(bench) == ["close 1 reauthentication failed: the signature does not match"]


async def test_hubs_are_not_swept() -> None:
    bench = HeadBench(["edge2/$edgeHub"])
    bench.connect(1, "edge2/$edgeHub")
    bench.clock.advance(100_000)
    await bench.reauthenticator.sweep()
    assert bench.calls() == []


async def test_a_client_that_left_during_the_sweep_is_skipped() -> None:
    names = [f"d{number}" for number in range(CHECKS_PER_SLICE + 1)]
    bench = HeadBench(names, clients_max=1000)
    for conn, name in enumerate(names):
        bench.connect(conn, name)
    bench.calls()
    bench.clock.advance(100_000)
    sweep = bench.reauthenticator.sweep()
    sweep.send(None)
    assert len(bench.calls()) == CHECKS_PER_SLICE
    bench.closed(CHECKS_PER_SLICE)
    with pytest.raises(StopIteration):
        sweep.send(None)
    assert bench.calls() == []


# What is under way when the time of a client is over


ENDED = "close 1 reauthentication failed: the token has expired"


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[HeadBench, asyncio.Event]:
    """A client with a token for a minute, and twins that are read and stored when the event is set."""
    bench, gate = HeadBench(["leaf"]), asyncio.Event()

    async def get(identity: object) -> bytes:
        await gate.wait()
        return b"{}"

    async def report(identity: object, payload: bytes) -> None:
        await gate.wait()

    monkeypatch.setattr(bench.twins, "get", get)
    monkeypatch.setattr(bench.twins, "report", report)
    bench.connect(1, "leaf", password=token_for("leaf", bench.clock, ttl_s=60).encode())
    return bench, gate


@pytest.mark.parametrize(
    ("topic", "answer"),
    [("$iothub/twin/GET/?$rid=7", 200), ("$iothub/twin/PATCH/properties/reported/?$rid=7", 204)],
)
async def test_i_016_what_a_client_asked_for_is_answered_before_its_end(
    slow: tuple[HeadBench, asyncio.Event], topic: str, answer: int
) -> None:
    bench, gate = slow
    bench.feed(PublishEvent(1, 0, topic, b"{}"))
    await bench.settle()
    bench.clock.advance(60 + 301)
    await bench.reauthenticator.sweep()
    assert await bench.settle() == []
    gate.set()
    calls = await bench.settle()
    assert calls[0].startswith(f"send 1 $iothub/twin/res/{answer}/?$rid=7")
    assert calls[-1] == ENDED


async def test_the_wait_for_it_is_bounded(
    slow: tuple[HeadBench, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "RETIRE_WAIT_S", 0)
    bench, _ = slow
    bench.feed(PublishEvent(1, 0, "$iothub/twin/GET/?$rid=7"))
    await bench.settle()
    bench.clock.advance(60 + 301)
    await bench.reauthenticator.sweep()
    async with asyncio.timeout(10):
        while ENDED not in bench.calls():  # noqa: ASYNC110 - the head waits on the clock of the loop
            await asyncio.sleep(0)


async def test_who_is_disabled_ends_at_once(slow: tuple[HeadBench, asyncio.Event]) -> None:
    bench, _ = slow
    bench.feed(PublishEvent(1, 0, "$iothub/twin/GET/?$rid=7"))
    await bench.settle()
    bench.api.put(sas_identity("leaf", enabled=False))
    assert await refresh(bench) == ["close 1 reauthentication failed: leaf is disabled"]


async def test_only_who_expired_gets_the_acknowledgements_of_its_messages(
    slow: tuple[HeadBench, asyncio.Event],
) -> None:
    bench, _ = slow
    bench.api.put(sas_identity("leaf", enabled=False))
    bench.clock.advance(120)
    await bench.refresher.refresh_all()
    (call,) = bench.core.take_calls("close")
    assert not call.after_acks
    bench.api.put(sas_identity("leaf"))
    bench.clock.advance(241)
    await bench.refresher.refresh_all()
    bench.core.take_calls()
    await bench.reauthenticator.sweep()
    (call,) = bench.core.take_calls("close")
    assert call.after_acks
