"""Calls to a parent hub over HTTPS whose answers are odd: what they mean for modules and identities."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from edgehub.errors import EdgehubError
from edgehub.protocol.child_requests import list_call, put_call
from edgehub.upstream.errors import UpstreamError
from edgehub.upstream.registry_client import ANSWER_BYTES_MAX, RegistryClient
from edgehub.upstream.scope_client import NoSuchIdentity, NotInScope, ScopeClient, ScopeError, ScopeSettings
from edgehub.upstream.tokens import Token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Tokens:
    def __init__(self) -> None:
        self.failure: EdgehubError | None = None

    async def get(self) -> Token:
        if self.failure is not None:
            raise self.failure
        return Token("SharedAccessSignature t", 0.0)


class Parent:
    """A parent hub that answers everything alike and writes down what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.headers: dict[str, str] = {}
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.tokens = Tokens()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        path = unquote(request.path_qs)
        self.asked.append((request.method, path, json.loads(body) if body else None, dict(request.headers)))
        await self.go_on.wait()
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    @property
    def settings(self) -> ScopeSettings:
        return ScopeSettings(str(self.server.make_url("")).rstrip("/"), "edge 1", self.tokens, "EdgeHub/1")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def parent() -> AsyncIterator[Parent]:
    parent = Parent()
    await parent.server.start_server()
    yield parent
    parent.go_on.set()
    await parent.server.close()


# ---- modules


async def test_row_75_a_call_goes_to_our_own_edge_hub(parent: Parent, session: aiohttp.ClientSession) -> None:
    client = RegistryClient(parent.settings, session, 10)
    parent.status, parent.body = 201, b'{"moduleId": "m"}'
    assert await client.call(put_call("d;edge 1", b'{"moduleId":"m"}', "*")) == (201, b'{"moduleId": "m"}')
    method, path, body, headers = parent.asked[0]
    assert (method, body) == ("PUT", {"authChain": "d;edge 1", "module": {"moduleId": "m"}})
    assert path == "/devices/edge 1/modules/$edgeHub/putModuleOnBehalfOf?api-version=2020-06-30-preview"
    assert headers["If-Match"] == "*"
    assert headers["Authorization"] == "SharedAccessSignature t"
    assert headers["User-Agent"] == "EdgeHub/1"
    assert headers["Content-Type"] == "application/json"
    await client.call(list_call("d;edge 1"))
    assert "If-Match" not in parent.asked[1][3]


@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (400, b"x"), (401, b"{}"), (404, b""), (503, b"later")]
)
async def test_any_answer_is_given_back_and_asked_for_once(
    parent: Parent, session: aiohttp.ClientSession, status: int, body: bytes
) -> None:
    parent.status, parent.body = status, body
    client = RegistryClient(parent.settings, session, 10)
    assert await client.call(list_call("d;edge 1")) == (status, body)
    assert len(parent.asked) == 1


async def test_what_is_no_answer(parent: Parent, session: aiohttp.ClientSession) -> None:
    client = RegistryClient(parent.settings, session, 10)
    parent.status, parent.headers = 302, {"Location": "https://elsewhere.test/"}
    with pytest.raises(UpstreamError, match="answered with 302"):
        await client.call(list_call("d"))
    parent.status, parent.body = 200, b"x" * (ANSWER_BYTES_MAX + 1)
    with pytest.raises(UpstreamError, match="more than"):
        await client.call(list_call("d"))
    parent.tokens.failure = EdgehubError("the workload API is gone")
    with pytest.raises(UpstreamError, match="no token for the parent hub: the workload API is gone"):
        await client.call(list_call("d"))


async def test_a_parent_hub_that_hangs_or_is_gone(parent: Parent, session: aiohttp.ClientSession) -> None:
    client = RegistryClient(parent.settings, session, 0.05)
    parent.go_on.clear()
    with pytest.raises(UpstreamError, match="did not answer within"):
        await client.call(list_call("d"))
    gone = RegistryClient(ScopeSettings("http://127.0.0.1:1", "e", parent.tokens), session, 10)
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await gone.call(list_call("d"))


# ---- identities


async def _instantly(_: float) -> None:
    return None


@pytest.mark.parametrize(
    ("status", "body", "means"),
    [
        (404, b"", ScopeError),
        (405, b"", ScopeError),
        (400, b"<html>a proxy</html>", ScopeError),
        (404, b'{"Message":"ErrorCode:DeviceNotFound;no"}', NoSuchIdentity),
        (400, b'{"ErrorMessage":"the request cannot be read"}', NoSuchIdentity),
        (401, b'{"ErrorMessage":"not below"}', NotInScope),
        (401, b'{"Message":"ErrorCode:IotHubUnauthorizedAccess;not below"}', NotInScope),
        (401, b'{"Message":"ErrorCode:IotHubUnauthorized;The token has expired."}', ScopeError),
        (401, b'{"ErrorMessage":"Unable to authenticate device with Id edge 1/$edgeHub"}', ScopeError),
        (403, b"", NotInScope),
        (503, b'{"ErrorMessage":"cannot be asked"}', ScopeError),
        (429, b"", ScopeError),
    ],
)
async def test_what_an_error_says_about_an_identity(
    parent: Parent, session: aiohttp.ClientSession, status: int, body: bytes, means: type[ScopeError]
) -> None:
    """Who answers without the body of a hub knows nothing of the identity: it is not forgotten for that."""
    parent.status, parent.body = status, body
    client = ScopeClient(parent.settings, session, sleep=_instantly)
    with pytest.raises(ScopeError) as caught:
        await client.identity("leaf", None, "edge 1")
    assert isinstance(caught.value, NoSuchIdentity) == (means is NoSuchIdentity)
    assert isinstance(caught.value, NotInScope) == (means is NotInScope)
