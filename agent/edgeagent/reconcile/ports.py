"""What the loop needs of the rest of the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
    from edgeagent.model.module import Deployment
    from edgeagent.reconcile.progress import Remembered
    from edgeagent.report.outcome import Outcome
    from edgeagent.source.desired import Desired


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of everything after one round, for reports, metrics and the management API.

    :param version: `lastDesiredVersion`.
    :param current: None when the engine could not tell.
    :param statuses: as they are reported, restart policies applied.
    """

    status: Outcome
    version: int
    deployment: Deployment | None
    current: Mapping[str, CurrentModule] | None
    statuses: Mapping[str, RuntimeStatus] = field(default_factory=dict)
    restarts: Mapping[str, Restarts] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)


class DesiredSource(Protocol):
    """Where deployments come from."""

    def latest(self) -> Desired | None:
        """The newest document, None before there is any."""

    @property
    def fault(self) -> Exception | None:
        """Why there is none that is newer; a `ManifestError` is reported."""


class Identities(Protocol):
    """Identities of modules in the hub."""

    def known(self) -> frozenset[str]:
        """Module ids for which a container can be made."""

    def generation_id(self, module_id: str) -> str | None:
        """Generation of an identity in the hub, None where there is none."""

    def want(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        """Begins to bring the identities to a deployment; does not wait for it."""


class Reports(Protocol):
    """Takes what is to be reported; does not wait until it is sent."""

    def publish(self, snapshot: Snapshot) -> None:
        """Replaces what was to be reported before."""


class DeploymentStore(Protocol):
    """Keeps the last good deployment, for a start without hub."""

    def keep(self, desired: Desired) -> None:
        """Begins to save it; does not wait for the disk."""


class Memory(Protocol):
    """Keeps what outlives the agent."""

    def load(self) -> Remembered:
        """What was saved last, or an empty one."""

    def save(self, remembered: Remembered) -> None:
        """Writes it durably."""
