"""From the command line and the environment to a running agent."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeagent.app.options import RunOptions
from edgeagent.app.place import place_of
from edgeagent.app.run import run_agent
from edgeagent.config.settings import load_settings
from edgeagent.errors import AgentError
from edgeagent.log_lines import start_log
from edgeagent.runtime.networks import NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONNECTION_STRING = "IotHubConnectionString"


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says."""

    home: Path
    engine: str
    manifest: Path | None
    trust_bundle: Path | None
    ca_certificate: Path | None
    ca_key: Path | None
    mqtt_port: int
    https_port: int


def start(given: Given, environment: Mapping[str, str] | None = None) -> int:
    """Runs an agent; the exit code."""
    try:
        options = options_of(given, os.environ if environment is None else environment)
        start_log(options.settings.log_level)
        asyncio.run(run_agent(options))
    except AgentError as fault:
        sys.stderr.write(f"edgeagent: {fault}\n")
        return 1
    return 0


def options_of(given: Given, environment: Mapping[str, str]) -> RunOptions:
    """Checks everything that can be checked before the start.

    :raises AgentError: what cannot work.
    """
    settings = load_settings(environment)
    place = place_of(environment.get(CONNECTION_STRING, ""), settings.device_hostname)
    if not place.has_hub and given.manifest is None:
        raise AgentError(
            f"there is nothing to run: give --manifest FILE, or the connection string of the device in "
            f"{CONNECTION_STRING}"
        )
    # Folders are mounted into containers, so the engine has to know them, too.
    return RunOptions(
        place=place,
        home=given.home.absolute(),
        engine=given.engine,
        manifest=given.manifest,
        trust_bundle=given.trust_bundle,
        mqtt_port=given.mqtt_port,
        https_port=given.https_port,
        ca_certificate=given.ca_certificate,
        ca_key=given.ca_key,
        network=replace(NetworkSettings(), name=settings.network),
        settings=settings,
    )
