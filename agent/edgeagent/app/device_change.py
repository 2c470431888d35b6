"""A device that became another one begins without modules (agent spec 7.8, row X08)."""

from __future__ import annotations

import base64
import hashlib
import logging
from typing import TYPE_CHECKING

from edgeagent.model.canonical import canonical_json
from edgeagent.model.module import EDGE_AGENT
from edgeagent.state.files import read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from edgeagent.app.place import Place
    from edgeagent.executor.ports import ModuleRuntime

FILE = "provisioning_state"

_log = logging.getLogger(__name__)


def digest_of(place: Place) -> bytes:
    """Of everything that makes containers useless when it changes."""
    content = {
        "device_id": place.device_id,
        "gateway_host_name": place.parent_hostname,
        "hub_name": place.hub_hostname,
    }
    return base64.b64encode(hashlib.sha256(canonical_json(content)).digest())


async def remove_modules_of_another_device(folder: Path, place: Place, runtime: ModuleRuntime) -> bool:
    """Removes all modules when the device, its hub or its parent has changed; true when that was so.

    :raises StepError: the engine did not do it; nothing is forgotten, so the next start tries again.
    :raises StateFileError: the disk did not take it.
    """
    path, digest = folder / FILE, digest_of(place)
    before = read_file(path)
    if before == digest:
        return False
    if before is not None:
        _log.warning("this device is another one now: all its modules are removed")
        for name in sorted(await runtime.modules()):
            if name != EDGE_AGENT:
                await runtime.stop(name)
                await runtime.remove(name)
    write_file(path, digest)
    return before is not None
