"""Decides whether a client is who it says it is: SAS tokens against the device scope cache.

Checks and their order: heads spec 4.1, 4.3, 4.6. `check` is pure and answers from the cache;
`Authenticator.authenticate` also asks the parent hub when that may turn a refusal into an acceptance.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.scope import ScopeCache, edge_hub_of
from edgehub.protocol.authchain import AuthChainError, parse_chain
from edgehub.protocol.sas import EDGE_PROFILE, SasError, SasToken, identity_path, parse_audience, parse_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId

FULL_REFRESH_WAIT_S = 100.0
"""Longest wait of one client for a full refresh (heads spec 4.3)."""
ACCEPTED_MAX = 10_000
"""Accepted tokens that are known again, one for each identity; beyond, the oldest is checked anew."""
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """What a client presents.

    :param token: SAS token as sent; empty when the certificate is the credential.
    :param auth_chain: text of an on-behalf-of chain, or None for a client that speaks for itself.
    :param certificates: of a client without token, DER, its own first. It has the key; nothing else is known.
    """

    identity: IdentityId
    token: str = field(repr=False)
    auth_chain: str | None = None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Credential:
    """What is kept of an accepted token while its client is connected: enough to check it again, too little
    to use it elsewhere.

    :param identity: the cache's own object, so that thousands of idle clients share them.
    :param key: base64 key that signed, the cache's own object too.
    :param expires_at: Unix time in seconds.
    :param digest: keyed digest of the token, to know it again.
    """

    identity: IdentityId
    key: str = field(repr=False)
    expires_at: float
    auth_chain: str | None
    digest: bytes = field(repr=False)


@dataclass(slots=True)
class Verdict:
    """The outcome of a check.

    :param credential: what to keep; None when refused.
    :param reason: why not, for the log; empty when accepted.
    :param refresh: identity whose data may be out of date, so that asking the parent hub may help.
    """

    credential: Credential | None
    reason: str = ""
    refresh: IdentityId | None = None

    @property
    def accepted(self) -> bool:
        return self.credential is not None


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
        self._accepted: dict[IdentityId, Credential] = {}
        self._digest_key = os.urandom(DIGEST_BYTES)

    def check(self, request: AuthRequest) -> Verdict:
        """Answers from the cache alone."""
        if request.certificates:
            return self._check_certificate()
        digest = self._digest(request.token)
        known = self._accepted.get(request.identity)
        if known is not None and known.digest == digest and known.auth_chain == self._chain_of(request):
            return self.check_again(known)
        try:
            token = parse_token(request.token, EDGE_PROFILE)
        except SasError as error:
            return _refused(f"malformed token: {error}")
        if token.is_expired(self._clock.wall_s(), EDGE_PROFILE.skew_secs):
            return _refused("the token has expired")
        verdict = self._judge(request.identity, self._chain_of(request), _TokenProof(token, self._hosts))
        if verdict.credential is not None:
            verdict.credential.expires_at, verdict.credential.digest = token.expires_at, digest
            self._remember(verdict.credential)
        return verdict

    def check_again(self, credential: Credential) -> Verdict:
        """Whether what was accepted once would be accepted now."""
        if credential.expires_at + EDGE_PROFILE.skew_secs < self._clock.wall_s():
            return _refused("the token has expired")
        verdict = self._judge(credential.identity, credential.auth_chain, _KeyProof(credential.key))
        if verdict.credential is None:
            self._accepted.pop(credential.identity, None)
            return verdict
        return Verdict(credential)

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
            return _refused("client certificates are not enabled (ClientCertAuthEnabled)")
        return _refused("authentication by certificate is not served in this version; send a token")

    def _chain_of(self, request: AuthRequest) -> str | None:
        return request.auth_chain if self._nested else None

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(), digest_size=DIGEST_BYTES, key=self._digest_key).digest()

    def _remember(self, credential: Credential) -> None:
        """A client that reconnects shows the same token for an hour or longer."""
        self._accepted[credential.identity] = credential
        if len(self._accepted) > ACCEPTED_MAX:
            del self._accepted[next(iter(self._accepted))]

    def _judge(self, identity_id: IdentityId, chain_text: str | None, proof: _Proof) -> Verdict:
        if chain_text is None:
            return self._judge_speaker(identity_id, identity_id, None, proof)
        try:
            chain = parse_chain(chain_text)
        except AuthChainError as error:
            return _refused(str(error))
        if not chain.is_for(identity_id.device_id, identity_id.module_id):
            return _refused(f"the auth chain {chain} is not for this client")
        own, known = self._cache.get(identity_id), self._cache.chain_to(identity_id)
        if own is None or known is None:
            return _refused("no known path to this identity", identity_id)
        if chain.actor not in known:
            return _refused(f"{chain.actor} is not above this client", identity_id)
        disabled = _disabled(self._signers(own))
        if disabled is not None:
            return disabled
        unusable = self._cache.disabled_on(known)
        if unusable is not None:
            return _refused(f"{unusable} above this client is disabled", identity_id)
        if not self._cache.is_edge(chain.actor):
            return _refused(f"{chain.actor} is not an edge device", identity_id)
        return self._judge_speaker(identity_id, edge_hub_of(chain.actor), chain_text, proof)

    def _judge_speaker(
        self, identity_id: IdentityId, speaker: IdentityId, chain_text: str | None, proof: _Proof
    ) -> Verdict:
        """Audience, then state, then signature, of what must stand for `speaker`."""
        wrong = proof.fault_for(speaker)
        if wrong:
            return _refused(wrong)
        speaking = self._cache.get(speaker)
        if speaking is None:
            return _refused("unknown identity", speaker)
        signers = self._signers(speaking)
        disabled = _disabled(signers)
        if disabled is not None:
            return disabled
        for signer in signers:
            key = proof.key_of(signer) if signer.auth_type is AuthType.SAS else None
            if key is not None:
                own = speaking if identity_id is speaker else self._cache.get(identity_id)
                known_id = own.id if own is not None else identity_id
                return Verdict(Credential(known_id, key, 0.0, chain_text, b""))
        return _refused("the signature does not match", speaker)

    def _signers(self, own: ServiceIdentity) -> list[ServiceIdentity]:
        """Whose keys may have signed: the identity's own, and for a module its device's (I-004)."""
        if own.id.module_id is None:
            return [own]
        device = self._cache.get(own.id.device)
        return [own] if device is None else [own, device]


def _disabled(signers: Sequence[ServiceIdentity]) -> Verdict | None:
    """A refusal when the identity or the device it belongs to is disabled (I-007)."""
    for item in signers:
        if not item.enabled:
            return _refused(f"{item.id} is disabled", item.id)
    return None


def _refused(reason: str, refresh: IdentityId | None = None) -> Verdict:
    return Verdict(None, reason, refresh)


class _Proof(Protocol):
    """Shows which key a client has."""

    def fault_for(self, speaker: IdentityId) -> str:
        """Why it cannot be of this identity; empty when it may be."""
        ...

    def key_of(self, signer: ServiceIdentity) -> str | None:
        """The key of the signer that the client has, None for none of them."""
        ...


class _TokenProof:
    """A token that was just presented."""

    def __init__(self, token: SasToken, hosts: frozenset[str]) -> None:
        self._token = token
        self._hosts = hosts

    def fault_for(self, speaker: IdentityId) -> str:
        try:
            audience = parse_audience(self._token.resource)
        except SasError as error:
            return f"malformed token: {error}"
        if audience.host not in self._hosts:
            return "the token is for another host"
        path = identity_path(speaker.device_id, speaker.module_id)
        if not audience.is_identity or not audience.covers(path):
            return "the token is for another identity"
        return ""

    def key_of(self, signer: ServiceIdentity) -> str | None:
        return self._token.signing_key(signer.keys)


class _KeyProof:
    """A token that was accepted before, signed with this key for the same identity."""

    def __init__(self, key: str) -> None:
        self._key = key

    def fault_for(self, speaker: IdentityId) -> str:
        return ""

    def key_of(self, signer: ServiceIdentity) -> str | None:
        return self._key if self._key in signer.keys else None
