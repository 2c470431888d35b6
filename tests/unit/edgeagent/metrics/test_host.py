"""What the machine says of itself (agent spec 3.9)."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.metrics.host import (
    DISKS_MAX,
    Disk,
    HostSample,
    Mount,
    host_cpu_percent,
    parse_cpu,
    parse_memory,
    parse_mounts,
    parse_uptime,
    read_host,
)

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = "MemTotal:        4000 kB\nMemFree:          500 kB\nMemAvailable:    1000 kB\n"
STAT = "cpu  10 1 20 100 9 3 2 5 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
MOUNTS = """overlay / overlay rw 0 0
proc /proc proc rw 0 0
/dev/sda1 /etc/hosts ext4 rw 0 0
/dev/sda1 /var/lib/with\\040space ext4 rw 0 0
/dev/loop3 /snap/x squashfs ro 0 0
/dev/mmcblk0p2 /data vfat rw 0 0
"""


def test_what_the_files_say() -> None:
    assert parse_uptime("12345.67 23456.78\n") == 12345.67
    assert parse_memory(MEMORY) == (3000 * 1024, 4000 * 1024)
    assert parse_cpu(STAT) == (41, 150)
    assert parse_cpu("cpu 1 2 3 4 5 6 7\n") == (19, 28)


def test_one_mount_of_each_device() -> None:
    assert parse_mounts(MOUNTS) == [
        Mount("/dev/sda1", "/etc/hosts", "ext4"),
        Mount("/dev/mmcblk0p2", "/data", "vfat"),
    ]
    assert parse_mounts("/dev/sdb1 /my\\040disk\\134x ext4 rw 0 0") == [
        Mount("/dev/sdb1", "/my disk\\x", "ext4")
    ]


def test_without_a_device_the_root_is_shown() -> None:
    assert parse_mounts("overlay / overlay rw 0 0\nproc /proc proc rw 0 0\nbad line\n") == [
        Mount("overlay", "/", "overlay")
    ]


def test_disks_are_bounded() -> None:
    text = "".join(f"/dev/sd{number} /d{number} ext4 rw 0 0\n" for number in range(DISKS_MAX + 1))
    assert len(parse_mounts(text)) == DISKS_MAX


@pytest.mark.parametrize(
    ("busy", "total", "expected"), [(25, 100, 25.0), (0, 100, 0.0), (100, 100, 100.0), (-1, 100, None),
                                    (101, 100, None), (1, 0, None), (1, -5, None)],
)  # fmt: skip
def test_share_of_the_processors(busy: int, total: int, expected: float | None) -> None:
    before = HostSample(cpu_busy=1000, cpu_total=5000)
    now = HostSample(cpu_busy=1000 + busy, cpu_total=5000 + total)
    assert host_cpu_percent(before, now) == expected


@given(st.text(max_size=60) | st.sampled_from([MEMORY, STAT, MOUNTS]), st.integers(0, 200))
def test_no_text_breaks_it(text: str, length: int) -> None:
    cut = text[:length]
    assert parse_uptime(cut) >= 0
    used, total = parse_memory(cut)
    assert 0 <= used <= total
    assert isinstance(parse_cpu(cut), tuple)
    parse_mounts(cut)


def _proc(folder: Path) -> Path:
    (folder / "self").mkdir(parents=True)
    (folder / "uptime").write_text("100.5 200.0\n")
    (folder / "meminfo").write_text(MEMORY)
    (folder / "stat").write_text(STAT)
    (folder / "self/mounts").write_text(f"/dev/sda1 {folder} ext4 rw 0 0\n/dev/sdb1 /not/there ext4 rw 0 0\n")
    return folder


@pytest.mark.parametrize(("rotational", "kind"), [("0", "SSD"), ("1", "HDD"), (None, "Unknown")])
def test_the_whole_machine(tmp_path: Path, rotational: str | None, kind: str) -> None:
    proc = _proc(tmp_path / "proc")
    device = os.stat(proc).st_dev
    queue = tmp_path / "sys/dev/block" / f"{os.major(device)}:{os.minor(device)}" / "queue"
    if rotational is not None:
        queue.mkdir(parents=True)
        (queue / "rotational").write_text(f"{rotational}\n")

    def statvfs(folder: str) -> Any:
        if folder != str(proc):
            raise FileNotFoundError(folder)
        return SimpleNamespace(f_blocks=100, f_bavail=40, f_frsize=4096)

    disk = Disk("/dev/sda1", "ext4", kind, 40 * 4096, 100 * 4096)
    expected = HostSample(100.5, 3000 * 1024, 4000 * 1024, 41, 150, (disk,))
    assert read_host(proc, tmp_path / "sys", statvfs) == expected


def test_nothing_to_read(tmp_path: Path) -> None:
    assert read_host(tmp_path, tmp_path) == HostSample()


def test_this_machine() -> None:
    sample = read_host()
    assert sample.uptime_s > 0
    assert 0 < sample.memory_used_bytes < sample.memory_total_bytes
    assert 0 < sample.cpu_busy < sample.cpu_total
