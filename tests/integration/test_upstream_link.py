"""The link against the self-hosted hub over loopback sockets: nothing is lost and order holds, whatever is
cut."""

from __future__ import annotations

import asyncio
import base64
import hmac
import random
import ssl
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop

from edgehub.protocol.authchain import direct_chain
from edgehub.upstream.client import AmqpUpstream
from edgehub.upstream.connectivity import State
from edgehub.upstream.errors import UpstreamError, UpstreamOffline, UpstreamRefused
from edgehub.upstream.scope_client import NoSuchIdentity, NotInScope, ScopeClient, ScopeError, ScopeSettings
from edgehub.upstream.settings import UpstreamSettings
from edgehub.upstream.tokens import SignedTokens
from iothub.config import HubConfig, HubLimits
from iothub.registry.model import parse_device, parse_module
from iothub.server import HubServer
from iothub.telemetry.event import events_of
from iothub.twins.model import TwinRequest
from unit.edgehub.upstream.upstream_fakes import FakeSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

HOST = "localhost"


class Relay:
    """A TCP relay that can be cut, paused or made to cut after some bytes."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.connections = 0
        self.open = True
        self.cut_after: int | None = None
        self._passed = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers |= {writer, far_writer}
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, far_writer, count=True), self._copy(far_reader, writer))
        for end in (writer, far_writer):
            end.transport.abort()
            self._writers.discard(end)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        while data := await reader.read(4096):
            self._passed += len(data) * count
            if self.cut_after is not None and self._passed >= self.cut_after:
                self.cut_after = None
                self.cut()
            writer.write(data)
            await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Resets every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def arm(self, after: int) -> None:
        """Cuts after so many more bytes towards the hub."""
        self._passed, self.cut_after = 0, after

    async def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()


class Listener:
    """Remembers what the link tells."""

    def __init__(self) -> None:
        self.ups = 0
        self.downs: list[str] = []
        self.patches: list[tuple[str, dict[str, Any]]] = []

    def link_up(self) -> None:
        self.ups += 1

    def link_down(self, reason: str) -> None:
        self.downs.append(reason)

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        self.patches.append((identity, patch))

    def desired_missed(self, identity: str) -> None:
        raise AssertionError("nothing is missed")

    def client_unauthorized(self, identity: str) -> None:
        self.downs.append(f"{identity} is refused")


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Waits for a condition; fails when it does not come."""
    end = time.monotonic() + seconds
    while True:
        held = condition()
        if (held if isinstance(held, bool) else await held) is True:
            return
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class World:
    """A hub, a relay, and the parts of a link."""

    def __init__(self, server: HubServer, relay: Relay) -> None:
        self.server = server
        self.relay = relay
        self.source = FakeSource()
        self.listener = Listener()
        self.links: list[AmqpUpstream] = []
        self.key = b""

    async def prepare(self, leaves: int) -> None:
        """Registers an edge device with `$edgeHub` keys, a module and leaf devices."""
        registry = self.server.registry
        edge = await registry.put_device(parse_device("gw", {"capabilities": {"iotEdge": True}}), None)
        own = await registry.put_module(parse_module("gw", "$edgeHub", {}), "*")
        await registry.put_module(parse_module("gw", "filter", {}), None)
        for number in range(leaves):
            await registry.put_device(parse_device(f"leaf{number}", {"deviceScope": edge.device_scope}), None)
        self.key = base64.b64decode(own.authentication.keys[0])

    def tokens(self) -> SignedTokens:
        async def sign(data: bytes) -> bytes:
            return hmac.digest(self.key, data, "sha256")

        return SignedTokens(HOST, "gw", sign, time.time)

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.server.certificate.ca_file))

    def settings(self, **changes: Any) -> UpstreamSettings:
        base = UpstreamSettings(
            HOST,
            HOST,
            "gw",
            self.tokens(),
            self.tls(),
            port=self.relay.port,
            reconnect_min_s=0.05,
            hold_min_s=0.1,
        )
        return replace(base, **changes)

    async def link(self, **changes: Any) -> AmqpUpstream:
        """A started link."""
        link = AmqpUpstream(self.settings(**changes), self.source)
        link.set_listener(self.listener)
        self.links.append(link)
        await link.start()
        return link

    async def stored(self) -> dict[str, list[int]]:
        """Numbers in the telemetry log by sender."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        position = 0
        while chunks := await self.server.telemetry.read(position):
            for chunk in chunks:
                origin = chunk.origin
                sender = origin.device_id + (f"/{origin.module_id}" if origin.module_id else "")
                found[sender] += [int(event.body) for event in events_of(chunk)]
            position = chunks[-1].next_sequence
        return found

    def put(self, sender: str, start: int, count: int) -> None:
        self.source.put(sender, *[b"%d" % number for number in range(start, start + count)])
        for link in self.links:
            link.messages_ready()


def config(folder: Path, amqp_port: int = 0, limits: HubLimits | None = None) -> HubConfig:
    limits = limits or HubLimits()
    return HubConfig(folder, HOST, "127.0.0.1", amqp_port=amqp_port, https_port=0, limits=limits)


@asynccontextmanager
async def world(folder: Path, leaves: int = 3, limits: HubLimits | None = None) -> AsyncIterator[World]:
    server = HubServer(config(folder, limits=limits))
    await server.start()
    relay = Relay(server.amqp_port)
    await relay.start()
    made = World(server, relay)
    try:
        await made.prepare(leaves)
        yield made
    finally:
        for link in made.links:
            await link.stop()
        await relay.stop()
        await made.server.stop()


async def test_a_gateway_with_many_clients_comes_up(tmp_path: Path) -> None:
    """It attaches the links of all of them at once: more than iothub lets wait."""
    async with world(tmp_path, leaves=300, limits=HubLimits(control_queue_max=1000)) as made:
        link = AmqpUpstream(made.settings(), made.source)
        link.set_listener(made.listener)
        made.links.append(link)
        for number in range(300):
            for kind in (link.twins, link.methods, link.messages):
                kind.follow(f"leaf{number}", wanted=True)
        made.put("leaf0", 0, 3)
        await link.start()
        await until(lambda: made.listener.ups == 1)
        # Answered after all that was asked before it.
        await link.twins.read("leaf299")
        assert made.listener.downs == []
        assert (await made.stored())["leaf0"] == [0, 1, 2]


def assert_complete_and_ordered(numbers: list[int], count: int) -> None:
    """Every number came, and each for the first time in order; repetitions are allowed."""
    first_times = list(dict.fromkeys(numbers))
    assert first_times == list(range(count))


async def test_messages_of_many_senders_arrive_in_order_with_their_origin(tmp_path: Path) -> None:
    async with world(tmp_path, leaves=20) as w:
        senders = [*(f"leaf{n}" for n in range(20)), "gw/filter", "gw/$edgeHub", "gw"]
        for sender in senders:
            w.put(sender, 0, 57)
        link = await w.link()
        await until(lambda: w.source.empty)
        stored = await w.stored()
        assert set(stored) == set(senders)
        for sender in senders:
            assert stored[sender] == list(range(57))
        assert link.state is State.CONNECTED
        assert sum(link.stats.sent.values()) == 57 * len(senders)
        assert (link.stats.reconnects, w.listener.ups, w.listener.downs) == (0, 1, [])


@pytest.mark.parametrize("seed", range(3))
async def test_row_160_cuts_in_the_middle_of_batches(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with world(tmp_path, leaves=5) as w:
        for number in range(5):
            w.put(f"leaf{number}", 0, 300)
        w.relay.arm(rng.randint(3_000, 9_000))
        link = await w.link()
        for _ in range(4):
            await until(lambda: w.relay.cut_after is None)
            w.relay.arm(rng.randint(4_000, 12_000))
        w.relay.cut_after = None
        await until(lambda: w.source.empty)
        stored = await w.stored()
        for number in range(5):
            assert_complete_and_ordered(stored[f"leaf{number}"], 300)
        assert link.stats.reconnects >= 1
        assert len(w.listener.downs) == w.listener.ups - 1
        assert link.stats.offline_count == len(w.listener.downs)


async def test_a_hub_that_restarts_loses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, leaves=2) as w:
        link = await w.link(batch_msgs_max=5)
        w.put("leaf0", 0, 200)
        await until(lambda: link.stats.batches >= 5)
        port = w.server.amqp_port
        await w.server.stop()
        w.put("leaf0", 200, 100)
        w.put("leaf1", 0, 50)
        await until(lambda: link.state is State.DISCONNECTED)
        w.server = HubServer(config(tmp_path, port))
        await w.server.start()
        await until(lambda: w.source.empty)
        stored = await w.stored()
        assert_complete_and_ordered(stored["leaf0"], 300)
        assert_complete_and_ordered(stored["leaf1"], 50)


async def test_offline_then_back_within_a_second_of_the_kick(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.relay.open = False
        link = await w.link(reconnect_min_s=20.0, reconnect_max_s=20.0)
        w.put("leaf0", 0, 20)
        await until(lambda: link.stats.connects_failed >= 1)
        assert link.state is State.DISCONNECTED
        assert not w.source.empty
        with pytest.raises(UpstreamOffline):
            await link.twins.get_desired()
        w.relay.open = True
        link.kick()
        await until(lambda: w.source.empty, seconds=10)
        assert (await w.stored())["leaf0"] == list(range(20))


async def test_twin_of_edge_hub(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link()
        await until(lambda: link.state is State.CONNECTED)
        await link.twins.get_desired()  # answered after the subscription, which went before it
        desired = {"schemaVersion": "1.1", "routes": {"up": "FROM /* INTO $upstream"}}
        await w.server.twins.patch("gw", "$edgeHub", TwinRequest(None, desired), None)
        await until(lambda: len(w.listener.patches) == 1)
        assert w.listener.patches == [("gw/$edgeHub", desired | {"$version": 2})]
        assert await link.twins.get_desired() == desired | {"$version": 2}
        await link.twins.patch_reported({"lastDesiredStatus": {"code": 200}})
        twin = await w.server.twins.get("gw", "$edgeHub")
        assert twin.reported.values == {"lastDesiredStatus": {"code": 200}}
        with pytest.raises(UpstreamRefused, match="400"):
            await link.twins.patch_reported({"a.b": 1})


async def test_waiting_twin_requests_fail_when_the_link_is_cut(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link()
        await until(lambda: link.state is State.CONNECTED)
        held = w.server.twins.get
        started = asyncio.Event()

        async def slow(device_id: str, module_id: str | None) -> Any:
            started.set()
            await asyncio.sleep(30)
            return await held(device_id, module_id)

        w.server.twins.get = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(link.twins.get_desired())
        await started.wait()
        w.relay.cut()
        with pytest.raises(UpstreamOffline):
            await asking


async def test_new_keys_of_edge_hub_are_taken_up(tmp_path: Path) -> None:
    """The hub ends what lived by the old key; the next token is made with the new one."""
    async with world(tmp_path) as w:
        link = await w.link()
        w.put("leaf0", 0, 10)
        await until(lambda: w.source.empty)
        fresh = await w.server.registry.put_module(parse_module("gw", "$edgeHub", {}), "*")
        w.key = base64.b64decode(fresh.authentication.keys[0])
        w.put("leaf0", 10, 10)
        link.kick()
        await until(lambda: w.source.empty)
        assert_complete_and_ordered((await w.stored())["leaf0"], 20)


async def test_a_wrong_key_is_reported_and_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        good, w.key = w.key, bytes(32)
        link = await w.link(reconnect_min_s=0.05, reconnect_max_s=0.1)
        await until(lambda: link.stats.connects_failed >= 2)
        assert w.listener.ups == 0
        w.key = good
        await until(lambda: w.listener.ups == 1)


async def test_a_sender_the_hub_does_not_know_waits_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link()
        w.put("ghost", 0, 5)
        w.put("leaf0", 0, 30)
        await until(lambda: link.stats.sent.get("leaf0") == 30)
        assert not w.source.empty
        gateway = await w.server.registry.device("gw")
        assert gateway is not None
        await w.server.registry.put_device(parse_device("ghost", {"deviceScope": gateway.device_scope}), None)
        await until(lambda: w.source.empty)
        assert (await w.stored())["ghost"] == list(range(5))


async def test_messages_the_hub_cannot_take_are_dropped_and_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link()
        w.source.put("leaf0", b"1", bytes(262_145), b"2")
        link.messages_ready()
        await until(lambda: w.source.empty)
        assert link.stats.rejected == {"amqp:link:message-size-exceeded": 1}
        assert link.stats.sent == {"leaf0": 2}


async def test_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link(fan_out=2)
        for number in range(3):
            w.put(f"leaf{number}", 0, 200)
        await until(lambda: link.stats.batches >= 3)
        await link.stop()
        assert not w.source.lent
        delivered = sum(count for _, count, outcome in w.source.settled if outcome == "delivered")
        assert sum(len(numbers) for numbers in (await w.stored()).values()) == delivered


async def test_stop_does_not_wait_for_a_hub_that_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link(drain_s=3600.0)
        await until(lambda: link.state is State.CONNECTED)
        held: list[Any] = []
        w.server.telemetry.append = held.append  # type: ignore[method-assign, assignment]
        w.put("leaf0", 0, 10)
        await until(lambda: len(held) > 0)
        stopping = asyncio.create_task(link.stop())
        await asyncio.sleep(0)
        w.relay.cut()
        async with asyncio.timeout(20):
            await stopping
        assert not w.source.lent


async def test_the_wrong_authority_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        link = await w.link(tls=ssl.create_default_context())
        await until(lambda: link.stats.connects_failed >= 1)
        assert w.listener.ups == 0


# ---- the device scope


@asynccontextmanager
async def scope(w: World, **changes: Any) -> AsyncIterator[ScopeClient]:
    base = ScopeSettings(f"https://{HOST}:{w.server.https_port}", "gw", w.tokens())
    connector = aiohttp.TCPConnector(ssl=w.tls())
    async with aiohttp.ClientSession(connector=connector) as session:
        yield ScopeClient(replace(base, **changes), session, sleep=lambda _: asyncio.sleep(0))


def names(pages: list[bytes]) -> tuple[list[str], list[str]]:
    import msgspec

    decoded = [msgspec.json.decode(page) for page in pages]
    devices = [device["deviceId"] for page in decoded for device in page["devices"]]
    modules = [f"{module['deviceId']}/{module['moduleId']}" for page in decoded for module in page["modules"]]
    return devices, modules


@pytest.mark.parametrize("nested", [True, False])
async def test_rows_67_and_68_the_whole_scope_in_pages(tmp_path: Path, nested: bool) -> None:
    async with world(tmp_path, leaves=24) as w, scope(w, nested=nested) as client:
        pages = await client.listing("gw", "gw")
        assert len(pages) == 3
        devices, modules = names(pages)
        assert devices[0] == "gw"
        assert sorted(devices) == sorted(["gw", *(f"leaf{n}" for n in range(24))])
        assert modules == ["gw/$edgeAgent", "gw/$edgeHub", "gw/filter"]
        assert client.nested is nested


@pytest.mark.parametrize("leaves", [0, 1, 8, 9, 10, 11])
async def test_pages_end_right(tmp_path: Path, leaves: int) -> None:
    async with world(tmp_path, leaves=leaves) as w, scope(w, page_size=1 if leaves < 3 else 10) as client:
        devices, _ = names(await client.listing("gw", "gw"))
        assert sorted(devices) == sorted(["gw", *(f"leaf{n}" for n in range(leaves))])


@pytest.mark.parametrize("nested", [True, False])
async def test_rows_69_to_71_single_identities(tmp_path: Path, nested: bool) -> None:
    async with world(tmp_path) as w, scope(w, nested=nested) as client:
        await w.server.registry.put_module(parse_module("leaf0", "m", {}), None)
        other = await w.server.registry.put_device(
            parse_device("gw2", {"capabilities": {"iotEdge": True}}), None
        )
        await w.server.registry.put_device(parse_device("far", {"deviceScope": other.device_scope}), None)
        assert names([await client.identity("leaf0", None, "gw")]) == (["leaf0"], [])
        assert names([await client.identity("leaf0", "m", "gw")]) == (["leaf0"], ["leaf0/m"])
        assert names([await client.identity("gw", "$edgeHub", "gw")]) == (["gw"], ["gw/$edgeHub"])
        with pytest.raises(NotInScope):
            await client.identity("far", None, "gw")
        for device, module in (("ghost", None), ("leaf0", "ghost")):
            with pytest.raises(NoSuchIdentity):
                await client.identity(device, module, "gw")


async def test_nested_children_are_listed_by_their_edge(tmp_path: Path) -> None:
    async with world(tmp_path) as w, scope(w) as client:
        gateway = await w.server.registry.device("gw")
        assert gateway is not None
        child = await w.server.registry.put_device(
            parse_device(
                "child", {"capabilities": {"iotEdge": True}, "parentScopes": [gateway.device_scope]}
            ),
            None,
        )
        await w.server.registry.put_device(parse_device("deep", {"deviceScope": child.device_scope}), None)
        assert "child" in names(await client.listing("gw", "gw"))[0]
        assert names(await client.listing("child", "child;gw"))[0] == ["child", "deep"]
        assert names([await client.identity("deep", None, "gw")])[0] == ["deep"]
        with pytest.raises(NotInScope):
            await client.listing("child", "child;leaf0;gw")
        link = await w.link(auth_chain=lambda sender: f"{sender};child;gw" if sender == "deep" else None)
        w.put("deep", 0, 5)
        await until(lambda: w.source.empty)
        assert (await w.stored())["deep"] == list(range(5))
        assert link.stats.sent == {"deep": 5}


async def test_no_hub_at_all_is_an_error_after_the_retries(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        async with aiohttp.ClientSession() as session:
            settings = ScopeSettings("https://127.0.0.1:1", "gw", w.tokens())
            client = ScopeClient(settings, session, sleep=sleep, random_source=lambda: 0.5)
            with pytest.raises(ScopeError, match="cannot be read"):
                await client.listing("gw", "gw")
        assert waits == [5.0, 10.0]


async def test_a_parent_without_nested_calls_is_asked_the_flat_way(tmp_path: Path) -> None:
    """And only then: an identity that does not exist is no reason."""
    async with world(tmp_path) as w, scope(w) as client:
        with pytest.raises(NoSuchIdentity):
            await client.identity("ghost", None, "gw")
        assert client.nested is True
        rest: Any = w.server._rest
        routes = rest._router._routes
        routes[5] = [
            (parts, methods)
            for parts, methods in routes[5]
            if parts[-1] not in ("devicesandmodulesintargetdevicescope", "getdeviceandmoduleonbehalfof")
        ]
        assert "leaf0" in names(await client.listing("gw", "gw"))[0]
        nested_after: bool = client.nested
        assert nested_after is False
        with pytest.raises(UpstreamError):
            await client.listing("other", "other;gw")
        assert str(direct_chain("gw", "leaf0", None)) == "leaf0;gw"


# ---- on the loop that the programs use


@pytest.mark.parametrize(
    "scenario",
    [
        test_messages_of_many_senders_arrive_in_order_with_their_origin,
        test_a_hub_that_restarts_loses_nothing,
        test_offline_then_back_within_a_second_of_the_kick,
        test_twin_of_edge_hub,
        test_stop_finishes_what_is_in_flight,
        test_nested_children_are_listed_by_their_edge,
    ],
)
def test_under_uvloop(scenario: Callable[[Path], Coroutine[Any, Any, None]], tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(tmp_path))


@pytest.mark.parametrize("seed", range(3, 5))
def test_cuts_under_uvloop(seed: int, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_row_160_cuts_in_the_middle_of_batches(tmp_path, seed))
