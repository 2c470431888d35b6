"""The workload service as a process of its own, and modules that find it in their environment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.workload.client import WorkloadControl
from testkit.hub_process import HubProcess, identities

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


async def hub_under_agent(
    folder: Path,
    control: WorkloadControl,
    settings: WorkloadSettings,
    module: RegisteredModule,
    gateway_host: str,
) -> HubProcess:
    """A hub whose key, certificate and trust come from the workload API; not started.

    It knows `module`, and routes what that one sends to its output `out` back to its input `in`.

    :param gateway_host: an IP address to listen on with the port that SDKs know.
    """
    own = await control.register("$edgeHub", "637000000000000000")
    variables = module_environment(own, settings, "")
    del variables["IOTEDGE_GATEWAYHOSTNAME"]
    listener = {
        "EDGEDEVICEHOSTNAME": gateway_host,
        "mqttSettings__host": gateway_host,
        "mqttSettings__port": "8883",
    }
    name = module.module_id
    place = f"/modules/{name}"
    routes = {"echo": f"FROM /messages{place}/outputs/out INTO BrokeredEndpoint('{place}/inputs/in')"}
    hub = HubProcess(folder, devices=[], modules=[], routes=routes, settings=variables | listener)
    primary, secondary = await control.module_keys(name, module.generation_id)
    known = identities([], [name])
    known["modules"][1]["authentication"]["symmetricKey"] = {"primaryKey": primary, "secondaryKey": secondary}
    (folder / "identities.json").write_text(json.dumps(known))
    return hub
