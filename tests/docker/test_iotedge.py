"""The command `iotedge` against the management API beside a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.checks.container_probe import NAME_PREFIX, ContainerProbe
from edgeagent.checks.ports import ProbeError, ProbeMissing
from edgeagent.checks.service import check_as_json
from edgeagent.checks.situation import CheckOptions
from edgeagent.management.bundle import BundleSources, SupportBundles
from edgeagent.management.docker_view import DockerView
from edgeagent.management.service import ManagementParts, ManagementService
from edgeagent.runtime import labels
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.networks import NetworkSettings, ensure_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edgeagent.runtime.engine import Engine
    from testkit.docker_engine import Dockerd

WAIT_S = 40.0
OURS = {labels.OWNER: labels.OWNER_VALUE}
SECRET = "s3cr3t-of-a-module"
AGENT_PATH = str(Path(__file__).parents[2] / "agent")


async def run(engine: Engine, name: str, image: str, script: str = "sleep 1000", **members: Any) -> None:
    command = ["sh", "-c", f"trap 'exit 143' TERM; {script} & wait $!"]
    body = {"Image": image, "Cmd": command, "Labels": OURS, **members}
    await Containers(engine).create(name, body)
    await Containers(engine).start(name)


@pytest.fixture
def options(tmp_path: Path, dockerd: Dockerd) -> CheckOptions:
    config = tmp_path / "config.toml"
    config.write_text(f'[moby_runtime]\nuri = "{dockerd.address}"\n')
    return CheckOptions(
        config_file=config,
        is_config_chosen=True,
        applied_file=tmp_path / "applied.toml",
        home=tmp_path,
        engine_file=dockerd.folder / "daemon.json",
        time_server="127.0.0.1:1",
        management=f"unix://{tmp_path}/mgmt.sock",
    )


@pytest.fixture
async def address(engine: Engine, options: CheckOptions, tmp_path: Path) -> AsyncIterator[str]:
    """Where the management API is served."""

    async def check(_: str) -> str:
        return await check_as_json(options)

    view = DockerView(engine)
    bundles = SupportBundles(BundleSources(view, check))
    service = ManagementService(tmp_path / "mgmt.sock", ManagementParts(view, bundles))
    await service.start()
    yield options.management
    await service.close()


async def iotedge(address: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code and both outputs of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgeagent.cli.iotedge", *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "IOTEDGE_HOST": address, "PYTHONPATH": AGENT_PATH, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_list_and_restart(engine: Engine, image: str, address: str) -> None:
    await run(engine, "sensor", image)
    await run(engine, "ended", image, "exit 3")
    async with asyncio.timeout(WAIT_S):
        while json.loads((await iotedge(address, "list", "--json"))[1])[0]["status"]["runtimeStatus"] != {
            "status": "failed"
        }:
            pass
    code, out, err = await iotedge(address, "list")
    assert (code, err) == (0, "")
    header, ended, sensor = out.splitlines()
    assert header.split() == ["NAME", "STATUS", "DESCRIPTION", "Config"]
    assert ended.startswith("ended            failed           Failed (3) ")
    assert sensor.startswith("sensor           running          Up ")
    assert sensor.endswith(image)
    before = (await Containers(engine).inspect("sensor"))["State"]["StartedAt"]
    assert await iotedge(address, "restart", "sensor") == (0, "Restarted sensor\n\n", "")
    assert (await Containers(engine).inspect("sensor"))["State"]["StartedAt"] != before
    code, _, err = await iotedge(address, "restart", "none")
    assert code == 1
    assert "No such container: none" in err


async def test_logs(engine: Engine, image: str, address: str) -> None:
    await run(engine, "sensor", image, "echo one; echo two >&2; sleep 1000")
    async with asyncio.timeout(WAIT_S):
        while (await iotedge(address, "logs", "sensor"))[1].count("\n") < 2:
            pass
    code, out, err = await iotedge(address, "logs", "sensor", "--since", "1h")
    assert (code, sorted(out.split()), err) == (0, ["one", "two"], "")
    assert len((await iotedge(address, "logs", "sensor", "--tail", "1"))[1].split()) == 1
    following = asyncio.create_task(iotedge(address, "logs", "sensor", "-f"))
    await asyncio.sleep(0.5)
    assert not following.done()
    await Containers(engine).stop("sensor")
    code, out, _ = await following
    assert (code, sorted(out.split())) == (0, ["one", "two"])


async def test_a_support_bundle_has_no_secret(
    engine: Engine, image: str, address: str, tmp_path: Path
) -> None:
    await run(engine, "sensor", image, "echo hello; sleep 1000", Env=[f"DB_PASSWORD={SECRET}", "PLAIN=seen"])
    await ensure_network(engine, NetworkSettings("azure-iot-edge"))
    file = tmp_path / "b.zip"
    code, out, err = await iotedge(address, "support-bundle", "-o", str(file))
    assert (code, out, err) == (0, f"Making support bundle\nCreated support bundle at {file}\n", "")
    with zipfile.ZipFile(file) as bundle:
        found = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert SECRET not in json.dumps(found)
    assert "PLAIN=seen" in found["inspect/sensor.json"]
    assert "DB_PASSWORD=***" in found["inspect/sensor.json"]
    assert "hello" in found["logs/sensor_log.txt"]
    assert "network/azure-iot-edge.json" in found
    checks = json.loads(found["check.json"])["checks"]
    assert checks["container-engine-uri"]["result"] == "ok"
    assert checks["connect-management-uri"]["result"] == "ok"


async def test_check(engine: Engine, image: str, address: str, options: CheckOptions) -> None:
    await run(engine, "edgeHub", image, HostConfig={"Binds": [f"{options.home}:/tmp"]})
    arguments = ["check", "-c", str(options.config_file), "--home", str(options.home), "--json"]
    arguments += ["--container-engine-config-file", str(options.engine_file), "--ntp-server", "127.0.0.1:1"]
    _, out, err = await iotedge(address, *arguments)
    assert err == ""
    checks = json.loads(out)["checks"]
    assert checks["container-engine-uri"]["additional_info"]["version"]
    assert checks["edge-hub-storage-mounted-from-host"]["result"] == "ok"
    assert checks["container-engine-logrotate"]["result"] == "warning"
    assert checks["connect-management-uri"]["result"] == "ok"
    assert checks["host-connect-iothub-mqtt"]["result"] == "skipped"


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody listens there, for containers in the network of the host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)


def _accept(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


async def test_connections_from_containers(engine: Engine, image: str, dockerd: Dockerd, port: int) -> None:
    probe, host = ContainerProbe(engine), "127.0.0.1"
    await probe.reach("host", image, host, port)
    with pytest.raises(ProbeError, match=r"refused|ended with"):
        await probe.reach("host", image, host, 1)
    with pytest.raises(ProbeError, match=r"refused|ended with"):
        await probe.reach("", image, host, port)
    with pytest.raises(ProbeMissing, match="no network no-such-network yet"):
        await probe.reach("no-such-network", image, host, port)
    with pytest.raises(ProbeError, match="No such image"):
        await ContainerProbe(engine).reach("", "no-such-image:1", host, port)
    assert not [row for row in dockerd.get("/containers/json?all=true") if _is_probe(row)]


async def test_without_modules_nothing_is_tried(engine: Engine) -> None:
    with pytest.raises(ProbeMissing):
        await ContainerProbe(engine).reach("", "", "h", 1)


def _is_probe(row: dict[str, Any]) -> bool:
    return any(name.startswith(f"/{NAME_PREFIX}") for name in row["Names"])
