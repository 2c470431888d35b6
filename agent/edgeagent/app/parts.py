"""Single parts of the agent, from its options."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.app.blobs import put_blob
from edgeagent.executor.self_update import own_container_id
from edgeagent.management.wiring import Management, ManagementSettings, make_management
from edgeagent.methods.handlers import GetModuleLogs, GetTaskStatus, RestartModule, ping
from edgeagent.methods.log_parts import LogReader
from edgeagent.methods.uploads import Bundle, Uploader, UploadModuleLogs, UploadSupportBundle
from edgeagent.model.module import ModuleUpdateMode
from edgeagent.planner.restart import RestartSettings
from edgeagent.planner.situation import PlanSettings
from edgeagent.reconcile.loop import LoopSettings
from edgeagent.workload.settings import WorkloadSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from edgeagent.app.modules import EngineModules
    from edgeagent.app.options import RunOptions
    from edgeagent.config.settings import Settings
    from edgeagent.management.ports import Identities, Statuses
    from edgeagent.methods.dispatch import Handler
    from edgeagent.methods.tasks import Tasks
    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.lister import ModuleLister


RESTART_S = 30.0
"""Before a part that failed is started again."""

_log = logging.getLogger(__name__)


async def kept(
    name: str,
    run: Callable[[], Awaitable[Any]],
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> None:
    """Runs a part until it ends by itself. One that fails is started again: no fault in one part may end the
    supervision of modules.
    """
    while True:
        try:
            await run()
        except Exception:
            _log.exception("%s failed, and is started again in %.0f s", name, RESTART_S)
        else:
            return
        await sleep(RESTART_S)


def method_handlers(
    options: RunOptions, modules: EngineModules, tasks: Tasks, bundle: Bundle
) -> dict[str, Handler]:
    """All direct methods, by name."""
    place = options.place
    origin = (place.hub_hostname, place.device_id)
    reader = LogReader(modules, *origin, time.time)
    uploader, parent = Uploader(put_blob), place.parent_hostname
    return {
        "ping": ping,
        "GetTaskStatus": GetTaskStatus(tasks),
        "GetModuleLogs": GetModuleLogs(reader),
        "UploadModuleLogs": UploadModuleLogs(reader, uploader, tasks, origin, parent),
        "UploadSupportBundle": UploadSupportBundle(bundle, uploader, tasks, origin, parent),
        "RestartModule": RestartModule(modules),
    }


def management_of(
    options: RunOptions,
    engine: Engine,
    lister: ModuleLister,
    identities: Identities,
    statuses: Statuses,
) -> Management:
    """The management API, not started yet."""
    has_hub = options.place.has_hub
    settings = ManagementSettings(
        socket=options.management_socket,
        home=options.home,
        hub_hostname=options.place.hub_hostname if has_hub else "",
        provisioning="manual" if has_hub else "none",
        connections_max=options.management_max,
    )
    return make_management(settings, engine, lister, identities=identities, statuses=statuses)


def loop_settings(settings: Settings) -> LoopSettings:
    """How the loop plans."""
    restart = RestartSettings(
        restarts_max=settings.max_restart_count,
        cool_off_unit_s=settings.cool_off_unit_s,
        intensive_care_s=settings.intensive_care_minutes * 60,
        restart_on_clean_exit=settings.restart_on_clean_exit,
    )
    plan = PlanSettings(restart, ModuleUpdateMode(settings.update_mode), settings.cool_off_unit_s)
    return LoopSettings(
        plan, stops_modules=settings.stops_modules, rollback_after_s=settings.rollback_after_s
    )


def workload_settings(options: RunOptions) -> WorkloadSettings:
    """What the workload service is started with."""
    return WorkloadSettings(
        home=options.home,
        hub_host=options.place.hub_hostname,
        device_id=options.place.device_id,
        ca_certificate=options.ca_certificate,
        ca_key=options.ca_key,
        trust_bundle=options.trust_bundle,
    )


def own_id() -> str | None:
    """Of the container that this process runs in."""
    try:
        return own_container_id(Path("/proc/self/mountinfo").read_text())
    except OSError:
        return None
