"""The agent in a container replaces its own container, on a real engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from testkit.agent_process import OWNER, ROOT, WAIT_S, deployment, module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testkit.docker_engine import Dockerd

pytestmark = pytest.mark.timeout(180)
ANY_LABELS = {OWNER: "Microsoft.Azure.Devices.Edge.Agent"}


def python_binds() -> list[str]:
    """This Python with what the agent needs, for containers that have none."""
    packages = Path(aiohttp.__file__).parents[1]
    system = [path for path in ("/usr", "/lib", "/lib64") if Path(path).exists()]
    wanted = dict.fromkeys([*system, sys.base_prefix, sys.prefix, str(packages), str(ROOT / "agent")])
    outer = [path for path in wanted if not any(path.startswith(f"{other}/") for other in wanted)]
    return [f"{path}:{path}:ro" for path in outer]


class Bench:
    """A device whose agent is a container."""

    def __init__(self, dockerd: Dockerd, folder: Path) -> None:
        self.dockerd, self.folder = dockerd, folder
        self.manifest = folder / "deployment.json"
        self.home = folder / "home"
        packages = Path(aiohttp.__file__).parents[1]
        self.command = [
            *(sys.executable, "-m", "edgeagent", "run", "--manifest", str(self.manifest)),
            *("--home", str(self.home), "--engine", dockerd.address),
        ]
        self.environment = [
            f"PYTHONPATH={ROOT / 'agent'}:{packages}",
            "EdgeDeviceHostName=gw",
        ]
        self.binds = [*python_binds(), f"{folder}:{folder}", f"{dockerd.folder}:{dockerd.folder}"]

    def options(self, **more: Any) -> dict[str, Any]:
        """What the agent's container is made of."""
        host = {"Binds": self.binds, "NetworkMode": "host"}
        return {"Entrypoint": self.command, "Env": self.environment, "HostConfig": host, **more}

    def deploy(self, agent: dict[str, Any] | None) -> None:
        """Two modules, and the agent as it shall be."""
        wanted = deployment({"ax": module(), "bx": module()})
        if agent is not None:
            wanted["systemModules"]["edgeAgent"] = {"type": "docker", "settings": agent}
        beside = self.manifest.with_suffix(".new")
        beside.write_text(json.dumps(wanted))
        beside.rename(self.manifest)

    def start_by_hand(self) -> str:
        """As an operator would, with `docker run`; the id of the container."""
        body = {**self.options(), "Image": "sensor:1", "Labels": ANY_LABELS}
        made = self.dockerd.call("POST", "/containers/create?name=edgeAgent", json.dumps(body).encode())
        self.dockerd.call("POST", "/containers/edgeAgent/start")
        return str(json.loads(made)["Id"])

    def names(self) -> dict[str, dict[str, Any]]:
        rows = self.dockerd.get("/containers/json?all=true")
        return {row["Names"][0].lstrip("/"): row for row in rows}

    def running(self) -> set[str]:
        return {name for name, row in self.names().items() if row["State"] == "running"}

    def until(self, is_so: Callable[[], Any]) -> None:
        ends_s = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < ends_s, f"{self.names()}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(
            self.dockerd.call("GET", f"/containers/{name}/logs?stdout=1&stderr=1").decode(errors="replace")
            for name in self.names()
            if name.startswith("edgeAgent")
        )

    def started(self, name: str) -> str:
        return str(self.dockerd.get(f"/containers/{name}/json")["State"]["StartedAt"])


@pytest.fixture
def bench(dockerd: Dockerd, image: str, tmp_path: Path) -> Iterator[Bench]:
    """With the workload service on the device itself, as a unit of its own."""
    bench = Bench(dockerd, tmp_path)
    command = [sys.executable, "-m", "edgeagent.workload", "--home", str(bench.home)]
    service = subprocess.Popen(
        [*command, "--hub-host", "gw", "--device-id", "gw"], env={"PYTHONPATH": str(ROOT / "agent")}
    )
    try:
        bench.until((bench.home / "workload-control.sock").exists)
        yield bench
    finally:
        service.terminate()
        service.wait(WAIT_S)
        # First those that would make others anew.
        for name in bench.names():
            if name.startswith("edgeAgent"):
                dockerd.call("DELETE", f"/containers/{name}?force=true")


def test_p29_x09_another_definition_of_the_agent_takes_over(bench: Bench) -> None:
    bench.deploy(None)
    first = bench.start_by_hand()
    bench.until(lambda: bench.running() == {"edgeAgent", "ax", "bx"})
    started = bench.started("ax")
    bench.dockerd.add_image("agent:2", "two")
    bench.deploy({"image": "agent:2", "createOptions": bench.options()})
    bench.until(lambda: bench.names().get("edgeAgent", {}).get("Image") == "agent:2")
    bench.until(lambda: bench.running() == {"edgeAgent", "ax", "bx"} and len(bench.names()) == 3)
    second = bench.names()["edgeAgent"]["Id"]
    assert second != first
    assert bench.started("ax") == started
    made = bench.dockerd.get("/containers/edgeAgent/json")
    assert made["HostConfig"]["RestartPolicy"]["Name"] == "always"
    time.sleep(3)
    assert bench.names()["edgeAgent"]["Id"] == second


def test_an_agent_that_does_not_start_gives_its_place_back(bench: Bench) -> None:
    bench.deploy(None)
    first = bench.start_by_hand()
    bench.until(lambda: bench.running() == {"edgeAgent", "ax", "bx"})
    bench.dockerd.add_image("agent:3", "three")
    broken = bench.options(Entrypoint=["/no/such/program"])
    bench.deploy({"image": "agent:3", "createOptions": broken})
    bench.until(lambda: "the new agent does not start" in bench.logs())
    bench.until(lambda: bench.names().get("edgeAgent", {}).get("Id") == first)
    bench.dockerd.call("POST", "/containers/ax/kill")
    bench.until(lambda: bench.running() == {"edgeAgent", "ax", "bx"})
