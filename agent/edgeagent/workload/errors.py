"""Errors of the workload service."""

from __future__ import annotations

from edgeagent.errors import AgentError

EXIT_FAILED = 1
EXIT_TAKEN = 3


class WorkloadError(AgentError):
    """The workload service or a call of it failed."""


class KeyFileError(WorkloadError):
    """A key file that cannot be read or made."""


class SealingError(WorkloadError):
    """A text that was not sealed with this key, for this module, or is damaged."""


class AuthorityError(WorkloadError):
    """A certificate authority that cannot be used."""


class RegistryError(WorkloadError):
    """A module that cannot be registered."""


class ServiceError(WorkloadError):
    """The service cannot start.

    :ivar exit_code: what its process ends with.
    """

    exit_code = EXIT_FAILED


class FolderTakenError(ServiceError):
    """Another process serves this folder."""

    exit_code = EXIT_TAKEN


class ControlError(WorkloadError):
    """The service did not answer, or not as asked.

    :ivar status: HTTP status of the answer, None without one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class RequestRefused(WorkloadError):
    """A request that gets an error for an answer (agent spec 7.1).

    :ivar status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
