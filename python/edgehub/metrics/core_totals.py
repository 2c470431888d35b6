"""The typed form of `Engine.metrics()`.

Layout of the dictionary; every key may be absent, unknown keys are ignored:

| key | value |
|---|---|
| `counters` | `{name: int}`, anything without labels |
| `received` | `[(id, output, n)]`, telemetry accepted from a sender |
| `sent` | `[(from, to, output, input, priority, n)]` |
| `dropped` | `[(reason, from, output, n)]`, reason `no_route` or `ttl_expiry` among others |
| `unack` | `[(reason, from, output, n)]`, messages refused because they could not be stored |
| `routes` | `[(name, n)]`, messages that matched a route of the configuration in force |
| `queues` | `[(endpoint, priority, length)]`, now |
| `lost` | `[(endpoint, priority, cause, n)]`, messages that left a queue undelivered |
| `lag` | `[(route, endpoint, priority, messages, bytes, ms)]`, what waits for a route, and since when |
| `connections` | `{name: int}`, now |
| `store` | `{name: int}`, now; bytes, segments |
| `memory` | `{name: int}`, bytes of empty buffers kept for later use, and what was given back |

Ids are `device` or `device/module`; the parent hub is `upstream`; the default priority is 2000000000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Mapping


class MetricsFormatError(EdgehubError):
    """Totals of the core that do not have the agreed layout."""


class CoreTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Totals since start, and values of now; see the module text."""

    counters: dict[str, int] = {}
    received: list[tuple[str, str, int]] = []
    sent: list[tuple[str, str, str, str, int, int]] = []
    dropped: list[tuple[str, str, str, int]] = []
    unack: list[tuple[str, str, str, int]] = []
    routes: list[tuple[str, int]] = []
    queues: list[tuple[str, int, int]] = []
    lost: list[tuple[str, int, str, int]] = []
    lag: list[tuple[str, str, int, int, int, int]] = []
    connections: dict[str, int] = {}
    store: dict[str, int] = {}
    memory: dict[str, int] = {}


def decode_core_totals(totals: Mapping[str, object]) -> CoreTotals:
    """Checks and converts the core's dictionary.

    :raises MetricsFormatError: a value is not of the agreed type; the text says where.
    """
    try:
        return msgspec.convert(dict(totals), CoreTotals, strict=True)
    except msgspec.ValidationError as error:
        raise MetricsFormatError(f"totals of the core: {error}") from None
