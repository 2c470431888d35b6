"""Why a method call is answered with an error."""

from __future__ import annotations

from edgeagent.errors import AgentError

OK = 200
BAD_REQUEST = 400
FAILED = 500


class MethodError(AgentError):
    """A call that is answered with a status and `{"message": ...}`."""

    status = FAILED


class BadCallError(MethodError):
    """The call is wrong, not the device."""

    status = BAD_REQUEST
