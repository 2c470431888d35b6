"""Decides whether a client is who it says it is: SAS tokens against the device scope cache.

Checks and their order: heads spec 4.1, 4.3, 4.6. `check` is pure and answers from the cache;
`Authenticator.authenticate` also asks the parent hub when that may turn a refusal into an acceptance.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.scope import ScopeCache, edge_hub_of
from edgehub.protocol.authchain import AuthChain, AuthChainError, parse_chain
from edgehub.protocol.sas import EDGE_PROFILE, SasError, SasToken, identity_path, parse_audience, parse_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId

FULL_REFRESH_WAIT_S = 100.0
"""Longest wait of one client for a full refresh (heads spec 4.3)."""


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """What a client presents; kept while it is connected, for the re-authentication sweep.

    :param token: SAS token as sent; empty when the certificate is the credential.
    :param auth_chain: text of an on-behalf-of chain, or None for a client that speaks for itself.
    :param certificates: of a client without token, DER, its own first. It has the key; nothing else is known.
    """

    identity: IdentityId
    token: str = field(repr=False)
    auth_chain: str | None = None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check.

    :param reason: why not, for the log; empty when accepted.
    :param refresh: identity whose data may be out of date, so that asking the parent hub may help.
    """

    accepted: bool
    reason: str = ""
    refresh: IdentityId | None = None


ACCEPTED = Verdict(True)


class Refresher(Protocol):
    """Brings the scope cache up to date."""

    def can_refresh(self) -> bool:
        """Whether asking makes sense: there is a parent hub, and the first load is done."""
        ...

    async def refresh_one(self, identity_id: IdentityId) -> None:
        """Asks for one identity, unless that was done a short while ago. Never raises for a failed call."""
        ...

    async def refresh_all(self) -> None:
        """Asks for everything, or joins a refresh in progress; returns at once when the last one is recent.
        Never raises for a failed call."""
        ...


class Authenticator:
    """Checks clients against the cache.

    :param hosts: host names a token may be for: the hub's and this device's, any case.
    :param nested: whether on-behalf-of chains are honoured; otherwise they are ignored (heads spec 4.6).
    :param certificates: whether clients may show a certificate in place of a token.
    """

    def __init__(
        self,
        cache: ScopeCache,
        refresher: Refresher,
        clock: Clock,
        *,
        hosts: Sequence[str],
        nested: bool,
        certificates: bool = False,
    ) -> None:
        self._cache = cache
        self._refresher = refresher
        self._clock = clock
        self._hosts = frozenset(host.lower() for host in hosts if host)
        self._nested = nested
        self._certificates = certificates

    def check(self, request: AuthRequest) -> Verdict:
        """Answers from the cache alone."""
        if request.certificates:
            return self._check_certificate()
        try:
            token = parse_token(request.token, EDGE_PROFILE)
        except SasError as error:
            return Verdict(False, f"malformed token: {error}")
        if token.is_expired(self._clock.wall_s(), EDGE_PROFILE.skew_secs):
            return Verdict(False, "the token has expired")
        if request.auth_chain is None or not self._nested:
            return self._check_token(token, request.identity)
        try:
            chain = parse_chain(request.auth_chain)
        except AuthChainError as error:
            return Verdict(False, str(error))
        return self._check_on_behalf(token, request.identity, chain)

    def may_refresh(self, verdict: Verdict) -> bool:
        """Whether `authenticate` could come to another verdict."""
        return verdict.refresh is not None and self._refresher.can_refresh()

    async def authenticate(self, request: AuthRequest) -> Verdict:
        """Checks, and on a refusal that fresh data may change asks the parent hub: first for the identity,
        then, if it is still unknown, for the whole scope."""
        verdict = self.check(request)
        if verdict.refresh is None or not self.may_refresh(verdict):
            return verdict
        await self._refresher.refresh_one(verdict.refresh)
        verdict = self.check(request)
        if verdict.refresh is None or self._cache.get(verdict.refresh) is not None:
            return verdict
        try:
            async with asyncio.timeout(FULL_REFRESH_WAIT_S):
                await self._refresher.refresh_all()
        except TimeoutError:
            return verdict
        return self.check(request)

    def _check_certificate(self) -> Verdict:
        """Refused in any case: thumbprints and authorities of identities are not compared in this version."""
        if not self._certificates:
            return Verdict(False, "client certificates are not enabled (ClientCertAuthEnabled)")
        return Verdict(False, "authentication by certificate is not served in this version; send a token")

    def _check_on_behalf(self, token: SasToken, identity_id: IdentityId, chain: AuthChain) -> Verdict:
        if not chain.is_for(identity_id.device_id, identity_id.module_id):
            return Verdict(False, f"the auth chain {chain} is not for this client")
        known = self._cache.chain_to(identity_id)
        if known is None:
            return Verdict(False, "no known path to this identity", identity_id)
        if chain.actor not in known:
            return Verdict(False, f"{chain.actor} is not above this client", identity_id)
        disabled = self._disabled(identity_id)
        if disabled is not None:
            return disabled
        return self._check_token(token, edge_hub_of(chain.actor))

    def _check_token(self, token: SasToken, identity_id: IdentityId) -> Verdict:
        """Audience, then state, then signature, of a token that must stand for `identity_id`."""
        try:
            audience = parse_audience(token.resource)
        except SasError as error:
            return Verdict(False, f"malformed token: {error}")
        if audience.host not in self._hosts:
            return Verdict(False, "the token is for another host")
        path = identity_path(identity_id.device_id, identity_id.module_id)
        if not audience.is_identity or not audience.covers(path):
            return Verdict(False, "the token is for another identity")
        if self._cache.get(identity_id) is None:
            return Verdict(False, "unknown identity", identity_id)
        disabled = self._disabled(identity_id)
        if disabled is not None:
            return disabled
        if not any(_signed_by(token, signer) for signer in self._signers(identity_id)):
            return Verdict(False, "the signature does not match", identity_id)
        return ACCEPTED

    def _disabled(self, identity_id: IdentityId) -> Verdict | None:
        """A refusal when the identity or the device it belongs to is disabled (I-007)."""
        for item in (self._cache.get(identity_id), self._cache.get(identity_id.device)):
            if item is not None and not item.enabled:
                return Verdict(False, f"{item.id} is disabled", item.id)
        return None

    def _signers(self, identity_id: IdentityId) -> list[ServiceIdentity]:
        """Whose keys may have signed: the identity's own, and for a module its device's (I-004)."""
        candidates = (self._cache.get(identity_id), self._cache.get(identity_id.device))
        return [item for item in dict.fromkeys(candidates) if item is not None]


def _signed_by(token: SasToken, signer: ServiceIdentity) -> bool:
    return signer.auth_type is AuthType.SAS and token.is_signed_with(signer.keys)
