"""The agent as a process of its own, and what it makes of an engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testkit.docker_engine import Dockerd

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 45.0
OWNER = "net.azure-devices.edge.owner"


def module(image: str = "sensor:1", **fields: Any) -> dict[str, Any]:
    """A module whose image is on the engine."""
    return {
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "imagePullPolicy": "never",
        "settings": {"image": image, "createOptions": "{}"},
        **fields,
    }


def deployment(modules: dict[str, Any], **runtime_settings: Any) -> dict[str, Any]:
    """Desired properties with these modules."""
    return {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": runtime_settings},
        "systemModules": {},
        "modules": modules,
    }


class AgentProcess:
    """`edgeagent run` on one engine, with a home that outlives it.

    :param options: for the command line; by default the deployment comes from a file.
    """

    def __init__(
        self, dockerd: Dockerd, folder: Path, options: tuple[str, ...] | None = None, **environment: str
    ) -> None:
        self.dockerd = dockerd
        self.home = folder / "home"
        self.manifest = folder / "deployment.json"
        self.log = folder / "agent.log"
        self._options = ("--manifest", str(self.manifest)) if options is None else options
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def deploy(self, document: Any) -> None:
        """Puts a deployment in place of the last, as a whole."""
        beside = self.manifest.with_suffix(".new")
        beside.write_text(document if isinstance(document, str) else json.dumps(document))
        beside.rename(self.manifest)

    def start(self, *program: str) -> None:
        """Begins; does not wait.

        :param program: what runs in place of `-m edgeagent`.
        """
        command = [sys.executable, *(program or ("-m", "edgeagent")), "run", *self._options]
        command += ["--home", str(self.home), "--engine", self.dockerd.address]
        command += ["--management-socket", str(self.management_socket)]
        paths = os.pathsep.join(str(ROOT / part) for part in ("agent", "tests", "python"))
        environment = {
            **os.environ,
            "PYTHONPATH": paths,
            "EdgeDeviceHostName": "gw",
            "port": "0",
            **self._environment,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def kill(self) -> None:
        """At once, as a power cut of this process alone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """In order; the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Until it ends by itself."""
        assert self._process is not None
        return self._process.wait(WAIT_S)

    @property
    def management_socket(self) -> Path:
        """Where `iotedge` finds it."""
        return self.home / "mgmt.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _end(self, how: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(WAIT_S)

    def end_workload(self) -> None:
        """Ends the workload service, which outlives the agent."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"edgeagent.workload" in words and f"--home={self.home}".encode() in words:
                    os.kill(int(entry.name), signal.SIGTERM)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Containers of the agent by name, as the engine lists them."""
        rows = self.dockerd.get("/containers/json?all=true")
        return {row["Names"][0].lstrip("/"): row for row in rows if OWNER in row["Labels"]}

    def running(self) -> set[str]:
        """Names of modules that run."""
        return {name for name, row in self.containers().items() if row["State"] == "running"}

    def until(self, is_so: Callable[[], Any], what: str = "") -> Any:
        """Waits; what it waited for.

        :raises AssertionError: with the agent's log.
        """
        ends_s = time.monotonic() + WAIT_S
        while not (found := is_so()):
            if time.monotonic() > ends_s:
                text = self.log.read_text() if self.log.exists() else ""
                raise AssertionError(
                    f"not so after {WAIT_S:g} s {what}; containers {self.containers()}\n{text}"
                )
            time.sleep(0.05)
        return found

    def until_running(self, *names: str) -> None:
        """Waits until these modules run, and no others."""
        self.until(lambda: self.running() == set(names), f"running: {names}")

    def until_logged(self, text: str, times: int = 1) -> None:
        """Waits for a line of the log."""
        self.until(lambda: self.log.read_text().count(text) >= times, text)


@contextlib.contextmanager
def agent_on(
    dockerd: Dockerd, folder: Path, options: tuple[str, ...] | None = None, **environment: str
) -> Iterator[AgentProcess]:
    """An agent that is not started yet; ended in any case."""
    agent = AgentProcess(dockerd, folder, options, **environment)
    try:
        yield agent
    finally:
        agent.kill()
        agent.end_workload()
