"""Telemetry does not need Python: acknowledgements and deliveries go on while it is blocked.

The engine runs in this process. The test holds the interpreter lock for two seconds in a call that does not
release it, so that no Python of this process can run, on any thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from edgehub import _core

BLOCKED_S = 2.0
MARGIN_S = 0.2
"""Taken off both ends of the blocked time: what was under way when it began does not count."""
EACH_MIN = 100
"""Messages that must have made it meanwhile; thousands do on an idle machine."""

HERE = Path(__file__).resolve().parent
ROUTE = 'FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")'


def _answer(engine: _core.Engine) -> None:
    for event in engine.next_events():
        if isinstance(event, _core.ConnectEvent):
            device, _, module = event.client_id.partition("/")
            grants = _core.Grants(
                device_id=device,
                module_id=module or None,
                telemetry_topics=[f"devices/{device}/messages/events"],
                inputs_endpoint_prefix=f"{device}/{module}/" if module else None,
                inputs_topic_prefixes=[f"devices/{device}/modules/{module}/inputs/"] if module else [],
            )
            engine.accept(event.conn, grants, session_present=False)
        elif isinstance(event, _core.SubscribeEvent):
            filters = [(text, 1, 0) for text, _ in event.filters]
            engine.suback(event.conn, event.packet_id, b"\x01", filters, inputs_active=True)


def _start_clients(port: int) -> subprocess.Popen[str]:
    paths = [str(HERE.parents[1] / "python"), str(HERE.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(HERE / "blocked_clients.py"), str(port), str(BLOCKED_S + 2)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _hold_interpreter_lock(seconds: float) -> tuple[float, float]:
    """Sleeps in C with the lock held."""
    begin = time.monotonic()
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return begin, time.monotonic()


async def test_acks_and_deliveries_go_on_while_python_is_blocked(tmp_path: Path) -> None:
    engine = _core.Engine(edge_device_id="edge1", storage_dir=str(tmp_path), sync="none")
    engine.start()
    asyncio.get_running_loop().add_reader(engine.event_fd(), _answer, engine)
    try:
        engine.set_routes([("r", ROUTE, None, 0)], default_ttl_secs=60)
        _, port = engine.listen("127.0.0.1", 0)
        clients = _start_clients(port)
        assert clients.stdout is not None
        assert await asyncio.to_thread(clients.stdout.readline) == "ready\n"
        await asyncio.sleep(0.3)
        begin, end = _hold_interpreter_lock(BLOCKED_S)
        output, _ = await asyncio.to_thread(clients.communicate)
    finally:
        asyncio.get_running_loop().remove_reader(engine.event_fd())
        engine.stop(1000)
    assert clients.returncode == 0
    times = json.loads(output)
    for kind in ("acks", "deliveries"):
        meanwhile = [at for at in times[kind] if begin + MARGIN_S < at < end - MARGIN_S]
        assert len(meanwhile) >= EACH_MIN, f"{len(meanwhile)} {kind} in {end - begin:.1f} s"
