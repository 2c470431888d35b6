"""What left the queues of a store undelivered, as JSON for tools and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgehub.cli.store.locate import name_of
from edgehub.cli.store.report import iso_time, printable

if TYPE_CHECKING:
    from edgehub._core import StoreInspector, StoreLoss, StoreLossTotal
    from edgehub.cli.tables import Table

CAUSES = {
    "expired": "time to live over",
    "endpoint_removed": "its endpoint was removed",
    "damaged": "not readable any more",
    "rejected": "its consumer will never take it",
    "quota": "made room for others",
}
"""Causes and what they mean."""


def losses_as_json(store: StoreInspector) -> dict[str, Any]:
    """Totals by queue and cause since the folder was made, and the last losses one by one."""
    totals = [{**_queue_as_json(total), "messages": total.messages} for total in store.loss_totals()]
    last = [
        {
            "at": iso_time(loss.at_ms),
            **_queue_as_json(loss),
            "firstSeq": loss.first_seq,
            "messages": loss.messages,
        }
        for loss in store.losses()
    ]
    written = iso_time(store.losses_written_ms)
    return {"writtenAt": written, "error": store.losses_error, "totals": totals, "last": last}


def _queue_as_json(entry: StoreLoss | StoreLossTotal) -> dict[str, Any]:
    return {
        "queue": entry.queue,
        "endpoint": entry.endpoint,
        "priority": entry.priority,
        "cause": entry.cause,
    }


def totals_table(store: StoreInspector) -> Table:
    """Lost messages by queue and cause, most first."""
    names, latest = _names(store), {(loss.queue, loss.cause): loss.at_ms for loss in store.losses()}
    rows = [
        [
            _name(names, total),
            total.cause,
            f"{total.messages:,}",
            iso_time(latest.get((total.queue, total.cause))) or "-",
            CAUSES[total.cause],
        ]
        for total in sorted(store.loss_totals(), key=lambda total: -total.messages)
    ]
    return ("lost from", "cause", "messages", "last", "meaning"), rows


def last_table(store: StoreInspector) -> Table:
    """The last losses, newest first."""
    names = _names(store)
    rows = [
        [
            iso_time(loss.at_ms) or "-",
            _name(names, loss),
            loss.cause,
            f"{loss.messages:,}",
            f"{loss.first_seq:,}",
        ]
        for loss in reversed(store.losses())
    ]
    return ("lost at", "queue", "cause", "messages", "first number"), rows


def _names(store: StoreInspector) -> dict[int, str]:
    queues = store.queues()
    return {queue.id: name_of(queue, queues) for queue in queues}


def _name(names: dict[int, str], entry: StoreLoss | StoreLossTotal) -> str:
    if entry.queue == 0:
        return "(further queues)"
    return printable(names.get(entry.queue) or entry.endpoint) or f"(queue {entry.queue})"
