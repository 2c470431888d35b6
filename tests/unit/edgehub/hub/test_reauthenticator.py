"""Re-authentication of live connections (heads spec 4.5; I-014 to I-016)."""

from __future__ import annotations

import dataclasses

import pytest

from edgehub.hub.reauthentication import CHECKS_PER_SLICE
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
