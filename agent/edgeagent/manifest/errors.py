"""Why a manifest is not used, with the status that the agent reports for it (agent spec 1.8)."""

from __future__ import annotations

from edgeagent.errors import AgentError

STATUS_FORMAT = 400
STATUS_SCHEMA_VERSION = 412
STATUS_EMPTY = 417

FORMAT_TEXT = "Agent configuration format is invalid."
EMPTY_TEXT = "This device has an empty configuration for the edge agent. Please set a deployment manifest."


class ManifestError(AgentError):
    """A deployment that cannot be used.

    :ivar code: what goes into `lastDesiredStatus.code`.
    :ivar description: what goes into `lastDesiredStatus.description`.
    """

    code: int = STATUS_FORMAT

    @property
    def description(self) -> str:
        return str(self)


class ManifestFormatError(ManifestError):
    """Not convertible to a deployment.

    :ivar path: where, such as `modules.sensor.settings.image`.
    """

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text)
        self.path = path

    @property
    def description(self) -> str:
        """The reference's sentence first, which tools look for, then what is wrong and where."""
        return f"{FORMAT_TEXT} {self}"


class SchemaVersionError(ManifestError):
    """A `schemaVersion` that this agent cannot serve."""

    code = STATUS_SCHEMA_VERSION


class EmptyManifestError(ManifestError):
    """The twin has no deployment."""

    code = STATUS_EMPTY

    def __init__(self) -> None:
        super().__init__(EMPTY_TEXT)
