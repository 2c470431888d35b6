"""The reported properties (rows R03, R13 to R19)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edgeagent.manifest.create_options import PIECE_CHARS_MAX, PIECES_MAX
from edgeagent.model.current import RuntimeStatus
from edgeagent.model.module import Deployment, DesiredStatus
from edgeagent.report.outcome import Outcome
from edgeagent.report.state import (
    NEVER,
    VALUE_BYTES_MAX,
    chunked,
    clip,
    failed_state,
    modules_of,
    reported_state,
    time_json,
)
from unit.edgeagent.report.samples import AT_MS, HUB, SENSOR, container, deployment, snapshot

WHOLE = {
    "schemaVersion": "1.0",
    "version": {"version": "1.6.0", "build": "20260801.1", "commit": "55353a64"},
    "lastDesiredVersion": 11,
    "lastDesiredStatus": {"code": 200, "description": ""},
    "runtime": {
        "type": "docker",
        "settings": {
            "minDockerVersion": "v1.25",
            "loggingOptions": "",
            "registryCredentials": {
                "acr1": {"address": "reg.example.net", "username": "u", "password": "***"}
            },
        },
        "platform": {"os": "linux", "architecture": "aarch64", "version": "1.6.0"},
    },
    "systemModules": {
        "edgeAgent": {
            "type": "docker",
            "startupOrder": 0,
            "imagePullPolicy": "on-create",
            "exitCode": 0,
            "lastStartTimeUtc": "2026-08-01T10:00:00Z",
            "lastExitTimeUtc": NEVER,
            "runtimeStatus": "running",
            "settings": {
                "image": "reg.example.net/edgeAgent:1",
                "imageHash": "sha256:1",
                "createOptions": "{}",
            },
            "env": {},
        },
        "edgeHub": {
            "type": "docker",
            "status": "running",
            "restartPolicy": "always",
            "imagePullPolicy": "on-create",
            "exitCode": 0,
            "lastStartTimeUtc": "2026-08-01T10:00:00Z",
            "lastExitTimeUtc": NEVER,
            "restartCount": 0,
            "lastRestartTimeUtc": NEVER,
            "runtimeStatus": "running",
            "settings": {
                "image": "reg.example.net/edgeHub:1",
                "imageHash": "sha256:1",
                "createOptions": '{"HostConfig":{"PortBindings":{"443/tcp":[{"HostPort":"443"}]}}}',
            },
            "env": {"OptimizeForPerformance": {"value": "false"}},
        },
    },
    "modules": {
        "sensor": {
            "version": "1.0",
            "type": "docker",
            "status": "running",
            "restartPolicy": "on-unhealthy",
            "imagePullPolicy": "on-create",
            "startupOrder": 2,
            "exitCode": 137,
            "lastStartTimeUtc": "2026-08-01T10:00:00Z",
            "lastExitTimeUtc": "2026-08-01T10:00:01.5Z",
            "restartCount": 2,
            "lastRestartTimeUtc": "2026-08-01T10:00:00Z",
            "runtimeStatus": "backoff",
            "settings": {
                "image": "reg.example.net/sensor:1",
                "imageHash": "sha256:1",
                "createOptions": "{}",
            },
            "env": {},
        }
    },
}


def test_r13_to_r19_the_whole() -> None:
    """Rows R13 to R17 and R19: the example of agent spec 1.9, without nulls and passwords."""
    assert reported_state(snapshot()) == WHOLE


def test_it_is_json_without_nulls() -> None:
    assert "null" not in json.dumps(reported_state(snapshot()))


def test_nothing_is_deployed_and_nothing_is_there() -> None:
    """Row R01: before the first reconcile."""
    state = reported_state(snapshot(deployment=None, current={}, outcome=Outcome(406), version=0))
    unknown = {"type": "Unknown", "status": "unknown", "runtimeStatus": "unknown"}
    assert state["lastDesiredStatus"] == {"code": 406, "description": ""}
    assert state["systemModules"] == {"edgeAgent": unknown, "edgeHub": unknown}
    assert state["modules"] == {}
    assert state["runtime"] == {"type": "Unknown", "platform": WHOLE["runtime"]["platform"]}  # type: ignore[index]


def test_the_engine_cannot_tell() -> None:
    """The system modules are unknown, the others are gone."""
    state = reported_state(snapshot(current=None, details={"edgeHub": "the engine does not answer"}))
    assert state["systemModules"]["edgeHub"] == {
        "type": "Unknown",
        "status": "unknown",
        "runtimeStatus": "unknown",
        "statusDescription": "the engine does not answer",
    }
    assert state["modules"] == {}
    assert state["runtime"]["type"] == "docker"


def test_a_container_that_is_not_in_the_deployment() -> None:
    current = {"stray": container("stray"), "edgeHub": container("edgeHub")}
    state = reported_state(snapshot(deployment=Deployment({}), current=current))
    stray = state["modules"]["stray"]
    assert (stray["status"], stray["restartPolicy"], stray["startupOrder"]) == ("unknown", "unknown", 0)
    assert stray["settings"]["image"] == "reg.example.net/stray:1"
    assert state["systemModules"]["edgeHub"]["status"] == "unknown"


def test_r14_the_agent_lacks_what_is_not_its_own() -> None:
    """Row R14."""
    agent = reported_state(snapshot())["systemModules"]["edgeAgent"]
    assert not agent.keys() & {"status", "restartPolicy", "restartCount", "lastRestartTimeUtc", "version"}


def test_r15_and_r16_the_hub() -> None:
    """Rows R15 and R16: no version, and no startupOrder as long as it is the default."""
    hub = reported_state(snapshot())["systemModules"]["edgeHub"]
    assert not hub.keys() & {"version", "startupOrder"}


def test_r18_only_known_states() -> None:
    """Row R18."""
    with pytest.raises(ValueError, match="downloading"):
        reported_state(snapshot(statuses={"sensor": "downloading"}))
    for status in RuntimeStatus:
        state = reported_state(snapshot(statuses={"sensor": status}))
        assert state["modules"]["sensor"]["runtimeStatus"] == status.value


def test_a_stopped_module_and_a_detail() -> None:
    stopped = replace(SENSOR, status=DesiredStatus.STOPPED, digest="sha256:2")
    modules = {**deployment().modules, "sensor": stopped}
    state = reported_state(
        snapshot(deployment=Deployment(modules), details={"sensor": "the image cannot be pulled: 401"})
    )
    sensor = state["modules"]["sensor"]
    assert (sensor["status"], sensor["settings"]["digest"]) == ("stopped", "sha256:2")
    assert sensor["statusDescription"] == "the image cannot be pulled: 401"


def test_secrets_are_hidden() -> None:
    secret = replace(
        HUB,
        env={
            "DB_PASSWORD": "geheim",
            "CS": "HostName=h;SharedAccessKey=geheim",
            "NAME": "plain",
            "TOKEN": "",
        },
        create_options={"Env": ["API_KEY=geheim", "A=b=c", "BARE", 5], "Labels": {"a": "b"}},
    )
    modules = {**deployment().modules, "edgeHub": secret}
    state = reported_state(snapshot(deployment=Deployment(modules, deployment().runtime)))
    text = json.dumps(state)
    assert "geheim" not in text
    hub = state["systemModules"]["edgeHub"]
    assert hub["env"]["NAME"] == {"value": "plain"}
    assert hub["env"]["TOKEN"] == {"value": ""}
    assert json.loads(hub["settings"]["createOptions"])["Env"] == ["API_KEY=***", "A=b=c", "BARE", 5]


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (None, NEVER),
        (AT_MS, "2026-08-01T10:00:00Z"),
        (AT_MS + 120, "2026-08-01T10:00:00.12Z"),
        (AT_MS + 7, "2026-08-01T10:00:00.007Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_r17_times(at_ms: int | None, text: str) -> None:
    """Row R17."""
    assert time_json(at_ms) == text


def test_m23_long_create_options_are_written_in_chunks() -> None:
    """Row M23: 512 characters each, and at most 100."""
    assert chunked("") == {"createOptions": ""}
    assert chunked("x" * PIECE_CHARS_MAX) == {"createOptions": "x" * PIECE_CHARS_MAX}
    text = "x" * PIECE_CHARS_MAX + "y" * PIECE_CHARS_MAX + "z"
    assert chunked(text) == {
        "createOptions": "x" * PIECE_CHARS_MAX,
        "createOptions01": "y" * PIECE_CHARS_MAX,
        "createOptions02": "z",
    }
    largest = chunked("x" * (PIECE_CHARS_MAX * PIECES_MAX))
    assert len(largest) == PIECES_MAX
    assert "createOptions99" in largest
    assert chunked("x" * (PIECE_CHARS_MAX * PIECES_MAX + 1)) == {"createOptions": "{}"}


def test_strings_that_no_twin_takes() -> None:
    assert clip("ü" * 2000) == "ü" * 2000
    cut = clip("ü" * 2001)
    assert cut.endswith("...")
    assert len(cut.encode()) <= VALUE_BYTES_MAX


def test_r11_when_the_rest_cannot_be_built() -> None:
    """Row R11."""
    assert failed_state(snapshot(), ValueError("odd")) == {
        "lastDesiredVersion": 11,
        "lastDesiredStatus": {"code": 500, "description": "The reported state cannot be built: odd"},
    }


@pytest.mark.parametrize("state", [{}, {"modules": 5}, {"modules": {"m": 5}, "systemModules": []}])
def test_modules_in_what_somebody_else_wrote(state: dict[str, Any]) -> None:
    assert modules_of(state) == []
