"""Sessions and takeovers under any order of events, against a plain model."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from testkit.fake_core import PublishEvent, SubscribeEvent, UnsubscribeEvent
from testkit.head_bench import HeadBench

IDENTITIES = ("a", "b", "edge1/m")
CLIENTS_MAX = 2
FILTERS = st.sampled_from(["x", "y", "devices/edge1/modules/m/inputs/#"])


class TakeoverMachine(RuleBasedStateMachine):
    """Connections open, close, subscribe and take over one another.

    The model: which connection holds which identity, and which filters a session has. What the core would
    do is played too: it reports the end of every connection that the head closed or refused, some time
    later.
    """

    conns = Bundle("conns")

    def __init__(self) -> None:
        super().__init__()
        # MemoryState and cached identities never wait, so the loop is only needed for its existence.
        self.loop = asyncio.new_event_loop()
        self.bench = HeadBench(IDENTITIES, clients_max=CLIENTS_MAX)
        self.next_conn = 0
        self.holder: dict[str, int] = {}
        self.clean: dict[int, bool] = {}
        self.stored: dict[str, dict[str, int]] = {}
        self.live: dict[int, dict[str, int]] = {}
        self.told: list[str] = []

    def teardown(self) -> None:
        self.bench.core.dispose()
        self.loop.close()

    def feed(self, *events: Any) -> list[str]:
        calls = self.bench.feed(*events)
        self.told = self.bench.observer.take()
        return calls

    @rule(target=conns, identity=st.sampled_from(IDENTITIES), clean=st.booleans())
    def connect(self, identity: str, clean: bool) -> Any:
        self.next_conn += 1
        conn = self.next_conn
        before = self.holder.get(identity)
        calls = self.feed(self.bench.connect_event(conn, identity, clean_session=clean))
        if before is None and len(self.holder) >= CLIENTS_MAX:
            assert calls == [f"refuse {conn} 3"]
            assert self.told == [f"?{identity}"]
            return multiple()
        assert self.told == [f"+{identity}"], "a takeover tells nobody that the old connection ended"
        present = not clean and identity in self.stored
        if clean:
            self.stored.pop(identity, None)
        filters = dict(self.stored.get(identity, {}))
        words = ["accept", str(conn), *(["session_present"] if present else [])]
        words += ["inputs_active"] if any("inputs" in name for name in filters) else []
        words += [f"{name}:{qos}" for name, qos in filters.items()]
        assert calls[0] == " ".join(words)
        assert calls[1:] == ([] if before is None else [f"close {before} taken over by 10.0.0.1:{conn}"])
        self.holder[identity], self.clean[conn], self.live[conn] = conn, clean, filters
        return conn

    @rule(conn=conns, filters=st.lists(st.tuples(FILTERS, st.integers(0, 2)), min_size=1, max_size=3))
    def subscribe(self, conn: int, filters: list[tuple[str, int]]) -> None:
        calls = self.feed(SubscribeEvent(conn, 1, filters))
        identity = self.identity_of(conn)
        if identity is None:
            assert calls == []
            return
        self.live[conn].update({name: min(qos, 1) for name, qos in filters})
        self.keep(conn, identity)
        codes = bytes(min(qos, 1) for _, qos in filters).hex()
        assert calls == [f"suback {conn} 1 {codes}{self.inputs(conn)}"]

    @rule(conn=conns, names=st.lists(FILTERS, min_size=1, max_size=2))
    def unsubscribe(self, conn: int, names: list[str]) -> None:
        calls = self.feed(UnsubscribeEvent(conn, 2, names))
        identity = self.identity_of(conn)
        if identity is None:
            assert calls == []
            return
        for name in names:
            self.live[conn].pop(name, None)
        self.keep(conn, identity)
        assert calls == [f"unsuback {conn} 2{self.inputs(conn)}"]

    @rule(conn=conns)
    def method_response(self, conn: int) -> None:
        calls = self.feed(PublishEvent(conn, 3, "$iothub/methods/res/200/?$rid=1", b"", 1))
        assert calls == ([f"puback {conn} 3"] if self.identity_of(conn) is not None else [])

    @rule(conn=consumes(conns), reason=st.sampled_from(["disconnect", "eof", "server"]))
    def close(self, conn: int, reason: str) -> None:
        identity = self.identity_of(conn)
        assert self.bench.closed(conn, reason) == []
        assert self.bench.observer.take() == ([] if identity is None else [f"-{identity}"])
        if identity is not None:
            del self.holder[identity]

    @invariant()
    def one_connection_per_identity(self) -> None:
        held = {str(client.identity): client.conn for client in self.bench.connections}
        assert held == self.holder
        assert self.bench.connections.count == len(self.holder) <= CLIENTS_MAX

    @invariant()
    def the_store_holds_the_durable_sessions(self) -> None:
        assert [key for key, _ in self.bench.state.items("sessions")] == sorted(self.stored)

    def identity_of(self, conn: int) -> str | None:
        return next((identity for identity, held in self.holder.items() if held == conn), None)

    def keep(self, conn: int, identity: str) -> None:
        if not self.clean[conn]:
            self.stored[identity] = dict(self.live[conn])

    def inputs(self, conn: int) -> str:
        return " inputs_active" if any("inputs" in name for name in self.live[conn]) else ""


TestTakeover = TakeoverMachine.TestCase
TestTakeover.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
