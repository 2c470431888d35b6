"""Checks of the container engine, and of the containers of agent and hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from edgeagent.checks.model import (
    Finding,
    cannot_be_checked,
    error,
    not_applicable,
    ok,
    warning,
)
from edgeagent.model.module import EDGE_AGENT, EDGE_HUB
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.errors import EngineError, EngineUnreachable, ForeignContainerError, RuntimeFault
from edgeagent.runtime.images import find_image

if TYPE_CHECKING:
    from edgeagent.checks.situation import Situation
    from edgeagent.runtime.engine import Engine

_ROTATING_DRIVERS = ("journald", "local")
"""The second has limits of its own."""
_STORAGE_DEFAULT = "/tmp"
_SEE = "see https://docs.docker.com/config/daemon/"


async def engine_answers(given: Situation) -> Finding:
    """`container-engine-uri`."""
    if given.engine is None:
        return cannot_be_checked()
    try:
        version = await given.engine.version()
        info = await given.engine.get("/info")
    except EngineUnreachable as fault:
        return error(
            str(fault),
            "is it running? `systemctl status docker` tells; is moby_runtime.uri in config.toml right? "
            "may you use it, or is sudo needed?",
        )
    except RuntimeFault as fault:
        return error(str(fault))
    given.engine_info = info if isinstance(info, dict) else {}
    return ok(version=version.engine, api=str(version.api))


def _daemon_settings(given: Situation) -> Mapping[str, Any]:
    """The engine's own settings; empty without a file.

    :raises ValueError: it is no JSON object.
    """
    content = given.probes.read(given.options.engine_file)
    if not content:
        return {}
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ValueError(f"{given.options.engine_file} is not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{given.options.engine_file} is no JSON object")
    return found


async def engine_dns(given: Situation) -> Finding:
    """`container-engine-dns`."""
    try:
        servers = _daemon_settings(given).get("dns")
    except ValueError as fault:
        return error(str(fault))
    if isinstance(servers, list) and servers:
        return ok(dns=servers)
    return warning(
        f"the container engine has no DNS servers of its own in {given.options.engine_file}; containers may "
        "not resolve names when those of the system are not in reach of them",
        f'put "dns": ["<address>"] into it and restart the engine; {_SEE}',
    )


async def engine_ipv6(given: Situation) -> Finding:
    """`container-engine-ipv6`: the network may have IPv6 only if the engine has."""
    if given.config is None:
        return cannot_be_checked()
    if not given.config.network.ipv6:
        return not_applicable("no IPv6 in the network of the modules")
    try:
        engines = _daemon_settings(given).get("ipv6") is True
    except ValueError as fault:
        return error(str(fault))
    if engines:
        return ok()
    return error(
        "moby_runtime.network.ipv6 is true, and the container engine has no IPv6",
        f'put "ipv6": true and "fixed-cidr-v6" into {given.options.engine_file}, or ipv6 = false; {_SEE}',
    )


async def engine_logrotate(given: Situation) -> Finding:
    """`container-engine-logrotate`: that logs do not fill the disk."""
    try:
        settings = _daemon_settings(given)
    except ValueError as fault:
        return error(str(fault))
    told = (given.engine_info or {}).get("LoggingDriver")
    driver = settings.get("log-driver") or told
    if driver in _ROTATING_DRIVERS:
        return ok(driver=driver)
    options = settings.get("log-opts")
    has_limits = isinstance(options, Mapping) and {"max-file", "max-size"} <= set(options)
    if driver and has_limits:
        return ok(driver=driver)
    return warning(
        "Container engine is not configured to rotate module logs, which may fill the disk",
        f'put "log-driver": "json-file" and "log-opts": {{"max-size": "10m", "max-file": "3"}} into '
        f"{given.options.engine_file} and restart the engine, or set log options for each module; {_SEE}",
    )


async def agent_storage(given: Situation) -> Finding:
    """`edge-agent-storage-mounted-from-host`."""
    return await _storage(given, EDGE_AGENT)


async def hub_storage(given: Situation) -> Finding:
    """`edge-hub-storage-mounted-from-host`."""
    return await _storage(given, EDGE_HUB)


async def _storage(given: Situation, name: str) -> Finding:
    if given.engine is None or given.engine_info is None:
        return cannot_be_checked()
    try:
        details = await Containers(given.engine).inspect(name)
    except EngineError as fault:
        if fault.is_missing:
            return not_applicable(f"no container {name}")
        return error(str(fault))
    except ForeignContainerError as fault:
        return error(str(fault))
    except RuntimeFault as fault:
        return error(str(fault))
    return storage_mounted(name, details, str(given.options.home))


def storage_mounted(name: str, details: Mapping[str, Any], home: str) -> Finding:
    """Whether a container keeps its state where it outlives it. Pure.

    :param home: where our agent keeps its state when it is told nothing else.
    """
    variables = _environment(details)
    base = variables.get("storagefolder")
    if name == EDGE_AGENT and base is None:
        folder = PurePosixPath(home)
    else:
        folder = PurePosixPath(base or _STORAGE_DEFAULT) / name
    mounted = _mounted(details)
    if any(folder.is_relative_to(place) for place in mounted):
        return ok(folder=str(folder))
    return warning(
        f"{name} keeps its state in {folder} inside of its container, and loses it with the container",
        "mount a folder or a volume there with HostConfig.Binds or Mounts in its createOptions, "
        "and set StorageFolder to it",
    )


def _environment(details: Mapping[str, Any]) -> dict[str, str]:
    config = details.get("Config")
    entries = config.get("Env") if isinstance(config, Mapping) else None
    pairs = (str(entry).partition("=") for entry in (entries if isinstance(entries, list) else ()))
    return {key.lower(): value for key, _, value in pairs}


def _mounted(details: Mapping[str, Any]) -> set[str]:
    mounts = details.get("Mounts")
    found = {
        str(mount.get("Destination"))
        for mount in (mounts if isinstance(mounts, list) else ())
        if isinstance(mount, Mapping)
    }
    config = details.get("Config")
    volumes = config.get("Volumes") if isinstance(config, Mapping) else None
    return found | set(volumes if isinstance(volumes, Mapping) else ())


async def agent_image(given: Situation) -> Finding:
    """`check-agent-image`: it is looked for on the engine, not pulled."""
    if given.config is None:
        return cannot_be_checked()
    image = given.config.agent.image
    if not image:
        return not_applicable("no agent.config.image: the agent runs outside of a container")
    if given.engine is None or given.engine_info is None:
        return cannot_be_checked()
    if await _has_image(given.engine, image):
        return ok(image=image)
    return warning(
        f"the image {image} of [agent.config] is not on the container engine yet",
        f"it is pulled when it is needed; `docker pull {image}` tells whether that goes well",
    )


async def _has_image(engine: Engine, image: str) -> bool:
    return await find_image(engine, image) is not None
