"""The twin of `$edgeAgent` as a device sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeagent.link.errors import TopicError
from edgeagent.link.topics import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Twin:
    """Both halves, without `$version` and `$metadata`.

    :ivar version: of the desired properties.
    """

    version: int
    desired: Mapping[str, Any]
    reported: Mapping[str, Any]


def read_twin(payload: bytes) -> Twin:
    """The body of an answer to a read.

    :raises TopicError: not a twin.
    """
    body = read_object(payload, "the twin")
    desired, reported = body.get("desired"), body.get("reported", {})
    if not isinstance(desired, dict) or not isinstance(reported, dict):
        raise TopicError("the twin has no desired and reported properties")
    version = desired.get("$version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise TopicError("the desired properties of the twin have no $version")
    return Twin(version, _content(desired), _content(reported))


def _content(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if not name.startswith("$")}
