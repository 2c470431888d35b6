"""A device with three modules."""

from __future__ import annotations

from typing import Any

from edgeagent.model.current import CurrentModule, Restarts, RuntimeStatus
from edgeagent.model.module import (
    Deployment,
    DesiredStatus,
    Module,
    RegistryCredentials,
    RestartPolicy,
    RuntimeInfo,
)
from edgeagent.report.outcome import SUCCESS
from edgeagent.report.snapshot import BuildInfo, Platform, Snapshot

PLATFORM = Platform("linux", "aarch64", "1.6.0")
BUILD = BuildInfo("1.6.0", "20260801.1", "55353a64")
AT_MS = 1_785_578_400_000
"""2026-08-01T10:00:00Z"""


def container(name: str, status: RuntimeStatus = RuntimeStatus.RUNNING, **more: Any) -> CurrentModule:
    return CurrentModule(
        name, f"reg.example.net/{name}:1", status, image_id="sha256:1", started_at_ms=AT_MS, **more
    )


AGENT = Module(
    "edgeAgent", "reg.example.net/edgeAgent:1", restart_policy=RestartPolicy.ALWAYS, startup_order=0
)
HUB = Module(
    "edgeHub",
    "reg.example.net/edgeHub:1",
    restart_policy=RestartPolicy.ALWAYS,
    create_options={"HostConfig": {"PortBindings": {"443/tcp": [{"HostPort": "443"}]}}},
    env={"OptimizeForPerformance": "false"},
)
SENSOR = Module("sensor", "reg.example.net/sensor:1", version="1.0", startup_order=2)
RUNTIME = RuntimeInfo("v1.25", "", {"acr1": RegistryCredentials("reg.example.net", "u", "geheim")})


def deployment(*more: Module) -> Deployment:
    modules = (AGENT, HUB, SENSOR, *more)
    return Deployment({module.name: module for module in modules}, RUNTIME)


def snapshot(**more: Any) -> Snapshot:
    """Everything runs but the sensor, which waits for its second restart."""
    arguments: dict[str, Any] = {
        "platform": PLATFORM,
        "build": BUILD,
        "version": 11,
        "outcome": SUCCESS,
        "deployment": deployment(),
        "current": {
            "edgeAgent": container("edgeAgent"),
            "edgeHub": container("edgeHub"),
            "sensor": container("sensor", RuntimeStatus.FAILED, exit_code=137, finished_at_ms=AT_MS + 1_500),
        },
        "restarts": {"sensor": Restarts(2, AT_MS)},
        "statuses": {"sensor": RuntimeStatus.BACKOFF},
        **more,
    }
    return Snapshot(**arguments)


def many(count: int, **more: Any) -> Snapshot:
    """With so many more modules."""
    modules = [
        Module(f"m{number:03d}", "i:1", status=DesiredStatus.RUNNING, **more) for number in range(count)
    ]
    first = snapshot()
    current = {**(first.current or {}), **{module.name: container(module.name) for module in modules}}
    return snapshot(deployment=deployment(*modules), current=current)
