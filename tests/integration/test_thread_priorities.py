"""Threads that carry messages come before those that answer for clients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from testkit.hub_process import HubProcess

SOURCES = Path(__file__).resolve().parents[2] / "python"
HIGHEST = 19


def nice_values(pid: int) -> dict[str, set[int]]:
    """Nice values by the name of the thread."""
    found: dict[str, set[int]] = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        name = (folder / "comm").read_text().strip()
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        found.setdefault(name, set()).add(int(fields[16]))
    return found


def test_only_the_threads_of_python_get_the_setting(tmp_path: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    settings = {"ControlPlaneNice": str(HIGHEST), "StoreSync": "group"}
    with HubProcess(tmp_path, devices=["leaf"], modules=[], routes={}, settings=settings) as hub:
        values = nice_values(hub.pid)
        io = {value for name, found in values.items() if name.startswith("edgehub-io") for value in found}
        assert io == {own}
        store = {value for name, found in values.items() if "store" in name for value in found}
        assert store == {own}, values
        assert os.getpriority(os.PRIO_PROCESS, hub.pid) == HIGHEST, "the thread of the event loop"
        hub.metrics()
        values = nice_values(hub.pid)
        python = {value for name, found in values.items() if "python" in name for value in found}
        assert python == {HIGHEST}, "those that were started later, too"


def test_a_lower_value_than_that_of_the_process_changes_nothing() -> None:
    code = (
        "import os\n"
        "from edgehub.common.priority import lower_python_threads\n"
        "os.nice(7)\n"
        "lower_python_threads(0)\n"
        "low = os.getpriority(os.PRIO_PROCESS, 0)\n"
        "lower_python_threads(19)\n"
        "print(low, os.getpriority(os.PRIO_PROCESS, 0))\n"
    )
    own = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, HIGHEST)
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert output.split() == [str(own), str(HIGHEST)]
