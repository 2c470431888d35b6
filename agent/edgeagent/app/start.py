"""From the command line and the environment to a running agent."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.app.arguments import read_arguments
from edgeagent.app.options import RunOptions
from edgeagent.app.place import place_of
from edgeagent.app.run import run_agent
from edgeagent.config.paths import APPLIED_FILE
from edgeagent.config.settings import Settings, load_settings
from edgeagent.config.toml_file import load_config
from edgeagent.config.toml_model import ConfigFile
from edgeagent.errors import AgentError
from edgeagent.log_lines import start_log

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from edgeagent.runtime.networks import NetworkSettings

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
    config = _config(given.config)
    settings = load_settings({**config.agent.env, **environment})
    if config.agent.auth is not None:
        settings = replace(settings, registries=(*settings.registries, config.agent.auth))
    place = place_of(environment.get(CONNECTION_STRING, ""), settings.device_hostname, config)
    if not place.has_hub and given.manifest is None:
        raise AgentError(
            "there is nothing to run: give --manifest FILE, or the connection string of the device in "
            f"{CONNECTION_STRING} or in [provisioning] of the configuration"
        )
    ca = config.edge_ca
    # Folders are mounted into containers, so the engine has to know them, too.
    return RunOptions(
        place=place,
        home=Path(given.home).absolute(),
        engine=given.engine or config.engine_address,
        manifest=given.manifest,
        trust_bundle=given.trust_bundle or config.trust_bundle,
        mqtt_port=given.mqtt_port,
        https_port=given.https_port,
        ca_certificate=given.ca_certificate or (ca.certificate if ca else None),
        ca_key=given.ca_key or (ca.key if ca else None),
        network=_network(config, settings.network),
        garbage_collection=config.image_gc,
        allow_elevated=config.allow_elevated,
        management_socket=given.management_socket or config.management_socket,
        management_max=config.max_requests.management,
        settings=settings,
    )


def _config(path: Path | None) -> ConfigFile:
    """The file that was named, or the applied one where there is one."""
    if path is None and not APPLIED_FILE.exists():
        return ConfigFile()
    config = load_config(path or APPLIED_FILE)
    for warning in config.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    return config


def _network(config: ConfigFile, name: str) -> NetworkSettings:
    """A name in the environment counts more than that of the file."""
    return config.network if name == Settings().network else replace(config.network, name=name)
