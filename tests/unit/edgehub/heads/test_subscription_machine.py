"""What the parent hub is asked for, under any order of sessions, takeovers and restarts.

Against a plain model (heads spec 5.4; M-021 to M-023, T-016).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.heads.observers import Observers
from edgehub.hub.cloud_messages import CloudMessages
from edgehub.hub.methods.parent_calls import ParentCalls
from edgehub.hub.methods.service import DirectMethods
from edgehub.metrics.totals import MethodTotals
from testkit.clock import ManualClock
from testkit.fake_core import SubscribeEvent, UnsubscribeEvent
from testkit.head_bench import HeadBench

OWN: Final = IdentityId("edge1", "$edgeHub")
IDENTITIES: Final = ("leaf", "edge1/m")
METHODS: Final = ("$iothub/methods/POST/#", "$iothub/methods/POST/+/#")
MESSAGES: Final = ("devices/leaf/messages/devicebound/#", "devices/edge1/modules/m/messages/devicebound/#")
OTHERS: Final = ("$iothub/twin/res/#", "devices/edge1/modules/m/inputs/#", "x/#")
FILTERS: Final = st.lists(st.sampled_from((*METHODS, *MESSAGES, *OTHERS)), min_size=1, max_size=3)


class Followed:
    """Whom the parent hub may call, or send to."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def follow(self, identity: str, *, wanted: bool) -> None:
        (self.names.add if wanted else self.names.discard)(identity)


async def never(*_: object) -> None:
    raise AssertionError("nobody asks for this")


class SubscriptionMachine(RuleBasedStateMachine):
    """The model: who is connected, with which filters, and which sessions are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.state = MemoryState()
        self.conn = 0
        self.live: dict[str, tuple[int, bool, set[str]]] = {}
        self.kept: dict[str, set[str]] = {}
        self._start()

    def _start(self) -> None:
        self.methods, self.messages = Followed(), Followed()
        clock = ManualClock()
        direct = DirectMethods(lambda *_: None, clock, MethodTotals(clock))
        listeners: Any = (
            ParentCalls(OWN, self.methods, direct, never),
            CloudMessages(self.messages, lambda *_: None),
        )
        self.bench = HeadBench(IDENTITIES, state=self.state, observers=Observers(listeners, listeners))

    def teardown(self) -> None:
        self.bench.core.dispose()
        self.loop.close()

    @rule(identity=st.sampled_from(IDENTITIES), clean=st.booleans())
    def connect(self, identity: str, clean: bool) -> None:
        """Maybe in the place of another connection."""
        self.conn += 1
        assert self.bench.connect(self.conn, identity, clean_session=clean)
        if clean:
            self.kept.pop(identity, None)
        self.live[identity] = self.conn, clean, set(self.kept.get(identity, ()))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), filters=FILTERS, adds=st.booleans())
    def change(self, data: st.DataObject, filters: list[str], adds: bool) -> None:
        """SUBSCRIBE or UNSUBSCRIBE."""
        identity = data.draw(st.sampled_from(sorted(self.live)))
        conn, clean, has = self.live[identity]
        if adds:
            self.bench.feed(SubscribeEvent(conn, 1, [(name, 1) for name in filters]))
            has |= set(filters)
        else:
            self.bench.feed(UnsubscribeEvent(conn, 1, filters))
            has -= set(filters)
        if not clean:
            self.kept[identity] = set(has)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """The connection ends."""
        identity = data.draw(st.sampled_from(sorted(self.live)))
        self.bench.closed(self.live.pop(identity)[0])

    @rule()
    def restart(self) -> None:
        """The hub is killed and comes back with its disk."""
        self.bench.core.dispose()
        self.live.clear()
        self._start()

    @invariant()
    def the_parent_hub_is_asked_for_what_clients_want(self) -> None:
        """Methods of all who listen and our own; messages of devices alone."""
        listens = {name for name, (_, _, has) in self.live.items() if has & set(METHODS)}
        assert self.methods.names == listens | {str(OWN)}
        takes = {name for name, (_, _, has) in self.live.items() if has & set(MESSAGES)}
        assert self.messages.names == takes - {"edge1/m"}


TestSubscriptions = SubscriptionMachine.TestCase
TestSubscriptions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
