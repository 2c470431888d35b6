"""The text of `/metrics`. Prometheus' library is imported with the first scrape: it costs some megabytes
that a hub nobody scrapes does not need."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from edgehub.metrics.core_totals import decode_core_totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgehub.common.clock import Clock
    from edgehub.metrics.collector import HubCollector
    from edgehub.metrics.totals import HubTotals


class MetricsPage:
    """Renders the totals of one process.

    :param hub_host: label `iothub`.
    :param device_id: label `edge_device`.
    :param core: totals of the core, as a dictionary.
    :param connected: clients connected now.
    """

    def __init__(
        self,
        hub_host: str,
        device_id: str,
        core: Callable[[], Mapping[str, object]],
        totals: HubTotals,
        connected: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._base = (hub_host, device_id, str(uuid.uuid4()))
        self._core = core
        self._totals = totals
        self._connected = connected
        self._clock = clock
        self._collector: HubCollector | None = None

    def render(self) -> bytes:
        """The exposition text.

        :raises MetricsFormatError: the core's totals have another layout.
        """
        from edgehub.metrics.collector import HubCollector, render  # noqa: PLC0415 - see the module text

        if self._collector is None:
            self._collector = HubCollector(
                self._base,
                lambda: decode_core_totals(self._core()),
                self._totals,
                self._connected,
                self._clock.monotonic_s,
            )
        return render(self._collector)
