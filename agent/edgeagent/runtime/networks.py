"""The network in which modules find each other by name (agent spec 3.5, row C10)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from edgeagent.runtime.engine import Engine, filters
from edgeagent.runtime.errors import EngineError
from edgeagent.runtime.spec import DEFAULT_NETWORK

log = logging.getLogger(__name__)

_PREDEFINED = ("host", "none", "bridge")


@dataclass(frozen=True, slots=True)
class AddressPool:
    """Addresses of a network, such as 172.20.0.0/16; blank for the engine's choice."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A bridge network of the engine."""

    name: str = DEFAULT_NETWORK
    ipv6: bool = False
    pools: tuple[AddressPool, ...] = ()


async def ensure_network(engine: Engine, settings: NetworkSettings) -> bool:
    """Makes the network unless there is one of this name, whatever that one is like.

    :returns: whether it was made.
    :raises EngineError: the engine refused, for example as the addresses are taken.
    """
    if settings.name in _PREDEFINED or await _exists(engine, settings.name):
        return False
    try:
        await engine.call("POST", "/networks/create", body=network_body(settings))
    except EngineError:
        # Somebody else made it meanwhile: the engine then says that the name or the addresses are taken.
        if await _exists(engine, settings.name):
            return False
        raise
    log.info("made the network %s", settings.name)
    return True


async def _exists(engine: Engine, name: str) -> bool:
    """The engine's filter takes any part of a name; all of it must match."""
    rows = await engine.rows("/networks", {"filters": filters(name=[name])})
    return any(row.get("Name") == name for row in rows)


def network_body(settings: NetworkSettings) -> dict[str, Any]:
    """Body of the engine's network create call."""
    body: dict[str, Any] = {"Name": settings.name, "Driver": "bridge", "CheckDuplicate": True}
    if settings.ipv6:
        body["EnableIPv6"] = True
    if settings.pools:
        body["IPAM"] = {"Config": [_pool(pool) for pool in settings.pools]}
    return body


def _pool(pool: AddressPool) -> dict[str, str]:
    given = {"Subnet": pool.subnet, "Gateway": pool.gateway, "IPRange": pool.ip_range}
    return {name: value for name, value in given.items() if value}
