"""Which version of the Engine API both sides speak. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgeagent.runtime.errors import EngineAnswerError, EngineVersionError

_FORM = re.compile(r"v?(\d{1,4})\.(\d{1,4})", re.ASCII)


class ApiVersion(NamedTuple):
    """A version of the Engine API; newer ones are greater."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: Any) -> ApiVersion:
        """:raises EngineAnswerError: not of the form `1.41`."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise EngineAnswerError(f"the container engine calls its API version {text!r:.40}; expected 1.41")
        return cls(int(found[1]), int(found[2]))


OLDEST = ApiVersion(1, 41)
"""Of Docker 20.10. What is older lacks single statistics and tells less of health."""
NEWEST = ApiVersion(1, 51)
"""Of Docker 28. A newer engine speaks this one too, unless it says that it does not.

Create options mean what they mean in this version: 1.52, for one, ignores `MacAddress` at the top.
"""


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """What the engine says of itself.

    :param api: the version that is spoken with it.
    :param newest_api: the newest that it speaks.
    """

    api: ApiVersion
    newest_api: ApiVersion
    engine: str = ""
    operating_system: str = ""
    architecture: str = ""
    kernel: str = ""


def agree(answer: Any) -> EngineVersion:
    """The newest version of the API that both sides speak.

    :param answer: of `GET /version`.
    :raises EngineVersionError: there is none.
    :raises EngineAnswerError: not the answer of an engine.
    """
    if not isinstance(answer, Mapping):
        raise EngineAnswerError("the container engine did not answer /version with an object")
    newest = ApiVersion.parse(answer.get("ApiVersion"))
    oldest = ApiVersion.parse(answer.get("MinAPIVersion") or str(newest))
    if newest < OLDEST:
        raise EngineVersionError(
            f"the container engine speaks API {newest} at most; {OLDEST} is needed (Docker 20.10 or newer)"
        )
    if oldest > NEWEST:
        raise EngineVersionError(
            f"the container engine speaks API {oldest} and newer; this agent knows {NEWEST} at most "
            "and needs an update"
        )
    return EngineVersion(
        api=min(newest, NEWEST),
        newest_api=newest,
        engine=_text(answer, "Version"),
        operating_system=_text(answer, "Os"),
        architecture=_text(answer, "Arch"),
        kernel=_text(answer, "KernelVersion"),
    )


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""
