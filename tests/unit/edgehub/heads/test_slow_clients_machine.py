"""Clients that wait, for the parent hub or for the disk, under any order of events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from edgehub.common.state import MemoryState, StateError
from testkit.fake_core import ClosedEvent, PublishEvent, SubscribeEvent
from testkit.head_bench import HeadBench
from testkit.identities import sas_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.common.state import Change

KNOWN = ("a", "b")
LATER = ("late1", "late2")
NEVER = ("ghost",)


class SlowState(MemoryState):
    """A state whose writes are durable, or fail, when the test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.waiting: list[tuple[Sequence[Change], asyncio.Future[None]]] = []

    def write(self, changes: Sequence[Change]) -> asyncio.Future[None] | None:
        super().write(changes)
        future = self._loop.create_future()
        self.waiting.append((changes, future))
        return future

    def finish(self, *, failing: bool) -> None:
        """Ends all waiting writes."""
        waiting, self.waiting = self.waiting, []
        for _, future in waiting:
            if failing:
                future.set_exception(StateError("disk full"))
            else:
                future.set_result(None)


class SlowMachine(RuleBasedStateMachine):
    """Checks that every CONNECT gets one answer at most, that nothing is answered after the end of a
    connection, and that bookkeeping never leaks."""

    conns = Bundle("conns")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.state = SlowState(self.loop)
        self.gate = asyncio.Event()
        self.bench = self.loop.run_until_complete(self.make())
        self.next_conn = 0
        self.answers: dict[int, list[str]] = {}
        self.open: set[int] = set()
        self.ended: set[int] = set()
        self.late: list[str] = []
        self.watch()

    async def make(self) -> HeadBench:
        bench = HeadBench(KNOWN, state=self.state, clients_max=3)
        answer = bench.api.get_identity

        async def slow(*parts: Any) -> Any:
            await self.gate.wait()
            return await answer(*parts)

        bench.api.get_identity = slow  # type: ignore[method-assign, assignment]
        return bench

    def watch(self) -> None:
        """Notes answers at the moment they are given, and the moment the end of a connection is handled."""
        core, head = self.bench.core, self.bench.head
        accept, refuse, closed = core.accept, core.refuse, head._closed

        def answered(conn: int, name: str) -> None:
            self.answers[conn].append(name)
            if conn in self.ended:
                self.late.append(f"{name} {conn}")

        def on_accept(conn: int, *parts: Any, **named: Any) -> None:
            answered(conn, "accept")
            accept(conn, *parts, **named)

        def on_refuse(conn: int, code: int) -> None:
            answered(conn, "refuse")
            refuse(conn, code)

        def on_closed(event: Any) -> Any:
            self.ended.add(event.conn)
            return closed(event)

        core.accept, core.refuse = on_accept, on_refuse  # type: ignore[method-assign]
        head._closed = on_closed  # type: ignore[method-assign]

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.bench.core.dispose()
            self.loop.close()
            asyncio.set_event_loop(None)

    def finish(self) -> None:
        """Everything comes to its end, and then nothing is left."""
        self.gate.set()
        self.turn()
        self.state.finish(failing=False)
        self.turn()
        for conn in list(self.open):
            self.feed(ClosedEvent(conn, reason="eof"))
        self.state.finish(failing=False)
        self.turn()
        assert self.bench.connections.count == 0
        assert self.bench.head._lanes.busy == 0
        assert self.bench.head._undecided == set()
        assert self.bench.head._auth_waits == set()
        assert self.ended == set(self.answers)

    def feed(self, *events: Any) -> None:
        async def run() -> None:
            self.bench.feed(*events)

        self.loop.run_until_complete(run())

    def turn(self) -> None:
        self.loop.run_until_complete(self.bench.settle())

    @rule(target=conns, identity=st.sampled_from(KNOWN + LATER + NEVER), clean=st.booleans())
    def connect(self, identity: str, clean: bool) -> int:
        self.next_conn += 1
        conn = self.next_conn
        self.answers[conn] = []
        self.open.add(conn)
        self.feed(self.bench.connect_event(conn, identity, clean_session=clean))
        return conn

    @rule(conn=conns)
    def subscribe(self, conn: int) -> None:
        if conn in self.open:
            self.feed(SubscribeEvent(conn, 1, [(f"f{conn}", 1)]))

    @rule(conn=conns)
    def twin_request(self, conn: int) -> None:
        if conn in self.open:
            self.feed(PublishEvent(conn, 2, "$iothub/twin/GET/?$rid=1", b"", 1))

    @rule(conn=conns)
    def close(self, conn: int) -> None:
        if conn in self.open:
            self.open.discard(conn)

            async def run() -> bool:
                # Asked here: what was ready to run has run before.
                waits_for_parent = conn in self.bench.head._auth_waits
                self.bench.feed(ClosedEvent(conn, reason="eof"))
                return waits_for_parent

            waited = self.loop.run_until_complete(run())
            assert conn in self.ended or not waited, "waits end when the client leaves"

    @rule()
    def loop_turns(self) -> None:
        self.turn()

    @rule(failing=st.booleans())
    def disk(self, failing: bool) -> None:
        self.state.finish(failing=failing)
        self.turn()

    @rule()
    def parent_answers(self) -> None:
        self.gate.set()
        self.turn()

    @rule()
    def parent_is_silent(self) -> None:
        self.gate.clear()

    @rule(identity=st.sampled_from(LATER))
    def parent_learns(self, identity: str) -> None:
        self.bench.api.put(sas_identity(identity))
        self.bench.clock.advance(200)

    @invariant()
    def one_answer_at_most(self) -> None:
        assert all(len(answers) <= 1 for answers in self.answers.values())
        assert self.late == [], "answered after the end of the connection was handled"

    @invariant()
    def the_limit_holds(self) -> None:
        assert self.bench.connections.count <= 3

    @invariant()
    def one_connection_per_identity(self) -> None:
        identities = [client.identity for client in self.bench.connections]
        assert len(identities) == len(set(identities))


TestSlowClients = SlowMachine.TestCase
TestSlowClients.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
