"""What the hub says about itself on `/metrics`, as the demo needs it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIORITY_DEFAULT: Final = "2000000000"
UPSTREAM_ENDPOINT: Final = "iothub"
UPSTREAM_TARGET: Final = "upstream"
NO_ROUTE: Final = "no_route"


class MetricsTextError(ValueError):
    """Text that is no Prometheus exposition."""


@dataclass(frozen=True, slots=True)
class HubSample:
    """One reading of the hub's metrics.

    :param sent: (target, output of the sender) -> messages delivered and acknowledged there.
    :param queued: (endpoint, priority) -> messages that wait.
    :param unrouted: messages that no route took, so that they stayed on the gateway.
    """

    sent: Mapping[tuple[str, str], int] = field(default_factory=dict)
    queued: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unrouted: int = 0


def parse_metrics(text: str) -> HubSample:
    """Reads an exposition; families that the demo does not need are passed over.

    :raises MetricsTextError: not an exposition.
    """
    sent: dict[tuple[str, str], int] = {}
    queued: dict[tuple[str, str], int] = {}
    unrouted = 0
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels, value = sample.labels, int(sample.value) if sample.value == sample.value else 0
                if sample.name == "edgehub_messages_sent_total":
                    # Senders and priorities are added up: a route of the demo is told by target and output.
                    key = (labels["to"], labels["from_route_output"])
                    sent[key] = sent.get(key, 0) + value
                elif sample.name == "edgehub_queue_length":
                    queued[labels["endpoint"], labels["priority"]] = value
                elif sample.name == "edgehub_messages_dropped_total" and labels["reason"] == NO_ROUTE:
                    unrouted += value
    except (ValueError, KeyError) as error:
        raise MetricsTextError(f"the hub's metrics cannot be read: {error}") from None
    return HubSample(sent, queued, unrouted)
