"""The hub as a process of its own, without a parent hub: identities and routes from files."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgehub.protocol.sas import build_token, device_audience
from testkit.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

HUB_HOST = "hub.test"
EDGE = "edge1"
KEY = base64.b64encode(bytes(range(32))).decode()
START_WAIT_S = 30.0


def token(identity: str, *, key: str = KEY, expires_in_s: float = 3600) -> str:
    """A SAS token of `device` or `device/module` as an SDK makes it."""
    device, _, module = identity.partition("/")
    audience = device_audience(HUB_HOST, device, module or None)
    return build_token(audience, int(time.time() + expires_in_s), key=key)


def username(identity: str) -> str:
    """User name as an SDK makes it."""
    return f"{HUB_HOST}/{identity}/?api-version=2021-04-12&DeviceClientType=test"


def _authentication() -> dict[str, Any]:
    return {"type": "sas", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}, "x509Thumbprint": None}


def identities(devices: list[str], modules: list[str]) -> dict[str, Any]:
    """The answer of the scope API for this edge device."""
    scope = f"ms-azure-iot-edge://{EDGE}-1"

    def device(name: str) -> dict[str, Any]:
        return {
            "deviceId": name, "generationId": "1", "status": "enabled", "authentication": _authentication(),
            "capabilities": {"iotEdge": name == EDGE}, "deviceScope": scope, "parentScopes": [],
        }  # fmt: skip

    def module(name: str) -> dict[str, Any]:
        return {"moduleId": name, "deviceId": EDGE, "generationId": "1", "authentication": _authentication()}

    return {
        "devices": [device(name) for name in (EDGE, *devices)],
        "modules": [module(name) for name in ("$edgeHub", *modules)],
        "continuationLink": None,
    }


class HubProcess:
    """A running hub. Use as a context manager; `kill` and `start` again to see it recover."""

    def __init__(
        self,
        folder: Path,
        *,
        devices: list[str],
        modules: list[str],
        routes: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._log = folder / "hub.log"
        (folder / "store").mkdir(exist_ok=True)
        (folder / "identities.json").write_text(json.dumps(identities(devices, modules)))
        desired = {
            "schemaVersion": "1.1",
            "routes": dict(routes),
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
        }
        (folder / "routes.json").write_text(json.dumps(desired))
        self._settings = {
            "IOTEDGE_IOTHUBHOSTNAME": HUB_HOST,
            "IOTEDGE_DEVICEID": EDGE,
            "IOTEDGE_MODULEID": "$edgeHub",
            "RoutesFile": str(folder / "routes.json"),
            "IdentitiesFile": str(folder / "identities.json"),
            "StorageFolder": str(folder / "store"),
            "mqttSettings__host": "127.0.0.1",
            "mqttSettings__port": "0",
            "mqttSettings__plain_port": "0",
            "httpSettings__enabled": "false",
            "httpSettings__metrics_port": "0",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.plain_port = self.tls_port = self.https_port = self.metrics_port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running hub."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the hub and waits until it serves."""
        paths = [str(Path(__file__).resolve().parents[2] / "python"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, **self._settings, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        start_at = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "edgehub"]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_WAIT_S
        while not self._ready(start_at):
            assert self._process.poll() is None, f"the hub ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"the hub does not get ready:\n{self.log()}"
            time.sleep(0.05)

    def _ready(self, start_at: int) -> bool:
        text = self._log.read_bytes()[start_at:].decode()
        ports = {
            "metrics_port": r"Metrics and health on port (\d+)",
            "tls_port": r"listening on port (\d+) \(TLS\)",
            "https_port": r"HTTP head is listening on port (\d+)",
            "plain_port": r"listening on 127\.0\.0\.1:(\d+) without TLS",
        }
        for name, pattern in ports.items():
            if found := re.search(pattern, text):
                setattr(self, name, int(found[1]))
        return bool(self.metrics_port and "Edge hub is ready" in text and self._healthy())

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def kill(self) -> None:
        """Ends the hub without any chance to finish."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ends the hub as a supervisor does; its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(START_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log(self) -> str:
        """Everything the hub printed."""
        return self._log.read_text()

    def metrics(self) -> str:
        """The metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            return bytes(answer.read()).decode()

    def client(self, identity: str, *, clean: bool = True) -> WireClient:
        """An accepted client over the plain listener."""
        client = WireClient(self.plain_port)
        assert client.connect(identity, username(identity), token(identity), clean=clean) == 0
        return client
