"""The workload API, against a server on a unix socket (agent spec 7.3)."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from edgehub.identity import workload as module
from edgehub.identity.workload import WorkloadClient, WorkloadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = b"k" * 32


class FakeWorkload:
    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.answer: web.Response | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body: Any = await request.json() if request.can_read_body else None
        self.requests.append((f"{request.method} {request.raw_path}", body))
        if self.answer is not None:
            return self.answer
        if request.path.endswith("/sign"):
            digest = hmac.digest(KEY, base64.b64decode(body["data"]), "sha256")
            return web.json_response({"digest": base64.b64encode(digest).decode()})
        if request.path == "/trust-bundle":
            return web.json_response({"certificate": "PEM"})
        certificate = {
            "privateKey": {"type": "key", "bytes": "KEY"},
            "certificate": "CHAIN",
            "expiration": "2026-09-01T00:00:00+00:00",
        }
        return web.json_response(certificate, status=201)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeWorkload]:
    fake = FakeWorkload()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "w.sock")).start()
    yield fake
    await runner.cleanup()


@pytest.fixture
def client(tmp_path: Path) -> WorkloadClient:
    return WorkloadClient(f"unix://{tmp_path}/w.sock", "$edgeHub", "gen 1")


async def test_sign(server: FakeWorkload, client: WorkloadClient) -> None:
    assert await client.sign(b"data") == hmac.digest(KEY, b"data", "sha256")
    ((path, body),) = server.requests
    assert path == "POST /modules/%24edgeHub/genid/gen%201/sign?api-version=2020-07-07"
    assert body == {"keyId": "primary", "algo": "HMACSHA256", "data": "ZGF0YQ=="}


async def test_certificate_and_trust(server: FakeWorkload, client: WorkloadClient) -> None:
    issued = await client.server_certificate("gw.local", "2026-01-01T00:00:00Z")
    assert (issued.chain_pem, issued.key_pem) == (b"CHAIN", b"KEY")
    assert "KEY" not in repr(issued)
    assert server.requests[0][1] == {"commonName": "gw.local", "expiration": "2026-01-01T00:00:00Z"}
    assert await client.trust_bundle() == b"PEM"


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda: web.json_response({"message": "no such module"}, status=404), "status 404, no such module"),
        (lambda: web.Response(status=500, text="oops"), "status 500"),
        (lambda: web.Response(text="not json"), "not a JSON object"),
        (lambda: web.json_response([]), "not a JSON object"),
        (lambda: web.json_response({}), "without 'digest'"),
        (lambda: web.json_response({"digest": "!"}), "not base64"),
    ],
)
async def test_bad_answers_are_named(
    server: FakeWorkload, client: WorkloadClient, answer: Any, part: str
) -> None:
    server.answer = answer()
    with pytest.raises(WorkloadError, match=part):
        await client.sign(b"data")


async def test_a_certificate_without_key(server: FakeWorkload, client: WorkloadClient) -> None:
    server.answer = web.json_response({"certificate": "x"})
    with pytest.raises(WorkloadError, match="private key"):
        await client.server_certificate("a", "b")


async def test_answers_are_bounded(
    server: FakeWorkload, client: WorkloadClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 100)
    server.answer = web.Response(body=b"x" * 101)
    with pytest.raises(WorkloadError, match="more than 100 bytes"):
        await client.sign(b"data")


async def test_nobody_answers(client: WorkloadClient) -> None:
    with pytest.raises(WorkloadError, match="workload API"):
        await client.sign(b"data")


@pytest.mark.parametrize("uri", ["", "ftp://x", "/path"])
def test_other_schemes_are_refused(uri: str) -> None:
    with pytest.raises(WorkloadError, match="IOTEDGE_WORKLOADURI"):
        WorkloadClient(uri, "m", "g")
