"""What happens to containers of ours, as the engine tells it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine, filters
from edgeagent.runtime.errors import EngineUnreachable
from edgeagent.runtime.json_stream import JsonStream

ACTIONS = (
    *("create", "start", "restart", "die", "oom", "stop", "destroy"),
    *("pause", "unpause", "rename", "update", "health_status"),
)
"""Those that change a state. Left out is what a health check does every few seconds."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container.

    :param action: one of :data:`ACTIONS`.
    :param name: of the container, which is the module's.
    :param detail: behind the action, such as `unhealthy`.
    :param exit_code: of `die`, None otherwise.
    """

    action: str
    name: str
    container_id: str
    detail: str = ""
    exit_code: int | None = None
    time_ms: int = 0


@contextlib.asynccontextmanager
async def watch_events(engine: Engine) -> AsyncIterator[AsyncIterator[ContainerEvent]]:
    """Events of containers of ours from now on.

    When the context is entered the engine listens: list the containers then, and nothing is missed.

    :raises EngineUnreachable: when the stream ends, for whatever reason. It never ends in another way.
    """
    wanted = filters(type=["container"], label=[labels.OURS], event=list(ACTIONS))
    async with engine.stream("GET", "/events", {"filters": wanted}) as pieces:
        yield _events(engine, pieces)


async def _events(engine: Engine, pieces: AsyncIterator[bytes]) -> AsyncIterator[ContainerEvent]:
    objects = JsonStream()
    async for piece in pieces:
        for message in objects.feed(piece):
            event = parse_event(message)
            if event is not None:
                yield event
    raise EngineUnreachable(engine.address, "the stream of events ended")


def parse_event(message: Mapping[str, Any]) -> ContainerEvent | None:
    """None for what is not about a container."""
    actor = message.get("Actor")
    action = message.get("Action")
    if message.get("Type") != "container" or not isinstance(actor, Mapping) or not isinstance(action, str):
        return None
    attributes = actor.get("Attributes")
    given = attributes if isinstance(attributes, Mapping) else {}
    verb, _, detail = action.partition(":")
    time_ns = message.get("timeNano")
    return ContainerEvent(
        action=verb,
        name=str(given.get("name", "")),
        container_id=str(actor.get("ID", "")),
        detail=detail.strip(),
        exit_code=_exit_code(given.get("exitCode")),
        time_ms=time_ns // 1_000_000 if isinstance(time_ns, int) else 0,
    )


def _exit_code(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 10 else None
