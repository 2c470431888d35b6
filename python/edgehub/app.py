"""The hub process: settings -> services -> heads -> run -> drain.

`HubServer` does the three phases in order. Everything it needs from the core comes in through
`CoreModule`, so that tests run it without the extension; only `run_hub` imports `edgehub._core`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, cast

from edgehub import __version__
from edgehub.common.limits import raise_file_limit
from edgehub.common.logs import configure_logging
from edgehub.config.load import Loaded, SettingsError, load_settings
from edgehub.errors import EdgehubError
from edgehub.listeners import Ports
from edgehub.services import Services, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import uvloop

    from edgehub.hub.ports import CoreModule
    from edgehub.services import ParentFactory
    from edgehub.upstream_parts import ParentContext, ParentHub

CONFIG_WAIT_S = 60.0
"""Longest wait for a first configuration before the start fails."""
SCOPE_WAIT_S = 15.0
"""Longest wait for a first device scope before clients are let in."""
CORE_DRAIN_SHARE = 0.5
"""Share of the shutdown time that the core may use to finish deliveries."""

log = logging.getLogger("edgehub")


class HubServer:
    """One run of the hub."""

    def __init__(self, loaded: Loaded, core: CoreModule, connect_parent: ParentFactory) -> None:
        self._connect_parent = connect_parent
        self._loaded = loaded
        self._settings = loaded.settings
        self._core = core
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.services: Services | None = None
        self.metrics_port = 0
        self.ports = Ports()

    async def serve(self) -> int:
        """Runs until a signal or a failure; returns the exit code of the process."""
        self._handle_signals()
        try:
            await self._start_unless_stopped()
            await self._stop.wait()
        except (EdgehubError, self._core.CoreError) as error:
            self._exit_code = 1
            log.critical("Error starting the hub: %s", error)
            sys.stderr.write(f"edgehub: {error}\n")
        finally:
            await self._shutdown()
        return self._exit_code

    def stop(self, exit_code: int = 0) -> None:
        """Asks the hub to drain and end."""
        self._exit_code = max(self._exit_code, exit_code)
        self._stop.set()

    # Start

    async def _start_unless_stopped(self) -> None:
        """A signal during a long start, for example a recovery, ends it at the next step."""
        starting = asyncio.create_task(self._startup())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise

    async def _startup(self) -> None:
        self._announce()
        services = self.services = Services(
            self._settings, self._core, self.store_failed, self._connect_parent
        )
        self.metrics_port = await services.start_metrics()
        log.info("Metrics and health on port %d", self.metrics_port)
        await services.open_storage()
        await services.load_identities()
        services.load_configuration()
        services.start_core()
        self._spawn_all(services.background())
        await services.start_upstream()
        await self._wait_for_identities(services)
        await self._wait_for_configuration(services)
        await self._listen(services)
        services.health.started = True
        log.info("Edge hub is ready")

    def _announce(self) -> None:
        storage, clients = self._settings.storage, self._settings.clients
        log.info("Initializing Edge Hub")
        log.info("Version - %s", __version__)
        log.info("OptimizeForPerformance=%s", storage.optimize_for_performance)
        log.info("UsePooledBuffers=%s", self._settings.pools_buffers)
        log.info("MessageAckTimeoutSecs=%d", clients.ack_timeout_s)
        for warning in self._loaded.warnings:
            log.warning("%s", warning)

    async def _wait_for_identities(self, services: Services) -> None:
        """A client that comes before the first identities would be refused for good by its SDK."""
        if services.knows_identities:
            return
        try:
            async with asyncio.timeout(SCOPE_WAIT_S):
                await services.first_identities()
        except TimeoutError:
            log.warning("The device scope is not known yet; clients are refused until it is")

    async def _wait_for_configuration(self, services: Services) -> None:
        if services.routes.configured:
            return
        log.info("Initializing configuration")
        try:
            async with asyncio.timeout(CONFIG_WAIT_S):
                await services.first_configuration()
        except TimeoutError:
            raise StartError(
                "could not obtain the twin of $edgeHub, neither from the local store nor from the parent hub"
            ) from None
        if not services.routes.configured:
            raise StartError("the twin of $edgeHub has no usable configuration; see the log")
        log.info("Initialized edge hub configuration")

    async def _listen(self, services: Services) -> None:
        if not self._settings.mqtt.enabled:
            log.info("The MQTT head is disabled")
        self.ports = await services.listen()
        certificate = services.keep_certificate()
        if certificate is not None:
            self._spawn_all({"server certificate": certificate})

    # Failures while running

    def store_failed(self, detail: str) -> None:
        """The store failed for good: nothing can be acknowledged any more."""
        log.critical("The store failed: %s", detail)
        if self.services is not None:
            self.services.health.store_fault = detail
        self.stop(1)

    def _spawn_all(self, jobs: dict[str, Coroutine[Any, Any, None]]) -> None:
        for name, job in jobs.items():
            task = asyncio.create_task(job, name=name)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        log.critical("The task %s failed", task.get_name(), exc_info=task.exception())
        self.stop(1)

    # Stop

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self) -> None:
        """The usual sign to read again what may have changed: here the server certificate."""
        if self.services is not None and not self._stop.is_set():
            log.info("SIGHUP: renewing the server certificate")
            self.services.renew_certificate()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            return
        log.info("Termination requested, initiating shutdown.")
        self.stop()

    async def _shutdown(self) -> None:
        wait_s = float(self._settings.process.shutdown_wait_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._drain(wait_s)
        except TimeoutError:
            log.error("Shutdown took longer than %d s and was cut short", wait_s)
            self._exit_code = max(self._exit_code, 1)
        except (EdgehubError, self._core.CoreError) as error:
            log.error("Error while shutting down: %s", error)
            self._exit_code = max(self._exit_code, 1)
        log.info("Shutdown complete.")

    async def _drain(self, wait_s: float) -> None:
        services = self.services
        if services is None:
            return
        services.health.stopping = True
        log.info("Stopping the protocol heads...")
        try:
            await services.stop_clients()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await services.stop_core(int(wait_s * CORE_DRAIN_SHARE * 1000))
            log.info("Protocol heads stopped.")
        finally:
            await services.close()


def run_hub(variables: dict[str, str] | None = None) -> int:
    """Runs the hub with settings from the environment; returns the exit code.

    A setting that cannot work ends with 1 and one line on standard error.
    """
    try:
        loaded = load_settings(os.environ if variables is None else variables)
    except SettingsError as error:
        sys.stderr.write(f"edgehub: {error}\n")
        return 1
    configure_logging(loaded.settings.process.log_level)
    try:
        from edgehub import _core  # noqa: PLC0415 - the settings are checked first
    except ImportError as error:
        sys.stderr.write(f"edgehub: the extension edgehub._core cannot be loaded: {error}\n")
        return 1

    raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(loaded, cast("CoreModule", _core)))


async def _serve(loaded: Loaded, core: CoreModule) -> int:
    return await HubServer(loaded, core, _connect_parent).serve()


def _connect_parent(context: ParentContext) -> ParentHub:
    from edgehub.parent_link import connect_parent_hub  # noqa: PLC0415 - a hub without parent needs none of it

    return connect_parent_hub(context)


def _loop_factory() -> Callable[[], uvloop.Loop]:
    import uvloop  # noqa: PLC0415 - not needed to report a bad setting

    return uvloop.new_event_loop
