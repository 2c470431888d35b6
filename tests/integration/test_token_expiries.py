"""A thousand expired tokens under load: no message is lost, none reaches the wrong client.

The core is the real one, with sockets and a store on disk. The clock of the tokens is the test's: at every
turn of it some clients are over their time and are closed in the middle of what they do; they come back with
new tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import OrderedDict
from typing import TYPE_CHECKING

from edgehub import _core
from edgehub.hub.reauthentication import Reauthenticator
from testkit.head_bench import HeadBench
from testkit.identities import EDGE_ID, token_for, username_for
from testkit.wire import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    PacketReader,
    Received,
    connect_packet,
    puback_packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from edgehub.heads.connections import Client

EXPIRIES = 1000
MODULES = 4
DEVICES = 16
WINDOW = 5
TURN_S = 10
"""By so much the clock moves on; tokens last one to six turns."""
PATIENCE_S = 50.0


class Ended(Exception):
    """The hub closed the connection, or took no token."""


class Wire:
    """A connection of one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._packets = PacketReader()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self) -> Received:
        while (found := self._packets.take()) is None:
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise Ended
            self._packets.feed(data)
        return found


class Site:
    """A head over the real core, and the clients."""

    def __init__(self, folder: Path) -> None:
        modules = [f"{EDGE_ID}/m{number}" for number in range(MODULES)]
        devices = [f"d{number}" for number in range(DEVICES)]
        core = _core.Engine(edge_device_id=EDGE_ID, storage_dir=str(folder))
        self.bench = HeadBench([*modules, *devices], core=core, grants=_core.Grants)
        self.expired: set[int] = set()
        self.other_ends: list[str] = []
        self.reauthenticator = Reauthenticator(
            self.bench.connections, self.bench.authenticator, self._disconnect, self._retire
        )
        self.receivers = {name: Receiver(self, name) for name in modules}
        self.senders = [Sender(self, name) for name in devices]
        core.set_routes(
            [
                (
                    name,
                    f"FROM /messages/* WHERE $connectionDeviceId = '{name}' INTO "
                    f"BrokeredEndpoint('/modules/{self.reader_of(name).partition('/')[2]}/inputs/i')",
                    None,
                    0,
                )
                for name in devices
            ],
            default_ttl_secs=7200,
        )
        core.start()
        self.bench.pump.start()
        _, self.port = core.listen("127.0.0.1", 0)
        self._random = random.Random(7)

    def close(self) -> None:
        self.bench.core.stop(1000)
        self.bench.pump.drain()
        self.bench.pump.stop()

    @staticmethod
    def reader_of(device: str) -> str:
        """The module that gets the messages of a device."""
        return f"{EDGE_ID}/m{int(device[1:]) % MODULES}"

    def _retire(self, client: Client, reason: str) -> None:
        assert reason == "reauthentication failed: the token has expired"
        self.expired.add(client.conn)
        self.bench.head.retire(client, reason)

    def _disconnect(self, client: Client, reason: str) -> None:
        self.other_ends.append(f"{client.identity}: {reason}")

    async def serve(self, identity: str, use: Callable[[Wire], Awaitable[None]], *, clean: bool) -> None:
        """One connection with a token that is nearly over, until the hub ends it or `use` does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            wire = Wire(reader, writer)
            token = token_for(identity, self.bench.clock, ttl_s=self._random.randint(-299, -241))
            wire.send(connect_packet(identity, username_for(identity), token, clean=clean))
            answer = await wire.receive()
            assert answer.kind == CONNACK
            assert answer.code in (0, 5)
            if answer.code == 0:  # else the clock moved on meanwhile
                await use(wire)
        except Ended:
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def expire(self) -> None:
        """Moves the clock until enough tokens were over, and checks the clients at every turn."""
        while len(self.expired) < EXPIRIES:
            self.bench.clock.advance(TURN_S)
            await self.reauthenticator.sweep()
            await asyncio.sleep(0.01)


class Sender:
    """A device with a window of messages in flight, that sends again what was not acknowledged."""

    def __init__(self, site: Site, name: str) -> None:
        self._site, self.name = site, name
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self.sent = 0
        self.ending = False

    async def run(self) -> None:
        while not self.ending or self._waiting:
            await self._site.serve(self.name, self._send, clean=True)

    async def _send(self, wire: Wire) -> None:
        for number in self._waiting:
            self._publish(wire, number)
        while True:
            while len(self._waiting) < WINDOW and not self.ending:
                self.sent += 1
                self._waiting[self.sent] = None
                self._publish(wire, self.sent)
            if not self._waiting:
                return
            answer = await wire.receive()
            assert answer.kind == PUBACK
            number = next(number for number in self._waiting if number % 65535 + 1 == answer.acked)
            del self._waiting[number]

    def _publish(self, wire: Wire, number: int) -> None:
        body = f"{self.name} {number}".encode()
        wire.send(publish_packet(f"devices/{self.name}/messages/events/", body, number % 65535 + 1))


class Receiver:
    """A module that writes down what it gets."""

    def __init__(self, site: Site, name: str) -> None:
        self._site, self._name = site, name
        self._input = f"devices/{name.replace('/', '/modules/')}/inputs/i"
        self.got: dict[str, set[int]] = {}
        self.wrong: list[str] = []

    async def run(self) -> None:
        while True:
            await self._site.serve(self._name, self._receive, clean=False)

    async def _receive(self, wire: Wire) -> None:
        wire.send(subscribe_packet(f"{self._input.rpartition('/')[0]}/#"))
        while True:
            self._take(wire, await wire.receive())

    def _take(self, wire: Wire, packet: Received) -> None:
        if packet.kind == SUBACK:
            return
        assert packet.kind == PUBLISH
        topic, packet_id, body = packet.message()
        device, _, number = body.decode().partition(" ")
        if not topic.startswith(self._input) or self._site.reader_of(device) != self._name:
            self.wrong.append(f"{topic}: {body!r}")
        self.got.setdefault(device, set()).add(int(number))
        wire.send(puback_packet(packet_id))

    def has_all_of(self, sender: Sender) -> bool:
        return len(self.got.get(sender.name, ())) == sender.sent


async def test_a_thousand_expired_tokens_under_load(tmp_path: Path) -> None:
    site = Site(tmp_path)
    receiving = [asyncio.create_task(receiver.run()) for receiver in site.receivers.values()]
    sending = [asyncio.create_task(sender.run()) for sender in site.senders]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await site.expire()
            for sender in site.senders:
                sender.ending = True
            await asyncio.gather(*sending)
            while not all(site.receivers[site.reader_of(s.name)].has_all_of(s) for s in site.senders):
                assert not any(task.done() for task in receiving)
                await asyncio.sleep(0.01)
    finally:
        for task in (*receiving, *sending):
            task.cancel()
        ends = await asyncio.gather(*receiving, *sending, return_exceptions=True)
        site.close()
    assert [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    assert len(site.expired) >= EXPIRIES
    assert site.other_ends == []
    assert [wrong for receiver in site.receivers.values() for wrong in receiver.wrong] == []
    for sender in site.senders:
        got = site.receivers[site.reader_of(sender.name)].got[sender.name]
        assert got == set(range(1, sender.sent + 1)), sender.name
    assert sum(sender.sent for sender in site.senders) > EXPIRIES
