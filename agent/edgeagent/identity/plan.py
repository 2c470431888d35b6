"""Which identities to delete, to make and to give keys: pure (agent spec 2.7, rows X02, X03, X05)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeagent.identity.model import AGENT_ID, SYSTEM_IDS, ModuleIdentity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class IdentityPlan:
    """What to do, in this order: what goes first makes room below the hub's limit of modules.

    :ivar delete: module ids.
    :ivar create: module ids; keys are set once the generation id is known.
    :ivar rekey: identities whose keys at the hub are not those that this device derives.
    """

    delete: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    rekey: tuple[ModuleIdentity, ...] = ()


def plan_identities(
    known: Mapping[str, ModuleIdentity],
    wanted: Collection[str],
    removed: Collection[str],
    ready: Collection[str],
    *,
    clean_orphans: bool = False,
) -> IdentityPlan:
    """Compares.

    :param known: at the hub, by module id.
    :param wanted: module ids of the deployment.
    :param removed: module ids whose containers go with this deployment.
    :param ready: module ids whose keys at the hub are those that this device derives.
    :param clean_orphans: delete those of ours, too, that belong to no module any more
        (`EnableOrphanedIdentityCleanup`).
    """
    delete = [
        identity.module_id
        for identity in known.values()
        if identity.is_ours
        and identity.module_id not in wanted
        and (clean_orphans or identity.module_id in removed)
    ]
    # The hub made the agent's own; only a start of the device sets its keys (row X03).
    others = sorted(module_id for module_id in wanted if module_id != AGENT_ID)
    create = [module_id for module_id in others if module_id not in known]
    rekey = [known[module_id] for module_id in others if module_id in known and module_id not in ready]
    return IdentityPlan(tuple(sorted(delete)), tuple(_system_first(create)), tuple(rekey))


def _system_first(module_ids: Collection[str]) -> list[str]:
    return sorted(module_ids, key=lambda module_id: (module_id not in SYSTEM_IDS, module_id))
