"""The workload service as a process of its own, and modules that find it in their environment."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.workload.client import WorkloadControl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from edgeagent.workload.answers import RegisteredModule
    from edgeagent.workload.settings import WorkloadSettings

ROOT = Path(__file__).resolve().parents[2]
API_VERSION = "2022-08-03"


def import_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets processes that are started import what the tests import."""
    paths = [str(ROOT / "python"), str(ROOT / "agent"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


@asynccontextmanager
async def running_service(settings: WorkloadSettings) -> AsyncIterator[WorkloadControl]:
    """A service that an agent started; whichever process serves at the end is stopped."""
    control = WorkloadControl(settings)
    await control.ensure_running()
    try:
        yield control
    finally:
        await control.stop()


async def kill(control: WorkloadControl) -> int:
    """Ends the service without any chance to finish; the process id that it had."""
    pid = (await control.state()).pid
    os.kill(pid, signal.SIGKILL)
    while _is_alive(pid):  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.01)
    return pid


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def module_environment(
    module: RegisteredModule, settings: WorkloadSettings, gateway_host: str
) -> dict[str, str]:
    """What a container of the module has (agent spec 3.4), with the socket where it is on this machine."""
    return {
        "IOTEDGE_WORKLOADURI": f"unix://{module.folder}/workload.sock",
        "IOTEDGE_AUTHSCHEME": "sasToken",
        "IOTEDGE_MODULEGENERATIONID": module.generation_id,
        "IOTEDGE_IOTHUBHOSTNAME": settings.hub_host,
        "IOTEDGE_DEVICEID": settings.device_id,
        "IOTEDGE_MODULEID": module.module_id,
        "IOTEDGE_APIVERSION": API_VERSION,
        "IOTEDGE_GATEWAYHOSTNAME": gateway_host,
    }
