"""Objects of the management API (agent spec 7.4). Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from edgeagent.runtime import labels

if TYPE_CHECKING:
    from edgeagent.management.host import Host
    from edgeagent.management.ports import HasIdentity
    from edgeagent.model.current import CurrentModule, RuntimeStatus
    from edgeagent.runtime.system import SystemInfo

MANAGED_BY: Final = "iotedge"
_ID: Final = "id"


def module_details(module: CurrentModule, status: RuntimeStatus | None = None) -> dict[str, Any]:
    """One module.

    :param status: after its restart policy, None for the engine's word.
    """
    given = {labels.OWNER: labels.OWNER_VALUE, labels.ORIGINAL_IMAGE: module.image}
    if module.spec_hash:
        given[labels.SPEC_HASH] = module.spec_hash
    settings: dict[str, Any] = {"image": module.image, "createOptions": {"Labels": given}}
    if module.image_id:
        settings["imageHash"] = module.image_id
    return {
        "id": _ID,
        "name": module.name,
        "type": "docker",
        "config": {"settings": settings, "env": []},
        "status": _status(module, status or module.status),
    }


def _status(module: CurrentModule, status: RuntimeStatus) -> dict[str, Any]:
    runtime = {"status": status.value}
    if module.status_text:
        runtime["description"] = module.status_text
    found: dict[str, Any] = {"runtimeStatus": runtime}
    if module.started_at_ms is not None:
        found["startTime"] = _time(module.started_at_ms)
    if module.finished_at_ms is not None:
        found["exitStatus"] = {
            "exitTime": _time(module.finished_at_ms),
            "statusCode": str(module.exit_code),
        }
    return found


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def identity_item(identity: HasIdentity) -> dict[str, str]:
    """One identity (row W24)."""
    return {
        "moduleId": identity.module_id,
        "managedBy": MANAGED_BY,
        "generationId": identity.generation_id,
        "authType": "sas",
    }


def system_info_object(info: SystemInfo, host: Host, version: str, provisioning: str) -> dict[str, Any]:
    """The machine. Of `provisioning` the reference says a constant; this says how it really is."""
    found: dict[str, Any] = {
        "osType": host.kernel,
        "kernel_release": host.kernel_release,
        "kernel_version": host.kernel_version,
        "operating_system": info.operating_system,
        "architecture": info.architecture or host.architecture,
        "cpus": info.processors or host.processors,
        "total_memory": info.memory_bytes,
        "virtualized": "unknown",
        "version": version,
        "server_version": info.server_version,
        "provisioning": {
            "type": provisioning,
            "dynamicReprovisioning": False,
            "alwaysReprovisionOnStartup": False,
        },
    }
    return {name: value for name, value in found.items() if value not in ("", 0)}
