"""An MQTT head with everything around it, for tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.heads.base import EventPump
from edgehub.heads.cached_twins import CachedTwins
from edgehub.heads.connections import Connections
from edgehub.heads.control_topics import ControlTopics
from edgehub.heads.dispatch import event_handler
from edgehub.heads.forwarded import ForwardedCertificates
from edgehub.heads.mqtt import MqttHead
from edgehub.heads.observers import Observers
from edgehub.heads.session_store import SessionStore
from edgehub.hub.methods.service import DirectMethods
from edgehub.hub.reauthentication import Reauthenticator
from edgehub.hub.twins.service import ClientTwins
from edgehub.hub.twins.store import TwinStore
from edgehub.identity.authenticator import Authenticator
from edgehub.identity.refresher import ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache
from edgehub.metrics.totals import MethodTotals, TwinTotals
from testkit import fake_core
from testkit.clock import ManualClock
from testkit.fake_core import ClosedEvent, ConnectEvent, Engine
from testkit.identities import (
    EDGE_ID,
    HUB_HOST,
    FakeScopeApi,
    edge_identity,
    sas_identity,
    token_for,
    username_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.common.method_calls import MethodCall
    from edgehub.common.state import StateStore
    from edgehub.identity.client_certificates import ClientCertificates
    from edgehub.protocol.topics import SubscriptionKind


PROXY = IdentityId(EDGE_ID, "IoTEdgeAPIProxy")


class Observer:
    """Writes down what a head tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.subscribed: list[str] = []

    def connected(self, identity: IdentityId) -> None:
        self.told.append(f"+{identity}")

    def disconnected(self, identity: IdentityId) -> None:
        self.told.append(f"-{identity}")

    def refused(self, claimed: str, *, not_authenticated: bool) -> None:
        self.told.append(f"!{claimed}" if not_authenticated else f"?{claimed}")

    def subscriptions(self, identity: IdentityId, kinds: frozenset[SubscriptionKind]) -> None:
        names = " ".join(sorted(kind.name.lower() for kind in kinds)) or "nothing"
        self.subscribed.append(f"{identity}: {names}")

    def take_subscriptions(self) -> list[str]:
        told, self.subscribed = self.subscribed, []
        return told

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


class HeadBench:
    """Feeds events and looks at the calls that come out."""

    def __init__(
        self,
        identities: Sequence[str] = ("leaf", "edge1/m", "edge1/n"),
        *,
        clients_max: int = 100,
        state: StateStore | None = None,
        now_s: float = 1_700_000_000.0,
        observers: Observers | None = None,
        certificates: ClientCertificates | None = None,
        core: Any = None,
        grants: Any = fake_core.core_module.Grants,
    ) -> None:
        self.clock = ManualClock(now_s)
        self.core: Engine = core if core is not None else Engine()
        self.state: StateStore = state if state is not None else MemoryState()
        self.api = FakeScopeApi([edge_identity(), *map(sas_identity, identities)])
        self.cache = ScopeCache(EDGE_ID)
        self.policy = RefreshPolicy(period_s=3600, gap_s=120)
        self.refresher = ScopeRefresher(
            self.cache,
            self.policy,
            self.api,
            self.clock,
            edge_device_id=EDGE_ID,
            state=MemoryState(),
            sealer=None,
        )
        self.cache.replace_all(self.api.identities.values())
        self.policy.full_finished(self.clock.monotonic_s(), succeeded=True)
        self.clock.advance(1000)
        self.connections = Connections(clients_max)
        self.observer = Observer()
        self.authenticator = Authenticator(
            self.cache,
            self.refresher,
            self.clock,
            hosts=(HUB_HOST,),
            nested=True,
            certificates=certificates,
        )
        self.forwarded = ForwardedCertificates(self.authenticator, PROXY)
        self.twins = ClientTwins(
            TwinStore(self.state, None),
            None,
            self.clock,
            TwinTotals(self.clock),
            deliver=self._deliver_desired,
            changed=lambda identity, patch: None,
            gap_s=0.0,
            refresh_gap_s=0.0,
        )
        self.methods = DirectMethods(self._send_method, self.clock, MethodTotals(self.clock))
        listeners = (self.observer, self.twins, self.methods)
        self.head = MqttHead(
            self.core,
            grants,
            self.authenticator,
            self.connections,
            SessionStore(self.state),
            self.clock,
            edge_device_id=EDGE_ID,
            observers=observers or Observers(listeners, listeners),
            control=ControlTopics(self.core, CachedTwins(self.twins), self.methods),
            forwarded=self.forwarded.of,
        )
        self.reauthenticator = Reauthenticator(
            self.connections, self.authenticator, self.head.disconnect, self.head.retire
        )
        self.refresher.on_diff = self.reauthenticator.scope_changed
        self.upstream_ready = 0
        self.store_faults: list[str] = []
        self.pump = EventPump(
            self.core,
            event_handler(self.head, upstream_ready=self._on_ready, store_failed=self.store_faults.append),
        )

    def _send_method(
        self, target: IdentityId, request_id: str, call: MethodCall
    ) -> asyncio.Future[str] | None:
        return self.head.send_method(target, request_id, call)

    def _deliver_desired(self, identity: IdentityId, version: int | None, patch: bytes) -> None:
        self.head.deliver_desired(identity, version, patch)

    def _on_ready(self) -> None:
        self.upstream_ready += 1

    def feed(self, *events: Any) -> list[str]:
        """Hands events over and returns the calls they caused at once, in a short form."""
        self.core.push(*events)
        while self.pump.pump():
            pass
        return self.calls()

    def calls(self) -> list[str]:
        return [short(call) for call in self.core.take_calls()]

    async def settle(self) -> list[str]:
        """Lets tasks run until none is left and returns the calls they caused."""
        for _ in range(50):
            await asyncio.sleep(0)
        return self.calls()

    def connect_event(self, conn: int, identity: str, **changes: Any) -> ConnectEvent:
        """A good CONNECT, except for the changes."""
        values: dict[str, Any] = {
            "client_id": identity,
            "username": username_for(identity),
            "password": token_for(identity, self.clock).encode(),
            "peer": f"10.0.0.1:{conn}",
        }
        return ConnectEvent(conn, **(values | changes))

    def connect(self, conn: int, identity: str, **changes: Any) -> list[str]:
        return self.feed(self.connect_event(conn, identity, **changes))

    def closed(self, conn: int, reason: str = "disconnect", **changes: Any) -> list[str]:
        return self.feed(ClosedEvent(conn, peer=f"10.0.0.1:{conn}", reason=reason, **changes))


def short(call: fake_core.Call) -> str:
    """A call in a form that reads well in assertions."""
    values = dict(call.arguments)
    conn = values.pop("conn", None)
    match call.name:
        case "accept":
            values["grants"] = values["grants"].device_id
            flags = [name for name in ("session_present", "inputs_active") if values[name]]
            filters = [f"{name}:{qos}" for name, qos, _ in values["subscriptions"]]
            return " ".join(["accept", str(conn), *flags, *filters])
        case "refuse":
            return f"refuse {conn} {values['code']}"
        case "suback":
            inputs = " inputs_active" if values["inputs_active"] else ""
            return f"suback {conn} {values['packet_id']} {values['codes'].hex()}{inputs}"
        case "unsuback":
            inputs = " inputs_active" if values["inputs_active"] else ""
            return f"unsuback {conn} {values['packet_id']}{inputs}"
        case "request_done":
            return f"request_done {conn}"
        case "puback":
            return f"puback {conn} {values['packet_id']}"
        case "send":
            return f"send {conn} {values['topic']} {values['payload']!r} qos{values['qos']}"
        case "close":
            return f"close {conn} {values['reason']}"
    return call.name
