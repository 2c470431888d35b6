"""Settings from the environment (agent spec 4)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.config.settings import Settings, SettingsError, load_settings


def test_defaults() -> None:
    assert load_settings({}) == Settings()
    assert Settings().max_restart_count == 20


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("maxrestartcount", "3", "max_restart_count", 3),
        ("MODULEUPDATEMODE", "waitforallpulls", "update_mode", "WaitForAllPulls"),
        ("UpstreamProtocol", "mqttws", "upstream_protocol", "MqttWs"),
        ("MetricUploadInterval", "1.00:00:00", "upload_s", 86_400),
        ("PerformanceMetricsUpdateFrequency", "00:00:30", "sampling_s", 30),
        ("MetricsEnabled", "False", "metrics_enabled", False),
        ("RuntimeLogLevel", "Debug", "log_level", "debug"),
        ("port", "0", "metrics_port", 0),
        ("suffix", "numbers", "metrics_suffix", "numbers"),
        ("CoolOffTimeUnitInSeconds", " 0 ", "cool_off_unit_s", 0),
        ("MaxRestartCount", " ", "max_restart_count", 20),
    ],
)
def test_values(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(load_settings({name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MaxRestartCount", "0", "a whole number from 1 to 1000"),
        ("MaxRestartCount", "many", "a whole number from 1 to 1000"),
        ("MaxRestartCount", "٣", "a whole number from 1 to 1000"),
        ("ModuleUpdateMode", "Never", "one of NonBlocking, WaitForAllPulls"),
        ("MetricsEnabled", "perhaps", "true or false"),
        ("PerformanceMetricsUpdateFrequency", "00:00:04", "at least 5 s"),
        ("MetricScrapeInterval", "an hour", "a duration such as 01:30:00"),
        ("MetricScrapeInterval", "24:00:00", "a duration such as 01:30:00"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as fault:
        load_settings({name: value})
    assert str(fault.value).startswith(f'{name}="{value}"')


def test_registries() -> None:
    found = load_settings(
        {
            "DockerRegistryAuth__0__serverAddress": "reg.example.net",
            "DockerRegistryAuth:0:username": "u",
            "dockerregistryauth__0__password": "pass-7731",
        }
    )
    assert [(item.address, item.username, item.password) for item in found.registries] == [
        ("reg.example.net", "u", "pass-7731")
    ]
    assert "7731" not in repr(found)


def test_registries_that_lack_something() -> None:
    with pytest.raises(SettingsError, match="DockerRegistryAuth__0: serverAddress, username and password"):
        load_settings({"DockerRegistryAuth__0__serverAddress": "reg.example.net"})
