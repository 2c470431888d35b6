"""What is on the device now, as the planner sees it (agent spec 1.9, 2.2, 3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RuntimeStatus(StrEnum):
    """State of a module as it is reported; there are no other values (row R18)."""

    UNKNOWN = "unknown"
    BACKOFF = "backoff"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPED = "stopped"
    FAILED = "failed"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class CurrentModule:
    """One container of ours.

    :param spec_hash: label with :attr:`~edgeagent.model.module.Module.spec_hash`, None where it has none.
    :param status: of the engine alone: running, unhealthy, stopped, failed, dead or unknown.
    :param generation_id: of the identity that it was made with, empty where it does not say.
    :param started_at_ms: UTC since 1970, None when it never ran.
    :param finished_at_ms: UTC since 1970, None when it never ended.
    """

    name: str
    image: str
    status: RuntimeStatus
    spec_hash: str | None = None
    image_id: str = ""
    container_id: str = ""
    exit_code: int = 0
    status_text: str = ""
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    generation_id: str = ""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a module was started again since it last was stable or changed (spec 2.5)."""

    count: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class Failures:
    """Steps of one module that failed in a row, in this deployment (spec 2.6).

    :param in_pull: the last of them was to fetch the image, so the container that is there is untouched.
    """

    count: int
    last_at_ms: int
    text: str = ""
    in_pull: bool = False
