"""How fast edgeAgent brings modules up and back, and what it takes while it idles, on a real engine.

An engine of its own is started, as root; the images are there already. Bars: ten modules run in less than
five seconds after the start of the agent, a crashed module is back in less than two, and with twenty modules
the agent takes less than 45 MB and half a percent of a core.

    bench/agent.py --output bench/results/agent.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from testkit.agent_process import AgentProcess, agent_on, deployment, module
from testkit.docker_engine import running_dockerd

if TYPE_CHECKING:
    from testkit.docker_engine import Dockerd

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SETTLE_S = 15.0


def modules(count: int) -> dict[str, object]:
    """A deployment of so many."""
    return deployment({f"module{number}": module() for number in range(count)})


def time_to_running_s(agent: AgentProcess, count: int) -> float:
    """From the start of the process to the last module."""
    agent.deploy(modules(count))
    began_s = time.monotonic()
    agent.start()
    agent.until(lambda: len(agent.running()) == count)
    return time.monotonic() - began_s


def time_to_recover_s(agent: AgentProcess, name: str) -> float:
    """From the end of a module to its next start."""
    path = f"/containers/{name}/json"
    before = agent.dockerd.get(path)["State"]["StartedAt"]
    began_s = time.monotonic()
    agent.dockerd.call("POST", f"/containers/{name}/kill")
    agent.until(lambda: agent.dockerd.get(path)["State"]["StartedAt"] != before)
    return time.monotonic() - began_s


def rss_mb(pid: int) -> float:
    """Resident memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """CPU time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def idle(agent: AgentProcess, seconds: float) -> tuple[float, float]:
    """Memory in MB, and CPU in percent of a core."""
    time.sleep(SETTLE_S)
    before_s = cpu_s(agent.pid)
    time.sleep(seconds)
    return rss_mb(agent.pid), (cpu_s(agent.pid) - before_s) / seconds * 100


def measure(dockerd: Dockerd, repeats: int, idle_s: float) -> dict[str, float]:
    """All bars."""
    dockerd.add_image("sensor:1")
    up_s, back_s = [], []
    for number in range(repeats):
        with tempfile.TemporaryDirectory() as folder, agent_on(dockerd, Path(folder)) as agent:
            up_s.append(time_to_running_s(agent, 10))
            back_s.append(time_to_recover_s(agent, f"module{number % 10}"))
            agent.stop()
        dockerd.remove_all()
    with tempfile.TemporaryDirectory() as folder, agent_on(dockerd, Path(folder)) as agent:
        time_to_running_s(agent, 20)
        memory_mb, cpu_percent = idle(agent, idle_s)
        agent.stop()
    return {
        "ten_modules_running_s": round(statistics.median(up_s), 2),
        "crashed_module_back_s": round(statistics.median(back_s), 2),
        "idle_20_modules_rss_mb": round(memory_mb, 1),
        "idle_20_modules_cpu_percent": round(cpu_percent, 2),
    }


BARS = {
    "ten_modules_running_s": 5.0,
    "crashed_module_back_s": 2.0,
    "idle_20_modules_rss_mb": 45.0,
    "idle_20_modules_cpu_percent": 0.5,
}


def main() -> int:
    """Measures, prints, and writes the result; the exit code tells whether all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="starts and crashes (%(default)s)")
    parser.add_argument("--idle-s", type=float, default=60.0, help="how long it idles (%(default)s)")
    parser.add_argument("--output", type=Path, help="file for the result as JSON")
    given = parser.parse_args()
    with running_dockerd() as dockerd:
        version = dockerd.get("/version")["Version"]
        found = measure(dockerd, given.repeats, given.idle_s)
    for name, value in found.items():
        verdict = "ok" if value < BARS[name] else "NOT REACHED"
        sys.stdout.write(f"{name}: {value} (bar: below {BARS[name]}): {verdict}\n")
    result = {"engine": version, "machine": platform.machine(), "python": platform.python_version()}
    if given.output:
        given.output.write_text(json.dumps({**result, "bars": BARS, "measured": found}, indent=2) + "\n")
    return 0 if all(value < BARS[name] for name, value in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
