"""The demo and its stack with real processes and sockets, on loopback addresses of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgehub.demo.errors import ChildError, PortError
from edgehub.demo.hub_metrics import parse_metrics
from edgehub.demo.ports import check_port, claim_hub_host, free_port, port_or_free
from edgehub.demo.processes import Child
from edgehub.demo.relay import Relay, RelayPort
from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

HOST = "127.0.0.9"
SOURCES = Path(__file__).resolve().parents[2] / "python"
PATIENCE_S = 30.0


def alive(pid: int | None) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


# Relay


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets, and ends when the client ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def relay(echo: int) -> AsyncIterator[Relay]:
    relay = Relay([RelayPort(HOST, 0, HOST, echo)])
    await relay.restore()
    yield relay
    await relay.cut()


async def test_the_relay_carries_both_ways_and_passes_the_end_on(relay: Relay) -> None:
    reader, writer = await asyncio.open_connection(HOST, relay.ports[0].port)
    sent = os.urandom(3_000_000)

    async def send() -> None:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    assert await reader.read(-1) == sent
    await sending
    writer.close()
    await until(lambda: relay.connections == 0)


async def test_a_cut_resets_and_refuses_until_restored(relay: Relay) -> None:
    port = relay.ports[0].port
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    assert (relay.connections, relay.is_cut) == (1, False)
    await relay.cut()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
    assert (relay.connections, relay.is_cut) == (0, True)
    await relay.restore()
    assert relay.ports[0].port == port
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"
    writer.close()


async def test_a_relay_whose_target_is_gone_resets() -> None:
    relay = Relay([RelayPort(HOST, 0, HOST, free_port(HOST))])
    await relay.restore()
    reader, _ = await asyncio.open_connection(HOST, relay.ports[0].port)
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    await relay.cut()


# Ports


def test_a_busy_port_is_told() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=f"cannot listen on {HOST}:{port}: another program listens there"):
            check_port(HOST, port)


def test_another_address_is_taken_when_the_first_is_busy_or_claimed() -> None:
    port = free_port("127.0.0.2")
    with socket.create_server(("127.0.0.2", port)):
        second, claim = claim_hub_host(port)
        with claim:
            third, other = claim_hub_host(port)
            other.close()
    with claim_hub_host(port)[1]:
        assert (second, third) == ("127.0.0.12", "127.0.0.22")


def test_the_usual_port_is_taken_unless_it_is_busy() -> None:
    port = free_port(HOST)
    assert port_or_free(HOST, port) == port
    with socket.create_server((HOST, port)):
        assert port_or_free(HOST, port) != port


def test_a_program_on_all_addresses_is_told() -> None:
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=rf"port {port} is taken .*`ss -ltnp"):
            claim_hub_host(port)


# Child processes


def child(code: str, log: Path, **more: object) -> Child:
    return Child("helper", [sys.executable, "-c", code], {"COLOUR": "blue"}, log, **more)  # type: ignore[arg-type]


async def test_a_child_ends_when_asked(tmp_path: Path) -> None:
    helper = child(
        "import os, time; print(os.environ['COLOUR'], flush=True); time.sleep(60)", tmp_path / "log"
    )
    await helper.start()
    await until(lambda: (tmp_path / "log").read_text() == "blue\n")
    assert helper.pid is not None
    with pytest.raises(ChildError, match="helper is running already"):
        await helper.start()
    assert await helper.stop() == -signal.SIGTERM
    assert not helper.running
    assert not alive(helper.pid)
    assert await helper.stop() == -signal.SIGTERM


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    helper = child(code, tmp_path / "log")
    await helper.start()
    await until(lambda: (tmp_path / "log").read_text() == "on\n")
    assert await helper.stop(grace_s=0.2) == -signal.SIGKILL


async def test_a_child_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    faults: list[ChildError] = []
    helper = child("raise SystemExit('no more disk')", tmp_path / "log", on_fault=faults.append)
    await helper.start()
    await until(lambda: bool(faults))
    assert str(faults[0]) == (
        f"helper ended unexpectedly with exit code 1: no more disk (log: {tmp_path / 'log'})"
    )


async def test_a_child_that_dies_before_it_is_ready(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    helper = child("raise SystemExit(3)", tmp_path / "log", ready=never)
    with pytest.raises(ChildError, match="helper ended before it was ready with exit code 3"):
        await helper.start()


async def test_a_program_that_is_missing(tmp_path: Path) -> None:
    helper = Child("helper", [str(tmp_path / "nothing")], {}, tmp_path / "log")
    with pytest.raises(ChildError, match="helper cannot be started: No such file"):
        await helper.start()
    assert await helper.stop() is None


# The stack

SMALL = StackOptions(
    hub_host="127.0.1.2",
    mqtt_port=0,
    iothub_host="127.0.1.3",
    uplink_host="127.0.1.4",
    uplink_amqp_port=0,
    uplink_https_port=0,
    devices=("leaf",),
)


async def test_the_stack_comes_up_and_its_hub_comes_back_at_the_same_place_after_a_kill() -> None:
    async with Stack(SMALL) as stack:
        folder = stack.folder
        assert folder.stat().st_mode & 0o777 == 0o700
        pids = [stack.iothub.pid, stack.hub.pid]
        assert None not in pids
        assert stack.connection_string("leaf").endswith(";GatewayHostName=127.0.1.2")
        made = await stack.create_device("later")
        assert made.scope == stack.identities["gateway"].scope
        assert (await stack.metrics()) is not None
        await until(lambda: stack.relay.connections > 0)
        assert await stack.hub.kill() == -signal.SIGKILL
        assert await stack.metrics() is None
        await stack.hub.start()
        pids.append(stack.hub.pid)
        assert pids[1] != pids[2]
        assert await stack.metrics() is not None
        await until(lambda: stack.relay.connections > 0)
    assert not folder.exists()
    assert not any(alive(pid) for pid in pids)
    assert (stack.hub.exit_code, stack.iothub.exit_code) == (0, 0)


async def test_a_hub_that_dies_is_a_fault_and_an_interrupted_close_goes_to_its_end() -> None:
    stack = await Stack(SMALL).__aenter__()
    assert stack.hub.pid is not None
    os.kill(stack.hub.pid, signal.SIGKILL)
    with pytest.raises(ChildError, match="edgehub ended unexpectedly by signal 9"):
        async with asyncio.timeout(PATIENCE_S):
            await stack.fault()
    closing = asyncio.create_task(stack.__aexit__(None, None, None))
    await asyncio.sleep(0)
    assert stack.iothub.running
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not stack.iothub.running
    assert not stack.folder.exists()


# The demo


@contextlib.contextmanager
def demo_process(*arguments: str, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo, which does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "edgehub.demo", *arguments],
        env=environment(temporary),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCES), "TMPDIR": str(temporary)}


def lines_until(demo: subprocess.Popen[str], piece: str) -> list[str]:
    """Standard output up to a line with a piece of text."""
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line)
        if piece in line:
            return lines
    pytest.fail(f"no line with {piece!r}: {lines} {demo.communicate()}")


def children_of(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_nothing_is_lost_across_an_outage(tmp_path: Path) -> None:
    with demo_process("--seconds", "6", "--outage-seconds", "2", "--json", temporary=tmp_path) as demo:
        out, err = demo.communicate(timeout=50)
    assert demo.returncode == 0, err
    ledger = json.loads(out)
    assert (ledger["ok"], ledger["lost"], ledger["reordered"], ledger["unexpected"]) == (True, 0, 0, 0), err
    assert ledger["sent"] == ledger["received_by_filter"] > 0
    assert ledger["delivered"] == ledger["forwarded"] > 0
    assert ledger["hub_counted_unrouted"] >= ledger["filtered_out"] > 0
    assert ledger["outage"]["peak_backlog"] > 0
    assert "link cut" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("starting iothub", []),
        ("starting edgehub", []),
        ("starting the devices", []),
        ("link cut", ["--seconds", "20", "--outage-seconds", "16"]),
    ],
)
def test_an_interrupt_is_clean_at_any_moment(moment: str, arguments: list[str], tmp_path: Path) -> None:
    with demo_process(*arguments, temporary=tmp_path) as demo:
        lines_until(demo, moment)
        children = children_of(demo.pid)
        os.kill(demo.pid, signal.SIGINT)
        out, err = demo.communicate(timeout=40)
    assert demo.returncode == 130, err
    assert err == ""
    assert "Traceback" not in out
    assert list(tmp_path.iterdir()) == []
    assert not any(alive(pid) for pid in children)


def test_what_is_kept_runs_on_until_an_interrupt(tmp_path: Path) -> None:
    with demo_process("--seconds", "5", "--outage-seconds", "0", "--keep", temporary=tmp_path) as demo:
        told = lines_until(demo, "a device for you")
        metrics = next(line.split()[-1] for line in told if "hub metrics" in line)
        before = sent_on(metrics)
        deadline_s = time.monotonic() + PATIENCE_S
        while sent_on(metrics) <= before:
            assert time.monotonic() < deadline_s, "the devices do not send on"
            time.sleep(0.05)
        children = children_of(demo.pid)
        os.kill(demo.pid, signal.SIGTERM)
        _, err = demo.communicate(timeout=40)
    assert demo.returncode == 128 + signal.SIGTERM
    assert err == ""
    assert len(children) == 5
    assert not any(alive(pid) for pid in children)
    assert list(tmp_path.iterdir()) == []


def sent_on(metrics_url: str) -> int:
    """Messages that the hub has delivered, by its metrics."""
    with urllib.request.urlopen(metrics_url, timeout=10) as answer:
        return sum(parse_metrics(answer.read().decode()).sent.values())


def test_children_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    with demo_process(temporary=tmp_path) as demo:
        lines_until(demo, "starting the module")
        children = children_of(demo.pid)
        assert len(children) >= 2
        demo.kill()
        demo.communicate(timeout=20)
    deadline_s = time.monotonic() + PATIENCE_S
    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def run_patched(patch: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    """The demo in an interpreter that was prepared by some code."""
    return subprocess.run(
        [sys.executable, "-c", f"{patch}; import sys; from edgehub.demo import main; sys.exit(main([]))"],
        env=environment(temporary),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    only = "from edgehub.demo import ports; ports.HUB_HOSTS = ('127.0.1.9',)"
    with socket.create_server(("127.0.1.9", 8883)):
        found = run_patched(only, tmp_path)
    assert found.returncode == 1
    assert found.stderr.startswith("edgehub demo: port 8883 is taken on 127.0.1.9")
    assert len(found.stderr.splitlines()) == 1


def test_a_missing_package_is_one_clear_line(tmp_path: Path) -> None:
    found = run_patched("import sys; sys.modules['bokeh_sampledata'] = None", tmp_path)
    assert found.returncode == 1
    assert found.stderr.startswith("edgehub demo: the package bokeh-sampledata is missing; install")
    assert len(found.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_ends_the_demo(tmp_path: Path) -> None:
    with demo_process("--seconds", "60", temporary=tmp_path) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        demo.stdout = None
        _, err = demo.communicate(timeout=40)
    assert (demo.returncode, err) == (1, "")
    assert list(tmp_path.iterdir()) == []
