"""The page of metrics: names, labels and their order (rows X17, X18)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from edgeagent.metrics.agent_metrics import AgentMetrics, Metadata, MetricsSettings, metadata_of
from edgeagent.metrics.collector import AgentCollector
from edgeagent.metrics.host import Disk, HostSample
from edgeagent.metrics.resources import ModuleSample
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.model.module import Deployment, Module
from edgeagent.planner.steps import Create, Pull, Start, Stop
from edgeagent.reconcile.ports import Snapshot
from edgeagent.report.outcome import Outcome
from edgeagent.runtime.stats import ContainerStats
from edgeagent.runtime.system import SystemInfo

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

BASE = 'iothub="hub1.example.net",edge_device="d1",instance_number="I"'
SENSOR, HUB = Module("sensor", "s:1", version="1.0"), Module("edgeHub", "h:1")

EXPECTED = """\
edgeAgent_total_time_running_correctly_seconds{BASE,module_name="edgeAgent",ms_telemetry="True"} 10.0
edgeAgent_total_time_running_correctly_seconds{BASE,module_name="edgeHub",ms_telemetry="True"} 0.0
edgeAgent_total_time_running_correctly_seconds{BASE,module_name="sensor",ms_telemetry="False"} 10.0
edgeAgent_total_time_expected_running_seconds{BASE,module_name="edgeAgent",ms_telemetry="True"} 10.0
edgeAgent_total_time_expected_running_seconds{BASE,module_name="edgeHub",ms_telemetry="True"} 10.0
edgeAgent_total_time_expected_running_seconds{BASE,module_name="sensor",ms_telemetry="False"} 10.0
edgeAgent_unsuccessful_iothub_syncs_total{BASE,ms_telemetry="True"} 1.0
edgeAgent_iothub_syncs_total{BASE,ms_telemetry="True"} 2.0
edgeAgent_deployment_time_seconds{BASE,ms_telemetry="True",quantile="0.1"} 4.0
edgeAgent_deployment_time_seconds{BASE,ms_telemetry="True",quantile="0.5"} 4.0
edgeAgent_deployment_time_seconds{BASE,ms_telemetry="True",quantile="0.9"} 4.0
edgeAgent_deployment_time_seconds{BASE,ms_telemetry="True",quantile="0.99"} 4.0
edgeAgent_deployment_time_seconds_sum{BASE,ms_telemetry="True"} 4.0
edgeAgent_deployment_time_seconds_count{BASE,ms_telemetry="True"} 1.0
edgeAgent_module_start_total{BASE,module_name="sensor",module_version="1.0",ms_telemetry="True"} 2.0
edgeAgent_module_stop_total{BASE,module_name="sensor",module_version="1.0",ms_telemetry="True"} 1.0
edgeAgent_module_prepare_update_total{BASE,module_name="sensor",module_version="1.0",ms_telemetry="True"} 1.0
edgeAgent_command_latency_seconds{BASE,command="stop",ms_telemetry="True",quantile="0.9"} 0.5
edgeAgent_command_latency_seconds_sum{BASE,command="stop",ms_telemetry="True"} 0.5
edgeAgent_command_latency_seconds_count{BASE,command="prepareUpdate",ms_telemetry="True"} 1.0
edgeAgent_iotedged_uptime_seconds{BASE,ms_telemetry="True"} 20.0
edgeAgent_host_uptime_seconds{BASE,ms_telemetry="True"} 77.0
edgeAgent_available_disk_space_bytes{BASE,disk_name="/dev/sda1",disk_filesystem="ext4",disk_filetype="SSD",ms_telemetry="True"} 5.0
edgeAgent_total_disk_space_bytes{BASE,disk_name="/dev/sda1",disk_filesystem="ext4",disk_filetype="SSD",ms_telemetry="True"} 9.0
edgeAgent_used_memory_bytes{BASE,module_name="host",ms_telemetry="True"} 300.0
edgeAgent_used_memory_bytes{BASE,module_name="edgeHub",ms_telemetry="True"} 3.0
edgeAgent_used_memory_bytes{BASE,module_name="sensor",ms_telemetry="False"} 3.0
edgeAgent_total_memory_bytes{BASE,module_name="host",ms_telemetry="True"} 400.0
edgeAgent_total_memory_bytes{BASE,module_name="edgeHub",ms_telemetry="True"} 4.0
edgeAgent_total_memory_bytes{BASE,module_name="sensor",ms_telemetry="False"} 4.0
edgeAgent_used_cpu_percent{BASE,module_name="host",ms_telemetry="True",quantile="0.9"} 50.0
edgeAgent_used_cpu_percent{BASE,module_name="edgeHub",ms_telemetry="True",quantile="0.9"} 10.0
edgeAgent_used_cpu_percent{BASE,module_name="sensor",ms_telemetry="False",quantile="0.9"} 10.0
edgeAgent_used_cpu_percent_sum{BASE,module_name="sensor",ms_telemetry="False"} 10.0
edgeAgent_used_cpu_percent_count{BASE,module_name="sensor",ms_telemetry="False"} 1.0
edgeAgent_created_pids_total{BASE,module_name="edgeHub",ms_telemetry="False"} 5.0
edgeAgent_total_network_in_bytes{BASE,module_name="sensor",ms_telemetry="False"} 6.0
edgeAgent_total_network_out_bytes{BASE,module_name="sensor",ms_telemetry="False"} 7.0
edgeAgent_total_disk_read_bytes{BASE,module_name="sensor",ms_telemetry="False"} 8.0
edgeAgent_total_disk_write_bytes{BASE,module_name="sensor",ms_telemetry="False"} 9.0
edgeAgent_metadata{BASE,edge_agent_version="1.2",experimental_features="{}",host_information="{\\"os\\":1}",ms_telemetry="True"} 0.0
edgeagent_direct_method_invocations_count{method_name="ping"} 1.0
edgeAgent_module_restarts_total{BASE,module_name="sensor",ms_telemetry="False"} 1.0
edgeAgent_quality_telemetry_events_total{BASE,event="messages",ms_telemetry="False"} 3.0
"""  # noqa: E501 - lines of the page

TYPES = {
    "edgeAgent_total_time_running_correctly_seconds": "gauge",
    "edgeAgent_iothub_syncs_total": "counter",
    "edgeAgent_deployment_time_seconds": "summary",
    "edgeAgent_module_start_total": "counter",
    "edgeAgent_used_cpu_percent": "summary",
    "edgeAgent_created_pids_total": "gauge",
    "edgeAgent_metadata": "gauge",
    "edgeagent_direct_method_invocations_count": "counter",
}


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _snapshot() -> Snapshot:
    current = {"sensor": CurrentModule("sensor", "s:1", RuntimeStatus.RUNNING, container_id="c1")}
    return Snapshot(Outcome(200), 1, Deployment({"sensor": SENSOR, "edgeHub": HUB}), current)


def _full() -> AgentMetrics:
    clock = Clock()
    metadata = Metadata("1.2", "{}", '{"os":1}')
    metrics = AgentMetrics(MetricsSettings("hub1.example.net", "d1", metadata=metadata), clock)
    metrics.publish(_snapshot())
    clock.now_s += 10
    metrics.publish(_snapshot())
    totals = metrics.totals
    totals.synced(failed=False)
    totals.synced(failed=True)
    for step in (Pull(SENSOR), Create(SENSOR), Start("sensor"), Start("sensor", counts=True), Stop("sensor")):
        totals.step_ended(step, 0.5, failed=False)
    totals.work_ended(4.0)
    totals.method_called("ping")
    for busy, total in ((0, 0), (50, 100)):
        disk = Disk("/dev/sda1", "ext4", "SSD", 5, 9)
        metrics.resources.take_host(HostSample(77, 300, 400, busy, total, (disk,)), clock())
        stats = ContainerStats(busy, total * 5, 3, 4, 5, 6, 7, 8, 9)
        metrics.resources.take_modules({name: ModuleSample("c1", stats) for name in ("sensor", "edgeHub")}, 0)
    metrics.quality_events = lambda: {"messages": 3}
    clock.now_s += 10
    return metrics


def _page(metrics: AgentMetrics) -> str:
    return metrics.render().decode().replace(metrics.base.instance_number, "I")


def test_x17_x18_the_whole_page() -> None:
    page = _page(_full()).splitlines()
    for line in EXPECTED.replace("BASE", BASE).splitlines():
        assert line in page
    assert {name: kind for name, kind in TYPES.items() if f"# TYPE {name} {kind}" in page} == TYPES


def test_x17_no_metric_is_left_out_of_the_table_above() -> None:
    families = {line.split()[2] for line in _page(_full()).splitlines() if line.startswith("# TYPE")}
    expected = {line.partition("{")[0] for line in EXPECTED.splitlines()}
    of_summaries = {f"{name}{end}" for name in expected for end in ("_sum", "_count")}
    assert families == expected - of_summaries


def test_the_page_can_be_parsed_and_the_library_shows_the_same() -> None:
    metrics = _full()
    ours = _values(metrics.render())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AgentCollector(metrics))
    assert ours == _values(generate_latest(registry))
    assert len(ours) > 60


def _values(page: bytes) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    # The parser names counters in its own way, and the library shows no counter without its suffix.
    samples = [sample for sample in _samples(page.decode()) if not sample.name.startswith("edgeagent_")]
    return {(sample.name, tuple(sorted(sample.labels.items())), sample.value) for sample in samples}


def _samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def test_a_new_agent_has_a_page_without_values_that_are_not_there() -> None:
    metrics = AgentMetrics(MetricsSettings("h", "d"), lambda: 1.0)
    page = metrics.render().decode()
    assert "edgeAgent_iothub_syncs_total" in page
    assert "host_uptime" not in page
    assert "module_start" not in page


def test_each_process_has_its_own_number() -> None:
    numbers = {AgentMetrics(MetricsSettings("h", "d")).base.instance_number for _ in range(2)}
    assert len(numbers) == 2


def test_what_the_engine_says_is_metadata() -> None:
    metrics = AgentMetrics(MetricsSettings("h", "d"), lambda: 1.0)
    metrics.metadata = metadata_of("1.2", SystemInfo(kernel="Linux", processors=4, memory_bytes=5))
    (sample,) = [one for one in _samples(metrics.render().decode()) if one.name == "edgeAgent_metadata"]
    assert (sample.value, sample.labels["edge_agent_version"]) == (0, "1.2")
    assert json.loads(sample.labels["host_information"]) == {
        "kernel": "Linux",
        "architecture": "",
        "server_version": "",
        "kernel_version": "",
        "operating_system": "",
        "cpus": 4,
        "total_memory": 5,
    }


def test_every_metric_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[4] / "docs/agent-metrics.md").read_text()
    names = {line.split()[2] for line in _page(_full()).splitlines() if line.startswith("# TYPE")}
    assert {name for name in names if f"`{name.removeprefix('edgeAgent_')}`" not in page} == set()


def test_labels_are_escaped() -> None:
    metrics = AgentMetrics(MetricsSettings("h", 'd"1\\2\n3'), lambda: 1.0)
    page = metrics.render().decode()
    assert r'edge_device="d\"1\\2\n3"' in page
    assert {sample.labels["edge_device"] for sample in _samples(page)} == {'d"1\\2\n3'}


def test_a_module_whose_container_is_gone_leaves_the_page() -> None:
    metrics = _full()
    assert 'used_cpu_percent_count{BASE,module_name="edgeHub"'.replace("BASE", BASE) in _page(metrics)
    metrics.publish(_snapshot())
    assert 'used_cpu_percent_count{BASE,module_name="edgeHub"'.replace("BASE", BASE) not in _page(metrics)
    assert 'used_cpu_percent_count{BASE,module_name="host"'.replace("BASE", BASE) in _page(metrics)


def test_which_modules_run_is_known_also_while_the_engine_is_away() -> None:
    metrics = AgentMetrics(MetricsSettings("h", "d"), lambda: 1.0)
    assert metrics.running() == {}
    metrics.publish(_snapshot())
    assert metrics.running() == {"sensor": "c1"}
    assert metrics.healthz() == (200, {"status": "ok", "engine": "ok"})
    metrics.publish(Snapshot(Outcome(500), 1, None, None))
    assert metrics.running() == {"sensor": "c1"}
    assert metrics.healthz()[1]["engine"] == "does not answer"


def test_what_costs_memory_is_imported_with_the_first_page_or_never() -> None:
    program = (
        "import sys\n"
        "import edgeagent.metrics.service\n"
        "from edgeagent.metrics.agent_metrics import AgentMetrics, MetricsSettings\n"
        "metrics = AgentMetrics(MetricsSettings('h', 'd'))\n"
        "assert 'prometheus_client' not in sys.modules\n"
        "assert 'aiohttp.web' not in sys.modules\n"
        "metrics.render()\n"
        "assert 'prometheus_client' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
