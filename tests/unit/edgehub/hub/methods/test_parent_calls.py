"""Method calls of the parent hub (heads spec 5.3, 6; I-024, DEV-18)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from edgehub.common.ids import IdentityId
from edgehub.common.method_calls import MethodAnswer, MethodCall
from edgehub.errors import EdgehubError
from edgehub.hub.methods.parent_calls import ParentCalls
from edgehub.hub.methods.service import DirectMethods
from edgehub.metrics.totals import MethodTotals
from edgehub.protocol.topics import SubscriptionKind
from testkit.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN, LEAF = IdentityId("edge1", "$edgeHub"), IdentityId("leaf")
LISTENS = frozenset({SubscriptionKind.METHODS})


class Rig:
    """A parent that keeps whom it may call, and clients that answer at once."""

    def __init__(self) -> None:
        self.followed: set[str] = set()
        self.refreshed: list[IdentityId] = []
        self.fails = False
        self.totals = MethodTotals(ManualClock())
        self.methods = DirectMethods(self.send, ManualClock(), self.totals)
        self.calls = ParentCalls(OWN, self, self.methods, self.refresh)

    def follow(self, identity: str, *, wanted: bool) -> None:
        (self.followed.add if wanted else self.followed.discard)(identity)

    async def refresh(self, identities: Sequence[IdentityId]) -> None:
        if self.fails:
            raise EdgehubError("no answer")
        self.refreshed += identities

    def send(self, target: IdentityId, request_id: str, call: MethodCall) -> asyncio.Future[str]:
        answer = MethodAnswer(201, call.name.encode() + b":" + call.payload)
        asyncio.get_running_loop().call_soon(self.methods.answered, target, request_id, answer)
        return asyncio.get_running_loop().create_future()


async def test_a_client_that_listens_can_be_called() -> None:
    rig = Rig()
    assert rig.followed == {str(OWN)}
    for listener in (rig.methods, rig.calls):
        listener.connected(LEAF)
        listener.subscriptions(LEAF, LISTENS)
    assert rig.followed == {str(OWN), "leaf"}
    assert await rig.calls.serve("leaf", "reset", b"1") == (201, b"reset:1")
    assert await rig.calls.serve("leaf", "reset", b"") == (201, b"reset:null")
    assert rig.totals.calls == {("upstream", "leaf"): 2}
    rig.calls.subscriptions(LEAF, frozenset())
    assert rig.followed == {str(OWN)}


@pytest.mark.parametrize("ends", ["connected", "disconnected"])
async def test_who_left_or_starts_anew_cannot(ends: str) -> None:
    rig = Rig()
    rig.calls.subscriptions(LEAF, LISTENS)
    getattr(rig.calls, ends)(LEAF)
    assert rig.followed == {str(OWN)}
    assert await rig.calls.serve("leaf", "reset", b"1") == (404, b"")


@pytest.mark.parametrize("name", ["RefreshDeviceScopeIdentityCache", "refreshdevicescopeidentitycache"])
async def test_i_024_identities_are_read_again(name: str) -> None:
    rig = Rig()
    payload = json.dumps({"deviceIds": ["leaf", "edge1/m"]}).encode()
    assert await rig.calls.serve(str(OWN), name, payload) == (200, b"null")
    assert rig.refreshed == [LEAF, IdentityId("edge1", "m")]
    assert await rig.calls.serve(str(OWN), name, b'{"deviceIds":[]}') == (200, b"null")
    rig.fails = True
    status, body = await rig.calls.serve(str(OWN), name, payload)
    assert (status, json.loads(body)) == (500, {"message": "no answer"})


@pytest.mark.parametrize(
    "payload",
    [b"", b"text", b"[]", b"{}", b'{"deviceIds":"leaf"}', b'{"deviceIds":["a/b/c"]}', b'{"deviceIds":[1]}'],
)
async def test_i_024_a_bad_payload_is_400(payload: bytes) -> None:
    rig = Rig()
    status, body = await rig.calls.serve(str(OWN), "RefreshDeviceScopeIdentityCache", payload)
    assert status == 400
    assert "deviceIds" in json.loads(body)["message"]


async def test_i_024_other_methods_are_not_found() -> None:
    status, body = await Rig().calls.serve(str(OWN), "reboot", b"{}")
    assert (status, json.loads(body)) == (404, {"message": "Method reboot is not supported"})
