"""A hub without sockets: real databases in a temporary folder, a clock of our own, connections on a fake
wire."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_events import (
    AmqpEvent,
    ConnectionClosed,
    Disposed,
    LinkAttached,
    LinkClosed,
    Received,
)
from edgehub.protocol.amqp_message import AmqpMessage, decode_message, encode_message
from edgehub.protocol.amqp_options import EngineOptions
from edgehub.protocol.cbs import encode_put_token, parse_response
from edgehub.protocol.sas import build_token, device_audience
from iothub.amqp.connection import HubConnection
from iothub.amqp.services import AmqpServices
from iothub.auth import Authorizer
from iothub.c2d.service import CloudToDevice
from iothub.config import HubLimits
from iothub.database import Database
from iothub.methods.service import Methods
from iothub.policies import load_policies
from iothub.registry.model import Device, Module, parse_device, parse_module
from iothub.registry.service import Registry
from iothub.telemetry.event import Event, events_of
from iothub.telemetry.tail import Telemetry
from iothub.twins.service import Twins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edgehub.protocol.amqp_errors import AmqpFault
    from edgehub.protocol.amqp_handles import AmqpLink, AmqpSession

T = TypeVar("T")

HOST = "hub.example.test"
NOW = 1_767_225_600.0
LIFE = 3600


class Clock:
    """Unix time that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class CountingDatabase(Database):
    """Knows whether work is under way.

    :ivar unfinished: calls that have not come back.
    """

    unfinished = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.unfinished += 1
        try:
            return await super().run(work)
        finally:
            self.unfinished -= 1


@dataclass
class Rig:
    """The parts of a hub."""

    clock: Clock
    database: CountingDatabase
    registry: Registry
    twins: Twins
    telemetry: Telemetry
    authorizer: Authorizer
    services: AmqpServices
    clients: list[Client] = field(default_factory=list)

    def identity_changed(self, device_id: str, module_id: str | None) -> None:
        """Word of the registry, as the listener passes it on."""
        for client in self.clients:
            client.server.identity_changed(device_id, module_id)

    async def device(self, device_id: str, **members: Any) -> Device:
        """Registers a device."""
        return await self.registry.put_device(parse_device(device_id, members), None)

    async def edge(self, device_id: str, **members: Any) -> Device:
        """Registers an edge device whose `$edgeHub` has keys."""
        device = await self.device(device_id, capabilities={"iotEdge": True}, **members)
        await self.module(device_id, "$edgeHub", if_match="*")
        return device

    async def module(self, device_id: str, module_id: str, if_match: str | None = None) -> Module:
        """Registers a module, or gives it fresh keys."""
        return await self.registry.put_module(parse_module(device_id, module_id, {}), if_match)

    async def token(self, device_id: str, module_id: str | None = None, life: int = LIFE) -> str:
        """A token with the identity's own key."""
        identity = await self.registry.identity(device_id, module_id)
        assert identity is not None
        audience = device_audience(HOST, device_id, module_id)
        return build_token(audience, int(self.clock.now) + life, key=identity.keys[0])

    def policy_token(self, policy: str, life: int = LIFE) -> str:
        """A token of a shared access policy."""
        key = self.authorizer._policies[policy].primary_key
        return build_token(HOST, int(self.clock.now) + life, key=key, policy=policy)

    def client(self, **options: Any) -> Client:
        """A connected client on a fake wire."""
        client = Client(self, **options)
        self.clients.append(client)
        return client

    async def events(self) -> list[Event]:
        """Everything in the telemetry log."""
        chunks = await self.telemetry.read(0)
        return [event for chunk in chunks for event in events_of(chunk)]


_templates: dict[str, bytes] = {}


def _copy_template(folder: Path) -> None:
    """Fresh databases by copy: making the tables costs more than most tests."""
    if not _templates:
        with tempfile.TemporaryDirectory() as made:
            database = Database(Path(made) / "hub.db")
            load_policies(database.engine)
            database.close()
            _templates["hub.db"] = (Path(made) / "hub.db").read_bytes()
    for name, content in _templates.items():
        (folder / name).write_bytes(content)


@asynccontextmanager
async def hub(
    folder: Path,
    limits: HubLimits | None = None,
    place: Path | str | None = None,
    *,
    client_ca_pem: bytes | None = None,
) -> AsyncIterator[Rig]:
    """A hub for one test.

    :param place: of the registry; by default a file in the folder.
    :param client_ca_pem: authorities of devices.
    """
    clock = Clock()
    limits = limits or HubLimits()
    _copy_template(folder)
    database = CountingDatabase(place or folder / "hub.db")
    registry = Registry(database, clock)
    twins = Twins(database, clock)
    telemetry = Telemetry(folder / "telemetry.db", limits, clock)
    authorizer = Authorizer(registry, load_policies(database.engine), (HOST,), clock, client_ca_pem)
    methods = Methods(authorizer)
    c2d = CloudToDevice(database, limits.c2d, clock)
    services = AmqpServices("iothub_test", "hub", limits, clock, authorizer, telemetry, twins, methods, c2d)
    # Power cuts are not what these tests are about, and syncing is most of their time.
    if not isinstance(place, str):
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
    telemetry.log._connection.execute("PRAGMA synchronous=OFF")
    rig = Rig(clock, database, registry, twins, telemetry, authorizer, services)
    registry.listen(rig.identity_changed)
    try:
        yield rig
    finally:
        for client in rig.clients:
            client.server.dispose()
        await c2d.stop()
        await telemetry.close()
        database.close()


class Client:
    """An AMQP client engine joined to a `HubConnection`."""

    def __init__(self, rig: Rig, certificate: bytes | None = None, **options: Any) -> None:
        self.rig = rig
        self.now = 0.0
        self.server = HubConnection(rig.services, "test", self.now, lambda: None, certificate)
        self.engine = AmqpEngine(EngineOptions("client", "client", HOST, **options))
        self.events: list[AmqpEvent] = []
        self.engine.open()
        self._cbs: tuple[AmqpLink, AmqpLink] | None = None

    async def settle(self) -> None:
        """Carries bytes until both sides are quiet and the hub has nothing left to do."""
        quiet = 0
        while quiet < 3:
            out = self.engine.outbound()
            if out:
                self.server.feed(out)
            back = self.server.engine.outbound()
            if back:
                self.engine.feed(back)
            events = self.engine.events()
            self.events += events
            waits = (
                self.server._control_task or self.rig.telemetry._unfinished or self.rig.database.unfinished
            )
            busy = bool(out or back or events or waits)
            quiet = 0 if busy else quiet + 1
            # Database and log work on threads; this hands the loop to their results.
            await asyncio.sleep(0.001 if busy and not out and not back else 0)

    def take(self, kind: type[Any]) -> list[Any]:
        """Events of a kind since the last call."""
        found = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    async def put_token(
        self, token: str, name: str = "ignored", message_id: Any = "cbs-1"
    ) -> tuple[int, Any]:
        """Status and correlation-id of a put-token."""
        if self._cbs is None:
            session = self.engine.new_session()
            self._cbs = (session.attach_sender("s", "$cbs"), session.attach_receiver("r", "$cbs", credit=100))
            await self.settle()
        request = encode_put_token(message_id, name, token)
        self._cbs[0].send(request)
        await self.settle()
        answers = [event for event in self.take(Received) if event.link is self._cbs[1]]
        answer = parse_response(answers[-1].payload)
        self._cbs[1].grant(1)
        return answer.status, answer.correlation_id

    async def login(self, device_id: str, module_id: str | None = None) -> None:
        """Puts the identity's own token."""
        status, _ = await self.put_token(await self.rig.token(device_id, module_id))
        assert status == 200

    async def sender(
        self,
        address: str,
        session: AmqpSession | None = None,
        name: str = "TelemetrySenderLink",
        **properties: Any,
    ) -> AmqpLink:
        """An attached link to send on."""
        session = session or self.engine.new_session()
        named = {f"com.microsoft:{key.replace('_', '-')}": value for key, value in properties.items()}
        link = session.attach_sender(name, address, properties=named)
        await self.settle()
        self.take(LinkAttached)
        return link

    async def send(self, link: AmqpLink, body: bytes, **message: Any) -> str:
        """Sends one message; outcome or error condition."""
        return await self.transfer(link, encode_message(data=body, **message))

    async def transfer(self, link: AmqpLink, payload: bytes, message_format: int = 0) -> str:
        """Sends encoded bytes; outcome or error condition."""
        link.send(payload, message_format=message_format)
        await self.settle()
        outcomes = [event.outcome for event in self.take(Disposed)]
        if not outcomes:
            return "none"
        return outcomes[-1].fault.condition if outcomes[-1].fault else str(outcomes[-1].kind)

    def faults(self) -> list[AmqpFault]:
        """Faults of links closed since the last call."""
        return [event.fault for event in self.take(LinkClosed) if event.fault is not None]

    def closed_with(self) -> AmqpFault | None:
        """Fault of a closed connection."""
        closed = self.take(ConnectionClosed)
        return closed[-1].fault if closed else None

    async def twin_pair(self, address: str, pair: str = "1") -> TwinPair:
        """Both links of a twin channel."""
        return TwinPair(self, *await self._pair("Twin", address, f"twin:{pair}", 100))

    async def method_pair(self, address: str, pair: str = "1", credit: int = 100) -> MethodPair:
        """Both links of a method channel."""
        return MethodPair(self, *await self._pair("Methods", address, f"methods:{pair}", credit))

    async def _pair(self, name: str, address: str, pair: str, credit: int) -> tuple[AmqpLink, AmqpLink]:
        session = self.engine.new_session()
        properties = {"com.microsoft:channel-correlation-id": pair}
        out = session.attach_sender(f"{name}SenderLink", address, properties=properties, settled=True)
        back = session.attach_receiver(f"{name}ReceiverLink", address, properties=properties, credit=credit)
        await self.settle()
        return out, back


@dataclass
class TwinPair:
    """Twin requests and answers."""

    client: Client
    requests: AmqpLink
    answers: AmqpLink

    async def ask(
        self, operation: str, body: bytes | None = b"", correlation_id: Any = "c1", **annotations: Any
    ) -> list[AmqpMessage]:
        """Messages that came after a request."""
        message = encode_message(
            annotations={"operation": operation, **annotations},
            properties={"correlation_id": correlation_id},
            data=body,
        )
        self.requests.send(message)
        return await self.messages()

    async def messages(self) -> list[AmqpMessage]:
        """Messages that came since the last call."""
        await self.client.settle()
        events = [event for event in self.client.take(Received) if event.link is self.answers]
        return [decode_message(event.payload) for event in events]


@dataclass
class MethodPair:
    """Method requests and answers."""

    client: Client
    answers: AmqpLink
    requests: AmqpLink

    async def calls(self) -> list[AmqpMessage]:
        """Calls that came since the last time."""
        await self.client.settle()
        events = [event for event in self.client.take(Received) if event.link is self.requests]
        return [decode_message(event.payload) for event in events]

    async def answer(self, correlation_id: Any, body: bytes = b"1", **application_properties: Any) -> None:
        """Sends an answer."""
        properties = {name.replace("_", "-"): value for name, value in application_properties.items()}
        self.answers.send(
            encode_message(
                properties={"correlation_id": correlation_id}, application_properties=properties, data=body
            )
        )
        await self.client.settle()
