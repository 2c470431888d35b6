"""The client of the management API: addresses, and answers of what is no agent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.management.client import ManagementClient, ManagementError
from edgeagent.workload.http import Answer, Request
from edgeagent.workload.server import UnixHttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Server:
    """Answers everything alike."""

    def __init__(self) -> None:
        self.status, self.content = 200, b""
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Answer:
        self.asked.append(f"{request.verb} {request.target}")
        return Answer(self.status, _Raw(self.content))


class _Raw:
    """What an answer holds, as it is."""

    def __init__(self, content: bytes) -> None:
        self.content = content


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(Answer, "encoded", lambda answer: answer.content.content)
    return Server()


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[ManagementClient]:
    listening = UnixHttpServer(
        tmp_path / "m.sock", server.answer, mode=0o600, connections_max=5, body_bytes_max=10
    )
    await listening.start()
    yield ManagementClient(f"unix://{tmp_path}/m.sock")
    await listening.close()


@pytest.mark.parametrize("address", ["", "/x", "unix://", "unix://x", "http://", "ftp://x", "fd://3"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ManagementError, match="is no address of an agent"):
        ManagementClient(address)


async def test_what_is_sent(server: Server, client: ManagementClient) -> None:
    await client.act("a/b", "stop")
    assert server.asked == ["POST /modules/a%2Fb/stop?api-version=2020-07-07"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"1", b'{"modules": 1}', b'{"modules": [1]}', b""])
async def test_answers_of_no_agent(server: Server, client: ManagementClient, content: bytes) -> None:
    server.content = content
    with pytest.raises(ManagementError, match="did not answer"):
        await client.modules()


@pytest.mark.parametrize("content", [b"[]", b"x"])
async def test_systems_of_no_agent(server: Server, client: ManagementClient, content: bytes) -> None:
    server.content = content
    with pytest.raises(ManagementError, match="did not answer"):
        await client.system_info()


@pytest.mark.parametrize(
    ("content", "message"),
    [(json.dumps({"message": "no"}).encode(), "no"), (b"x", "Conflict"), (b'{"message": 1}', "Conflict")],
)
async def test_refusals(server: Server, client: ManagementClient, content: bytes, message: str) -> None:
    server.status, server.content = 409, content
    with pytest.raises(ManagementError, match=message) as fault:
        await client.modules()
    assert fault.value.status == 409


async def test_an_answer_that_is_too_long(
    server: Server, client: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeagent.management.client.ANSWER_BYTES_MAX", 10)
    server.content = b"x" * 100
    with pytest.raises(ManagementError, match="more than 10 bytes"):
        await client.modules()


async def test_a_log_that_is_none(server: Server, client: ManagementClient) -> None:
    server.content = b"this is no frame at all"
    with pytest.raises(ManagementError, match="in place of the header of a frame"):
        assert [frame async for frame in client.logs("m", {})]
    server.content = b"\1\0\0\0\0\0\0\7cut"
    with pytest.raises(ManagementError, match="broke off"):
        assert [frame async for frame in client.logs("m", {})]


async def test_connections_that_break_off(tmp_path: Path) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(close, tmp_path / "m.sock")
    try:
        with pytest.raises(ManagementError, match="broke off"):
            await ManagementClient(f"unix://{tmp_path}/m.sock").modules()
    finally:
        server.close()
        await server.wait_closed()


async def test_an_agent_by_tcp() -> None:
    with pytest.raises(ManagementError, match="no agent listens at"):
        await ManagementClient("http://127.0.0.1:1").modules()


def test_errors_have_causes() -> None:
    fault: Any = ManagementError("x", causes=("y",))
    assert (str(fault), fault.causes, fault.status) == ("x", ("y",), None)
