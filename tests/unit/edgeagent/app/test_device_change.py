"""A device that became another one begins without modules (row X08)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeagent.app.device_change import remove_modules_of_another_device
from edgeagent.app.place import Place
from edgeagent.executor.ports import StepError
from edgeagent.model.module import Module
from testkit.fake_runtime import FakeClock, FakeRuntime

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place("hub1.example.net", "d1", "gw", device_key="a2V5")


async def _runtime() -> FakeRuntime:
    runtime = FakeRuntime(FakeClock(), images={"x:1"})
    for name in ("edgeAgent", "edgeHub", "sensor"):
        await runtime.create(Module(name, "x:1"))
        await runtime.start(name)
    return runtime


@pytest.mark.parametrize(
    "change",
    [{"device_id": "d2"}, {"hub_hostname": "hub2.example.net"}, {"parent_hostname": "parent"}],
    ids=str,
)
async def test_x08_all_modules_of_the_device_before_go(tmp_path: Path, change: dict[str, str]) -> None:
    runtime = await _runtime()
    assert not await remove_modules_of_another_device(tmp_path, PLACE, runtime)
    assert not await remove_modules_of_another_device(tmp_path, PLACE, runtime)
    assert len(runtime.containers) == 3
    other = replace(PLACE, **change)
    assert await remove_modules_of_another_device(tmp_path, other, runtime)
    assert set(runtime.containers) == {"edgeAgent"}
    assert not await remove_modules_of_another_device(tmp_path, other, runtime)


async def test_x08_another_name_of_the_machine_or_key_is_the_same_device(tmp_path: Path) -> None:
    runtime = await _runtime()
    await remove_modules_of_another_device(tmp_path, PLACE, runtime)
    same = replace(PLACE, device_hostname="other", device_key="b3RoZXI=")
    assert not await remove_modules_of_another_device(tmp_path, same, runtime)
    assert len(runtime.containers) == 3


async def test_x08_what_the_engine_refuses_is_tried_again(tmp_path: Path) -> None:
    runtime = await _runtime()
    await remove_modules_of_another_device(tmp_path, PLACE, runtime)
    runtime.faults["remove sensor"] = "busy"
    other = replace(PLACE, device_id="d2")
    with pytest.raises(StepError):
        await remove_modules_of_another_device(tmp_path, other, runtime)
    runtime.faults.clear()
    assert await remove_modules_of_another_device(tmp_path, other, runtime)
    assert set(runtime.containers) == {"edgeAgent"}
