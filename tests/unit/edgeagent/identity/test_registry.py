"""Calls of the registry, over TLS on loopback."""

from __future__ import annotations

import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from edgeagent.identity.errors import RegistryAnswerError, RegistryRefusedError, RegistryUnreachableError
from edgeagent.identity.model import ModuleIdentity
from edgeagent.identity.registry import ANSWER_BYTES_MAX, HubRegistry, RegistrySettings
from edgeagent.link.tls import upstream_context
from testkit.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

M = {"moduleId": "$edgeHub", "generationId": "7", "managedBy": "IotEdge"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


class Hub:
    """Answers as told, in turn; the last answer again and again."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(
            (request.method, request.raw_path, dict(request.headers), json.loads(body) if body else None)
        )
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(status=status, body=content)


async def sign(_: bytes) -> bytes:
    return b"signature"


@contextlib.asynccontextmanager
async def calling(hub: Hub, certificates: Path, **options: Any) -> AsyncIterator[HubRegistry]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hub.serve)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "hub.pem", certificates / "hub.key")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    trust = upstream_context((certificates / "ca.pem").read_text())
    settings = RegistrySettings("localhost", "hub", "d 1", trust, port=port, **options)
    try:
        async with HubRegistry(settings, sign, lambda: 1000.5) as registry:
            yield registry
    finally:
        await runner.cleanup()


async def test_what_is_sent(certificates: Path) -> None:
    hub = Hub((200, M))
    async with calling(hub, certificates) as registry:
        identity = await registry.create("$edgeHub")
        await registry.set_keys(identity, ("p", "s"))
        await registry.delete("$edgeHub")
        assert await registry.module("$edgeHub") == identity == ModuleIdentity("$edgeHub", "7", "IotEdge")
    path = "/devices/d%201/modules/%24edgeHub?api-version=2017-11-08-preview"
    assert [(method, raw) for method, raw, _, _ in hub.requests] == [
        ("PUT", path),
        ("PUT", path),
        ("DELETE", path),
        ("GET", path),
    ]
    create, keys, delete, _ = hub.requests
    assert create[2]["Authorization"] == (
        "SharedAccessSignature sr=hub%2Fdevices%2Fd%201&sig=c2lnbmF0dXJl&se=1030"
    )
    assert "If-Match" not in create[2]
    assert create[3] == {"deviceId": "d 1", "moduleId": "$edgeHub", "managedBy": "IotEdge"}
    assert keys[2]["If-Match"] == delete[2]["If-Match"] == "*"
    assert keys[3]["authentication"]["symmetricKey"] == {"primaryKey": "p", "secondaryKey": "s"}


async def test_a_list(certificates: Path) -> None:
    hub = Hub((200, [M]))
    async with calling(hub, certificates) as registry:
        assert [one.module_id for one in await registry.modules()] == ["$edgeHub"]
    assert hub.requests[0][1] == "/devices/d%201/modules?api-version=2017-11-08-preview"


async def test_none_is_no_fault(certificates: Path) -> None:
    async with calling(Hub((404, {})), certificates) as registry:
        assert await registry.module("m") is None
        await registry.delete("m")


async def test_a_refusal_is_not_tried_again(certificates: Path) -> None:
    hub = Hub((401, {"Message": "ErrorCode:IotHubUnauthorized"}))
    async with calling(hub, certificates) as registry:
        with pytest.raises(RegistryRefusedError, match="401: ErrorCode:IotHubUnauthorized") as caught:
            await registry.modules()
    assert caught.value.status == 401
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_what_passes_is_tried_once_more(certificates: Path, status: int) -> None:
    """Also a parent hub's 500."""
    hub = Hub((status, {}), (200, []))
    async with calling(hub, certificates) as registry:
        assert await registry.modules() == []
    hub = Hub((status, {}))
    async with calling(hub, certificates) as registry:
        with pytest.raises(RegistryUnreachableError, match=str(status)):
            await registry.modules()
    assert len(hub.requests) == 2


async def test_an_identity_that_was_made_by_a_try_before(certificates: Path) -> None:
    hub = Hub((500, {}), (409, {}), (200, M))
    async with calling(hub, certificates) as registry:
        assert (await registry.create("$edgeHub")).generation_id == "7"
    assert [request[0] for request in hub.requests] == ["PUT", "PUT", "GET"]
    async with calling(Hub((409, {}), (404, {})), certificates) as registry:
        with pytest.raises(RegistryRefusedError, match="409"):
            await registry.create("m")


async def test_an_answer_that_is_too_long_or_nonsense(certificates: Path) -> None:
    async with calling(Hub((200, b"x" * (ANSWER_BYTES_MAX + 1))), certificates) as registry:
        with pytest.raises(RegistryUnreachableError, match="more than"):
            await registry.modules()
    async with calling(Hub((200, b"x")), certificates) as registry:
        with pytest.raises(RegistryAnswerError):
            await registry.modules()


async def test_no_answer_in_time(certificates: Path) -> None:
    async with calling(Hub((200, [])), certificates, call_s=0.0) as registry:
        with pytest.raises(RegistryUnreachableError, match="no answer within 0 s"):
            await registry.modules()


async def test_nobody_there() -> None:
    settings = RegistrySettings("127.0.0.1", "hub", "d", upstream_context(), port=1)
    async with HubRegistry(settings, sign) as registry:
        with pytest.raises(RegistryUnreachableError, match=r"cannot list the modules: 127\.0\.0\.1"):
            await registry.modules()
