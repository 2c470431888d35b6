"""The link over connections that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.link.client import EVENT_BYTES_MAX, UpstreamLink
from edgeagent.link.connectivity import Connectivity
from edgeagent.link.errors import (
    ConnectError,
    LinkBusyError,
    LinkDownError,
    LinkTimeoutError,
    RequestRefusedError,
    TopicError,
)
from edgeagent.link.method_calls import MethodAnswer
from edgeagent.link.pending import REQUESTS_MAX
from edgeagent.link.settings import LinkSettings, UpstreamProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from edgeagent.link.connection import Login
    from edgeagent.link.topics import DesiredPatch, MethodCall

WAIT_S = 20.0
TWIN = b'{"desired":{"a":1,"$version":4},"reported":{"$version":1}}'


class PlayedConnection:
    """Answers twin requests if told to."""

    def __init__(
        self, net: Net, received: Callable[[str, bytes], None], ended: Callable[[str], None]
    ) -> None:
        self.net = net
        self.received = received
        self.ended = ended
        self.login: Login | None = None
        self.published: list[tuple[str, bytes]] = []
        self.closed = False

    async def open(self, login: Login) -> None:
        self.login = login
        await asyncio.sleep(0)
        if self.net.faults:
            raise self.net.faults.pop(0)

    async def subscribe(self, filters: Sequence[str]) -> None:
        assert len(filters) == 3

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))
        if self.net.answer is not None:
            rid = topic.rpartition("=")[2]
            asyncio.get_running_loop().call_soon(
                self.received, f"$iothub/twin/res/{self.net.status}/?$rid={rid}&$version=9", self.net.answer
            )

    async def publish_acknowledged(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))
        await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True


class Net:
    """Where connections come from, and who listens to the link."""

    def __init__(self) -> None:
        self.made: list[PlayedConnection] = []
        self.protocols: list[UpstreamProtocol] = []
        self.faults: list[Exception] = []
        self.answer: bytes | None = TWIN
        self.status = 200
        self.told: list[Any] = []
        self.up = asyncio.Event()

    def __call__(
        self,
        protocol: UpstreamProtocol,
        received: Callable[[str, bytes], None],
        ended: Callable[[str], None],
    ) -> PlayedConnection:
        self.protocols.append(protocol)
        self.made.append(PlayedConnection(self, received, ended))
        return self.made[-1]

    def link_up(self) -> None:
        self.told.append("up")
        self.up.set()

    def link_down(self, reason: str) -> None:
        self.told.append(f"down: {reason}")

    def link_refused(self, reason: str) -> None:
        self.told.append(f"refused: {reason}")

    def desired_patch(self, patch: DesiredPatch) -> None:
        self.told.append(patch)


async def eventually(condition: Callable[[], bool]) -> None:
    """Lets the others on the loop work."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)


async def sign(_: bytes) -> bytes:
    return b"signature"


async def serve(call: MethodCall) -> MethodAnswer:
    return MethodAnswer(200, call.name)


@contextlib.asynccontextmanager
async def running(net: Net, **options: Any) -> AsyncIterator[UpstreamLink]:
    """A link that tries again at once."""
    settings = LinkSettings("hub", "hub", "d1", **options)
    link = UpstreamLink(
        settings, sign, serve, connect=net, wall=lambda: 1000.0, machine=Connectivity(lambda: 0.0, 0.0)
    )
    link.listen(net)
    task = asyncio.create_task(link.run())
    try:
        if not net.faults:
            await net.up.wait()
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert all(connection.closed for connection in net.made)


async def test_it_logs_in_with_a_token() -> None:
    net = Net()
    async with running(net, token_life_s=600.0) as link:
        assert link.connected
        login = net.made[0].login
        assert login is not None
        assert login.client_id == "d1/$edgeAgent"
        assert login.token.endswith("&se=1600")
        assert "se=1600" not in repr(login)
    assert net.told == ["up", "down: the link is stopped"]


async def test_requests() -> None:
    net = Net()
    async with running(net) as link:
        twin = await link.get_twin()
        assert (twin.version, twin.desired) == (4, {"a": 1})
        assert await link.report({"a": None}) == 9
        assert net.made[0].published[1] == ("$iothub/twin/PATCH/properties/reported/?$rid=2", b'{"a":null}')


async def test_a_request_that_is_refused() -> None:
    net = Net()
    net.status, net.answer = 429, b'{"message":"slow down"}'
    async with running(net) as link:
        with pytest.raises(RequestRefusedError, match="429: slow down") as caught:
            await link.get_twin()
        assert caught.value.status == 429


async def test_a_twin_that_cannot_be_read() -> None:
    net = Net()
    net.answer = b"{}"
    async with running(net) as link:
        with pytest.raises(TopicError):
            await link.get_twin()


async def test_no_answer_in_time() -> None:
    net = Net()
    net.answer = None
    async with running(net, request_s=0.0) as link:
        with pytest.raises(LinkTimeoutError, match="to read the twin"):
            await link.get_twin()
        # A late answer meets nobody.
        net.made[0].received("$iothub/twin/res/200/?$rid=1", TWIN)


async def test_too_many_requests() -> None:
    net = Net()
    net.answer = None
    async with running(net) as link:
        waiting = [asyncio.create_task(link.get_twin()) for _ in range(REQUESTS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(LinkBusyError):
            await link.get_twin()
        net.made[0].ended("gone")
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, LinkDownError) for result in results)


async def test_a_lost_connection_ends_what_waits_and_is_replaced() -> None:
    net = Net()
    net.answer = None
    async with running(net) as link:
        asked = asyncio.create_task(link.get_twin())
        await asyncio.sleep(0)
        net.up.clear()
        net.made[0].ended("gone")
        assert not link.connected
        with pytest.raises(LinkDownError, match="gone"):
            await asked
        with pytest.raises(LinkDownError):
            await link.report({})
        with pytest.raises(LinkDownError):
            await link.send_event(b"", {})
        await net.up.wait()
        net.made[0].ended("told once more")
        assert link.connected
        assert link.stats.losses == 1
    assert net.told[:3] == ["up", "down: gone", "up"]


async def test_o09_a_refusal_is_told_and_keeps_the_protocol() -> None:
    """Row O09; a hub that cannot be reached is tried over the other protocol."""
    net = Net()
    net.faults = [ConnectError("not authorized", refused=True), ConnectError("blocked")]
    async with running(net) as link:
        await net.up.wait()
        assert link.stats.failures == 2
    assert net.told[:2] == ["refused: not authorized", "up"]
    mqtt, websocket = UpstreamProtocol
    assert net.protocols == [mqtt, mqtt, websocket]


async def test_patches_and_methods() -> None:
    net = Net()
    async with running(net) as link:
        connection = net.made[0]
        connection.received("$iothub/twin/PATCH/properties/desired/?$version=5", b'{"a":2,"$version":5}')
        assert net.told[-1].version == 5
        connection.received("$iothub/methods/POST/ping/?$rid=x", b"null")
        connection.received("$iothub/nonsense", b"")
        assert link.stats.unreadable == 1
        await eventually(lambda: bool(connection.published))
        assert connection.published == [("$iothub/methods/res/200/?$rid=x", b'"ping"')]


async def test_messages() -> None:
    net = Net()
    async with running(net) as link:
        await link.send_event(b"body", {"$.ct": "x"})
        assert net.made[0].published == [
            ("devices/d1/modules/%24edgeAgent/messages/events/%24.ct=x", b"body")
        ]
        with pytest.raises(RequestRefusedError, match="413"):
            await link.send_event(bytes(EVENT_BYTES_MAX + 1), {})


async def test_a_signer_that_fails_is_a_failed_connection() -> None:
    net, told = Net(), asyncio.Event()

    async def broken(_: bytes) -> bytes:
        told.set()
        raise OSError("no workload socket")

    link = UpstreamLink(LinkSettings("h", "h", "d"), broken, serve, connect=net)
    task = asyncio.create_task(link.run())
    await told.wait()
    await eventually(lambda: link.stats.failures == 1)
    task.cancel()
    await asyncio.wait([task])


async def test_renewal_keeps_no_request_waiting() -> None:
    """The token is due at once: the connection is replaced as soon as nothing is in flight."""
    net = Net()
    async with running(net, token_life_s=600.0, renew_before_s=599.9) as link:
        await eventually(lambda: link.stats.renewals == 2)
        assert link.stats.losses == link.stats.failures == 0
    assert net.told[1] == "down: the token is renewed"
