"""Which modules are on the engine, and in which state (agent spec 2.2, 3.7)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine, filters, part
from edgeagent.runtime.errors import EngineAnswerError, EngineError
from edgeagent.runtime.state import current_module

FULL_EVERY = 12
"""Every so many listings each container is inspected, whatever the events said."""
CONTAINERS_MAX = 1000
"""Containers of ours on one engine; more are an error, as something makes them without end."""

_STATE_NOTE = re.compile(r"\((?P<note>[^)]*)\)")
_SERVER_ERROR = 500


class ModuleLister:
    """The modules on the engine, with as few questions as will do.

    An engine takes a millisecond or two for each inspection, and the list is wanted every few seconds. A
    container is inspected again only when its row in the list changed, an event named it, or every
    :data:`FULL_EVERY` listings. Give it all events (:meth:`touch`), and tell it of a gap in them
    (:meth:`touch_all`).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[Any, CurrentModule]] = {}
        self._listings = 0
        self._touches = 0
        self._listing = asyncio.Lock()

    def touch(self, container_id: str) -> None:
        """Something happened to it."""
        self._touches += 1
        self._known.pop(container_id, None)

    def touch_all(self) -> None:
        """Nothing that is known may be relied on."""
        self._touches += 1
        self._known.clear()

    async def current(self) -> dict[str, CurrentModule]:
        """All containers of ours by name, those that vanish meanwhile left out.

        :raises EngineUnreachable: no engine.
        """
        async with self._listing:
            if self._listings % FULL_EVERY == 0:
                self._known.clear()
            self._listings += 1
            rows = await self._rows()
            known = self._known
            self._known = {row["Id"]: known[row["Id"]] for row in rows if _is_known(row, known)}
            modules = [await self._module(row) for row in rows]
            return {module.name: module for module in modules if module is not None}

    async def _rows(self) -> list[dict[str, Any]]:
        wanted = filters(label=[labels.OURS])
        rows = await self._engine.rows("/containers/json", {"all": True, "limit": 0, "filters": wanted})
        if len(rows) > CONTAINERS_MAX:
            raise EngineAnswerError(
                f"{len(rows)} containers have this agent's label; at most {CONTAINERS_MAX} are handled"
            )
        return [row for row in rows if isinstance(row.get("Id"), str)]

    async def _module(self, row: Mapping[str, Any]) -> CurrentModule | None:
        container_id = row["Id"]
        if container_id in self._known:
            return self._known[container_id][1]
        touches = self._touches
        try:
            details = await self._engine.get(f"/containers/{part(container_id)}/json")
        except EngineError as fault:
            return None if fault.status < _SERVER_ERROR else _unknown(row, fault.message)
        if not isinstance(details, dict) or details.get("Id") != container_id:
            return _unknown(row, "the container engine describes it by something else")
        module = current_module(details)
        # An event that came during the question makes the answer old.
        if touches == self._touches:
            self._known[container_id] = (_row_key(row), module)
        return module


def _is_known(row: Mapping[str, Any], known: Mapping[str, tuple[Any, CurrentModule]]) -> bool:
    return row["Id"] in known and known[row["Id"]][0] == _row_key(row)


def _row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """All of a row that changes when the state does, without the time that runs on.

    `Status` is such as `Up 2 minutes (healthy)` or `Exited (1) 3 minutes ago`.
    """
    note = _STATE_NOTE.search(str(row.get("Status")))
    return (row.get("State"), note["note"] if note else "", row.get("Names"), row.get("ImageID"))


def _unknown(row: Mapping[str, Any], text: str) -> CurrentModule:
    """A container that the engine lists and cannot describe."""
    names, given = row.get("Names"), row.get("Labels")
    name = names[0] if isinstance(names, list) and names else row["Id"]
    spec_hash = given.get(labels.SPEC_HASH) if isinstance(given, Mapping) else None
    return CurrentModule(
        name=str(name).removeprefix("/"),
        image=str(row.get("Image") or ""),
        status=RuntimeStatus.UNKNOWN,
        spec_hash=spec_hash if isinstance(spec_hash, str) else None,
        container_id=row["Id"],
        status_text=text,
    )
