"""What can go wrong at the container engine."""

from __future__ import annotations

from edgeagent.errors import AgentError

MESSAGE_CHARS_MAX = 1000
"""Longer texts of an engine are cut: they end up in the twin."""

_NOT_FOUND = 404
_CONFLICT = 409


class RuntimeFault(AgentError):
    """Root of everything that goes wrong at the container engine."""


class EngineError(RuntimeFault):
    """The engine refused a request.

    :ivar status: HTTP status of the answer.
    :ivar message: the engine's own words.
    :ivar path: path of the request, without version and query.
    """

    def __init__(self, status: int, message: str, path: str) -> None:
        self.status = status
        self.message = shortened(message) or "no reason given"
        self.path = path
        super().__init__(f"{self.message} ({status} for {path})")

    @property
    def is_missing(self) -> bool:
        """No such container, image or network."""
        return self.status == _NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        """The name is taken, or the state does not allow it."""
        return self.status == _CONFLICT


class EngineUnreachable(RuntimeFault):
    """No connection to the engine, or it broke off.

    :ivar address: where it was looked for.
    """

    def __init__(self, address: str, text: str) -> None:
        super().__init__(f"the container engine at {address}: {text}")
        self.address = address


class EngineDeadline(EngineUnreachable):
    """The engine did not answer in time; what was asked may happen all the same."""

    def __init__(self, address: str, path: str, deadline_s: float) -> None:
        super().__init__(address, f"no answer for {path} within {deadline_s:g} s")


class EngineVersionError(RuntimeFault):
    """The engine and the agent have no version of the API in common."""


class EngineAnswerError(RuntimeFault):
    """An answer that is too long or makes no sense."""


class PullError(RuntimeFault):
    """An image could not be fetched.

    :ivar image: which.
    :ivar message: the words of the engine or of the registry.
    """

    def __init__(self, image: str, message: str) -> None:
        self.image = image
        self.message = shortened(message)
        super().__init__(f"cannot pull {image}: {self.message}")


class ForeignContainerError(RuntimeFault):
    """A container of this name exists and is not ours: it is never touched."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the container {name} was not made by this agent and is left alone; "
            "rename it, or remove it, if the module is to run"
        )


class ContainerSpecError(RuntimeFault):
    """Create options that no container can be made of.

    :ivar path: where, such as `sensor.createOptions.HostConfig`.
    """

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path


def shortened(text: str) -> str:
    """At most :data:`MESSAGE_CHARS_MAX` characters of it."""
    text = text.strip()
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[: MESSAGE_CHARS_MAX - 3]}..."
