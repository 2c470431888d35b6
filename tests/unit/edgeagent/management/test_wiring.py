"""The management API of an agent, put together."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

from edgeagent.management.client import ManagementClient
from edgeagent.management.wiring import ManagementSettings, make_management
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.lister import ModuleLister
from testkit.fake_engine import running_engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import pytest


async def test_it_serves_and_makes_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeagent.checks.service.CHECKS", ())
    monkeypatch.setattr("edgeagent.management.bundle.program_output", _silent)
    settings = ManagementSettings(tmp_path / "m.sock", tmp_path, tmp_path / "c.toml", tmp_path / "a.toml")
    async with running_engine() as fake, Engine(fake.address) as engine:
        fake.state.add_image("x:1")
        fake.state.create("sensor", {"Image": "x:1", "Labels": {labels.OWNER: labels.OWNER_VALUE}})
        management = make_management(settings, engine, ModuleLister(engine))
        await management.service.start()
        try:
            client = ManagementClient(f"unix://{tmp_path}/m.sock")
            assert [module["name"] for module in await client.modules()] == ["sensor"]
            content = await management.bundles.make_bundle(None, None, False)
        finally:
            await management.service.close()
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert {"check.json", "inspect/sensor.json", "logs/sensor_log.txt"} <= set(bundle.namelist())
        assert json.loads(bundle.read("check.json"))["checks"] == {}


async def _silent(*_: object) -> AsyncGenerator[bytes, None]:
    yield b""
