"""The hub as the loop sees it: a deployment, identities and a place for reports. Nothing waits for a network.

```
 loop ── desired.latest() ◄── TwinSource ◄─┐
      ── identities.known, want ─► IdentityKeeper ──► HubRegistry (HTTPS, key of the device)
      ── reports.publish ────────► ReportKeeper ──► Reporter ─► UpstreamLink (MQTT, key of $edgeAgent)
 methods ◄──────────────────────────────────────────────────┘
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from edgeagent.identity.agent_signer import AgentSigner
from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.keeper import IdentityKeeper
from edgeagent.identity.manager import IdentityManager
from edgeagent.identity.registry import HubRegistry, RegistrySettings
from edgeagent.link.client import UpstreamLink, mqtt_connections
from edgeagent.link.method_calls import MethodAnswer
from edgeagent.link.tls import upstream_context
from edgeagent.report.keeper import ReportKeeper
from edgeagent.report.reporter import Reporter
from edgeagent.source.desired import DesiredBox
from edgeagent.source.twin_source import TwinSource
from edgeagent.source.twin_state import REFRESH_S

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from types import TracebackType

    from edgeagent.identity.model import DeriveKeys
    from edgeagent.link.settings import LinkSettings
    from edgeagent.link.tokens import Signer
    from edgeagent.link.topics import DesiredPatch, MethodCall
    from edgeagent.link.twin import Twin
    from edgeagent.report.snapshot import BuildInfo, Platform

IDENTITIES_FILE: Final = "identities.json"

AnswerMethod = Callable[[str, bytes], Awaitable[tuple[int, Any]]]
"""Status and JSON of the answer to a method, of its name and payload."""


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """The hub and this device.

    :ivar link: how to reach the hub.
    :ivar state_folder: for the identities known.
    :ivar refresh_s: `ConfigRefreshFrequencySecs`.
    :ivar clean_orphans: `EnableOrphanedIdentityCleanup`.
    :ivar registry_port: HTTPS.
    """

    link: LinkSettings
    state_folder: Path
    platform: Platform
    build: BuildInfo
    refresh_s: float = REFRESH_S
    clean_orphans: bool = False
    registry_port: int = 443


@dataclass(frozen=True, slots=True)
class CloudKeys:
    """Who signs.

    :ivar device: HMAC-SHA256 under the key of the device (:func:`~edgeagent.link.tokens.key_signer`).
    :ivar derive: keys of modules, the agent's own among them.
    """

    device: Signer = field(repr=False)
    derive: DeriveKeys = field(repr=False)


class TwinLink(Protocol):
    """What reads the twin and reports to it."""

    async def get_twin(self) -> Twin: ...

    async def report(self, patch: Mapping[str, Any]) -> object: ...


class Cloud:
    """Use as a context; :meth:`run` beside the loop.

    :param answer_method: serves direct methods.
    :param wake: called when there is something new for the loop.
    :param watched: what reads and reports go through, such as a counter of them.
    :raises LinkSettingsError: a setting that cannot work.

    :ivar desired: the deployment.
    :ivar identities: of modules.
    :ivar reports: takes the state of the device.
    :ivar link: for messages (`send_event`), and for checks.
    """

    def __init__(
        self,
        settings: CloudSettings,
        keys: CloudKeys,
        answer_method: AnswerMethod,
        wake: Callable[[], None],
        watched: Callable[[UpstreamLink], TwinLink] = lambda link: link,
    ) -> None:
        link, folder = settings.link, settings.state_folder
        tls = upstream_context(link.trust_pem)
        self._registry = HubRegistry(_registry_settings(settings, tls), keys.device)
        cache = IdentityCache(folder / IDENTITIES_FILE, link.hub_hostname, link.device_id)
        self._manager = IdentityManager(
            self._registry, keys.derive, cache, clean_orphans=settings.clean_orphans
        )
        self._signer = AgentSigner(self._manager, keys.derive)
        self._answer_method = answer_method
        connect = mqtt_connections(link, tls)
        self.link = UpstreamLink(link, self._signer.sign, self._serve, connect=connect)
        self.desired = DesiredBox(wake)
        self.identities = IdentityKeeper(self._manager, wake)
        twin_link = watched(self.link)
        self.reports = ReportKeeper(Reporter(twin_link.report), settings.platform, settings.build)
        self.source = TwinSource(twin_link, self.desired, self.reports.sync, settings.refresh_s)
        self.link.listen(self.source)
        self.link.listen(self)

    async def __aenter__(self) -> Self:
        """Reads what was known before a restart."""
        await self._manager.load()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._registry.close()

    async def run(self) -> None:
        """Until cancelled; then the hub is told that the agent does not run any more (rows R01, R02)."""
        reports = asyncio.create_task(self.reports.run(), name="reports")
        others = [asyncio.create_task(job.run()) for job in (self.source, self.identities)]
        link = asyncio.create_task(self.link.run(), name="link")
        jobs = [reports, *others, link]
        try:
            # None of them ends by itself: one that does has failed.
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            await _end([reports, *others])
            await self.reports.shutdown()
            await _end([link])

    async def _serve(self, call: MethodCall) -> MethodAnswer:
        status, payload = await self._answer_method(call.name, call.payload)
        return MethodAnswer(status, payload)

    # What the link tells

    def link_up(self) -> None:
        self.identities.link_up()

    def link_down(self, _reason: str) -> None:
        """No concern of identities."""

    def link_refused(self, _reason: str) -> None:
        self._signer.link_refused()

    def desired_patch(self, _patch: DesiredPatch) -> None:
        """Taken by the source."""


def _registry_settings(settings: CloudSettings, tls: ssl.SSLContext) -> RegistrySettings:
    link = settings.link
    return RegistrySettings(
        host=link.host,
        hub_hostname=link.hub_hostname,
        device_id=link.device_id,
        tls=tls,
        port=settings.registry_port,
        product_info=link.product_info,
        proxy=link.proxy,
    )


async def _end(jobs: list[asyncio.Task[None]]) -> None:
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
