"""The lifecycle of identities (rows X02 to X05)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgeagent.errors import AgentError
from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.errors import RegistryRefusedError, RegistryUnreachableError
from edgeagent.identity.manager import CALLS_AT_ONCE, IdentityManager
from edgeagent.identity.model import ModuleIdentity

if TYPE_CHECKING:
    from pathlib import Path

AGENT, HUB = "$edgeAgent", "$edgeHub"


async def derive(module_id: str, generation_id: str) -> tuple[str, str]:
    return f"{module_id}:{generation_id}:primary", f"{module_id}:{generation_id}:secondary"


class Registry:
    """A hub in memory."""

    def __init__(self, *, shows_keys: bool = True) -> None:
        self.identities: dict[str, ModuleIdentity] = {}
        self.calls: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.busy = 0
        self.busiest = 0
        self._shows_keys = shows_keys
        self._generation = 100

    def has(self, module_id: str, managed_by: str = "", keys: tuple[str, str] | None = ("x", "y")) -> None:
        self._generation += 1
        self.identities[module_id] = ModuleIdentity(module_id, str(self._generation), managed_by, keys)

    async def _called(self, call: str) -> None:
        self.calls.append(call)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if call in self.faults:
            raise self.faults[call]

    def _seen(self, one: ModuleIdentity) -> ModuleIdentity:
        keys = one.keys if self._shows_keys else None
        return ModuleIdentity(one.module_id, one.generation_id, one.managed_by, keys)

    async def modules(self) -> list[ModuleIdentity]:
        await self._called("list")
        return [self._seen(one) for one in self.identities.values()]

    async def module(self, module_id: str) -> ModuleIdentity | None:
        await self._called(f"get {module_id}")
        found = self.identities.get(module_id)
        return None if found is None else self._seen(found)

    async def create(self, module_id: str) -> ModuleIdentity:
        await self._called(f"create {module_id}")
        self.has(module_id, "IotEdge")
        return self._seen(self.identities[module_id])

    async def set_keys(self, identity: ModuleIdentity, keys: tuple[str, str]) -> ModuleIdentity:
        await self._called(f"keys {identity.module_id}")
        known = self.identities[identity.module_id]
        changed = ModuleIdentity(known.module_id, known.generation_id, known.managed_by, keys)
        self.identities[identity.module_id] = changed
        return self._seen(changed)

    async def delete(self, module_id: str) -> None:
        await self._called(f"delete {module_id}")
        del self.identities[module_id]


def manager(registry: Registry, folder: Path, *, clean_orphans: bool = False) -> IdentityManager:
    cache = IdentityCache(folder / "identities.json", "hub", "d")
    return IdentityManager(registry, derive, cache, clean_orphans=clean_orphans)


async def test_a_first_deployment(tmp_path: Path) -> None:
    registry = Registry()
    registry.has(AGENT, keys=await derive(AGENT, "101"))
    registry.has(HUB)
    result = await manager(registry, tmp_path).ensure((AGENT, HUB, "m"))
    assert set(result.by_id) == {AGENT, HUB, "m"}
    assert not result.faults
    assert registry.calls == ["list", "create m", "keys m", f"keys {HUB}"]
    generation = result.generation_id("m")
    assert generation is not None
    assert registry.identities["m"].keys == await derive("m", generation)
    assert result.generation_id("other") is None


@pytest.mark.parametrize("shows_keys", [True, False], ids=["keys shown", "keys hidden"])
async def test_a_second_time_there_is_nothing_to_do(tmp_path: Path, shows_keys: bool) -> None:
    registry = Registry(shows_keys=shows_keys)
    identities = manager(registry, tmp_path)
    await identities.ensure((HUB, "m"))
    registry.calls.clear()
    result = await identities.ensure((HUB, "m"))
    assert registry.calls == ["list"]
    assert set(result.by_id) == {HUB, "m"}
    again = manager(registry, tmp_path)
    await again.load()
    registry.calls.clear()
    await again.ensure((HUB, "m"))
    assert registry.calls == ["list"]


async def test_an_identity_that_was_made_anew_gets_keys(tmp_path: Path) -> None:
    registry = Registry(shows_keys=False)
    identities = manager(registry, tmp_path)
    first = await identities.ensure(("m",))
    registry.has("m", "IotEdge")
    second = await identities.ensure(("m",))
    assert first.generation_id("m") != second.generation_id("m")
    assert registry.calls[-1] == "keys m"


async def test_x02_deletions_come_first(tmp_path: Path) -> None:
    """Row X02: and only of identities that are ours."""
    registry = Registry()
    registry.has("old", "iotedge")
    registry.has("foreign", "somebody")
    result = await manager(registry, tmp_path).ensure(("new",), ("old", "foreign"))
    assert registry.calls == ["list", "delete old", "create new", "keys new"]
    assert set(result.by_id) == {"new"}


async def test_x03_the_agents_own_is_never_touched(tmp_path: Path) -> None:
    """Row X03."""
    registry = Registry()
    registry.has(AGENT)
    identities = manager(registry, tmp_path)
    assert not (await identities.ensure((AGENT,), (AGENT,))).by_id
    assert registry.calls == ["list"]
    await identities.provision_agent()
    registry.calls.clear()
    assert AGENT in (await identities.ensure((AGENT,), (AGENT,))).by_id
    assert registry.calls == ["list"]


async def test_x04_without_a_hub_what_is_known_counts(tmp_path: Path) -> None:
    """Row X04: modules without identity wait; nothing crashes."""
    registry = Registry()
    await manager(registry, tmp_path).ensure(("m",))
    registry.faults["list"] = RegistryUnreachableError("offline")
    identities = manager(registry, tmp_path)
    assert set((await identities.load()).by_id) == {"m"}
    result = await identities.ensure(("m", "new"))
    assert set(result.by_id) == {"m"}
    assert result.faults == {"": "offline"}


async def test_x04_one_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    """Row X04."""
    registry = Registry()
    registry.has("old", "IotEdge")
    registry.faults = {
        "create a": RegistryRefusedError("create a", 403, "too many modules"),
        "delete old": RegistryUnreachableError("gone"),
        "keys b": RegistryUnreachableError("gone"),
    }
    result = await manager(registry, tmp_path).ensure(("a", "b", "c"), ("old",))
    assert set(result.by_id) == {"c"}
    assert set(result.faults) == {"a", "b", "old"}
    assert "too many modules" in result.faults["a"]


async def test_x04_keys_that_cannot_be_derived(tmp_path: Path) -> None:
    """Row X04."""

    async def broken(_module: str, _generation: str) -> tuple[str, str]:
        raise AgentError("no master key")

    registry = Registry()
    registry.has("m", "IotEdge")
    identities = IdentityManager(registry, broken, IdentityCache(tmp_path / "c", "hub", "d"))
    assert (await identities.ensure(("m",))).faults == {"": "no master key"}


async def test_x05_orphans(tmp_path: Path) -> None:
    """Row X05."""
    registry = Registry()
    registry.has("orphan", "IotEdge")
    await manager(registry, tmp_path).ensure(())
    assert registry.calls == ["list"]
    await manager(registry, tmp_path, clean_orphans=True).ensure(())
    assert registry.calls[-1] == "delete orphan"


async def test_calls_at_once_are_few(tmp_path: Path) -> None:
    registry = Registry()
    result = await manager(registry, tmp_path).ensure([f"m{number}" for number in range(20)])
    assert len(result.by_id) == 20
    assert registry.busiest == CALLS_AT_ONCE


@pytest.mark.parametrize(
    ("keys", "calls"),
    [
        (None, ["get $edgeAgent", "create $edgeAgent", "keys $edgeAgent"]),
        (("x", "y"), ["get $edgeAgent", "keys $edgeAgent"]),
        ((f"{AGENT}:101:primary", f"{AGENT}:101:secondary"), ["get $edgeAgent"]),
    ],
    ids=["missing", "other keys", "our keys"],
)
async def test_o09_provisioning_the_agent(
    tmp_path: Path, keys: tuple[str, str] | None, calls: list[str]
) -> None:
    """Row O09."""
    registry = Registry()
    if keys is not None:
        registry.has(AGENT, keys=keys)
    made = await manager(registry, tmp_path).provision_agent()
    assert registry.calls == calls
    assert made.keys == await derive(AGENT, made.generation_id)
    assert AGENT in await asyncio.to_thread(IdentityCache(tmp_path / "identities.json", "hub", "d").load)
