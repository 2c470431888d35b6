"""`iotedge system ...` and `iotedge config ...` (agent spec 8.3)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeagent.config.paths import APPLIED_FILE, CONFIG_FILE, HOME

_SYSTEM = """\
Look after the services of this device: agent, workload service, container engine.

Examples:

\b
  sudo iotedge system status
  iotedge system logs -- -f
  sudo iotedge system restart
"""
_CONFIG = """\
Make, convert and apply the configuration of this device.

Examples:

\b
  sudo iotedge config mp -c 'HostName=...;DeviceId=...;SharedAccessKey=...'
  sudo iotedge config apply
"""
_LOGS = """\
Show the journal of all services; what follows -- goes to journalctl.

Examples:

\b
  iotedge system logs
  iotedge system logs -- -f
  iotedge system logs -- --since '1 hour ago'
"""
_APPLY = """\
Check a configuration, put it where the agent reads it, and restart the agent.

Examples:

\b
  sudo iotedge config apply
  sudo iotedge config apply -c new.toml
"""
_MP = """\
Make a configuration with a connection string and nothing else.

Example:

\b
  sudo iotedge config mp -c 'HostName=hub.example.net;DeviceId=gw1;SharedAccessKey=...'
"""
_IMPORT = """\
Make a configuration of the config.yaml of an earlier release.

Example:

\b
  sudo iotedge config import -c /etc/iotedge/config.yaml
"""
OLD_FILE = Path("/etc/iotedge/config.yaml")

system = typer.Typer(add_completion=False, no_args_is_help=True, help=_SYSTEM, rich_markup_mode=None)
config = typer.Typer(add_completion=False, no_args_is_help=True, help=_CONFIG, rich_markup_mode=None)

File = Annotated[Path, typer.Option("-c", "--config-file", metavar="FILE")]
Target = Annotated[Path, typer.Option("-o", "--out-config-file", metavar="FILE")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace a file that is there.")]


@system.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    home: Annotated[Path, typer.Option("--home", metavar="FOLDER", help="Of the agent.")] = HOME,
    config_file: File = CONFIG_FILE,
) -> None:
    """Ask each service whether it answers. Exit code 1 when one does not."""
    from edgeagent.checks.service import engine_address
    from edgeagent.cli import iotedge_system

    async def run() -> bool:
        client = context.obj.client()
        found = await iotedge_system.service_statuses(client, engine_address(config_file), home)
        await iotedge_system.print_status(found, as_json=as_json)
        return any(each.reason for each in found)

    raise typer.Exit(1 if asyncio.run(run()) else 0)


@system.command("logs", help=_LOGS)
def logs(arguments: Annotated[list[str] | None, typer.Argument(metavar="-- ARGS")] = None) -> None:
    """Shows the journal."""
    from edgeagent.cli import iotedge_system

    raise typer.Exit(iotedge_system.show_logs(arguments or ()))


@system.command()
def restart() -> None:
    """Stop agent and workload service, and start them again."""
    from edgeagent.cli import iotedge_system

    iotedge_system.restart_services()


@system.command()
def stop() -> None:
    """Stop agent and workload service."""
    from edgeagent.cli import iotedge_system

    iotedge_system.stop_services()


@system.command("set-log-level")
def set_log_level(
    level: Annotated[str, typer.Argument(metavar="error|warn|info|debug|trace")],
) -> None:
    """Set what is logged, from the next start on."""
    from edgeagent.cli import iotedge_system

    iotedge_system.set_log_level(level)


@system.command()
def reprovision() -> None:
    """Not served: a device that is provisioned by hand stays as it is."""
    from edgeagent.cli import iotedge_system

    raise iotedge_system.ServiceManagerError(
        "the device is provisioned by hand; change [provisioning] in config.toml, then run "
        "`iotedge config apply`"
    )


@config.command("mp", help=_MP)
def mp(
    connection_string: Annotated[
        str, typer.Option("-c", "--connection-string", metavar="CONN", help="Of the device.")
    ],
    target: Target = CONFIG_FILE,
    force: Force = False,
) -> None:
    """Makes a minimal configuration."""
    from edgeagent.cli import iotedge_config

    iotedge_config.make_minimal(connection_string, target, force=force)


@config.command("import", help=_IMPORT)
def import_(source: File = OLD_FILE, target: Target = CONFIG_FILE, force: Force = False) -> None:
    """Converts a configuration."""
    from edgeagent.cli import iotedge_config

    iotedge_config.import_old(source, target, force=force)


@config.command("apply", help=_APPLY)
def apply(
    source: File = CONFIG_FILE,
    applied: Annotated[Path, typer.Option("--applied", hidden=True)] = APPLIED_FILE,
) -> None:
    """Applies a configuration."""
    from edgeagent.cli import iotedge_config, iotedge_system

    def restart_agent() -> None:
        if iotedge_system.has_systemd():
            iotedge_system.restart_services()
        else:
            print(
                "warning: systemd does not run this system; restart the agent as you started it",
                file=sys.stderr,
            )

    iotedge_config.apply(source, applied, lambda: asyncio.run(_has_modules(applied)), restart_agent)


async def _has_modules(applied: Path) -> bool:
    from edgeagent.checks.service import engine_address
    from edgeagent.cli import iotedge_config
    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.lister import ModuleLister

    async with Engine(engine_address(applied)) as engine:
        return iotedge_config.modules_beside_agent(list(await ModuleLister(engine).current()))


def add_to(app: typer.Typer) -> None:
    """Adds both groups, once."""
    if not app.registered_groups:
        app.add_typer(system, name="system")
        app.add_typer(config, name="config")
