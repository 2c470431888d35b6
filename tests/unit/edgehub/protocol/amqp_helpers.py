"""Two engines on a fake wire, and strategies for AMQP values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from edgehub.protocol.amqp_engine import AmqpEngine
from edgehub.protocol.amqp_events import ConnectionOpened, LinkAttached, SessionOpened
from edgehub.protocol.amqp_options import EngineOptions
from edgehub.protocol.amqp_types import Int, Symbol, Timestamp, Ubyte, Uint, Ulong, Ushort

if TYPE_CHECKING:
    from edgehub.protocol.amqp_handles import AmqpLink

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 255).map(Ubyte)
    | st.integers(0, 2**16 - 1).map(Ushort)
    | st.integers(0, 2**32 - 1).map(Uint)
    | st.integers(0, 2**64 - 1).map(Ulong)
    | st.integers(-(2**31), 2**31 - 1).map(Int)
    | st.integers(-(2**63), 2**63 - 1).map(Timestamp)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.text(alphabet=st.characters(codec="ascii"), max_size=40).map(Symbol)
    | st.binary(max_size=300)
    | st.uuids()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


def server(**options: Any) -> AmqpEngine:
    options.setdefault("sasl_mechanisms", ("ANONYMOUS", "MSSBCBS", "PLAIN"))
    return AmqpEngine(EngineOptions("server", "server", **options))


def client(**options: Any) -> AmqpEngine:
    return AmqpEngine(EngineOptions("client", "client", "hub.example.test", **options))


def pump(a: AmqpEngine, b: AmqpEngine) -> None:
    """Carries bytes both ways until both are quiet."""
    while True:
        to_b, to_a = a.outbound(), b.outbound()
        if not to_b and not to_a:
            return
        b.feed(to_b)
        a.feed(to_a)


def kinds(engine: AmqpEngine) -> list[str]:
    return [type(event).__name__ for event in engine.events()]


def accept_all(engine: AmqpEngine, credit: int = 100) -> list[AmqpLink]:
    """Answers opens, begins and attaches; gives the links."""
    links = []
    for event in engine.events():
        if isinstance(event, ConnectionOpened):
            engine.open()
        elif isinstance(event, SessionOpened):
            event.session.open()
        elif isinstance(event, LinkAttached) and event.link.locally_new:
            event.link.open()
            event.link.grant(credit)
            links.append(event.link)
    return links


def sender_pair(credit: int = 100, *, client_options: Any = None, server_options: Any = None) -> Any:
    """Client and server with one link on which the client sends: `(client, server, client link, server
    link)`."""
    one, two = client(**(client_options or {})), server(**(server_options or {}))
    one.open()
    near = one.new_session().attach_sender("link", "/devices/d/messages/events")
    pump(one, two)
    (far,) = accept_all(two, credit)
    pump(one, two)
    one.events()
    return one, two, near, far
