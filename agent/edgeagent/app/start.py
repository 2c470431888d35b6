"""From the command line and the environment to a running agent."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.app.arguments import read_arguments
from edgeagent.app.options import RunOptions
from edgeagent.app.place import place_of
from edgeagent.app.run import run_agent
from edgeagent.config.settings import load_settings
from edgeagent.errors import AgentError
from edgeagent.log_lines import start_log
from edgeagent.runtime.networks import NetworkSettings

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

CONNECTION_STRING = "IotHubConnectionString"


def start(arguments: Sequence[str]) -> int:
    """Runs an agent; the exit code."""
    given = read_arguments(arguments)
    try:
        options = options_of(given, os.environ)
        start_log(options.settings.log_level)
        asyncio.run(run_agent(options))
    except AgentError as fault:
        sys.stderr.write(f"edgeagent: {fault}\n")
        return 1
    return 0


def options_of(given: Namespace, environment: Mapping[str, str]) -> RunOptions:
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
        home=Path(given.home).absolute(),
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
