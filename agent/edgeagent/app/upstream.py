"""The parts that need a hub: the link, the twin, identities and reports."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent import __version__
from edgeagent.app.identities import HubIdentities
from edgeagent.app.place import AGENT_MODULE
from edgeagent.app.reports import ReportPump
from edgeagent.errors import AgentError
from edgeagent.identity.cache import IdentityCache
from edgeagent.identity.manager import IdentityManager
from edgeagent.identity.registry import HubRegistry, RegistrySettings
from edgeagent.link.client import UpstreamLink
from edgeagent.link.method_calls import MethodAnswer
from edgeagent.link.settings import LinkSettings, choose_protocols
from edgeagent.link.tls import upstream_context
from edgeagent.link.tokens import key_signer
from edgeagent.report.reporter import Reporter
from edgeagent.report.snapshot import BuildInfo, Platform
from edgeagent.source.twin_source import TwinSource
from edgeagent.workload.keys import load_or_create_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from edgeagent.app.options import RunOptions
    from edgeagent.link.topics import DesiredPatch, MethodCall
    from edgeagent.methods.dispatch import Methods
    from edgeagent.source.desired import DesiredBox
    from edgeagent.workload.keys import MasterKeys

PRODUCT = f"EdgeAgent/{__version__}"


@dataclass(slots=True)
class Upstream:
    """What speaks to the hub."""

    link: UpstreamLink
    registry: HubRegistry
    manager: IdentityManager
    identities: HubIdentities
    twin: TwinSource
    reporter: Reporter
    pump: ReportPump


class _Listener:
    """Passes on what the link tells."""

    def __init__(self, upstream: Upstream, refused: Callable[[], None]) -> None:
        self._upstream = upstream
        self._refused = refused

    def link_up(self) -> None:
        self._upstream.identities.link_is_back()
        self._upstream.pump.send_again()

    def link_down(self, reason: str) -> None:
        """The link says it in the log."""

    def link_refused(self, reason: str) -> None:
        self._refused()

    def desired_patch(self, patch: DesiredPatch) -> None:
        """The twin source listens itself."""


def build_upstream(
    options: RunOptions, methods: Methods, box: DesiredBox, wake: Callable[[], None]
) -> Upstream:
    """Makes the parts; nothing is connected yet.

    :raises AgentError: a setting that cannot work.
    """
    place = options.place
    assert place.device_key is not None
    keys = load_or_create_keys(options.home / "keys")
    device_signer = key_signer(place.device_key)
    registry = HubRegistry(_registry_settings(options), device_signer)
    manager = IdentityManager(
        registry,
        keys.module_keys,
        IdentityCache(options.home / "cache" / "identities.json", place.hub_hostname, place.device_id),
        clean_orphans=options.settings.removes_orphans,
    )
    link = UpstreamLink(_link_settings(options), _AgentSigner(manager, keys).sign, _serving(methods))
    reporter = Reporter(link.report)
    pump = ReportPump(reporter, _platform(), BuildInfo(__version__))

    def seen(reported: Mapping[str, Any]) -> None:
        reporter.sync(reported)
        pump.send_again()

    twin = TwinSource(link, box, seen, options.settings.config_refresh_s)
    identities = HubIdentities(manager, wake, time.monotonic)
    return Upstream(link, registry, manager, identities, twin, reporter, pump)


def listen(upstream: Upstream, refused: Callable[[], None]) -> None:
    """Lets the parts hear of the link."""
    upstream.link.listen(_Listener(upstream, refused))
    upstream.link.listen(upstream.twin)


class _AgentSigner:
    """Signs with the key of `$edgeAgent`, which the hub knows once it is provisioned."""

    def __init__(self, manager: IdentityManager, keys: MasterKeys) -> None:
        self._manager = manager
        self._keys = keys

    async def sign(self, data: bytes) -> bytes:
        """:raises IdentityError: the hub does not know this agent yet, and cannot be told now."""
        generation_id = self._manager.known.generation_id(AGENT_MODULE)
        if generation_id is None:
            generation_id = (await self._manager.provision_agent()).generation_id
        primary, _ = self._keys.module_keys(AGENT_MODULE, generation_id)
        return await key_signer(primary)(data)


def _serving(methods: Methods) -> Callable[[MethodCall], Any]:
    async def serve(call: MethodCall) -> MethodAnswer:
        return MethodAnswer(*await methods.answer(call.name, call.payload))

    return serve


def _link_settings(options: RunOptions) -> LinkSettings:
    place, settings = options.place, options.settings
    return LinkSettings(
        host=place.upstream_host,
        hub_hostname=place.hub_hostname,
        device_id=place.device_id,
        protocols=choose_protocols(settings.upstream_protocol).protocols,
        mqtt_port=options.mqtt_port,
        websocket_port=options.https_port,
        product_info=PRODUCT,
        trust_pem=_trust(options),
        proxy=settings.https_proxy,
        method_s=float(settings.request_timeout_s),
    )


def _registry_settings(options: RunOptions) -> RegistrySettings:
    place = options.place
    return RegistrySettings(
        host=place.upstream_host,
        hub_hostname=place.hub_hostname,
        device_id=place.device_id,
        tls=upstream_context(_trust(options)),
        port=options.https_port,
        product_info=PRODUCT,
        proxy=options.settings.https_proxy,
    )


def _trust(options: RunOptions) -> str:
    try:
        return options.trust_pem
    except OSError as fault:
        raise AgentError(f"{options.trust_bundle} cannot be read: {fault.strerror or fault}") from None


def _platform() -> Platform:
    return Platform(platform.system().lower(), platform.machine(), __version__)
