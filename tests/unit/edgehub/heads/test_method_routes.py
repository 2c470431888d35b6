"""Method calls over HTTPS (heads spec 3.1; H-001 to H-010)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.ids import IdentityId
from edgehub.heads.http import BODY_BYTES_MAX, HttpHead
from edgehub.heads.method_routes import MethodRoutes
from testkit.fake_core import PublishEvent, SubscribeEvent
from testkit.head_bench import HeadBench
from testkit.https import TrustedServer
from testkit.identities import token_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

METHODS = "$iothub/methods/POST/#"
CALL = {"methodName": "reset", "payload": {"x": 1}}


class Door:
    """The HTTP head over a bench with a client `leaf` and a module `n` that listen."""

    def __init__(self, bench: HeadBench, session: aiohttp.ClientSession, url: str) -> None:
        self.bench = bench
        self._session = session
        self._url = url

    async def call(self, path: str, body: Any = CALL, **headers: str | None) -> tuple[int, Any]:
        """By `edge1/m`, unless headers say otherwise; None leaves one out."""
        wanted: dict[str, str | None] = {
            "x-ms-edge-moduleId": "edge1/m",
            "Authorization": token_for("edge1/m", self.bench.clock),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name: value for name, value in wanted.items() if value is not None}
        async with self._session.post(f"{self._url}{path}", data=data, headers=sent) as answer:
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            return answer.status, await answer.json()

    async def request_of(self, conn: int) -> tuple[str, str]:
        """The request that was sent to a client: its topic without the id, and the id."""
        async with asyncio.timeout(10):
            while True:
                for call in self.bench.core.take_calls("send"):
                    if call.conn == conn:
                        topic, _, request_id = call.topic.partition("?$rid=")
                        return f"{topic} {call.payload.decode()}", request_id
                await asyncio.sleep(0.005)

    def answer(self, conn: int, request_id: str, status: str, payload: bytes) -> None:
        topic = f"$iothub/methods/res/{status}/?$rid={request_id}"
        self.bench.feed(PublishEvent(conn, 7, topic, payload, 1))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> TrustedServer:
    return TrustedServer(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def door(server: TrustedServer, tmp_path: Path) -> AsyncIterator[Door]:
    bench = HeadBench()
    for conn, identity in ((1, "leaf"), (2, "edge1/n")):
        bench.connect(conn, identity)
        bench.feed(SubscribeEvent(conn, 1, [(METHODS, 1)]))
    head = HttpHead(10)
    routes = MethodRoutes(bench.methods, bench.authenticator, "edge1", bench.clock, bench.forwarded)
    head.add_routes(routes.routes())
    head.use_certificate(server.files.chain.read_bytes(), server.files.key.read_bytes())
    port = await head.start("127.0.0.1", 0)
    async with server.session() as session:
        yield Door(bench, session, f"https://localhost:{port}")
    await head.close()


@pytest.mark.parametrize(
    ("path", "conn"), [("/twins/leaf/methods", 1), ("/twins/edge1/modules/n/methods", 2)]
)
async def test_h_001_m_042_a_call_reaches_its_target(door: Door, path: str, conn: int) -> None:
    calling = asyncio.create_task(door.call(path))
    request, request_id = await door.request_of(conn)
    assert request == '$iothub/methods/POST/reset/ {"x": 1}'
    door.answer(conn, request_id.upper(), "202", b'{"done": [1]}')
    assert await calling == (200, {"status": 202, "payload": {"done": [1]}})


@pytest.mark.parametrize(
    ("status", "payload", "want"),
    [
        ("500", b"", {"status": 500, "payload": None}),
        ("200", b"plain", {"status": 200, "payload": "plain"}),
        ("abc", b'{"a":1}', {"status": 400000, "payload": None}),
    ],
)
async def test_m_044_and_dev_25_odd_answers(door: Door, status: str, payload: bytes, want: Any) -> None:
    calling = asyncio.create_task(door.call("/twins/leaf/methods"))
    _, request_id = await door.request_of(1)
    door.answer(1, request_id, status, payload)
    assert await calling == (200, want)


async def test_i_024_edge_hub_itself_can_be_called(door: Door) -> None:
    async def serve(name: str, payload: bytes) -> tuple[int, bytes]:
        if name != "reset":
            return 404, b'{"message":"no such method"}'
        return 200, payload

    path = "/twins/edge1/modules/$edgeHub/methods"
    assert (await door.call(path))[0] == 404, "a hub without parent has no methods"
    door.bench.methods.serve_own(IdentityId("edge1", "$edgeHub"), serve)
    assert await door.call(path) == (200, {"status": 200, "payload": {"x": 1}})
    assert await door.call(path.replace("$", "%24")) == (200, {"status": 200, "payload": {"x": 1}})
    assert await door.call(path, {"methodName": "other"}) == (404, {"message": "no such method"})


@pytest.mark.parametrize("value", [None, "", "edge1", "edge1/", "a/b/c"])
async def test_h_002_the_caller_has_to_say_who_it_is(door: Door, value: str | None) -> None:
    assert await door.call("/twins/leaf/methods", x_ms_edge_moduleId=value) == (
        400,
        {"message": "Invalid header value for x-ms-edge-moduleId"},
    )


async def test_refused_callers_are_logged_up_to_a_limit(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("edgehub.heads.line_budget.LineBudget.spend", iter([True, True, False]).__next__)
    for _ in range(3):
        token = token_for("edge1/m", door.bench.clock, signer="leaf")
        assert (await door.call("/twins/leaf/methods", Authorization=token))[0] == 401
    assert caplog.text.count("Method call of edge1/m refused") == 2


async def test_h_020_a_certificate_that_no_proxy_passes_on_ends_it(door: Door) -> None:
    status, body = await door.call("/twins/leaf/methods", x_ms_edge_clientcert="any")
    assert status == 401
    assert body["message"].startswith("a certificate was forwarded, but not by edge1/IoTEdgeAPIProxy")


async def test_h_003_only_modules_of_this_device_may_call(door: Door) -> None:
    status, body = await door.call("/twins/leaf/methods", x_ms_edge_moduleId="other/m")
    assert (status, body) == (
        401,
        {"message": "Only modules on the same device can invoke DirectMethods"},
    )


@pytest.mark.parametrize("token", [None, "", "Bearer x", "SharedAccessSignature x", "of another", "expired"])
async def test_h_004_a_bad_token_is_refused(door: Door, token: str | None) -> None:
    if token == "of another":
        token = token_for("edge1/n", door.bench.clock)
    elif token == "expired":
        token = token_for("edge1/m", door.bench.clock, ttl_s=-100_000)
    status, body = await door.call("/twins/leaf/methods", Authorization=token)
    assert status == 401
    assert body["message"]


async def test_h_005_who_is_not_connected_is_not_found(door: Door) -> None:
    assert await door.call("/twins/nobody/methods") == (404, {"message": "Client nobody not found"})
    assert (await door.call("/twins/edge1/modules/m/methods"))[0] == 404


async def test_h_006_a_client_that_leaves_does_not_answer(door: Door) -> None:
    calling = asyncio.create_task(door.call("/twins/leaf/methods"))
    _, request_id = await door.request_of(1)
    door.bench.closed(1)
    assert await calling == (
        504,
        {"message": f"Timed out waiting for device to respond to method request {request_id}"},
    )


@pytest.mark.parametrize("body", [b"", b"{", {"payload": 1}, {**CALL, "responseTimeoutInSeconds": 4}])
async def test_h_007_a_bad_body_is_told_first(door: Door, body: Any) -> None:
    status, answer = await door.call("/twins/leaf/methods", body, Authorization=None)
    assert status == 400
    assert answer["message"]


@pytest.mark.parametrize("size", [131_073, BODY_BYTES_MAX + 1])
async def test_h_007_a_payload_over_the_limit_gives_400_however_long(door: Door, size: int) -> None:
    body = {**CALL, "payload": "x" * size}
    status, answer = await door.call("/twins/leaf/methods", body, Authorization=None)
    assert (status, "131072" in answer["message"]) == (400, True)


async def test_ids_are_decoded(door: Door) -> None:
    assert await door.call("/twins/a%24b%20c/methods") == (404, {"message": "Client a$b c not found"})
