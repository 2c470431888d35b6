"""`iothub serve`."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import signal
import sys
from pathlib import Path  # noqa: TC003 - read by typer
from typing import TYPE_CHECKING, Annotated

import typer

from edgehub.common.limits import raise_file_limit
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from iothub.config import HubConfig
    from iothub.server import HubServer

log = logging.getLogger("iothub")


class ServeError(EdgehubError):
    """The hub cannot go on."""


def serve(  # noqa: PLR0913, PLR0917 - the options of the command
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="IOTHUB_DATA_DIR", help="Folder for all data.")
    ],
    hostname: Annotated[str, typer.Option("--hostname", help="Name clients use; tokens are for it.")],
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "0.0.0.0",
    amqp_port: Annotated[
        int, typer.Option("--amqp-port", min=0, max=65535, help="0 for any free port.")
    ] = 5671,
    https_port: Annotated[
        int, typer.Option("--https-port", min=0, max=65535, help="0 for any free port.")
    ] = 443,
    mqtt_port: Annotated[
        int, typer.Option("--mqtt-port", min=0, max=65535, help="0 for any free port.")
    ] = 8883,
    no_mqtt: Annotated[
        bool, typer.Option("--no-mqtt", help="No MQTT, over WebSocket neither: leave its port to a gateway.")
    ] = False,
    cert: Annotated[Path | None, typer.Option("--cert", help="Server certificate chain (PEM).")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key of --cert (PEM).")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            envvar="IOTHUB_DATABASE_URL",
            help="PostgreSQL database of the registry; without it, a file in the data folder."
            " A password is better in the environment than here, where every user can see it.",
        ),
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            "--client-ca",
            help="Authorities (PEM), intermediate ones too, that vouch for devices created with --x509-ca.",
        ),
    ] = None,
    client_certs: Annotated[
        Path | None,
        typer.Option("--client-certs", help="Certificates (PEM) of devices created with --thumbprint."),
    ] = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "warning",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Run the hub until SIGTERM or SIGINT.

    Without --cert and --key it makes a certificate authority in the data folder; clients trust its ca.pem.
    Devices, modules and twins are in an SQLite file in the data folder, or in PostgreSQL.
    With --client-ca or --client-certs it asks clients for a certificate; they need not have one.

    Examples:

        iothub serve --data-dir ./hub --hostname hub.local

        iothub serve --data-dir ./hub --hostname localhost --host 127.0.0.1 --amqp-port 0 --https-port 0
        --mqtt-port 0 --json

        IOTHUB_DATABASE_URL=postgresql+psycopg://iothub:SECRET@db/iothub
        iothub serve --data-dir ./hub --hostname hub.local
    """
    if (cert is None) != (key is None):
        _fail("--cert and --key belong together; one is missing")
    if re.fullmatch(r"[A-Za-z0-9.:_-]+", hostname) is None:
        _fail(f"--hostname {hostname!r} is neither the name of a host nor an address")
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        _fail(f"--log-level {log_level!r} is not one of debug, info, warning, error")
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    from iothub.config import HubConfig

    config = HubConfig(
        data_dir,
        hostname,
        host,
        amqp_port,
        https_port,
        cert,
        key,
        mqtt_port=None if no_mqtt else mqtt_port,
        database_url=database_url or None,
        client_ca_file=client_ca,
        client_certs_file=client_certs,
    )
    try:
        _run(config, as_json)
    except (EdgehubError, OSError) as error:
        _fail(str(error))


def _fail(text: str) -> None:
    typer.echo(f"iothub: {text}", err=True)
    raise typer.Exit(1)


def _run(config: HubConfig, as_json: bool) -> None:
    raise_file_limit()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(config, as_json))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, as_json))


async def _serve(config: HubConfig, as_json: bool) -> None:
    # Late, for the other commands would wait for it: the server's libraries take most of a second to load.
    from iothub.server import HubServer

    hub = HubServer(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await hub.start()
    _announce(hub, as_json)
    # What is alive now stays: the collector need not walk it again.
    gc.collect()
    gc.freeze()
    waits = [asyncio.create_task(event.wait()) for event in (stop, hub.faulty)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await hub.stop()
    if hub.fault:
        raise ServeError(hub.fault)


def _announce(hub: HubServer, as_json: bool) -> None:
    from iothub.server import OWNER_FILE

    config = hub.config
    strings = {name: hub.connection_string(name) for name in hub.policies}
    ca_file = hub.certificate.ca_file
    if as_json:
        ready = {
            "hostname": config.hostname,
            "amqpPort": hub.amqp_port,
            "httpsPort": hub.https_port,
            "mqttPort": hub.mqtt_port,
            "caFile": str(ca_file) if ca_file else None,
            "connectionStrings": strings,
        }
        print(json.dumps(ready), flush=True)
        return
    mqtt = f", MQTT on port {hub.mqtt_port}" if hub.mqtt_port else ""
    lines = [f"iothub {config.hostname}: AMQP on port {hub.amqp_port}, HTTPS on port {hub.https_port}{mqtt}"]
    if ca_file is not None:
        lines.append(f"clients must trust {ca_file}")
    lines += [f"{name}: {text}" for name, text in strings.items()]
    lines.append(f"the owner's connection string is also in {config.data_dir / OWNER_FILE}")
    print("\n".join(lines), flush=True)
