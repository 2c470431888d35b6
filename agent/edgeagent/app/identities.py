"""Identities of modules on a device without a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeagent.model.current import CurrentModule
    from edgeagent.model.module import Deployment


class LocalIdentities:
    """Every module may run; the workload service makes up the generations."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()

    def known(self) -> frozenset[str]:
        return self._known

    def want(self, deployment: Deployment, current: Mapping[str, CurrentModule]) -> None:
        self._known = frozenset(module.identity for module in deployment.modules.values())

    def generation_id(self, module_id: str) -> str | None:
        return None
