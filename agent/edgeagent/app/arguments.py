"""The command line of `edgeagent run`. Read with argparse: the agent runs for months on little memory."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.config.paths import APPLIED_FILE, HOME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ABOUT = """\
Run the agent until SIGTERM. Modules end with it and come back with it, unless StopModulesOnShutdown=false.

With IotHubConnectionString, of the device, or with [provisioning] in the file, identities of modules are kept
in the hub, and without --manifest the deployment is the twin of $edgeAgent. Without a hub nothing but
--manifest is needed. What is said here counts more than the file."""

_MORE = """\
Exit code 0: a clean end, 1: a setting that cannot work, 2: wrong usage. Further settings are environment
variables; docs/agent-settings.md lists them.

Examples:

  edgeagent run --manifest deployment.json --home ./edge
  IotHubConnectionString='HostName=...;DeviceId=...;SharedAccessKey=...' edgeagent run
  edgeagent run --engine unix:///run/user/1000/docker.sock --manifest deployment.json --home ~/.edge
"""


def read_arguments(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> argparse.Namespace:
    """Reads a command line; ends the program with a usage text when it is wrong."""
    parser = argparse.ArgumentParser(
        "edgeagent run",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"what `iotedge config apply` wrote ({APPLIED_FILE}, where there is one)",
    )
    add("--manifest", type=Path, metavar="FILE", help="the deployment; the file is followed as it changes")
    add(
        "--home",
        type=Path,
        metavar="FOLDER",
        default=environment.get("EDGEAGENT_HOME") or HOME,
        help="of keys, sockets and state (EDGEAGENT_HOME; %(default)s)",
    )
    add(
        "--engine",
        metavar="ADDRESS",
        default=environment.get("EDGEAGENT_ENGINE"),
        help="of the Docker engine, unix:///... or tcp://host:port (EDGEAGENT_ENGINE)",
    )
    add(
        "--trust-bundle",
        type=Path,
        metavar="FILE",
        help="PEM roots that the agent and its modules trust, too",
    )
    add("--ca-certificate", type=Path, metavar="FILE", help="your own device CA in PEM; default: one is made")
    add("--ca-key", type=Path, metavar="FILE", help="its private key in PEM")
    add("--management-socket", type=Path, metavar="PATH", help="where iotedge finds this agent")
    add("--mqtt-port", type=_port, metavar="PORT", default=8883, help="of the hub (%(default)s)")
    add("--https-port", type=_port, metavar="PORT", default=443, help="of the hub (%(default)s)")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: expected a number from 1 to 65535")
    return int(text)
