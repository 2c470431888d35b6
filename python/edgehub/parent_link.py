"""Connects the hub with the real link to a parent hub: AMQP for messages and the twin, HTTPS for the scope.

Imported only by a hub that has a parent.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from edgehub import __version__
from edgehub.config.load import SettingsError
from edgehub.hub.twins.parent import ReportAnswer, TwinDocument
from edgehub.identity.refresher import ScopeApiError
from edgehub.identity.scope_wire import ScopeFormatError, decode_scope_page
from edgehub.upstream.client import AmqpUpstream
from edgehub.upstream.errors import UpstreamRefused
from edgehub.upstream.registry_client import RegistryClient
from edgehub.upstream.scope_client import NoSuchIdentity, NotInScope, ScopeClient, ScopeError, ScopeSettings
from edgehub.upstream.settings import UpstreamSettings
from edgehub.upstream.tokens import SignedTokens
from edgehub.upstream_parts import ParentHub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgehub.common.ids import IdentityId
    from edgehub.hub.ports import UpstreamCore
    from edgehub.identity.model import ServiceIdentity
    from edgehub.upstream.source import Settlement, UpstreamBatch
    from edgehub.upstream.twin_calls import TwinCalls
    from edgehub.upstream_parts import ParentContext

HEARTBEAT_MS = 60_000
NO_HEARTBEAT_MS = 120_000
"""Idle time-outs with and without `UseServerHeartbeat`, as the reference's client has them."""
DRAIN_SHARE = 0.2
"""Share of `ShutdownWaitPeriod` that batches under way get."""
HTTPS_CONNECTIONS_MAX = 8
"""Calls about identities and modules that are under way; further ones wait."""
REFUSED_FOR_GOOD: Final = frozenset({400, 406, 412, 413, 422})
"""Answers to a reported patch that it will get again, however often it is sent."""
PRODUCT = f"EdgeHub/{__version__}"


class CoreSource:
    """The core's queue for the parent hub, in the words of the link."""

    def __init__(self, core: UpstreamCore) -> None:
        self._core = core

    def take(self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int) -> list[UpstreamBatch]:
        return list(self._core.upstream_take(batch_msgs_max, batch_bytes_max, senders_max))

    def settle(self, token: int, outcome: Settlement) -> None:
        self._core.upstream_settle(token, outcome)

    def link_down(self) -> None:
        self._core.upstream_link_down()


class HttpsScopeApi:
    """A `ScopeApi` over the scope client."""

    def __init__(self, client: ScopeClient) -> None:
        self._client = client

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        try:
            pages = await self._client.listing(edge_chain[0], ";".join(edge_chain))
            return [identity for page in pages for identity in decode_scope_page(page).identities]
        except (ScopeError, ScopeFormatError) as error:
            raise ScopeApiError(str(error)) from None

    async def get_identity(
        self, identity_id: IdentityId, edge_chain: Sequence[str]
    ) -> Sequence[ServiceIdentity]:
        try:
            answer = await self._client.identity(
                identity_id.device_id, identity_id.module_id, ";".join(edge_chain)
            )
            return decode_scope_page(answer).identities
        except (NoSuchIdentity, NotInScope):
            return ()
        except (ScopeError, ScopeFormatError) as error:
            raise ScopeApiError(str(error)) from None


class AmqpHubTwin:
    """`HubTwin` over the link."""

    def __init__(self, calls: TwinCalls) -> None:
        self._calls = calls

    async def get_desired(self) -> Mapping[str, Any]:
        return await self._calls.get_desired()

    async def patch_reported(self, patch: Mapping[str, Any]) -> str | None:
        try:
            await self._calls.patch_reported(patch)
        except UpstreamRefused as error:
            if error.status not in REFUSED_FOR_GOOD:
                raise
            return str(error)
        return None


class AmqpTwins:
    """`ParentTwins` over the link."""

    def __init__(self, calls: TwinCalls) -> None:
        self._calls = calls

    async def read_twin(self, identity: str) -> TwinDocument:
        return TwinDocument(*await self._calls.read(identity))

    async def report(self, identity: str, patch: dict[str, Any]) -> ReportAnswer:
        try:
            return ReportAnswer(await self._calls.report(identity, patch))
        except UpstreamRefused as error:
            if error.status not in REFUSED_FOR_GOOD:
                raise
            return ReportAnswer(refused=str(error))

    def follow_desired(self, identity: str, *, wanted: bool) -> None:
        self._calls.follow(identity, wanted=wanted)


def connect_parent_hub(context: ParentContext) -> ParentHub:
    """Makes the link; nothing is connected yet.

    :raises SettingsError: the trust bundle holds no certificate.
    """
    settings, identity = context.settings, context.identity
    tokens = SignedTokens(identity.hub_host, identity.device_id, context.key.sign, context.clock.wall_s)
    tls = tls_context(context.trust_pem)
    link = AmqpUpstream(link_settings(context, tokens, tls), CoreSource(context.core))
    base_url = f"https://{identity.upstream_host}:{settings.upstream.https_port}"
    https = ScopeSettings(base_url, identity.device_id, tokens, PRODUCT, settings.clients.nested_edge)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=HTTPS_CONNECTIONS_MAX))
    scope = ScopeClient(https, session)
    return ParentHub(
        link,
        AmqpHubTwin(link.twins),
        AmqpTwins(link.twins),
        link.methods,
        link.messages,
        HttpsScopeApi(scope),
        scope.close,
        RegistryClient(https, session, settings.upstream.operation_timeout_s),
    )


def link_settings(context: ParentContext, tokens: SignedTokens, tls: ssl.SSLContext) -> UpstreamSettings:
    """The link's settings from the hub's."""
    identity, upstream = context.identity, context.settings.upstream
    return UpstreamSettings(
        identity.upstream_host,
        identity.hub_host,
        identity.device_id,
        tokens,
        tls,
        port=upstream.amqp_port,
        product_info=PRODUCT,
        auth_chain=context.chain_of,
        fan_out=upstream.fan_out,
        batch_msgs_max=upstream.batch_msgs_max,
        operation_timeout_s=upstream.operation_timeout_s,
        connectivity_check_s=upstream.connectivity_check_s,
        idle_timeout_ms=HEARTBEAT_MS if upstream.heartbeat else NO_HEARTBEAT_MS,
        drain_s=context.settings.process.shutdown_wait_s * DRAIN_SHARE,
    )


def tls_context(trust_pem: bytes | None) -> ssl.SSLContext:
    """A client context that trusts the system and the trust bundle.

    :raises SettingsError: the bundle holds no certificate.
    """
    context = ssl.create_default_context()
    if trust_pem is not None:
        try:
            context.load_verify_locations(cadata=trust_pem.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(f"the trust bundle cannot be read: {error}") from None
    return context
