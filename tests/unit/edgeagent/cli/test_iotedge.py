"""The command `iotedge`, against the management API beside a fake engine (agent spec 8.1)."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent import __version__
from edgeagent.cli.iotedge import main
from edgeagent.management.bundle import BundleSources, SupportBundles
from edgeagent.management.docker_view import DockerView
from edgeagent.management.service import ManagementParts, ManagementService
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from testkit.fake_engine import Fault, running_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testkit.fake_engine import FakeEngine

OURS = {labels.OWNER: labels.OWNER_VALUE}
WAIT_S = 20
Capture = pytest.CaptureFixture[str]
Bytes = pytest.CaptureFixture[bytes]


class Device:
    """A fake engine and an agent's management API, in a thread of their own: the command has its own loop."""

    def __init__(self, socket: Path) -> None:
        self.address = f"unix://{socket}"
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self.fake: FakeEngine
        self._thread.start()
        assert self._ready.wait(WAIT_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async def check(hub: str) -> str:
            return json.dumps({"hub": hub})

        async with running_engine() as self.fake, Engine(self.fake.address) as engine:
            view = DockerView(engine)
            bundles = SupportBundles(BundleSources(view, check, units={}))
            service = ManagementService(self._socket, ManagementParts(view, bundles))
            await service.start()
            self._ready.set()
            await self._stop.wait()
            await service.close()

    def add(self, name: str, *lines: bytes) -> None:
        self.fake.state.images.setdefault("x:1", "sha256:1")

        async def act() -> None:
            state = self.fake.state
            state.start(state.create(name, {"Image": "x:1", "Labels": OURS}))
            for line in lines:
                state.write(name, line)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(WAIT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    device = Device(tmp_path / "mgmt.sock")
    monkeypatch.setenv("IOTEDGE_HOST", device.address)
    yield device
    device.close()


def test_x14_list(device: Device, capsys: Capture) -> None:
    device.add("sensor")
    device.add("edgeHub")
    assert main(["list"]) == 0
    header, hub, sensor = capsys.readouterr().out.splitlines()
    assert header == "NAME             STATUS           DESCRIPTION      Config"
    assert hub.startswith("edgeHub          running          Up ")
    assert sensor.endswith("x:1")


def test_list_for_machines(device: Device, capsys: Capture) -> None:
    device.add("sensor")
    assert main(["list", "--json"]) == 0
    (module,) = json.loads(capsys.readouterr().out)
    assert (module["name"], module["status"]["runtimeStatus"]) == ("sensor", {"status": "running"})


def test_list_in_a_terminal(device: Device, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    device.add("sensor")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "NAME" in out
    assert "sensor" in out


def test_logs(device: Device, capsysbinary: Bytes) -> None:
    device.add("sensor", b"one\n", b"two\n")
    assert main(["logs", "sensor"]) == 0
    assert capsysbinary.readouterr().out == b"one\ntwo\n"
    assert main(["logs", "sensor", "--tail", "1"]) == 0
    assert capsysbinary.readouterr().out == b"two\n"


def test_logs_have_the_spans_that_were_asked_for(device: Device, capsysbinary: Bytes) -> None:
    device.add("sensor", b"one\n")
    assert main(["logs", "sensor", "--since", "1h", "--until", "30m"]) == 0
    assert capsysbinary.readouterr().out == b""
    query = next(entry.query for entry in device.fake.journal if entry.path.endswith("/logs"))
    assert float(query["until"]) - float(query["since"]) == 1800
    assert (query["tail"], query["follow"]) == ("all", "false")


def test_logs_that_are_followed_end_with_the_module(device: Device, capsysbinary: Bytes) -> None:
    device.add("sensor", b"one\n")

    def later() -> None:
        asyncio.run_coroutine_threadsafe(_end(device.fake), device._loop).result(WAIT_S)

    thread = threading.Thread(target=later)
    thread.start()
    assert main(["logs", "sensor", "-f"]) == 0
    thread.join()
    assert capsysbinary.readouterr().out == b"one\nlast\n"


async def _end(fake: FakeEngine) -> None:
    await fake.received("GET", ".*/logs")
    fake.state.write("sensor", b"last\n")
    await asyncio.sleep(0)
    fake.state.exit("sensor")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logs", "sensor", "--tail", "few"], '--tail "few": expected a number of lines, or all'),
        (["logs", "sensor", "--since", "x"], '--since "x": expected a duration'),
        (["support-bundle", "--until", "x"], '--until "x": expected a duration'),
        (["check", "--dont-run", "x"], '--dont-run "x": there is no such check'),
        (["check", "-o", "xml"], '--output "xml": expected text or json'),
        (["-H", "ftp://x", "list"], '"ftp://x" is no address of an agent'),
        (["system", "set-log-level", "loud"], '"loud" is no log level; expected one of error, warn'),
        (["system", "reprovision"], "the device is provisioned by hand"),
    ],
)
def test_mistakes_say_what_would_be_right(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.endswith("\n\n")
    assert captured.out == ""


def test_a_module_that_is_not_there(device: Device, capsys: Capture) -> None:
    assert main(["logs", "none"]) == 1
    assert capsys.readouterr().err == "No such container: none\n\n"


def test_restart(device: Device, capsys: Capture) -> None:
    device.add("sensor")
    assert main(["restart", "sensor"]) == 0
    assert capsys.readouterr().out == "Restarted sensor\n\n"
    assert device.fake.state.by_name("sensor").starts == 2
    assert [path.rpartition("/")[2] for path in device.fake.paths("POST")] == ["stop", "start"]


def test_x15_a_stop_that_fails_is_a_warning(device: Device, capsys: Capture) -> None:
    device.add("sensor")
    device.fake.faults.append(Fault("POST", ".*/stop", status=500, message="it hangs"))
    assert main(["restart", "sensor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "warn: sensor was not stopped gracefully: it hangs\n"
    assert captured.out == "Restarted sensor\n\n"


def test_the_agent_restarts_itself(device: Device, capsys: Capture) -> None:
    device.add("edgeAgent")
    assert main(["restart", "edgeAgent"]) == 0
    assert capsys.readouterr().out == "Restarted edgeAgent\n\n"


def test_version(capsys: Capture) -> None:
    for arguments in (["version"], ["--version"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"iotedge {__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


def test_nobody_listens(tmp_path: Path, capsys: Capture) -> None:
    for command in (["list"], ["logs", "x"], ["restart", "x"]):
        assert main(["-H", f"unix://{tmp_path}/m.sock", *command]) == 1
        first, second, last = capsys.readouterr().err.split("\n", 2)
        assert first.startswith(f"no agent listens at unix://{tmp_path}/m.sock; start it (sudo systemctl")
        assert second == "\tcaused by: No such file or directory"
        assert last == "\n"


def test_who_may_not_use_the_socket(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_unix_connection", refused, raising=False)
    monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.create_unix_connection", refused)
    assert main(["-H", "unix:///x", "list"]) == 1
    assert "sudo" in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: Capture) -> None:
    main([])
    captured = capsys.readouterr()
    assert "Usage: iotedge" in captured.out + captured.err


@pytest.mark.parametrize(
    "command",
    [
        *(["list"], ["logs"], ["restart"], ["support-bundle"], ["check"]),
        *(["system"], ["system", "logs"], ["config"], ["config", "apply"], ["config", "mp"]),
    ],
)
def test_help_has_examples(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert "iotedge" in out


def test_support_bundle(device: Device, tmp_path: Path, capsys: Capture) -> None:
    device.add("sensor", b"one\n")
    device.add("edgeHub", b"two\n")
    file = tmp_path / "b.zip"
    assert main(["support-bundle", "-o", str(file), "-e", "--iothub-hostname", "h"]) == 0
    out = capsys.readouterr().out
    assert out == f"Making support bundle\nCreated support bundle at {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as bundle:
        assert {"logs/edgeHub_log.txt", "inspect/edgeHub.json", "check.json"} <= set(bundle.namelist())
        assert not any("sensor" in name for name in bundle.namelist())
        assert json.loads(bundle.read("check.json")) == {"hub": "h"}


def test_a_support_bundle_to_standard_output(device: Device, capsysbinary: Bytes) -> None:
    assert main(["support-bundle", "-o", "-", "-q"]) == 0
    assert "check.json" in zipfile.ZipFile(io.BytesIO(capsysbinary.readouterr().out)).namelist()


def test_the_name_of_a_support_bundle(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["support-bundle", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    (file,) = tmp_path.glob("support_bundle_????_??_??_??_??_??_UTC.zip")
    assert file.stat().st_size > 0


def test_a_support_bundle_where_there_is_no_place(device: Device, tmp_path: Path, capsys: Capture) -> None:
    assert main(["support-bundle", "-o", str(tmp_path / "none" / "b.zip")]) == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_support_bundle_without_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    async def check(_: object) -> str:
        return "{}"

    monkeypatch.setattr("edgeagent.checks.service.check_as_json", check)
    monkeypatch.setattr("edgeagent.checks.service.engine_address", lambda _: f"unix://{tmp_path}/e.sock")
    file = tmp_path / "b.zip"
    assert main(["-H", f"unix://{tmp_path}/m.sock", "support-bundle", "-o", str(file)]) == 0
    assert "The support bundle is made without it." in capsys.readouterr().out
    with zipfile.ZipFile(file) as bundle:
        assert "inspect/modules_err.json" in bundle.namelist()


def test_a_reader_that_goes_away(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.add("sensor", b"one\n")

    class Closed(io.BytesIO):
        def write(self, _: Any) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return 99

    closed = Closed()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(closed))
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert main(["logs", "sensor"]) == 1


def test_check_finds_what_is_wrong(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'hostnam = "x"\n[moby_runtime]\nuri = "unix://{tmp_path}/e.sock"\n')
    arguments = ["-H", f"unix://{tmp_path}/m.sock", "check", "-c", str(config), "--home", str(tmp_path)]
    arguments += ["--ntp-server", "127.0.0.1:1", "--dont-run", "hostname"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "‼ aziot-edged configuration is well-formed - Warning\n    hostnam: is not known" in out
    assert "× container engine is installed and functional - Error" in out  # noqa: RUF001
    assert "configuration has correct hostname" not in out
    assert "check(s) raised errors. Re-run with --verbose for more details." in out
    assert main([*arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["checks"]["container-engine-uri"]["result"] == "error"
    assert document["checks"]["hostname"]["result"] == "ignored"
    assert document["additional_info"]["version"] == __version__


def test_check_list(capsys: Capture) -> None:
    assert main(["check-list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CATEGORY", "ID", "DESCRIPTION"]
    assert any("container-engine-logrotate" in line for line in lines)
    assert main(["check-list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "aziot-edged-config-well-formed"


def test_an_interrupted_command(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(work: Any) -> None:
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeagent.cli.iotedge.asyncio.run", interrupted)
    assert main(["-H", "unix:///x", "list"]) == 130
    assert capsys.readouterr().err == ""
