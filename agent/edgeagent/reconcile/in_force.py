"""Which deployment is in force, and what is said of it (agent spec 1.8). Pure.

A manifest that cannot be used changes nothing: the last good one stays in force, restart policies included,
and the status tells why.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeagent.manifest.errors import ManifestError
from edgeagent.manifest.oddities import oddities
from edgeagent.manifest.parse import parse_manifest
from edgeagent.source.desired import Desired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import Failures
    from edgeagent.model.module import Deployment

STATUS_OK = 200
STATUS_UNKNOWN = 406
STATUS_FAILED = 500
NOT_RUNNING_TEXT = "Agent is not running"
DESCRIPTION_CHARS_MAX = 2048

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """`lastDesiredStatus`."""

    code: int
    description: str = ""


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
        self._status = Status(STATUS_UNKNOWN)
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
        self._rolled_back = _shortened(
            f"deployment {self.version} was rolled back to deployment {back_to.version}: {why}"
        )
        _log.error("%s", self._rolled_back)
        self.deployment, self.version, self.document = self.good, back_to.version, back_to.document
        return True

    def status(
        self, failures: Mapping[str, Failures], *, is_settled: bool, engine_fault: str | None
    ) -> Status:
        """What to report now.

        :param failures: of this deployment, by module.
        :param is_settled: no step is at work or still to come but for pauses after failures.
        :param engine_fault: why nothing can be known of the containers, None when all is well.
        """
        fault = self._unreadable or self._fault
        if is_settled and fault is None and self.deployment is not None and engine_fault is None:
            self.reported_version = self.version
        texts = [f"{name}: {failure.text}" for name, failure in sorted(failures.items())]
        if engine_fault is not None:
            texts.insert(0, engine_fault)
        if self._rolled_back:
            texts.insert(0, self._rolled_back)
        if fault is not None:
            self._status = Status(fault.code, _shortened(fault.description))
        elif texts:
            self._status = Status(STATUS_FAILED, _shortened("; ".join(texts)))
        elif is_settled and self.deployment is not None:
            self._status = Status(STATUS_OK)
        return self._status


def _shortened(text: str) -> str:
    return text if len(text) <= DESCRIPTION_CHARS_MAX else f"{text[: DESCRIPTION_CHARS_MAX - 3]}..."
