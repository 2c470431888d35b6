"""What `edgeagent check` warns of."""

from __future__ import annotations

from edgeagent.manifest.oddities import oddities
from edgeagent.model.module import Deployment, Module

SYSTEM = {name: Module(name, f"{name.lower()}:1") for name in ("edgeAgent", "edgeHub")}


def _of(module: Module) -> list[str]:
    return list(oddities(Deployment({**SYSTEM, module.name: module})))


def test_nothing_odd() -> None:
    assert _of(Module("mm", "m:1", {"Labels": {"mine": "1"}})) == []


def test_each_oddity_names_its_module() -> None:
    options = {
        "Image": "x",
        "HostConfig": {"RestartPolicy": {"Name": "always"}},
        "Labels": {"net.azure-devices.edge.owner": "me"},
    }
    found = _of(Module("mm", "m:latest", options))
    assert len(found) == 4
    assert all(line.startswith("mm: ") for line in found)


def test_missing_system_modules() -> None:
    found = list(oddities(Deployment({})))
    assert any("the agent stays as it is" in line for line in found)
    assert any("edgeHub is removed" in line for line in found)


def test_a_name_that_no_container_can_have() -> None:
    assert any("not a name for a container" in line for line in _of(Module("x", "m:1")))
