"""The agent replaces the container that it runs in (agent spec 2.8).

It renames its own container, makes the new one under the old name, starts it, and ends. The new agent finds
the renamed container, which is ours and in no deployment, and removes it like any other. Nothing is lost at
any step:

* before the new one is made, or when it does not start, the name is given back;
* killed in between, the engine starts the renamed container again, which gives the name back by itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeagent.errors import AgentError
from edgeagent.executor.ports import StepError
from edgeagent.model.module import EDGE_AGENT
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.engine import part
from edgeagent.runtime.spec import WORKLOAD_FOLDER, ModuleContext, container_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeagent.model.module import Module
    from edgeagent.runtime.engine import Engine

PREVIOUS = f"{EDGE_AGENT}.previous"
"""Name of the old container while the new one comes up."""

KEPT_ENVIRONMENT = ("IotHubConnectionString", "EDGEAGENT_HOME", "EDGEAGENT_ENGINE", "EDGEAGENT_CONFIG")
"""What the agent was told by whoever made its first container, and must be told again."""

_CONTAINER_ID = re.compile(r"/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)\b", re.ASCII)

_log = logging.getLogger(__name__)


def own_container_id(mountinfo: str) -> str | None:
    """Id of the container that this process runs in, None outside of one.

    :param mountinfo: content of `/proc/self/mountinfo`: the engine mounts `/etc/hostname` from a folder that
        has the id in its name.
    """
    found = _CONTAINER_ID.search(mountinfo)
    return found[1] if found else None


def successor_body(details: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """What the new container is made of: the deployment's wishes, and below them what the old one was given
    to reach the engine and its own files. Without a wish the engine keeps it running.

    :param details: the old container, as the engine describes it.
    :param body: from the deployment (:func:`~edgeagent.runtime.spec.container_body`).
    """
    host = dict(body.get("HostConfig") or {})
    host["Binds"] = _binds(details, list(host.get("Binds") or ()))
    host.setdefault("RestartPolicy", {"Name": "always"})
    return {**body, "HostConfig": host, "Env": _environment(details, list(body.get("Env") or ()))}


def _binds(details: Mapping[str, Any], wanted: list[str]) -> list[str]:
    old = (details.get("HostConfig") or {}).get("Binds") or ()
    targets = {_target(bind) for bind in wanted}
    kept = [bind for bind in old if _target(bind) not in targets and _target(bind) != WORKLOAD_FOLDER]
    return [*kept, *wanted]


def _target(bind: str) -> str:
    parts = bind.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _environment(details: Mapping[str, Any], wanted: list[str]) -> list[str]:
    old = (details.get("Config") or {}).get("Env") or ()
    names = {entry.partition("=")[0] for entry in wanted}
    kept = [
        entry
        for entry in old
        if entry.partition("=")[0] in KEPT_ENVIRONMENT and entry.partition("=")[0] not in names
    ]
    return sorted([*kept, *wanted])


class SelfUpdate:
    """:param ends: called when the new agent runs: this one has to end, and leave all modules running."""

    def __init__(self, engine: Engine, own_id: str | None, ends: Callable[[], None]) -> None:
        self._engine = engine
        self._containers = Containers(engine)
        self._own_id = own_id
        self._ends = ends

    async def replace(self, module: Module, context: ModuleContext) -> None:
        """:raises StepError: the old container has its name back, and this agent goes on."""
        details = await self._containers.inspect(EDGE_AGENT)
        if details["Id"] != self._own_id:
            await self._replace_other(module, context, details)
            return
        body = successor_body(details, container_body(module, context))
        await self._rename(details["Id"], PREVIOUS)
        try:
            await self._containers.create(EDGE_AGENT, body)
            await self._containers.start(EDGE_AGENT)
        except AgentError as fault:
            await self._undo(details["Id"])
            raise StepError(f"the new agent does not start: {fault}") from None
        _log.info("the agent %s takes over", module.image)
        self._ends()

    async def _replace_other(
        self, module: Module, context: ModuleContext, details: Mapping[str, Any]
    ) -> None:
        """A container of the agent's name that this agent does not run in."""
        body = successor_body(details, container_body(module, context))
        await self._containers.stop(EDGE_AGENT)
        await self._containers.remove(EDGE_AGENT)
        await self._containers.create(EDGE_AGENT, body)
        await self._containers.start(EDGE_AGENT)

    async def _rename(self, container_id: str, name: str) -> None:
        await self._engine.call("POST", f"/containers/{part(container_id)}/rename", {"name": name})

    async def _undo(self, own_id: str) -> None:
        """Best effort: what fails here is seen in the next round."""
        try:
            details = await self._containers.inspect(EDGE_AGENT)
            if details["Id"] != own_id:
                await self._containers.remove(EDGE_AGENT)
        except AgentError as fault:
            _log.debug("no new agent to remove: %s", fault)
        await self._rename(own_id, EDGE_AGENT)

    async def recover(self) -> bool:
        """At the start: whether this process is the agent that shall run.

        A process in a renamed container gives its name back when there is no other agent, and ends when there
        is one.
        """
        if self._own_id is None:
            return True
        own = await self._engine.get(f"/containers/{part(self._own_id)}/json")
        name = str(own.get("Name", "")).lstrip("/") if isinstance(own, Mapping) else ""
        if name != PREVIOUS:
            return True
        try:
            other = await self._containers.inspect(EDGE_AGENT)
        except AgentError:
            await self._rename(self._own_id, EDGE_AGENT)
            return True
        if not (other.get("State") or {}).get("Running"):
            await self._containers.start(EDGE_AGENT)
        return False
