"""`iotedge system` and `iotedge config` (agent spec 8.3)."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from edgeagent.cli import iotedge_config, iotedge_system
from edgeagent.cli.iotedge import main
from edgeagent.cli.iotedge_config import ConfigCommandError
from edgeagent.cli.iotedge_system import ServiceManagerError, ServiceStatus
from edgeagent.config.toml_file import load_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "czNjcmV0LWtleQ=="
CONNECTION = f"HostName=hub.example.net;DeviceId=d;SharedAccessKey={KEY}"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts programs of this system out of sight, and a script in place of one; what it is asked for goes to
    the file that is given back.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    calls.write_text("")
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr("shutil.which", lambda name: _found(folder, name))

    def add(name: str, script: str) -> Path:
        file = folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{script}\n')
        file.chmod(0o755)
        return calls

    return add


def _found(folder: Path, name: str) -> str | None:
    return str(folder / name) if (folder / name).exists() else None


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_status(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[moby_runtime]\nuri = "unix://{tmp_path}/e.sock"\n')
    arguments = ["-H", f"unix://{tmp_path}/m.sock", "system", "status", "-c", str(config)]
    arguments += ["--home", str(tmp_path)]
    assert main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "System services:"
    assert lines[1].startswith("    edgeagent               Down - no agent listens at")
    assert lines[2] == "    edgeagent-workload      Down - No such file or directory"
    assert lines[3].startswith("    docker                  Down - the container engine at")
    assert lines[-1] == "Use 'iotedge check' to diagnose connectivity and configuration issues."
    assert main([*arguments, "--json"]) == 1
    services = json.loads(capsys.readouterr().out)["services"]
    assert services["edgeagent-workload"] == {"running": False, "reason": "No such file or directory"}


def test_a_service_that_answers() -> None:
    assert ServiceStatus("docker").as_line() == "    docker                  Running"


def test_restart(programs: Callable[[str, str], Path], capsys: Capture) -> None:
    calls = programs("systemctl", "exit 0")
    assert main(["system", "restart"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Stopping edgeagent...Stopped!",
        "Stopping edgeagent-workload...Stopped!",
        "Starting edgeagent-workload...Started!",
        "Starting edgeagent...Started!",
    ]
    assert calls.read_text().splitlines() == [
        "systemctl stop edgeagent",
        "systemctl stop edgeagent-workload",
        "systemctl start edgeagent-workload",
        "systemctl start edgeagent",
    ]


def test_stop_that_is_refused(programs: Callable[[str, str], Path], capsys: Capture) -> None:
    programs("systemctl", "echo 'Access denied' >&2; exit 4")
    assert main(["system", "stop"]) == 1
    assert capsys.readouterr().err == "systemctl stop edgeagent: Access denied\n\n"


def test_logs(programs: Callable[[str, str], Path]) -> None:
    calls = programs("journalctl", "exit 3")
    assert main(["system", "logs"]) == 3
    assert main(["system", "logs", "--", "-f", "--since", "1 hour ago"]) == 3
    units = "journalctl -u edgeagent -u edgeagent-workload -u docker"
    assert calls.read_text().splitlines() == [f"{units} -e --no-pager", f"{units} -f --since 1 hour ago"]


def test_without_systemd(programs: Callable[[str, str], Path], capsys: Capture) -> None:
    for command in ("logs", "restart", "stop"):
        assert main(["system", command]) == 1
        assert "its services are not run by systemd" in capsys.readouterr().err


def test_log_level(programs: Callable[[str, str], Path], tmp_path: Path, capsys: Capture) -> None:
    calls = programs("systemctl", "exit 0")
    iotedge_system.set_log_level("warn", tmp_path)
    file = tmp_path / "edgeagent.service.d" / "log-level.conf"
    assert file.read_text() == "[Service]\nEnvironment=RuntimeLogLevel=warning\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert calls.read_text() == "systemctl daemon-reload\n"
    assert capsys.readouterr().out == (
        "Set log level to warn for all services. Run the `iotedge system restart` command for the changes to "
        "take effect.\n"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceManagerError, match="cannot be written"):
        iotedge_system.set_log_level("info", tmp_path / "file")


def test_a_minimal_configuration(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.toml"
    assert main(["config", "mp", "-c", CONNECTION, "-o", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"    sudo iotedge config apply -c '{file}'" in out
    assert KEY not in out
    config = load_config(file)
    assert config.provisioning is not None
    assert (config.provisioning.device_id, config.warnings) == ("d", ())
    assert 'auto_reprovisioning_mode = "OnErrorOnly"' in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.toml"
    file.write_text("hostname = 'x'")
    assert main(["config", "mp", "-c", CONNECTION, "-o", str(file)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["config", "mp", "-c", CONNECTION, "-o", str(file), "-f"]) == 0
    assert load_config(file).hostname == ""


def test_a_connection_string_with_a_gateway(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "config.toml"
    assert main(["config", "mp", "-c", f"{CONNECTION};GatewayHostName=p", "-o", str(file)]) == 0
    assert 'add parent_hostname = "p" to the file' in capsys.readouterr().err


def test_a_connection_string_that_is_wrong(tmp_path: Path, capsys: Capture) -> None:
    assert main(["config", "mp", "-c", f"HostName=h;SharedAccessKey={KEY}", "-o", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith("the connection string has no DeviceId")


@pytest.mark.usefixtures("root")
def test_import(tmp_path: Path, capsys: Capture) -> None:
    old, new = tmp_path / "config.yaml", tmp_path / "config.toml"
    old.write_text(
        f'provisioning:\n  source: manual\n  device_connection_string: "{CONNECTION}"\nhomedir: "/x"\n'
    )
    assert main(["config", "import", "-c", str(old), "-o", str(new)]) == 0
    assert "warning: homedir: is left out" in capsys.readouterr().err
    assert load_config(new).provisioning is not None
    old.write_text("provisioning:\n  source: external\n")
    assert main(["config", "import", "-c", str(old), "-o", str(new), "-f"]) == 1
    assert "external provisioning is not supported." in capsys.readouterr().err
    assert main(["config", "import", "-c", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_only_root_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for command in ("apply", "import"):
        assert main(["config", command, "-c", str(tmp_path / "x")]) == 1
        assert "run it with sudo" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_apply(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iotedge_system, "has_systemd", lambda: False)
    source, applied = tmp_path / "config.toml", tmp_path / "edged" / "config.toml"
    source.write_text('hostname = "a"\nhostnam = 1\n')
    assert main(["config", "apply", "-c", str(source), "--applied", str(applied)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "Done.\n"
    assert "warning: hostnam: is not known" in captured.err
    assert "restart the agent as you started it" in captured.err
    assert applied.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(applied.stat().st_mode) == 0o600


@pytest.mark.usefixtures("root")
def test_what_is_wrong_is_not_applied(tmp_path: Path, capsys: Capture) -> None:
    source, applied = tmp_path / "config.toml", tmp_path / "applied.toml"
    source.write_text("[provisioning]\nsource = 'dps'")
    assert main(["config", "apply", "-c", str(source), "--applied", str(applied)]) == 1
    assert "provisioning.source" in capsys.readouterr().err
    assert not applied.exists()


@pytest.mark.usefixtures("root")
def test_the_name_does_not_change_while_there_are_modules(tmp_path: Path) -> None:
    source, applied = tmp_path / "config.toml", tmp_path / "applied.toml"
    source.write_text('hostname = "new"')
    applied.write_text('hostname = "old"')
    restarts: list[str] = []
    with pytest.raises(ConfigCommandError, match='from "old" to "new" while there are modules'):
        iotedge_config.apply(source, applied, lambda: True, lambda: restarts.append("x"))
    assert load_config(applied).hostname == "old"
    iotedge_config.apply(source, applied, lambda: False, lambda: restarts.append("x"))
    assert load_config(applied).hostname == "new"
    assert restarts == ["x"]
    iotedge_config.apply(source, applied, lambda: True, lambda: restarts.append("x"))


def test_the_agents_own_container_does_not_count() -> None:
    assert not iotedge_config.modules_beside_agent(["edgeAgent"])
    assert iotedge_config.modules_beside_agent(["edgeAgent", "sensor"])
