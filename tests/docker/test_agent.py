"""The agent on a real engine: from a file to running modules, and back to them whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from testkit.agent_process import AgentProcess, agent_on, deployment, module
from testkit.docker_engine import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testkit.docker_engine import Dockerd, Registry

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def agent(dockerd: Dockerd, image: str, tmp_path: Path) -> Iterator[AgentProcess]:
    with agent_on(dockerd, tmp_path) as agent:
        yield agent


def _id(agent: AgentProcess, name: str) -> str:
    return str(agent.containers()[name]["Id"])


def _inspect(agent: AgentProcess, name: str) -> Any:
    return agent.dockerd.get(f"/containers/{name}/json")


def _foreign(dockerd: Dockerd, name: str) -> str:
    made = dockerd.call("POST", f"/containers/create?name={name}", b'{"Image": "sensor:1"}')
    identifier = str(json.loads(made)["Id"])
    dockerd.call("POST", f"/containers/{identifier}/start")
    return identifier


def test_p31_three_modules_from_a_file_one_changed_one_gone_and_strangers_untouched(
    agent: AgentProcess,
) -> None:
    stranger = _foreign(agent.dockerd, "stranger")
    agent.deploy(deployment({"ax": module(), "bx": module(), "cx": module()}))
    agent.start()
    agent.until_running("ax", "bx", "cx")
    before = {name: _id(agent, name) for name in ("ax", "bx")}
    agent.deploy(deployment({"ax": module(), "bx": module(env={"X": {"value": "1"}})}))
    agent.until_running("ax", "bx")
    agent.until(lambda: _id(agent, "bx") != before["bx"])
    assert _id(agent, "ax") == before["ax"]
    assert "X=1" in _inspect(agent, "bx")["Config"]["Env"]
    assert agent.stop() == 0
    assert agent.running() == set()
    assert agent.dockerd.get(f"/containers/{stranger}/json")["State"]["Running"]
    agent.start()
    agent.until_running("ax", "bx")
    assert _id(agent, "ax") == before["ax"]


def test_c01_c03_c08_what_a_container_is_made_of(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module()}))
    agent.start()
    agent.until_running("ax")
    made = _inspect(agent, "ax")
    environment = dict(entry.split("=", 1) for entry in made["Config"]["Env"])
    assert environment["IOTEDGE_MODULEID"] == "ax"
    assert environment["IOTEDGE_GATEWAYHOSTNAME"] == "gw"
    assert environment["IOTEDGE_WORKLOADURI"] == "unix:///var/run/iotedge/workload.sock"
    assert environment["IOTEDGE_MODULEGENERATIONID"]
    assert made["Config"]["Labels"]["net.azure-devices.edge.original-image"] == "sensor:1"
    assert f"{agent.home}/mnt/ax:/var/run/iotedge" in made["HostConfig"]["Binds"]
    assert list(made["NetworkSettings"]["Networks"]) == ["azure-iot-edge"]


def test_p06_stopped_and_started_without_another_container(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module(), "bx": module()}))
    agent.start()
    agent.until_running("ax", "bx")
    before = _id(agent, "ax")
    agent.deploy(deployment({"ax": module(status="stopped"), "bx": module()}))
    agent.until_running("bx")
    agent.deploy(deployment({"ax": module(), "bx": module()}))
    agent.until_running("ax", "bx")
    assert _id(agent, "ax") == before


def test_p18_p22_a_killed_module_is_back_at_once(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module()}))
    agent.start()
    agent.until_running("ax")
    before = _inspect(agent, "ax")["State"]["StartedAt"]
    agent.dockerd.call("POST", "/containers/ax/kill")
    agent.until(lambda: _inspect(agent, "ax")["State"]["StartedAt"] != before and agent.running() == {"ax"})
    assert agent.log.read_text().count("ax: stop, restart") == 1


def test_p19_to_p22_crash_loops_under_each_policy(dockerd: Dockerd, image: str, tmp_path: Path) -> None:
    dockerd.add_image("failing:1", "f", "exit 3")
    dockerd.add_image("ending:1", "e", "exit 0")
    policies = ("always", "on-failure", "on-unhealthy", "never")
    modules = {f"f-{policy}": module("failing:1", restartPolicy=policy) for policy in policies}
    modules |= {f"e-{policy}": module("ending:1", restartPolicy=policy) for policy in policies}
    with agent_on(dockerd, tmp_path, CoolOffTimeUnitInSeconds="1") as agent:
        agent.deploy(deployment(modules))
        agent.start()
        for name in ("f-always", "f-on-failure", "f-on-unhealthy", "e-always"):
            agent.until_logged(f"{name}: stop, restart", 3)
        log = agent.log.read_text()
        for name in ("f-never", "e-never", "e-on-failure", "e-on-unhealthy"):
            assert f"{name}: stop, restart" not in log, name
            assert log.count(f"{name}: create") == 1, name


def test_p09_modules_start_in_their_order(agent: AgentProcess) -> None:
    modules = {name: module(startupOrder=order) for name, order in (("cx", 1), ("bx", 2), ("ax", 3))}
    agent.deploy(deployment(modules))
    agent.start()
    agent.until_running("ax", "bx", "cx")
    started = sorted(("ax", "bx", "cx"), key=lambda name: _inspect(agent, name)["State"]["StartedAt"])
    assert started == ["cx", "bx", "ax"]


def test_p12_p13_wait_for_all_pulls(dockerd: Dockerd, image: str, registry: Registry, tmp_path: Path) -> None:
    here = dockerd.push("sensor:1", registry, "sensor:1")
    missing = f"{registry.address}/nothing:1"
    with agent_on(
        dockerd, tmp_path, ModuleUpdateMode="WaitForAllPulls", CoolOffTimeUnitInSeconds="1"
    ) as agent:
        agent.deploy(deployment({"ax": module()}))
        agent.start()
        agent.until_running("ax")
        before = _id(agent, "ax")
        pulled = module(here, imagePullPolicy="on-create")
        agent.deploy(deployment({"ax": pulled, "bx": module(missing, imagePullPolicy="on-create")}))
        agent.until_logged("bx: cannot pull", 2)
        assert _id(agent, "ax") == before
        dockerd.call("POST", "/containers/ax/kill")
        agent.until_logged("ax: stop, restart")
        agent.until_running("ax")
        agent.deploy(deployment({"ax": pulled}))
        agent.until(lambda: agent.running() == {"ax"} and _id(agent, "ax") != before)


def test_c13_private_registry_with_wrong_and_right_password(
    dockerd: Dockerd, image: str, secured_registry: Registry, tmp_path: Path
) -> None:
    reference = dockerd.push("sensor:1", secured_registry, "private:1")

    def with_password(password: str) -> dict[str, Any]:
        account = {"address": secured_registry.address, "username": USER, "password": password}
        wanted = {"ax": module(reference, imagePullPolicy="on-create"), "bx": module()}
        return deployment(wanted, registryCredentials={"r": account})

    with agent_on(dockerd, tmp_path) as agent:
        agent.deploy(with_password("wrong-7731"))
        agent.start()
        agent.until_logged("ax: cannot pull")
        agent.until_running("bx")
        agent.deploy(with_password(PASSWORD))
        agent.until_running("ax", "bx")
        log = agent.log.read_text()
        assert "7731" not in log
        assert PASSWORD not in log


def test_r03_a_bad_file_changes_nothing(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module()}))
    agent.start()
    agent.until_running("ax")
    before = _id(agent, "ax")
    agent.deploy('{"schemaVersion": "1.1", ')
    agent.until_logged("not JSON")
    agent.deploy({**deployment({}), "runtime": None})
    agent.until_logged("is not used")
    agent.dockerd.call("POST", "/containers/ax/kill")
    agent.until_logged("ax: stop, restart")
    agent.until_running("ax")
    assert _id(agent, "ax") == before


def test_o06_a_start_without_the_file_uses_the_last_good_deployment(agent: AgentProcess) -> None:
    secret = {"address": "reg.example.net", "username": "u", "password": "pass-7731"}
    agent.deploy(deployment({"ax": module()}, registryCredentials={"r": secret}))
    agent.start()
    agent.until_running("ax")
    agent.until((agent.home / "state" / "backup.json").exists)
    assert agent.stop() == 0
    agent.manifest.unlink()
    agent.start()
    agent.until_running("ax")
    kept = [path for path in agent.home.rglob("*") if path.is_file()]
    assert kept
    assert all(b"pass-7731" not in path.read_bytes() for path in kept)


def test_a_container_that_somebody_removed_comes_back(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module()}))
    agent.start()
    agent.until_running("ax")
    before = _id(agent, "ax")
    agent.dockerd.call("DELETE", "/containers/ax?force=true")
    agent.until(lambda: agent.running() == {"ax"} and _id(agent, "ax") != before)


def test_a_stranger_with_the_name_of_a_module_is_left_alone(agent: AgentProcess) -> None:
    stranger = _foreign(agent.dockerd, "ax")
    agent.deploy(deployment({"ax": module(), "bx": module()}))
    agent.start()
    agent.until_running("bx")
    agent.until_logged("ax: cannot create")
    assert agent.dockerd.get(f"/containers/{stranger}/json")["State"]["Running"]


def test_the_engine_is_restarted(agent: AgentProcess) -> None:
    agent.deploy(deployment({"ax": module(), "bx": module(restartPolicy="on-unhealthy")}))
    agent.start()
    agent.until_running("ax", "bx")
    agent.dockerd.stop()
    agent.until_logged("the container engine does not answer")
    agent.dockerd.start()
    agent.until_running("ax", "bx")
    assert sorted(agent.containers()) == ["ax", "bx"]


def test_modules_may_stay_when_the_agent_ends(dockerd: Dockerd, image: str, tmp_path: Path) -> None:
    with agent_on(dockerd, tmp_path, StopModulesOnShutdown="false") as agent:
        agent.deploy(deployment({"ax": module()}))
        agent.start()
        agent.until_running("ax")
        started = _inspect(agent, "ax")["State"]["StartedAt"]
        assert agent.stop() == 0
        assert agent.running() == {"ax"}
        agent.start()
        agent.until_logged("is in force", 2)
        time.sleep(1)
        assert _inspect(agent, "ax")["State"]["StartedAt"] == started


FIRST = {"ax": module(), "bx": module(), "cx": module()}
SECOND = {"ax": module(env={"X": {"value": "1"}}), "cx": module(status="stopped"), "dx": module()}
FIRST_STEPS = 6
"""Three times create and start."""
SECOND_STEPS = 9
"""ax: stop, remove, create, start; b: stop, remove; c: stop; d: create, start."""


@pytest.mark.parametrize("steps", range(1, FIRST_STEPS + 1))
def test_killed_after_any_step_of_a_first_deployment(agent: AgentProcess, steps: int) -> None:
    agent.deploy(deployment(FIRST))
    agent.start("-m", "testkit.dying_agent", str(steps))
    assert agent.wait() == -signal.SIGKILL
    agent.start()
    agent.until_running("ax", "bx", "cx")
    assert sorted(agent.containers()) == ["ax", "bx", "cx"]


@pytest.mark.parametrize("steps", range(1, SECOND_STEPS + 1))
def test_killed_after_any_step_of_an_update(dockerd: Dockerd, image: str, tmp_path: Path, steps: int) -> None:
    with agent_on(dockerd, tmp_path, StopModulesOnShutdown="false") as agent:
        agent.deploy(deployment(FIRST))
        agent.start()
        agent.until_running("ax", "bx", "cx")
        assert agent.stop() == 0
        agent.deploy(deployment(SECOND))
        agent.start("-m", "testkit.dying_agent", str(steps))
        assert agent.wait() == -signal.SIGKILL
        agent.start()
        agent.until(
            lambda: agent.running() == {"ax", "dx"} and sorted(agent.containers()) == ["ax", "cx", "dx"]
        )
        assert "X=1" in _inspect(agent, "ax")["Config"]["Env"]


def test_settings_that_cannot_work_end_with_one_line(agent: AgentProcess) -> None:
    agent.deploy(deployment({}))
    agent._environment["MaxRestartCount"] = "many"
    agent.start()
    assert agent.wait() == 1
    assert agent.log.read_text() == (
        'edgeagent: MaxRestartCount="many": expected a whole number from 1 to 1000\n'
    )


def test_w15_a_token_is_signed_inside_a_container_also_while_the_agent_is_away(
    agent: AgentProcess,
) -> None:
    """The socket is in a folder that is mounted, and its server is not the agent."""
    agent.deploy(deployment({"ax": module()}))
    agent.start()
    agent.until_running("ax")
    generation = next(
        entry.split("=")[1]
        for entry in _inspect(agent, "ax")["Config"]["Env"]
        if entry.startswith("IOTEDGE_MODULEGENERATIONID=")
    )
    agent.kill()
    pid = _inspect(agent, "ax")["State"]["Pid"]
    socket = f"/proc/{pid}/root/var/run/iotedge/workload.sock"
    url = f"http://workload/modules/ax/genid/{generation}/sign?api-version=2018-06-28"
    body = '{"keyId":"primary","algo":"HMACSHA256","data":"YQ=="}'
    done = subprocess.run(
        [
            "curl",
            "--silent",
            "--unix-socket",
            socket,
            "--data",
            body,
            "-H",
            "Content-Type: application/json",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["digest"]) == 44
