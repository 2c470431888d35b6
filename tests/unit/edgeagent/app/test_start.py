"""What a run is made of: the command line, the environment and the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeagent.app.arguments import read_arguments
from edgeagent.app.start import options_of
from edgeagent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
hostname = "gw"
[agent]
name = "edgeAgent"
type = "docker"
[agent.config]
image = "reg.example.net/agent:1"
[agent.config.auth]
serveraddress = "reg.example.net"
username = "u"
password = "pass-7731"
[agent.env]
MaxRestartCount = "3"
"""


def test_the_file_gives_what_nothing_else_says(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    given = ["--config", str(tmp_path / "config.toml"), "--manifest", "deployment.json"]
    options = options_of(read_arguments(given, {}), {"CoolOffTimeUnitInSeconds": "5"})
    assert options.place.device_hostname == "gw"
    assert (options.settings.max_restart_count, options.settings.cool_off_unit_s) == (3, 5)
    assert [found.address for found in options.settings.registries] == ["reg.example.net"]
    assert "7731" not in repr(options)


def test_the_environment_counts_more(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    given = ["--config", str(tmp_path / "config.toml"), "--manifest", "deployment.json"]
    options = options_of(read_arguments(given, {}), {"MaxRestartCount": "7", "EdgeDeviceHostName": "other"})
    assert (options.settings.max_restart_count, options.place.device_hostname) == (7, "other")


def test_nothing_to_run(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('hostname = "gw"\n')
    with pytest.raises(AgentError, match="there is nothing to run: give --manifest FILE"):
        options_of(read_arguments(["--config", str(tmp_path / "config.toml")], {}), {})
