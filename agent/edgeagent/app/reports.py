"""Reports of a device without a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeagent.reconcile.ports import Snapshot


class NoReports:
    """Nobody is told."""

    def publish(self, snapshot: Snapshot) -> None:
        """The log has it all."""
