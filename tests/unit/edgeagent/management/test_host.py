"""What the kernel says (agent spec 7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.management.host import (
    CpuTimes,
    HostMeter,
    cpu_percent,
    parse_cpu_times,
    parse_memory,
    parse_mounts,
    this_host,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_processors() -> None:
    before = parse_cpu_times("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2 3\n")
    assert before == CpuTimes(150, 1000)
    assert cpu_percent(before, CpuTimes(200, 1200)) == 25.0
    assert cpu_percent(before, before) == 0.0


def test_memory() -> None:
    assert parse_memory("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n") == (614_400, 1_024_000)
    assert parse_memory("") == (0, 0)


def test_mounts() -> None:
    text = "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw\n/dev/sda1 /b ext4 rw\n/dev/sdb /a\\040b xfs rw 0 0\n"
    assert parse_mounts(text) == [("/dev/sda1", "/", "ext4"), ("/dev/sdb", "/a b", "xfs")]


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for read in (parse_cpu_times, parse_memory, parse_mounts):
        read(text)


def test_the_meter_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 0 900\n")
    (tmp_path / "meminfo").write_text("MemTotal: 8 kB\nMemAvailable: 2 kB\n")
    (tmp_path / "uptime").write_text("4711.20 1.0\n")
    (tmp_path / "mounts").write_text(f"/dev/x {tmp_path} ext4 rw 0 0\n/dev/y /is/gone ext4 rw 0 0\n")
    meter = HostMeter(tmp_path)
    (tmp_path / "stat").write_text("cpu  150 0 0 950\n")
    found = meter.resources()
    assert (found["host_uptime"], found["used_cpu"], found["used_ram"], found["total_ram"]) == (
        4711,
        50.0,
        6144,
        8192,
    )
    assert [disk["name"] for disk in found["disks"]] == ["/dev/x"]
    assert found["disks"][0]["total_space"] > 0


def test_a_machine_without_such_files(tmp_path: Path) -> None:
    found = HostMeter(tmp_path / "none").resources()
    assert (found["host_uptime"], found["total_ram"], found["disks"]) == (0, 0, [])
    assert this_host().kernel == "Linux"
