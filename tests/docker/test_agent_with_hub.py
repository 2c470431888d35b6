"""The agent on a real engine with a real hub: twin, reports, methods, the SDK in a container."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.iot.device
import pytest

from iothub.errors import HubError
from iothub.methods.service import parse_invocation
from testkit.agent_hub import AGENT, HOST, register_edge_device, set_agent_desired, start_hub
from testkit.agent_process import AgentProcess, agent_on, deployment, module
from testkit.iothub_devices import KEY, authority, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from iothub.server import HubServer
    from testkit.docker_engine import Dockerd

pytestmark = pytest.mark.timeout(180)
WAIT_S = 45.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HubServer]:
    made = await start_hub(tmp_path / "hub")
    await register_edge_device(made)
    yield made
    await made.stop()


@pytest.fixture
async def agent(
    dockerd: Dockerd, image: str, server: HubServer, tmp_path: Path
) -> AsyncIterator[AgentProcess]:
    options: tuple[str, ...] = ("--trust-bundle", str(authority(server)))
    options += ("--mqtt-port", str(server.mqtt_port), "--https-port", str(server.https_port))
    place = f"HostName={HOST};DeviceId=e1;SharedAccessKey={KEY}"
    with agent_on(dockerd, tmp_path, options, IotHubConnectionString=place, UpstreamProtocol="Mqtt") as agent:
        yield agent


async def until(agent: AgentProcess, is_so: Callable[[], Any]) -> Any:
    """As `AgentProcess.until`, while the hub in this process goes on."""
    return await asyncio.to_thread(agent.until, is_so)


async def reported(server: HubServer, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Reported properties of the agent, once they are so."""
    view: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                view = (await server.twins.get("e1", AGENT)).device_view()["reported"]
                if "lastDesiredStatus" in view and is_so(view):
                    return view
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not reported: {json.dumps(view)}") from None


async def call(server: HubServer, name: str, payload: Any) -> tuple[int, Any]:
    """A direct method of the agent, once it can be reached."""
    invocation = parse_invocation(json.dumps({"methodName": name, "payload": payload}).encode())
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                answer = await server.amqp.methods.invoke(("e1", AGENT), invocation)
            except HubError:
                await asyncio.sleep(0.2)
                continue
            return answer.status, json.loads(answer.payload or b"null")


async def test_w15_x02_r14_by_twin_with_reports_identities_and_methods(
    agent: AgentProcess, server: HubServer
) -> None:
    secret = {"address": "reg.example.net", "username": "u", "password": "pass-7731"}
    await set_agent_desired(
        server, deployment({"ax": module(), "bx": module()}, registryCredentials={"r": secret})
    )
    agent.start()
    await until(agent, lambda: agent.running() == {"ax", "bx"})
    view = await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 200)
    assert view["lastDesiredVersion"] == 2
    assert view["modules"]["ax"]["runtimeStatus"] == "running"
    assert view["modules"]["ax"]["settings"]["imageHash"].startswith("sha256:")
    assert "7731" not in json.dumps(view)
    identity = await server.registry.module("e1", "ax")
    assert identity is not None
    made = agent.dockerd.get("/containers/ax/json")["Config"]["Env"]
    assert f"IOTEDGE_MODULEGENERATIONID={identity.generation_id}" in made

    assert await call(server, "PING", None) == (200, None)
    logs = {"schemaVersion": "1.0", "items": {"id": "ax"}}
    assert (await call(server, "GetModuleLogs", logs))[0] == 200
    before = agent.dockerd.get("/containers/ax/json")["State"]["StartedAt"]
    assert await call(server, "RestartModule", {"schemaVersion": "1.0", "id": "ax"}) == (200, None)
    assert agent.dockerd.get("/containers/ax/json")["State"]["StartedAt"] != before

    await set_agent_desired(server, {"modules": {"bx": None}})
    await until(agent, lambda: agent.running() == {"ax"})
    view = await reported(server, lambda it: "bx" not in it["modules"])
    await until_gone(server, "bx")
    assert await asyncio.to_thread(agent.stop) == 0
    view = await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 406)
    assert view["lastDesiredStatus"]["description"] == "Agent is not running"
    assert view["modules"]["ax"]["runtimeStatus"] == "unknown"


async def until_gone(server: HubServer, module_id: str) -> None:
    """Waits for the end of an identity."""
    async with asyncio.timeout(WAIT_S):
        while await server.registry.module("e1", module_id) is not None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)


async def test_r03_to_r05_what_is_reported_of_bad_deployments(agent: AgentProcess, server: HubServer) -> None:
    agent.start()
    await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 417)
    await set_agent_desired(server, deployment({"ax": module()}))
    await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 200)
    await set_agent_desired(server, {"schemaVersion": "2.0"})
    view = await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 412)
    assert view["lastDesiredVersion"] == 2
    await set_agent_desired(server, {"schemaVersion": "1.1", "modules": {"bx": {"type": "docker"}}})
    view = await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 400)
    assert view["lastDesiredStatus"]["description"].startswith("Agent configuration format is invalid.")
    assert agent.running() == {"ax"}
    await set_agent_desired(server, {"modules": {"bx": module("missing:1")}})
    view = await reported(server, lambda it: it["lastDesiredStatus"]["code"] == 500)
    assert view["lastDesiredVersion"] == 5
    assert "bx: cannot create" in view["lastDesiredStatus"]["description"]


async def test_o06_o10_without_a_hub_the_last_deployment_runs_and_crashes_are_mended(
    dockerd: Dockerd, image: str, tmp_path: Path
) -> None:
    server = await start_hub(tmp_path / "hub")
    await register_edge_device(server)
    await set_agent_desired(server, deployment({"ax": module()}))
    trust = tmp_path / "trust.pem"
    shutil.copy(authority(server), trust)
    options: tuple[str, ...] = ("--trust-bundle", str(trust), "--mqtt-port", str(server.mqtt_port))
    options += ("--https-port", str(server.https_port))
    place = f"HostName={HOST};DeviceId=e1;SharedAccessKey={KEY}"
    with agent_on(dockerd, tmp_path, options, IotHubConnectionString=place, UpstreamProtocol="Mqtt") as agent:
        agent.start()
        await until(agent, lambda: agent.running() == {"ax"})
        await until(agent, (agent.home / "state" / "backup.json").exists)
        await asyncio.to_thread(agent.stop)
        await server.stop()
        agent.start()
        await until(agent, lambda: agent.running() == {"ax"})
        dockerd.call("POST", "/containers/ax/kill")
        await asyncio.to_thread(agent.until_logged, "ax: stop, restart")
        await until(agent, lambda: agent.running() == {"ax"})
        dockerd.call("DELETE", "/containers/ax?force=true")
        await until(agent, lambda: agent.running() == {"ax"})


PROGRAM = """
from azure.iot.device import IoTHubModuleClient, Message
client = IoTHubModuleClient.create_from_edge_environment()
client.connect()
client.send_message(Message("from inside"))
client.shutdown()
"""


def _python_binds(folder: Path) -> list[str]:
    """This Python with the SDK, for a container that has none."""
    packages = Path(azure.iot.device.__file__).parents[3]
    system = [path for path in ("/usr", "/lib", "/lib64") if Path(path).exists()]
    wanted = dict.fromkeys([*system, sys.base_prefix, sys.prefix, str(packages)])
    inner = [
        path for path in wanted if not any(path != other and path.startswith(f"{other}/") for other in wanted)
    ]
    return [f"{path}:{path}:ro" for path in inner] + [f"{folder}:/program:ro"]


async def test_w15_the_sdk_in_a_container_finds_its_way_from_its_environment(
    dockerd: Dockerd, image: str, tmp_path: Path
) -> None:
    """The unmodified Python SDK inside a module. The gateway of this device is the hub itself here."""
    from testkit import iothub_devices

    async with iothub_devices.serving(tmp_path / "hub") as server:
        await register_edge_device(server)
        (tmp_path / "program").mkdir()
        (tmp_path / "program" / "send.py").write_text(PROGRAM)
        shutil.copy(authority(server), tmp_path / "trust.pem")
        packages = Path(azure.iot.device.__file__).parents[3]
        options = {
            "HostConfig": {"Binds": _python_binds(tmp_path / "program"), "NetworkMode": "host"},
            "Entrypoint": [sys.executable, "/program/send.py"],
            "Env": [f"PYTHONPATH={packages}"],
        }
        sender = {
            **module(restartPolicy="never"),
            "settings": {"image": "sensor:1", "createOptions": options},
        }
        await set_agent_desired(server, deployment({"sender": sender}))
        place = f"HostName={iothub_devices.HOST};DeviceId=e1;SharedAccessKey={KEY}"
        trust = ("--trust-bundle", str(tmp_path / "trust.pem"))
        with agent_on(
            dockerd,
            tmp_path,
            trust,
            IotHubConnectionString=place,
            UpstreamProtocol="Mqtt",
            EdgeDeviceHostName=iothub_devices.HOST,
        ) as agent:
            agent.start()
            (event,) = await events(server, 1)
            assert (event.origin.device_id, event.origin.module_id) == ("e1", "sender")
            assert event.body == b"from inside"
            await reported(server, lambda it: it["modules"]["sender"]["runtimeStatus"] == "stopped")
