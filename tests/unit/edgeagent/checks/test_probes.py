"""Probes of this device, on the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.checks.ports import ProbeError, ProbeMissing, Route
from edgeagent.checks.probes import FILE_BYTES_MAX, SystemProbes, read_offset_s
from edgeagent.management.client import ManagementError
from testkit.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ERA_S = 2_208_988_800


async def nobody(address: str) -> Mapping[str, Any]:
    raise ManagementError(f"nobody listens at {address}")


@pytest.fixture
def probes() -> SystemProbes:
    return SystemProbes(None, nobody)


def test_files(probes: SystemProbes, tmp_path: Path) -> None:
    file = tmp_path / "f"
    assert probes.read(file) is None
    assert probes.modified_s(file) is None
    file.write_bytes(b"x")
    assert probes.read(file) == b"x"
    assert abs((probes.modified_s(file) or 0.0) - time.time()) < 60
    file.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ProbeError, match="more than"):
        probes.read(file)
    with pytest.raises(ProbeError, match="cannot be read: Is a directory"):
        probes.read(tmp_path)
    with pytest.raises(ProbeError, match="Not a directory"):
        probes.modified_s(file / "x")


async def test_names(probes: SystemProbes) -> None:
    assert "127.0.0.1" in await probes.resolve("localhost")
    for wrong in ("no.such.host.invalid", "a" * 70 + ".invalid", ""):
        if wrong:
            with pytest.raises(ProbeError):
                await probes.resolve(wrong)
    assert probes.hostname()


async def test_tls(probes: SystemProbes, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "hub.pem", tmp_path / "hub.key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    root = (tmp_path / "ca.pem").read_text()
    try:
        await probes.tls(Route("localhost", port, root))
        with pytest.raises(ProbeError, match="certificate verify failed"):
            await probes.tls(Route("localhost", port))
    finally:
        server.close()
        await server.wait_closed()
    with pytest.raises(ProbeError, match="refused"):
        await probes.tls(Route("127.0.0.1", port, root))
    with pytest.raises(ProbeError, match="trust bundle"):
        await probes.tls(Route("127.0.0.1", port, "-----BEGIN CERTIFICATE-----\nx"))
    with pytest.raises(ProbeError, match="https_proxy"):
        await probes.tls(Route("127.0.0.1", port, root, "ftp://x"))


def _time_answer(now_s: float) -> bytes:
    whole, part = divmod(now_s + ERA_S, 1)
    stamp = struct.pack("!2I", int(whole), int(part * 2**32))
    return b"\x1c" + 31 * b"\0" + stamp + stamp


@pytest.fixture
def time_server() -> Iterator[str]:
    """A server whose clock is 100 s ahead; it answers once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def serve() -> None:
            asked, client = server.recvfrom(512)
            assert (asked[0] & 7, len(asked)) == (3, 48)
            server.sendto(_time_answer(time.time() + 100), client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


async def test_the_clock(probes: SystemProbes, time_server: str) -> None:
    assert abs(await probes.clock_offset_s(time_server) - 100) < 5


@pytest.mark.parametrize("server", ["", "host", "host:", ":123", "host:0", "host:x", "host:70000"])
async def test_no_time_server(probes: SystemProbes, server: str) -> None:
    with pytest.raises(ValueError, match="is no time server"):
        await probes.clock_offset_s(server)


def test_an_answer_of_a_time_server() -> None:
    assert read_offset_s(_time_answer(1_700_000_050.25), 1_700_000_000.0, 1_700_000_000.5) == 50.0


@given(st.binary())
def test_any_answer_is_read_or_refused(answer: bytes) -> None:
    try:
        assert isinstance(read_offset_s(answer, 0.0, 0.0), float)
    except ProbeError:
        return


async def test_the_agent(probes: SystemProbes) -> None:
    with pytest.raises(ProbeError, match="nobody listens at unix:///x"):
        await probes.management("unix:///x")


async def test_without_an_engine(probes: SystemProbes) -> None:
    with pytest.raises(ProbeError, match="there is no container engine"):
        await probes.from_container("", "", "h", 1)
    assert not issubclass(ProbeMissing, ProbeError)
