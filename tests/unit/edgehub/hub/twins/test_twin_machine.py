"""Twins against a simple model: whatever happens to link, hub and clients, both sides agree in the end.

The model: reported properties are all patches that were acknowledged, in order, on what was there before; a
client that read its twin and stays subscribed knows the desired properties of the parent hub.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgehub.common.ids import IdentityId
from edgehub.common.merge_patch import merge
from unit.edgehub.hub.twins.twins_rig import TwinsRig

CLIENTS = ("dev1", "edge1/mod1")
clients = st.sampled_from(CLIENTS)
keys = st.sampled_from("ab")
leaves = st.none() | st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=1)
values = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=2), max_leaves=4)
patches = st.dictionaries(keys, values, max_size=2)


def plain(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "$version"}


class TwinMachine(RuleBasedStateMachine):
    """Every rule leaves a settled system, but for calls that the parent hub holds back."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rig = self.loop.run_until_complete(self._make())
        self.online = False
        self.reported: dict[str, dict[str, Any]] = {name: {} for name in CLIENTS}
        self.known: dict[str, dict[str, Any]] = {}
        """Desired properties as subscribed clients know them."""

    async def _make(self) -> TwinsRig:
        return TwinsRig()

    def run(self, step: Any) -> Any:
        found = self.loop.run_until_complete(step)
        self.loop.run_until_complete(self.rig.settle())
        for name, _, patch in self.rig.take_told():
            if name in self.known:
                self.known[name] = merge(self.known[name], patch)
        return found

    @rule(name=clients, patch=patches)
    def report(self, name: str, patch: dict[str, Any]) -> None:
        self.run(self.rig.report(name, patch))
        self.reported[name] = merge(self.reported[name], patch)

    @rule(name=clients, patch=patches, arrives=st.booleans())
    def change_desired(self, name: str, patch: dict[str, Any], arrives: bool) -> None:
        """A notification may get lost only while the link is down, or with it."""
        if self.online and not arrives:
            self.link_down()
        self.run(self.rig.change_desired(name, patch, arrives=self.online))

    @rule(name=clients)
    def subscribe_and_read(self, name: str) -> None:
        """What every SDK client does."""
        self.rig.subscribe(name)
        self.known.pop(name, None)
        self.known[name] = self.run(self.rig.get(name))["desired"]

    @rule(name=clients)
    def read(self, name: str) -> None:
        found = self.run(self.rig.get(name))
        assert plain(found["reported"]) == self.reported[name]
        if name in self.known:
            self.known[name] = found["desired"]

    @rule(name=clients)
    def leave(self, name: str) -> None:
        self.rig.twins.disconnected(IdentityId.parse(name))
        self.known.pop(name, None)

    @precondition(lambda self: not self.online)
    @rule()
    def link_up(self) -> None:
        self.online = True
        self.run(self.rig.link_up())

    @precondition(lambda self: self.online)
    @rule()
    def link_down(self) -> None:
        self.online = False
        self.rig.twins.link_down()

    @precondition(lambda self: self.online)
    @rule(name=clients, patch=patches)
    def link_lost_in_a_push(self, name: str, patch: dict[str, Any]) -> None:
        """Whether the patch arrived, nobody knows."""
        self.rig.parent.held.clear()
        self.report(name, patch)
        self.rig.parent.fails = True
        self.rig.parent.held.set()
        self.run(self.rig.settle())
        self.rig.parent.fails = False
        self.link_down()

    @rule()
    def restart(self) -> None:
        self.online = False
        self.known.clear()
        self.run(self.rig.restart())

    @invariant()
    def agreed(self) -> None:
        """While the link is up and nothing is held back, both sides know the same."""
        if not self.online:
            return
        for name in CLIENTS:
            assert plain(self.rig.parent.reported_of(name)) == self.reported[name]
        for name, known in self.known.items():
            assert known == self.rig.parent.desired_of(name)

    def teardown(self) -> None:
        try:
            if not self.online:
                self.link_up()
                self.agreed()
        finally:
            self.loop.run_until_complete(self.rig.stop())
            self.loop.close()


TestTwinMachine = TwinMachine.TestCase
TestTwinMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
