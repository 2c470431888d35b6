"""`iotedge config`: makes, converts and applies `config.toml` (agent spec 8.3)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from edgeagent.config.connection_string import parse_connection_string
from edgeagent.config.old_yaml import convert_yaml
from edgeagent.config.toml_file import FILE_BYTES_MAX, load_config, parse_config, read_device_key
from edgeagent.config.toml_table import ConfigFileError
from edgeagent.config.toml_text import toml_text
from edgeagent.config.yaml_subset import parse_yaml
from edgeagent.errors import AgentError
from edgeagent.files import write_secret
from edgeagent.model.module import EDGE_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ConfigCommandError(AgentError):
    """A command about the configuration cannot be carried out."""


def make_minimal(connection_string: str, target: Path, *, force: bool) -> None:
    """`config mp`: a file with the connection string and nothing else.

    :raises AgentError: it is wrong, or there is a file already.
    """
    try:
        device = parse_connection_string(connection_string)
    except ValueError as fault:
        raise ConfigCommandError(f"the connection string {fault}") from None
    if device.gateway:
        print(
            f"warning: GatewayHostName={device.gateway} of the connection string has no effect; "
            f'add parent_hostname = "{device.gateway}" to the file',
            file=sys.stderr,
        )
    values = {
        "auto_reprovisioning_mode": "OnErrorOnly",
        "provisioning": {"source": "manual", "connection_string": connection_string.strip()},
    }
    _write_new(target, values, force=force)
    _print_done(target)


def import_old(source: Path, target: Path, *, force: bool) -> None:
    """`config import`: from the YAML of releases before 1.2."""
    _check_root("config import")
    old = parse_yaml(_read(source).decode("utf-8", "replace"))
    values, notes = convert_yaml(old)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    _write_new(target, values, force=force)
    _print_done(target)


def _write_new(target: Path, values: dict[str, Any], *, force: bool) -> None:
    content = toml_text(values).encode()
    for note in parse_config(content, str(target)).warnings:
        print(f"warning: {note}", file=sys.stderr)
    if target.exists() and not force:
        raise ConfigCommandError(f"{target} exists already; name another file with -o, or replace it with -f")
    _write(target, content)


def _print_done(target: Path) -> None:
    print(f"The configuration was written to {target}.")
    print("To apply it, run:\n")
    print(f"    sudo iotedge config apply -c '{target}'\n")


def apply(source: Path, applied: Path, has_modules: Callable[[], bool], restart: Callable[[], None]) -> None:
    """`config apply`: checks a file, puts it where the agent reads it, and restarts the agent.

    :param has_modules: whether there are containers of modules.
    :raises AgentError: it is wrong, or the device would get another name while modules know the old one.
    """
    _check_root("config apply")
    config = load_config(source)
    if config.provisioning is not None:
        read_device_key(config.provisioning.key)
    for note in config.warnings:
        print(f"warning: {note}", file=sys.stderr)
    before = load_config(applied) if applied.exists() else None
    if before is not None and before.hostname != config.hostname and has_modules():
        raise ConfigCommandError(
            f'hostname changes from "{before.hostname}" to "{config.hostname}" while there are modules that '
            "were made with the old one; stop the agent and remove them first: docker rm -f <module>"
        )
    _write(applied, _read(source))
    restart()
    print("Done.")


def modules_beside_agent(names: list[str]) -> bool:
    """The agent's own container is made anew anyway."""
    return any(name != EDGE_AGENT for name in names)


def _check_root(command: str) -> None:
    if os.geteuid() != 0:
        raise ConfigCommandError(f"{command} must be run as root; run it with sudo")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise ConfigFileError("", f"{file}: cannot be read: {fault.strerror or fault}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigFileError("", f"{file}: is longer than {FILE_BYTES_MAX} bytes")
    return content


def _write(file: Path, content: bytes) -> None:
    """A configuration has keys in it."""
    try:
        write_secret(file, content)
    except OSError as fault:
        raise ConfigCommandError(f"{file} cannot be written: {fault.strerror or fault}") from None
