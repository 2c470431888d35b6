"""What can go wrong between the agent and its upstream hub."""

from __future__ import annotations

from edgeagent.errors import AgentError


class LinkError(AgentError):
    """Root of the errors of the link."""


class LinkSettingsError(LinkError):
    """A setting of the link cannot work; the text says which and what would."""


class LinkDownError(LinkError):
    """There is no connection, or it ended before the answer."""


class LinkTimeoutError(LinkError):
    """The hub did not answer in time."""


class LinkBusyError(LinkError):
    """Too many requests wait for an answer already."""


class RequestRefusedError(LinkError):
    """The hub answered with an error.

    :ivar status: of HTTP; 429 and 5xx may pass.
    """

    def __init__(self, what: str, status: int, detail: str = "") -> None:
        super().__init__(f"the hub refused {what} with {status}" + (f": {detail}" if detail else ""))
        self.status = status


class ConnectError(LinkError):
    """No connection came about.

    :ivar refused: the hub is there, but does not take our credentials (row O09).
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class TopicError(LinkError):
    """A topic or a body from the hub that means nothing to us."""
