"""`iotedge check` and `iotedge check-list` (agent spec 8.2, row X16)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeagent.config.paths import CONFIG_FILE, HOME

if TYPE_CHECKING:
    from edgeagent.checks.report import TextReport
    from edgeagent.checks.situation import CheckOptions

_CHECK = """\
Check for common configuration and connectivity problems, and say what to do about them.

Nothing is changed and nothing is pulled; connections from containers are tried from a container that lives
for a moment, of an image that is there already.

Exit code 0: no check raised an error, 1: one did (or a warning, with --warnings-as-errors).

Examples:

\b
  sudo iotedge check
  sudo iotedge check --verbose --dont-run container-engine-dns --dont-run host-local-time
  sudo iotedge check --output json | jq '.checks | map_values(.result)'
  iotedge check-list
"""


def check(  # noqa: PLR0913, PLR0917 - the options of the command
    context: typer.Context,
    engine_file: Annotated[
        Path, typer.Option("--container-engine-config-file", metavar="FILE", help="Settings of the engine.")
    ] = Path("/etc/docker/daemon.json"),
    image: Annotated[
        str,
        typer.Option(
            "--diagnostics-image-name",
            metavar="IMAGE",
            help="Image on the engine, with python3 or nc, to try connections from  [default: a module's]",
        ),
    ] = "",
    dont_run: Annotated[
        list[str] | None,
        typer.Option("--dont-run", metavar="ID", help="Leave a check out; again for more."),
    ] = None,
    expected_version: Annotated[
        str, typer.Option("--expected-aziot-edged-version", metavar="VERSION", help="Of the agent.")
    ] = "",
    hub_hostname: Annotated[
        str, typer.Option("--iothub-hostname", metavar="HOST", help="Hub  [default: the configured one]")
    ] = "",
    proxy: Annotated[
        str, typer.Option("--proxy-uri", metavar="URI", help="Proxy  [default: the configured one]")
    ] = "",
    time_server: Annotated[
        str, typer.Option("--ntp-server", metavar="HOST:PORT", help="Compare the clock with it.")
    ] = "pool.ntp.org:123",
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json")] = "text",
    json_too: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="All that is known.")] = False,
    warnings_as_errors: Annotated[
        bool, typer.Option("--warnings-as-errors", help="Of the exit code.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help=f"[default: {CONFIG_FILE}]")
    ] = None,
    home: Annotated[Path, typer.Option("--home", metavar="FOLDER", help="Of the agent.")] = HOME,
    _edged: Annotated[str, typer.Option("--aziot-edged", hidden=True)] = "",
    _expected: Annotated[str, typer.Option("--expected-aziot-version", hidden=True)] = "",
) -> None:
    """Runs all checks."""
    from edgeagent.checks.report import TextReport
    from edgeagent.checks.situation import CheckOptions

    without = frozenset(dont_run or ())
    _check_usage(without, output)
    options = CheckOptions(
        config_file=config or CONFIG_FILE,
        is_config_chosen=config is not None,
        home=home,
        engine_file=engine_file,
        hub_hostname=hub_hostname,
        proxy=proxy,
        time_server=time_server,
        image=image,
        expected_version=expected_version,
        management=context.obj.host,
    )
    is_text = output == "text" and not json_too
    failed = asyncio.run(
        _check(options, without, TextReport(verbose=verbose) if is_text else None, warnings_as_errors)
    )
    raise typer.Exit(1 if failed else 0)


def _check_usage(without: frozenset[str], output: str) -> None:
    from edgeagent.checks.catalog import IDS
    from edgeagent.cli.iotedge_modules import UsageError

    for name in sorted(without - IDS):
        raise UsageError(f'--dont-run "{name}": there is no such check; see iotedge check-list')
    if output not in ("text", "json"):
        raise UsageError(f'--output "{output}": expected text or json')


async def _check(
    options: CheckOptions, without: frozenset[str], report: TextReport | None, warnings_as_errors: bool
) -> bool:
    """Whether it failed."""
    from edgeagent.checks.report import as_json, is_failure
    from edgeagent.checks.service import check_device, device_info

    found = []
    async for check, finding in check_device(options, without):
        found.append((check, finding))
        for line in report.lines(check, finding) if report is not None else ():
            typer.echo(line)
    if report is not None:
        for line in report.summary():
            typer.echo(line)
    else:
        typer.echo(as_json(found, device_info()))
    return is_failure([finding for _, finding in found], warnings_as_errors=warnings_as_errors)


def check_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """List the checks that `iotedge check` runs."""
    from edgeagent.checks.catalog import CHECKS

    if as_json:
        rows = [{"category": c.category.value, "id": c.id, "description": c.about} for c in CHECKS]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    typer.echo(f"{'CATEGORY':<24}{'ID':<44}DESCRIPTION")
    typer.echo("")
    for each in CHECKS:
        typer.echo(f"{each.category.value:<24}{each.id:<44}{each.about}")


def add_to(app: typer.Typer) -> None:
    """Adds both commands, once."""
    if "check" not in {command.name for command in app.registered_commands}:
        app.command("check", help=_CHECK)(check)
        app.command("check-list")(check_list)
