"""What the engine makes of `OptimizeForPerformance` and `mqttSettings__UsePooledBuffers`.

How the two settings reach it: `tests/unit/edgehub/test_hub_server.py`.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgehub import _core
from edgehub.metrics.core_totals import decode_core_totals
from testkit.hub_process import HubProcess
from testkit.wire import PUBACK, publish_packet

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB, MIB = 1024, 1024 * 1024
PAGE = Path(__file__).resolve().parents[2] / "docs/memory.md"
LARGE = {
    "pool_bytes_max": 4 * MIB,
    "read_bytes": 256 * KIB,
    "out_bytes_max": 512 * KIB,
    "tls_out_bytes_max": 64 * KIB,
    "batch_bytes_max": 256 * KIB,
    "batch_kept_bytes_max": 1 * MIB,
    "delivery_window_msgs": 1000,
    "upstream_window_msgs": 2000,
    "control_queue_max": 10_000,
    "control_queue_bytes_max": 8 * MIB,
    "requests_max": 100,
    "requests_bytes_max": 64 * KIB,
    "held_bytes_max": 64 * KIB,
    "unauthenticated_max": 1000,
    "connect_bytes_free": 8 * KIB,
    "connect_bytes_max": 1 * MIB,
    "segment_bytes": 64 * MIB,
    "tail_cache_bytes": 4 * MIB,
    "index_entries_max": 8_000_000,
    "spill_index_entries": 250_000,
    "spill_file_bytes": 16 * MIB,
    "spill_block_bytes": 64 * KIB,
    "spill_cache_bytes": 1 * MIB,
    "unsynced_bytes_max": 64 * MIB,
    "recycled_batches_max": 8,
    "recycled_batch_bytes_max": 256 * KIB,
    "write_bytes": 1 * MIB,
    "scratches_max": 4,
    "memory_bytes_max": 1024 * MIB,
}
SMALL = {
    "pool_bytes_max": 512 * KIB,
    "read_bytes": 256 * KIB,
    "out_bytes_max": 512 * KIB,
    "tls_out_bytes_max": 16 * KIB,
    "batch_bytes_max": 256 * KIB,
    "batch_kept_bytes_max": 512 * KIB,
    "delivery_window_msgs": 1000,
    "upstream_window_msgs": 2000,
    "control_queue_max": 2000,
    "control_queue_bytes_max": 1 * MIB,
    "requests_max": 100,
    "requests_bytes_max": 64 * KIB,
    "held_bytes_max": 64 * KIB,
    "unauthenticated_max": 200,
    "connect_bytes_free": 8 * KIB,
    "connect_bytes_max": 256 * KIB,
    "segment_bytes": 8 * MIB,
    "tail_cache_bytes": 256 * KIB,
    "index_entries_max": 500_000,
    "spill_index_entries": 65_536,
    "spill_file_bytes": 4 * MIB,
    "spill_block_bytes": 64 * KIB,
    "spill_cache_bytes": 128 * KIB,
    "unsynced_bytes_max": 4 * MIB,
    "recycled_batches_max": 4,
    "recycled_batch_bytes_max": 128 * KIB,
    "write_bytes": 256 * KIB,
    "scratches_max": 2,
    "memory_bytes_max": 32 * MIB,
}


@pytest.mark.parametrize(("low_memory", "pooled"), list(itertools.product((True, False), repeat=2)))
def test_low_memory_chooses_every_size_and_pooling_the_pool_alone(low_memory: bool, pooled: bool) -> None:
    engine = _core.Engine(edge_device_id="edge1", low_memory=low_memory, pooled_buffers=pooled)
    expected = SMALL if low_memory else LARGE
    assert engine.memory_budget() == {**expected, "pool_bytes_max": expected["pool_bytes_max"] * pooled}


def test_the_page_has_the_same_numbers() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: (large, small) for name, large, small in rows} == {
        name: (_shown(name, LARGE[name]), _shown(name, SMALL[name])) for name in LARGE
    }


def _shown(name: str, value: int) -> str:
    if "bytes" not in name:
        return f"{value:,}"
    for unit, size in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", KIB)):
        if value % size == 0:
            return f"{value // size} {unit}"
    raise AssertionError(name)


def _values(page: str, names: Iterable[str]) -> dict[str, float]:
    found = {}
    for name in names:
        match = re.search(rf"^edgehub_memory_{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE)
        assert match, name
        found[name] = float(match[1])
    return found


def test_what_is_kept_is_among_the_totals_and_on_the_metrics_page(tmp_path: Path) -> None:
    names = {"io_kept_bytes", "store_kept_bytes", "io_freed_bytes", "trims"}
    assert set(decode_core_totals(_core.Engine(edge_device_id="edge1").metrics()).memory) == names
    routes = {"up": "FROM /messages/* INTO $upstream"}
    with HubProcess(
        tmp_path, devices=["leaf"], modules=[], routes=routes, settings={"OptimizeForPerformance": "false"}
    ) as hub:
        client = hub.client("leaf")
        client.send(publish_packet("devices/leaf/messages/events/", b"x" * 100_000, 1))
        assert client.expect(PUBACK).acked == 1
        client.socket.close()
        values = _values(hub.metrics(), names)
        # Without a pool nothing but the batch of a turn is kept.
        assert values["io_kept_bytes"] < 2 * SMALL["batch_kept_bytes_max"]
        assert "UsePooledBuffers=False" in hub.log()
