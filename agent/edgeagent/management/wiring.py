"""Puts the management API together for a running agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.config.paths import APPLIED_FILE, CONFIG_FILE, HOME, MANAGEMENT_SOCKET
from edgeagent.management.bundle import BundleSources, SupportBundles
from edgeagent.management.docker_view import DockerView
from edgeagent.management.service import CONNECTIONS_MAX, ManagementParts, ManagementService
from edgeagent.workload.launch import LOG_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.management.ports import Identities, Statuses
    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.lister import ModuleLister


@dataclass(frozen=True, slots=True)
class ManagementSettings:
    """Where the API is, and what checks of support bundles look at.

    :param hub_hostname: what the agent connects to; blank for what `config_file` says.
    :param provisioning: how the device got its identity, such as `manual` or `none`.
    """

    socket: Path = MANAGEMENT_SOCKET
    home: Path = HOME
    config_file: Path = CONFIG_FILE
    applied_file: Path = APPLIED_FILE
    hub_hostname: str = ""
    provisioning: str = "manual"
    connections_max: int = CONNECTIONS_MAX


@dataclass(frozen=True, slots=True)
class Management:
    """The API, and the support bundles that the method UploadSupportBundle needs as well.

    `bundles.make_bundle` is the :data:`~edgeagent.methods.uploads.Bundle` of that method.
    """

    service: ManagementService
    bundles: SupportBundles


def make_management(
    settings: ManagementSettings,
    engine: Engine,
    lister: ModuleLister,
    identities: Identities | None = None,
    statuses: Statuses | None = None,
) -> Management:
    """The API of one agent, not started yet.

    :param lister: of the agent, so that it looks at each container once.
    :param identities: `WorkloadControl.modules` will do.
    :param statuses: `lambda: loop.snapshot.statuses` will do.
    """

    async def check(hub_hostname: str) -> str:
        # Only bundles need the checks: an idle agent need not hold them.
        from edgeagent.checks.service import check_as_json  # noqa: PLC0415
        from edgeagent.checks.situation import CheckOptions  # noqa: PLC0415

        options = CheckOptions(
            config_file=settings.config_file,
            applied_file=settings.applied_file,
            home=settings.home,
            hub_hostname=hub_hostname or settings.hub_hostname,
            management=f"unix://{settings.socket}",
        )
        return await check_as_json(options, engine)

    view = DockerView(engine, lister)
    files = {"logs/workload.txt": settings.home / LOG_FILE}
    bundles = SupportBundles(BundleSources(view, check, files))
    parts = ManagementParts(view, bundles, identities, statuses, settings.provisioning)
    service = ManagementService(settings.socket, parts, connections_max=settings.connections_max)
    return Management(service, bundles)
