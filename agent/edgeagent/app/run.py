"""The agent as a whole: start, run, end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

from edgeagent import __version__
from edgeagent.app.cloud import make_cloud
from edgeagent.app.device_change import remove_modules_of_another_device
from edgeagent.app.identities import LocalIdentities
from edgeagent.app.keeper import DeploymentKeeper
from edgeagent.app.modules import EngineModules
from edgeagent.app.parts import kept, loop_settings, management_of, method_handlers, own_id, workload_settings
from edgeagent.app.reports import NoReports
from edgeagent.errors import AgentError
from edgeagent.executor.docker_runtime import DockerParts, DockerRuntime
from edgeagent.executor.self_update import SelfUpdate
from edgeagent.image_gc.task import ImageGarbageCollection
from edgeagent.image_gc.uses import ImageUses
from edgeagent.log_lines import LEVEL_NAMES
from edgeagent.methods.dispatch import Methods
from edgeagent.methods.tasks import Tasks
from edgeagent.metrics.agent_metrics import metadata_of
from edgeagent.metrics.service import BothReports, MetricsService, Where, make_metrics
from edgeagent.reconcile.in_force import InForce
from edgeagent.reconcile.loop import LoopParts, Reconciler
from edgeagent.reconcile.watch import watch_engine
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.lister import ModuleLister
from edgeagent.runtime.spec import ModuleContext
from edgeagent.runtime.system import system_info
from edgeagent.source.desired import DesiredBox
from edgeagent.source.file_source import FileSource
from edgeagent.state.memory import FileMemory
from edgeagent.workload.client import WorkloadControl

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from edgeagent.app.options import RunOptions
    from edgeagent.model.current import RuntimeStatus
    from edgeagent.model.module import Module

BACKUP_FILE = "backup.json"
START_RETRY_S = 5.0
WORKLOAD_CHECK_S = 60.0
REPORT_S = 5.0
"""For the last report."""

_log = logging.getLogger(__name__)


class Agent:
    """All parts of one agent process."""

    def __init__(self, options: RunOptions) -> None:
        """:raises AgentError: a setting that cannot work."""
        self._options = options
        self.workload = WorkloadControl(workload_settings(options))
        place = options.place
        self._where = Where(place.hub_hostname, place.device_id, options.state_folder, __version__)
        self.metrics = make_metrics(options.settings, self._where)
        self.engine = Engine(options.engine)
        self.lister = ModuleLister(self.engine)
        self.uses = ImageUses(options.home / "gc")
        self.tasks = Tasks()
        self._stop = asyncio.Event()
        self._hands_over = False
        self._own_id = own_id()
        self._self_update = SelfUpdate(self.engine, self._own_id, self._hand_over)
        self.runtime = DockerRuntime(self._docker_parts())
        self.management = management_of(
            options, self.engine, self.lister, self.workload.modules, self._statuses
        )
        bundle = self.management.bundles.make_bundle
        modules = EngineModules(self.engine, self.runtime)
        handlers = method_handlers(options, modules, self.tasks, bundle)
        self.methods = Methods(
            self.metrics.totals.counting_methods(handlers), float(options.settings.request_timeout_s)
        )
        self.cloud = make_cloud(options, self.workload, self.methods.answer, self._wake, self.metrics.totals)
        self.identities = self.cloud.identities if self.cloud else LocalIdentities()
        self.box = self._box()
        self.keeper = DeploymentKeeper(options.state_folder / BACKUP_FILE, self.workload)
        self.in_force = InForce(options.place.parent_hostname)
        self.reconciler = self._reconciler()
        self.metrics_service = self._metrics_service()
        self._background: list[asyncio.Task[Any]] = []

    def _box(self) -> DesiredBox:
        """Where deployments arrive: a file counts more than the twin."""
        if self.cloud is None or self._options.manifest is not None:
            return DesiredBox(self._wake)
        return self.cloud.desired

    def _reconciler(self) -> Reconciler:
        parts = LoopParts(
            source=self.box,
            runtime=self.runtime,
            identities=self.identities,
            reports=BothReports(self.metrics, self.cloud.reports if self.cloud else NoReports()),
            memory=FileMemory(self._options.state_folder),
            deployments=self.keeper,
            observer=self.metrics.totals,
        )
        settings = loop_settings(self._options.settings)
        return Reconciler(parts, self.in_force, settings, lambda: time.time_ns() // 1_000_000)

    def _metrics_service(self) -> MetricsService:
        send = self.cloud.link.send_event if self.cloud else None
        return MetricsService(
            self._options.settings, self._where, self.metrics, Containers(self.engine), send
        )

    def _docker_parts(self) -> DockerParts:
        options = self._options
        return DockerParts(
            engine=self.engine,
            lister=self.lister,
            network=options.network,
            context=self._context,
            forget=self._forget,
            replace_agent=self._self_update.replace,
            images=self.uses,
            registries=options.settings.registries,
            own_id=self._own_id,
        )

    async def _context(self, module: Module) -> ModuleContext:
        """Gives a module its socket, and says what its container is told."""
        options, place = self._options, self._options.place
        generation_id = self.identities.generation_id(module.identity)
        registered = await self.workload.register(module.identity, generation_id)
        return ModuleContext(
            hub_hostname=place.hub_hostname,
            device_id=place.device_id,
            device_hostname=place.device_hostname,
            generation_id=registered.generation_id,
            workload_folder=str(registered.folder),
            parent_hostname=place.parent_hostname,
            network=options.network.name,
            log_level=LEVEL_NAMES.get(logging.getLogger().level, "Information"),
            upstream_protocol=options.settings.upstream_protocol or None,
            allow_elevated=options.allow_elevated,
        )

    async def _forget(self, name: str) -> None:
        """A container is gone; its module's socket goes too, unless the next container is on its way."""
        deployment = self.in_force.deployment
        if deployment is not None and name in deployment.modules:
            return
        await self.workload.unregister(f"${name}" if name == "edgeHub" else name)

    def _statuses(self) -> Mapping[str, RuntimeStatus]:
        """States of modules as they are reported."""
        return self.reconciler.snapshot.statuses

    def _wake(self) -> None:
        self.reconciler.wake()

    def _hand_over(self) -> None:
        """Another agent runs: this one ends, and leaves the modules to it."""
        self._hands_over = True
        self.stop()

    def stop(self) -> None:
        """Begins the end."""
        self._stop.set()

    async def run(self) -> None:
        """Until :meth:`stop`."""
        try:
            if await self._until_stopped(self._start()) is not False:
                await self._stop.wait()
        finally:
            await self._end()

    async def _until_stopped(self, work: Coroutine[Any, Any, bool]) -> bool | None:
        """The result of `work`, or None when the end came first."""
        working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
            return None
        return working.result()

    async def _start(self) -> bool:
        """Waits for what is needed; false when another agent is the one that shall run."""
        await self._needed("the workload service", self.workload.ensure_running)
        if not await self._needed("the container engine", self._self_update.recover):
            _log.info("another agent runs on this engine; this one ends")
            self._hands_over = True
            return False
        await self._needed("the modules of another device", self._check_device)
        await self._first_deployment()
        self._spawn("events", lambda: watch_engine(self.engine, self.lister, self._wake))
        self._spawn("the last good deployment", self.keeper.run)
        self._spawn("the workload service", self._watch_workload)
        self._spawn("the removal of images", self._collection().run)
        self._spawn("metrics", self.metrics_service.run)
        self._spawn("metadata", self._read_metadata)
        self._spawn("the management socket", self._serve_management)
        self._spawn("the loop", self.reconciler.run)
        return True

    async def _needed(self, what: str, work: Any) -> Any:
        """Tries until it works: an agent that starts with its device has to wait for others."""
        said = ""
        while True:
            try:
                return await work()
            except (AgentError, OSError) as fault:
                if str(fault) != said:
                    said = str(fault)
                    _log.error("%s: %s; trying again every %.0f s", what, fault, START_RETRY_S)
            await asyncio.sleep(START_RETRY_S)

    async def _read_metadata(self) -> None:
        info = await self._needed("the container engine", lambda: system_info(self.engine))
        self.metrics.metadata = metadata_of(__version__, info)

    async def _check_device(self) -> None:
        await remove_modules_of_another_device(self._options.state_folder, self._options.place, self.runtime)

    async def _first_deployment(self) -> None:
        """The newest word of the source, or else what was kept (rows O06, O08)."""
        if self.cloud is not None:
            await self.cloud.__aenter__()
            self._spawn("the link to the hub", self.cloud.run)
        if self._options.manifest is not None:
            self._spawn("the manifest", FileSource(self._options.manifest, self.box).run)
        if await self.box.first() is None:
            kept = await self.keeper.load()
            if kept is not None:
                _log.info("starting with the deployment that was kept, version %d", kept.version)
                self.box.put(kept)

    async def _serve_management(self) -> None:
        """Without its socket the agent works as well, only `iotedge` does not."""
        service = self.management.service
        await self._needed("the management socket", service.start)
        while True:
            await asyncio.sleep(WORKLOAD_CHECK_S)
            try:
                await service.ensure_socket()
            except (AgentError, OSError) as fault:
                _log.error("the management socket: %s", fault)

    async def _watch_workload(self) -> None:
        """Keeps the workload service up, and restarts the modules for a new CA (row X06)."""
        while True:
            try:
                state = await self.workload.ensure_running()
                if state.restart_due:
                    await self._restart_all()
                    await self.workload.modules_restarted(state.ca.fingerprint)
            except AgentError as fault:
                _log.error("the workload service: %s", fault)
            await asyncio.sleep(WORKLOAD_CHECK_S)

    async def _restart_all(self) -> None:
        """For certificates of a new CA; the agent itself needs none."""
        for name, current in sorted((await self.runtime.modules()).items()):
            if current.status == "running" and name != "edgeAgent":
                _log.info("%s is restarted for certificates of the new CA", name)
                await self.runtime.restart(name)

    def _collection(self) -> ImageGarbageCollection:
        return ImageGarbageCollection(
            self.engine, self.uses, self._options.garbage_collection, self._images_wanted
        )

    def _images_wanted(self) -> list[str]:
        deployment = self.in_force.deployment
        return [module.image for module in deployment.modules.values()] if deployment else []

    def _spawn(self, name: str, run: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        task = asyncio.get_running_loop().create_task(kept(name, run), name=name)
        self._background.append(task)
        task.add_done_callback(self._background.remove)

    async def _end(self) -> None:
        """Ends the loop first, then the modules, then what it all stood on."""
        self.reconciler.stop()
        self.metrics.health.stopping()
        try:
            if self._hands_over:
                await self.reconciler.runner.finish(REPORT_S)
            else:
                await self.reconciler.shut_down()
        finally:
            await self._end_parts()

    async def _end_parts(self) -> None:
        ending = list(self._background)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.tasks.stop()
        await self.management.service.close()
        self.metrics_service.ended_well()
        if self.cloud is not None:
            await self.cloud.__aexit__(None, None, None)
        await self.engine.close()


async def run_agent(options: RunOptions) -> None:
    """Runs an agent until SIGTERM or SIGINT.

    :raises AgentError: a setting that cannot work.
    """
    agent = Agent(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()
