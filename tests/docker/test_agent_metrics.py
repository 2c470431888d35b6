"""Metrics of the agent on a real engine (rows X17, X18)."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testkit.agent_process import agent_on, deployment, module

if TYPE_CHECKING:
    from pathlib import Path

    from testkit.docker_engine import Dockerd

pytestmark = pytest.mark.timeout(180)

CHECKPOINT = "state/availability/avaliability.checkpoint"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Page:
    """What one agent shows."""

    def __init__(self) -> None:
        self.port = _free_port()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; 0 while nobody is there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def value(self, name: str, **labels: str) -> float | None:
        """Of the one metric with this name and these labels, among others."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == f"edgeAgent_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


def test_x17_x18_what_modules_take_and_how_often_they_crash(
    dockerd: Dockerd, image: str, tmp_path: Path
) -> None:
    page = Page()
    dockerd.add_image("failing:1", "f", "exit 3")
    settings = {"PerformanceMetricsUpdateFrequency": "00:00:05", "CoolOffTimeUnitInSeconds": "1"}
    with agent_on(dockerd, tmp_path, None, host="127.0.0.1", port=str(page.port), **settings) as agent:
        agent.deploy(deployment({"ax": module(), "bad": module("failing:1")}))
        agent.start()
        agent.until(lambda: page.get("/healthz") == (200, '{"status": "ok", "engine": "ok"}'))
        agent.until(lambda: (page.value("module_restarts_total", module_name="bad") or 0) >= 2)
        agent.until(lambda: page.value("used_cpu_percent_count", module_name="ax"))
        assert page.value("module_start_total", module_name="ax") == 2
        assert (page.value("command_latency_seconds_count", command="create") or 0) >= 2
        ax = {"module_name": "ax", "ms_telemetry": "False"}
        assert (page.value("used_memory_bytes", **ax) or 0) > 0
        assert (page.value("created_pids_total", **ax) or 0) >= 1
        assert (page.value("total_time_running_correctly_seconds", **ax) or 0) > 0
        host = {"module_name": "host", "ms_telemetry": "True"}
        assert (page.value("used_memory_bytes", **host) or 0) > 0
        assert (page.value("deployment_time_seconds_count") or 0) >= 1
        agent.kill()
        assert (agent.home / CHECKPOINT).exists()
        agent.start()
        agent.until(lambda: page.get("/healthz")[0] == 200)
        times = [page.value(f"total_time_{what}_seconds", module_name="edgeAgent")
                 for what in ("running_correctly", "expected_running")]  # fmt: skip
        assert (times[0] or 0) < (times[1] or 0)
        assert agent.stop() == 0
        assert not (agent.home / CHECKPOINT).exists()
