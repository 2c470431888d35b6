"""The hub of this device, from its options."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING

from edgeagent import __version__
from edgeagent.cloud.service import AnswerMethod, Cloud, CloudKeys, CloudSettings
from edgeagent.errors import AgentError
from edgeagent.link.settings import LinkSettings, choose_protocols
from edgeagent.link.tokens import key_signer
from edgeagent.metrics.link import CountedLink
from edgeagent.report.snapshot import BuildInfo, Platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeagent.app.options import RunOptions
    from edgeagent.metrics.totals import AgentTotals
    from edgeagent.workload.client import WorkloadControl

PRODUCT = f"EdgeAgent/{__version__}"

_log = logging.getLogger(__name__)


def make_cloud(
    options: RunOptions,
    workload: WorkloadControl,
    answer: AnswerMethod,
    wake: Callable[[], None],
    totals: AgentTotals,
) -> Cloud | None:
    """None for a device without a hub.

    :raises AgentError: a setting that cannot work.
    """
    if options.place.device_key is None:
        return None
    settings = CloudSettings(
        link=_link_settings(options),
        state_folder=options.state_folder,
        platform=Platform(platform.system().lower(), platform.machine(), __version__),
        build=BuildInfo(__version__),
        refresh_s=options.settings.config_refresh_s,
        clean_orphans=options.settings.removes_orphans,
        registry_port=options.https_port,
    )
    keys = CloudKeys(key_signer(options.place.device_key), workload.module_keys)
    return Cloud(settings, keys, answer, wake, lambda link: CountedLink(link, totals))


def _link_settings(options: RunOptions) -> LinkSettings:
    place, settings = options.place, options.settings
    choice = choose_protocols(settings.upstream_protocol)
    if choice.note:
        _log.info("%s", choice.note)
    return LinkSettings(
        host=place.upstream_host,
        hub_hostname=place.hub_hostname,
        device_id=place.device_id,
        protocols=choice.protocols,
        mqtt_port=options.mqtt_port,
        websocket_port=options.https_port,
        product_info=PRODUCT,
        trust_pem=_trust(options),
        proxy=settings.https_proxy,
        method_s=float(settings.request_timeout_s),
    )


def _trust(options: RunOptions) -> str:
    try:
        return options.trust_pem
    except (OSError, UnicodeDecodeError) as fault:
        raise AgentError(f"{options.trust_bundle} cannot be read: {fault}") from None
