"""Whether the hub can do its work: the answer of `/healthz`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Written by the application, read by the metrics server.

    :param started: heads are listening and routes are in force.
    :param stopping: the hub is draining.
    :param store_fault: why the store failed for good; empty while it works.
    """

    started: bool = False
    stopping: bool = False
    store_fault: str = ""

    def answer(self) -> tuple[int, dict[str, str]]:
        """HTTP status and JSON body."""
        if self.store_fault:
            return 503, {"status": "failed", "reason": f"store: {self.store_fault}"}
        if self.stopping:
            return 503, {"status": "stopping", "reason": "shutdown in progress"}
        if not self.started:
            return 503, {"status": "starting", "reason": "not all parts have started"}
        return 200, {"status": "ok"}
