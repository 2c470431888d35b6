"""Everything that a report is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeagent.report.outcome import BEFORE_START, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
    from edgeagent.model.module import Deployment


@dataclass(frozen=True, slots=True)
class Platform:
    """Where the modules run.

    :ivar version: of the agent, which is its own daemon.
    """

    os: str
    architecture: str
    version: str


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """Which agent this is."""

    version: str
    build: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The device at one moment.

    :ivar deployment: in force; None as long as there was none.
    :ivar version: of the deployment in force (:func:`~edgeagent.report.outcome.version_to_report`).
    :ivar current: our containers by module name; None when the engine could not tell.
    :ivar statuses: state of a module after its restart policy, where that differs from the engine's.
    :ivar details: more about the state of a module, such as why its image cannot be pulled. It must not
        change with the clock alone, or each report would differ from the one before.
    """

    platform: Platform
    build: BuildInfo
    version: int = 0
    outcome: Outcome = BEFORE_START
    deployment: Deployment | None = None
    current: Mapping[str, CurrentModule] | None = field(default_factory=dict)
    restarts: Mapping[str, Restarts] = field(default_factory=dict)
    statuses: Mapping[str, RuntimeStatus] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
