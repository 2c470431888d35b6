#!/usr/bin/env python3
"""Resident memory of an idle hub: started with its parent hub connected, left alone, then scraped once.

Run by `make memory`; prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions

SETTLE_S = 10.0
FIELDS = ("VmRSS", "VmHWM", "RssAnon", "RssFile")


def memory_kib(pid: int) -> dict[str, int]:
    """Fields of /proc/<pid>/status in KiB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {parts[0][:-1]: int(parts[1]) for parts in lines if parts and parts[0][:-1] in FIELDS}


async def measure() -> dict[str, dict[str, int]]:
    """Idle, and after the first scrape, which loads what only metrics need."""
    async with Stack(StackOptions(devices=("leaf",), mqtt_port=0)) as stack:
        await asyncio.sleep(SETTLE_S)
        pid = stack.hub.pid
        if pid is None:
            raise RuntimeError("the hub does not run")
        idle = memory_kib(pid)
        await stack.metrics_text()
        return {"idle_kib": idle, "after_scrape_kib": memory_kib(pid)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measure()), indent=1) + "\n")
