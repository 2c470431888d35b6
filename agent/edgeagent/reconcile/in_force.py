"""Which deployment is in force, and what is said of it (agent spec 1.8). Pure.

A manifest that cannot be used changes nothing: the last good one stays in force, restart policies included,
and the status tells why.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edgeagent.errors import AgentError
from edgeagent.manifest.errors import ManifestError
from edgeagent.manifest.oddities import oddities
from edgeagent.manifest.parse import parse_manifest
from edgeagent.report.outcome import BEFORE_START, Outcome, cut, outcome_of_faults, outcome_of_run
from edgeagent.source.desired import Desired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import Failures
    from edgeagent.model.module import Deployment

_log = logging.getLogger(__name__)


class InForce:
    """The deployment in force.

    :ivar deployment: None before the first good one.
    :ivar document: the JSON that it was read from.
    :ivar version: of that document.
    :ivar reported_version: `lastDesiredVersion`: of the last deployment whose steps have all been tried.
    :ivar good: the last one whose modules all ran, to return to.
    """

    def __init__(self, parent_hostname: str | None) -> None:
        self.deployment: Deployment | None = None
        self.document: Any = None
        self.version = 0
        self.reported_version = 0
        self.good: Deployment | None = None
        self._good_desired: Desired | None = None
        self._rolled_back = ""
        self._fault: ManifestError | None = None
        self._unreadable: ManifestError | None = None
        self._status = BEFORE_START
        self._seen: Desired | None = None
        self._parent_hostname = parent_hostname

    def take(self, desired: Desired) -> bool:
        """Takes a document; true when another deployment is in force now."""
        if desired.same_as(self._seen):
            return False
        self._seen = desired
        try:
            parsed = parse_manifest(desired.document, self._parent_hostname)
        except ManifestError as fault:
            _log.warning("deployment %d is not used: %s", desired.version, fault)
            self._fault = fault
            return False
        for text in (*parsed.warnings, *oddities(parsed.deployment)):
            _log.warning("deployment %d: %s", desired.version, text)
        self._fault, self._rolled_back = None, ""
        self.version, self.document = desired.version, desired.document
        is_other = parsed.deployment != self.deployment
        self.deployment = parsed.deployment
        return is_other

    def unreadable(self, fault: Exception | None) -> None:
        """What the source says of a document that is newer than all that was taken; None when it was read."""
        self._unreadable = fault if isinstance(fault, ManifestError) else None

    def mark_good(self) -> None:
        """All modules of the deployment in force run."""
        if self.good is not self.deployment and not self._rolled_back:
            self.good = self.deployment
            self._good_desired = Desired(self.version, self.document)

    def roll_back(self, why: str) -> bool:
        """Returns to the last good deployment; false where there is none, or it is in force already."""
        if self.good is None or self._good_desired is None or self.good is self.deployment:
            return False
        back_to = self._good_desired
        self._rolled_back = cut(
            f"deployment {self.version} was rolled back to deployment {back_to.version}: {why}"
        )
        _log.error("%s", self._rolled_back)
        self.deployment, self.version, self.document = self.good, back_to.version, back_to.document
        return True

    def status(
        self, failures: Mapping[str, Failures], *, is_settled: bool, engine_fault: str | None
    ) -> Outcome:
        """What to report now.

        :param failures: of this deployment, by module.
        :param is_settled: no step is at work or still to come but for pauses after failures.
        :param engine_fault: why nothing can be known of the containers, None when all is well.
        """
        texts = [f"{name}: {failure.text}" for name, failure in sorted(failures.items())]
        texts = [text for text in (self._rolled_back, engine_fault, *texts) if text]
        fault = self._unreadable or self._fault
        if fault is not None:
            faults = [fault] if engine_fault is None else [fault, AgentError(engine_fault)]
            self._status = outcome_of_faults(faults)
            return self._status
        is_complete = is_settled and self.deployment is not None
        if is_complete and engine_fault is None:
            self.reported_version = self.version
        self._status = outcome_of_run(self._status, texts, complete=is_complete)
        return self._status
