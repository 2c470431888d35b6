"""The containers that this agent made, and no others (agent spec 3.1, rows C11, C16, C18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeagent.runtime.engine import DEADLINE_S, Engine, part
from edgeagent.runtime.errors import EngineAnswerError, EngineError, ForeignContainerError
from edgeagent.runtime.state import is_ours
from edgeagent.runtime.stats import ContainerStats, parse_stats

STOP_GRACE_S = 10
"""What the engine gives a container to end by itself, where nothing else is said."""
GRACE_S_MAX = 3600


class Containers:
    """What can be done with containers of ours.

    Every act looks first whose container it is, and then goes by its id: a foreign one of the same name is
    never touched, even when it came in between.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Makes a container; its id.

        :param body: from :func:`~edgeagent.runtime.spec.container_body`.
        :raises EngineError: 404 without the image, 409 when the name is taken, 400 for bad create options.
        """
        answer = await self._engine.call("POST", "/containers/create", {"name": name}, body)
        container_id = answer.content.get("Id") if isinstance(answer.content, dict) else None
        if not isinstance(container_id, str) or not container_id:
            raise EngineAnswerError(f"the container engine made {name} and did not say its id")
        return container_id

    async def start(self, name: str) -> None:
        """Starts it; one that runs is left running."""
        details = await self.inspect(name)
        await self._engine.call("POST", _path(details, "start"))

    async def stop(self, name: str, grace_s: int | None = None) -> None:
        """Ends it; one that has ended stays so.

        :param grace_s: until it is killed; None for what the container asks for, else ten seconds.
        """
        details = await self.inspect(name)
        await self._engine.call(
            "POST", _path(details, "stop"), {"t": _grace(grace_s)}, deadline_s=_deadline_s(details, grace_s)
        )

    async def restart(self, name: str, grace_s: int | None = None) -> None:
        """Ends and starts it."""
        details = await self.inspect(name)
        await self._engine.call(
            "POST",
            _path(details, "restart"),
            {"t": _grace(grace_s)},
            deadline_s=_deadline_s(details, grace_s),
        )

    async def rename(self, name: str, new_name: str) -> None:
        """Gives it another name, running or not.

        :raises EngineError: 409 when that name is taken.
        """
        details = await self.inspect(name)
        await self._engine.call("POST", _path(details, "rename"), {"name": new_name})

    async def remove(self, name: str) -> str | None:
        """Takes it away, running or not; its volumes stay, anonymous ones too (row C18).

        :returns: id of its image, None when there was no such container.
        """
        try:
            details = await self.inspect(name)
            await self._remove(details)
        except EngineError as fault:
            if fault.is_missing:
                return None
            raise
        image_id = details.get("Image")
        return image_id if isinstance(image_id, str) else None

    async def _remove(self, details: Mapping[str, Any]) -> None:
        try:
            await self._engine.call("DELETE", _path(details), {"v": False, "force": True, "link": False})
        except EngineError as fault:
            if not fault.is_conflict:
                raise
            # An earlier removal, whose answer was not waited for, still goes on.
            await self._engine.call("POST", _path(details, "wait"), {"condition": "removed"})

    async def inspect(self, name: str) -> Mapping[str, Any]:
        """Everything that the engine knows of it.

        :param name: or id.
        :raises EngineError: 404 when there is none.
        :raises ForeignContainerError: it is not ours.
        """
        details = await self._engine.get(f"/containers/{part(name)}/json")
        if not isinstance(details, dict) or not isinstance(details.get("Id"), str):
            raise EngineAnswerError(f"the container engine did not describe {name} with an object")
        if not is_ours(details):
            raise ForeignContainerError(name)
        return details

    async def process_ids(self, name: str) -> frozenset[int]:
        """Processes in it, by their ids on the host.

        :raises EngineError: 409 when it does not run.
        """
        details = await self.inspect(name)
        answer = await self._engine.get(_path(details, "top"))
        return _process_ids(answer)

    async def stats(self, name: str) -> ContainerStats:
        """What it takes of the machine."""
        details = await self.inspect(name)
        query = {"stream": False, "one-shot": True}
        return parse_stats(await self._engine.get(_path(details, "stats"), query))


def _path(details: Mapping[str, Any], verb: str = "") -> str:
    return f"/containers/{part(details['Id'])}" + (f"/{verb}" if verb else "")


def _grace(grace_s: int | None) -> int | None:
    return None if grace_s is None else min(max(grace_s, 0), GRACE_S_MAX)


def _deadline_s(details: Mapping[str, Any], grace_s: int | None) -> float:
    """The grace and some time: a kill may take long on a busy disk."""
    grace = _grace(grace_s)
    if grace is None:
        config = details.get("Config")
        asked = config.get("StopTimeout") if isinstance(config, Mapping) else None
        grace = _grace(asked) if isinstance(asked, int) else STOP_GRACE_S
    return DEADLINE_S + (grace or 0)


def _process_ids(answer: Any) -> frozenset[int]:
    try:
        column = answer["Titles"].index("PID")
        return frozenset(int(row[column]) for row in answer["Processes"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise EngineAnswerError("the container engine's list of processes has no column PID") from None
