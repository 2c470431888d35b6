"""The key of `$edgeAgent` (row O09)."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

import pytest

from edgeagent.errors import AgentError
from edgeagent.identity.agent_signer import AgentSigner
from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.errors import RegistryUnreachableError
from edgeagent.identity.manager import IdentityManager
from unit.edgeagent.identity.test_manager import Registry

if TYPE_CHECKING:
    from pathlib import Path


async def derive(module_id: str, generation_id: str) -> tuple[str, str]:
    key = base64.b64encode(f"{module_id}:{generation_id}".encode()).decode()
    return key, key


async def test_o09_the_hub_is_told_first_and_after_a_refusal(tmp_path: Path) -> None:
    """Row O09."""
    registry = Registry()
    registry.has("$edgeAgent")
    manager = IdentityManager(registry, derive, IdentityCache(tmp_path / "i.json", "hub", "d"))
    signer = AgentSigner(manager, derive)
    assert await signer.sign(b"x") == hmac.digest(b"$edgeAgent:101", b"x", "sha256")
    assert registry.calls == ["get $edgeAgent", "keys $edgeAgent"]
    await signer.sign(b"x")
    assert len(registry.calls) == 2
    registry.has("$edgeAgent")
    signer.link_refused()
    assert await signer.sign(b"x") == hmac.digest(b"$edgeAgent:102", b"x", "sha256")

    again = IdentityManager(registry, derive, IdentityCache(tmp_path / "i.json", "hub", "d"))
    await again.load()
    registry.calls.clear()
    await AgentSigner(again, derive).sign(b"x")
    assert not registry.calls


async def test_a_hub_that_cannot_be_asked(tmp_path: Path) -> None:
    registry = Registry()
    registry.faults["get $edgeAgent"] = RegistryUnreachableError("offline")
    manager = IdentityManager(registry, derive, IdentityCache(tmp_path / "i.json", "hub", "d"))
    signer = AgentSigner(manager, derive)
    with pytest.raises(AgentError, match="offline"):
        await signer.sign(b"x")
    registry.faults.clear()
    await signer.sign(b"x")
