"""All checks of this device, for the command and for support bundles."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeagent import __version__
from edgeagent.checks.catalog import CHECKS
from edgeagent.checks.probes import SystemProbes
from edgeagent.checks.report import as_json
from edgeagent.checks.run import run_checks
from edgeagent.checks.situation import CheckOptions, Situation
from edgeagent.config.toml_file import load_config
from edgeagent.config.toml_table import ConfigFileError
from edgeagent.management.client import DEFAULT_ADDRESS, ManagementClient
from edgeagent.management.host import HostMeter, this_host
from edgeagent.runtime.engine import DEFAULT_ADDRESS as ENGINE_ADDRESS
from edgeagent.runtime.engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from pathlib import Path

    from edgeagent.checks.model import Check, Finding


async def ask_management(address: str) -> Mapping[str, Any]:
    """`/systeminfo` of the agent at an address, blank for the usual one."""
    return await ManagementClient(address or DEFAULT_ADDRESS).system_info()


def engine_address(config_file: Path) -> str:
    """As it is configured; the usual one without a file that can be used, of which a check tells."""
    with contextlib.suppress(ConfigFileError):
        return load_config(config_file).engine_address
    return ENGINE_ADDRESS


async def check_device(
    options: CheckOptions, without: Collection[str] = (), engine: Engine | None = None
) -> AsyncIterator[tuple[Check, Finding]]:
    """Each check with what it found.

    :param engine: None for the one that is configured.
    """
    async with contextlib.AsyncExitStack() as stack:
        if engine is None:
            engine = await stack.enter_async_context(Engine(engine_address(options.config_file)))
        probes = SystemProbes(engine, ask_management)
        situation = Situation(options, probes, engine, datetime.now(UTC))
        async for found in run_checks(CHECKS, situation, without):
            yield found


async def check_as_json(options: CheckOptions, engine: Engine | None = None) -> str:
    """Outcome of all checks, such as `check.json` of a support bundle."""
    found = [each async for each in check_device(options, engine=engine)]
    return as_json(found, await asyncio.to_thread(device_info))


def device_info() -> dict[str, Any]:
    """`additional_info` of the outcome."""
    host, resources = this_host(), HostMeter().resources()
    return {
        "now": datetime.now(UTC).isoformat(timespec="seconds"),
        "os": {"id": _system_name(), "arch": host.architecture, "kernel": host.kernel_release},
        "version": __version__,
        "python": platform.python_version(),
        "processors": host.processors,
        "total_ram": resources["total_ram"],
        "disks": resources["disks"],
        "user": os.geteuid(),
    }


def _system_name() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return ""
