"""What can go wrong with identities."""

from __future__ import annotations

from edgeagent.errors import AgentError


class IdentityError(AgentError):
    """Root of the errors of identities."""


class RegistryUnreachableError(IdentityError):
    """The hub gave no answer, or one that may be another later: offline."""


class RegistryRefusedError(IdentityError):
    """The hub refused.

    :ivar status: of HTTP.
    """

    def __init__(self, what: str, status: int, detail: str = "") -> None:
        super().__init__(f"the hub refused to {what} with {status}" + (f": {detail}" if detail else ""))
        self.status = status


class RegistryAnswerError(IdentityError):
    """The hub answered with what is no identity."""
