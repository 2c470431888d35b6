"""Support bundles (agent spec 8.1, row X24)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.management import bundle as bundle_module
from edgeagent.management import bundle_file
from edgeagent.management.bundle import BundleSources, SupportBundles
from edgeagent.management.bundle_file import BundleError, BundleFile
from edgeagent.management.ports import BundleWanted
from edgeagent.management.programs import ProgramError, program_output
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.runtime.errors import EngineError, EngineUnreachable
from edgeagent.runtime.log_frames import LogFrame, LogStream
from edgeagent.runtime.system import SystemInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from edgeagent.errors import AgentError
    from edgeagent.runtime.logs import LogOptions

SECRET = "s3cr3t"
CHECK = '{"checks": {}}'


@dataclass
class FakeView:
    """Modules by name, with the lines of their logs."""

    log: dict[str, list[bytes]]
    faults: dict[str, AgentError] = field(default_factory=dict)
    options: list[LogOptions] = field(default_factory=list)

    def _check(self, what: str) -> None:
        if what in self.faults:
            raise self.faults[what]

    async def modules(self) -> Mapping[str, CurrentModule]:
        self._check("modules")
        return {name: CurrentModule(name, "x:1", RuntimeStatus.RUNNING) for name in self.log}

    @contextlib.asynccontextmanager
    async def logs(self, name: str, options: LogOptions) -> AsyncIterator[AsyncIterator[LogFrame]]:
        self._check(f"logs {name}")
        self.options.append(options)

        async def frames() -> AsyncIterator[LogFrame]:
            for line in self.log[name]:
                yield LogFrame(LogStream.STDOUT, line)

        yield frames()

    async def inspect(self, name: str) -> Mapping[str, Any]:
        self._check(f"inspect {name}")
        return {"Id": name, "Config": {"Env": [f"PASSWORD={SECRET}"]}}

    async def networks(self) -> list[Mapping[str, Any]]:
        self._check("networks")
        return [{"Name": "azure-iot-edge"}, {"Name": "a/b"}]

    async def start(self, name: str) -> None: ...

    async def stop(self, name: str) -> None: ...

    async def restart(self, name: str) -> None: ...

    async def system_info(self) -> SystemInfo:
        return SystemInfo()

    async def stats(self) -> list[Mapping[str, Any]]:
        return []


@pytest.fixture
def view() -> FakeView:
    return FakeView(
        {
            "edgeAgent": [b"a\n"],
            "edgeHub": [b"h\n"],
            "sensor": [b"one\n", f"sig={SECRET}\n".encode()],
        }
    )


def bundles(view: FakeView, **members: Any) -> SupportBundles:
    async def check(hub: str) -> str:
        return CHECK

    given: dict[str, Any] = {"units": {}, "now_s": lambda: 1_700_000_000.0}
    return SupportBundles(BundleSources(view, check, **(given | members)))


async def contents(made: SupportBundles, wanted: BundleWanted | None = None) -> dict[str, str]:
    with await made.make(wanted or BundleWanted()) as file, zipfile.ZipFile(file) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


async def test_x24_what_is_in_it(view: FakeView, tmp_path: Path) -> None:
    (tmp_path / "w.log").write_text(f"SharedAccessKey={SECRET}\nlast")
    units = {"logs/aziot-edged.txt": ("no-such-unit",), "logs/docker.txt": ("docker",)}
    found = await contents(bundles(view, files={"logs/workload.txt": tmp_path / "w.log"}, units=units))
    assert found["check.json"] == CHECK
    assert found["logs/sensor_log.txt"] == "one\nsig=***\n"
    assert json.loads(found["inspect/sensor.json"])["Id"] == "sensor"
    assert json.loads(found["network/azure-iot-edge.json"]) == {"Name": "azure-iot-edge"}
    assert "network/a_b.json" in found
    assert found["logs/workload.txt"] == "SharedAccessKey=***\nlast"
    assert {"logs/edgeAgent_log.txt", "logs/edgeHub_log.txt", "inspect/edgeHub.json"} <= set(found)
    assert {name.replace("_err", "") for name in found} >= set(units)
    assert SECRET not in json.dumps(found)


async def test_of_the_runtime_alone(view: FakeView) -> None:
    found = await contents(bundles(view), BundleWanted(runtime_only=True))
    assert "logs/edgeHub_log.txt" in found
    assert not any("sensor" in name for name in found)


async def test_times_are_passed_on(view: FakeView) -> None:
    await contents(bundles(view), BundleWanted(1000, 2000))
    assert {(each.since_ms, each.until_ms, each.follow) for each in view.options} == {(1000, 2000, False)}


async def test_what_cannot_be_had_is_said(view: FakeView, tmp_path: Path) -> None:
    view.faults = {
        "logs sensor": EngineError(404, "no such container", "/"),
        "inspect sensor": EngineError(404, "no such container", "/"),
        "networks": EngineError(500, "no networks", "/"),
    }
    found = await contents(bundles(view, files={"logs/workload.txt": tmp_path / "none"}))
    assert found["logs/sensor_log_err.txt"].startswith("no such container")
    assert "no such container" in found["inspect/sensor_err.json"]
    assert "no networks" in found["network/networks_err.json"]
    assert "No such file" in found["logs/workload_err.txt"]
    assert found["logs/edgeHub_log.txt"] == "h\n"


async def test_without_an_engine(view: FakeView) -> None:
    gone = EngineUnreachable("unix:///x", "it is gone")
    view.faults = {"modules": gone, "networks": gone}

    async def check(hub: str) -> str:
        raise gone

    found = await contents(SupportBundles(BundleSources(view, check, units={})))
    assert set(found) == {"check.json", "inspect/modules_err.json", "network/networks_err.json"}
    assert "it is gone" in found["check.json"]


async def test_a_log_that_is_too_long_is_cut(view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "PART_BYTES_MAX", 10)
    view.log["sensor"] = [b"12345678\n", b"12345678\n"]
    found = await contents(bundles(view))
    assert found["logs/sensor_log.txt"] == "12345678\n1\n... cut here: the support bundle takes no more\n"
    view.log["sensor"] = [b"123456789\n"]
    assert (await contents(bundles(view)))["logs/sensor_log.txt"] == "123456789\n"


async def test_all_in_all_has_a_limit(view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "BUNDLE_BYTES_MAX", len(CHECK) + 2)
    found = await contents(bundles(view))
    assert found["logs/edgeAgent_log.txt"] == "a\n"
    assert "cut here" in found["logs/sensor_log.txt"]


async def test_in_memory_for_the_method(view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundles(view)
    content = await made.make_bundle("1h", None, runtime_only=True)
    assert "check.json" in zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert view.options[0].since_ms == (1_700_000_000 - 3600) * 1000
    with pytest.raises(BundleError, match="yesterday"):
        await made.make_bundle("yesterday", None, runtime_only=True)
    monkeypatch.setattr(bundle_module, "IN_MEMORY_BYTES_MAX", 100)
    with pytest.raises(BundleError, match="more than 100 bytes"):
        await made.make_bundle(None, None, runtime_only=True)


async def test_where_it_cannot_be_written(view: FakeView, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        await bundles(view, folder=tmp_path / "none").make(BundleWanted())


async def test_many_small_pieces_are_whole(tmp_path: Path) -> None:
    bundle = BundleFile(tmp_path)

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100_000):
            yield b"%9d\n" % number

    await bundle.add_stream("a", pieces())
    with bundle.finish() as file, zipfile.ZipFile(file) as opened:
        assert opened.read("a") == b"".join(b"%9d\n" % number for number in range(100_000))


async def output(*arguments: str, deadline_s: float = 20.0) -> bytes:
    return b"".join([piece async for piece in program_output(arguments, deadline_s)])


async def test_programs() -> None:
    assert await output("sh", "-c", "echo out; echo err >&2; exit 3") == b"out\nerr\n"
    with pytest.raises(ProgramError, match="no-such-program cannot be started"):
        await output("no-such-program")
    with pytest.raises(ProgramError, match="took longer than"):
        await output("sleep", "100", deadline_s=0.05)


async def test_a_program_ends_with_its_reader() -> None:
    async with contextlib.aclosing(program_output(("sh", "-c", "while :; do echo x; done"))) as pieces:
        assert (await anext(pieces)).startswith(b"x\n")


async def test_one_that_is_given_up_leaves_nothing(view: FakeView, tmp_path: Path) -> None:
    reading = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            reading.set()
            yield b"x" * 300_000
            await asyncio.sleep(0)

    bundle = BundleFile(tmp_path)
    task = asyncio.create_task(bundle.add_stream("a", endless()))
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bundle.drop()
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240
