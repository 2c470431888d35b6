"""What becomes of what is kept of clients when the device scope changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.client_parts import ClientParts
from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.config.settings import UpstreamSettings
from edgehub.heads.observers import Observers
from edgehub.heads.session_store import BUCKET as SESSIONS
from edgehub.hub.twins.store import PENDING, TWINS
from edgehub.metrics.totals import HubTotals
from edgehub.protocol.sessions import open_session
from testkit import fake_core
from testkit.head_bench import HeadBench
from testkit.identities import EDGE_ID, HUB_HOST, sas_identity

if TYPE_CHECKING:
    from edgehub.identity.model import ServiceIdentity

LEAF, OTHER = IdentityId("leaf"), IdentityId("other")
FIRST = dataclasses.replace(sas_identity("leaf"), generation_id="1")


class Bench:
    """The parts of a hub that know `leaf` and `other`, each with a session and a twin on disk."""

    def __init__(self) -> None:
        base = HeadBench(())
        core: Any = base.core
        self.cache, self.state = base.cache, MemoryState()
        self.cache.replace_all([FIRST, sas_identity("other")])
        for key in (str(LEAF), str(OTHER)):
            self.state.write([(bucket, key, b"{}") for bucket in (TWINS, PENDING)])
        self.parts = ClientParts(
            core,
            fake_core.core_module.Grants,
            base.authenticator,
            base.connections,
            self.state,
            base.clock,
            UpstreamSettings(),
            edge_device_id=EDGE_ID,
            observers=Observers((), ()),
            totals=HubTotals(base.clock, HUB_HOST),
            parent=None,
            sealer=None,
            proxy=None,
        )
        for identity in (LEAF, OTHER):
            self.parts._sessions.save(identity, open_session(clean=False, stored=None).session)

    def kept(self) -> set[str]:
        """What is on disk, and whose."""
        buckets = (SESSIONS, TWINS, PENDING)
        return {f"{bucket} {key}" for bucket in buckets for key, _ in self.state.items(bucket)}


@pytest.mark.parametrize(
    ("found", "forgotten"),
    [
        ([], True),
        ([dataclasses.replace(FIRST, generation_id="2")], True),
        ([dataclasses.replace(FIRST, enabled=False)], False),
    ],
)
def test_nothing_is_kept_of_identities_that_are_gone(found: list[ServiceIdentity], forgotten: bool) -> None:
    """One that was registered anew is another: its twin and its subscriptions begin empty (row 12)."""
    bench = Bench()
    before = bench.kept()
    assert len(before) == 6
    bench.parts.scope_changed(bench.cache.apply_one(LEAF, found))
    lost = {item for item in before if item.endswith(" leaf")} if forgotten else set()
    assert bench.kept() == before - lost
