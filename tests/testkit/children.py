"""A hub with edge devices below it, as far as HTTPS is concerned, for tests.

```
edge1 (this hub)      edge1/m
├── leaf              leaf/m
├── edge2             edge2/$edgeHub, edge2/m
│   ├── deep          deep/m
│   └── edge3         edge3/$edgeHub
│       └── deepest
└── edge4             edge4/$edgeHub
    └── far
```
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.errors import EdgehubError
from edgehub.heads.child_access import ChildAccess
from edgehub.heads.forwarded import ForwardedCertificates
from edgehub.heads.http import HttpHead
from edgehub.heads.registry_routes import RegistryRoutes
from edgehub.heads.scope_routes import ScopeRoutes
from edgehub.identity.authenticator import Authenticator
from edgehub.identity.client_certificates import ClientCertificates
from edgehub.identity.refresher import ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache
from edgehub.identity.scope_answers import ScopeAnswers
from testkit.clock import ManualClock
from testkit.identities import (
    EDGE_ID,
    EDGE_SCOPE,
    HUB_HOST,
    FakeScopeApi,
    edge_identity,
    sas_identity,
    token_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiohttp

    from edgehub.identity.model import ServiceIdentity
    from edgehub.protocol.child_requests import RegistryCall

PROXY = IdentityId(EDGE_ID, "IoTEdgeAPIProxy")
SCOPES = {name: f"ms-azure-iot-edge://{name}-1" for name in ("edge2", "edge3", "edge4")}
FAMILY = (
    edge_identity(),
    sas_identity("edge1/m"),
    sas_identity("leaf"),
    sas_identity("leaf/m"),
    edge_identity("edge2", SCOPES["edge2"], [EDGE_SCOPE]),
    sas_identity("edge2/$edgeHub"),
    sas_identity("edge2/m"),
    sas_identity("deep", parent_scope=SCOPES["edge2"]),
    sas_identity("deep/m"),
    edge_identity("edge3", SCOPES["edge3"], [SCOPES["edge2"]]),
    sas_identity("edge3/$edgeHub"),
    sas_identity("deepest", parent_scope=SCOPES["edge3"]),
    edge_identity("edge4", SCOPES["edge4"], [EDGE_SCOPE]),
    sas_identity("edge4/$edgeHub"),
    sas_identity("far", parent_scope=SCOPES["edge4"]),
)


class TreeScopeApi(FakeScopeApi):
    """A parent hub's scope that lists each edge device by itself."""

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        await super().list_identities(edge_chain)
        truth = ScopeCache(EDGE_ID)
        truth.replace_all(self.identities.values())
        return truth.scope_of(IdentityId(edge_chain[0]))


class FakeRegistry:
    """The parent hub's registry: writes down calls and answers them all alike."""

    def __init__(self) -> None:
        self.calls: list[RegistryCall] = []
        self.answer: tuple[int, bytes] | EdgehubError = (200, b'{"moduleId":"m"}')

    async def call(self, call: RegistryCall) -> tuple[int, bytes]:
        self.calls.append(call)
        if isinstance(self.answer, EdgehubError):
            raise self.answer
        return self.answer

    def taken(self) -> list[tuple[str, str, Any, str | None]]:
        """Calls in a form that reads well: method, operation, JSON, If-Match."""
        return [(call.method, call.operation, json.loads(call.body), call.if_match) for call in self.calls]


class ChildBench:
    """The parts that serve children, over a parent hub in memory."""

    def __init__(self, known: Sequence[ServiceIdentity] = FAMILY) -> None:
        self.clock = ManualClock()
        self.api = TreeScopeApi(FAMILY)
        self.cache = ScopeCache(EDGE_ID)
        self.cache.replace_all(known)
        policy = RefreshPolicy(period_s=3600, gap_s=120)
        self.refresher = ScopeRefresher(
            self.cache, policy, self.api, self.clock,
            edge_device_id=EDGE_ID, state=MemoryState(), sealer=None,
        )  # fmt: skip
        policy.full_finished(self.clock.monotonic_s(), succeeded=True)
        self.clock.advance(1000)
        self.authenticator = Authenticator(
            self.cache, self.refresher, self.clock, hosts=(HUB_HOST,), nested=True,
            certificates=ClientCertificates(None),
        )  # fmt: skip
        self.answers = ScopeAnswers(self.cache, self.refresher)
        forwarded = ForwardedCertificates(self.authenticator, PROXY)
        self.access = ChildAccess(self.authenticator, self.clock, forwarded)
        self.registry = FakeRegistry()

    def put(self, *identities: ServiceIdentity) -> None:
        """Changes what this hub knows, not what the parent hub has."""
        for identity in identities:
            self.cache.apply_one(identity.id, [identity])

    def head(self) -> HttpHead:
        """An HTTP head with all routes for children."""
        head = HttpHead(100)
        head.add_routes(ScopeRoutes(self.access, self.answers).routes())
        head.add_routes(RegistryRoutes(self.access, self.answers, self.registry).routes())
        return head


class Door:
    """Calls to the head of a bench."""

    def __init__(self, bench: ChildBench, session: aiohttp.ClientSession, url: str) -> None:
        self.bench = bench
        self._session = session
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "edge2/$edgeHub",
        token: str | None = "",
        if_match: str | None = None,
        passed_on: str | None = None,
    ) -> Answer:
        """One request.

        :param who: whose token it has; `token` instead of that one, None for none.
        :param passed_on: the header with a certificate, as a proxy sends it.
        """
        headers = {} if if_match is None else {"If-Match": if_match}
        if passed_on is not None:
            headers["x-ms-edge-clientcert"] = passed_on
        shown = token_for(who, self.bench.clock) if token == "" else token
        if shown is not None:
            headers["Authorization"] = shown
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self._session.request(method, f"{self.url}{path}", data=data, headers=headers) as answer:
            raw = await answer.read()
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if raw:
                assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            return Answer(answer.status, json.loads(raw) if raw else None, dict(answer.headers))


class Answer:
    """Status, JSON (None for an empty body) and headers."""

    def __init__(self, status: int, found: Any, headers: dict[str, str]) -> None:
        self.status = status
        self.json = found
        self.headers = headers

    def __repr__(self) -> str:
        return f"{self.status} {self.json}"

    def names(self) -> list[str]:
        """Ids of a scope answer, sorted."""
        devices = [item["deviceId"] for item in self.json["devices"]]
        modules = [f"{item['deviceId']}/{item['moduleId']}" for item in self.json["modules"]]
        return sorted(devices + modules)
