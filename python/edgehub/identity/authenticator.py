"""Decides whether a client is who it says it is: SAS tokens and certificates against the device scope cache.

Checks and their order: heads spec 4.1 to 4.3, 4.6. `check` is pure and answers from the cache;
`Authenticator.authenticate` also asks the parent hub when that may turn a refusal into an acceptance.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from edgehub.identity.client_certificates import CertificateFault
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.scope import ScopeCache, edge_hub_of
from edgehub.protocol.authchain import AuthChainError, parse_chain
from edgehub.protocol.sas import EDGE_PROFILE, SasError, SasToken, identity_path, parse_audience, parse_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.common.clock import Clock
    from edgehub.common.ids import IdentityId
    from edgehub.identity.client_certificates import ClientCertificates

FULL_REFRESH_WAIT_S = 100.0
"""Longest wait of one client for a full refresh (heads spec 4.3)."""
ACCEPTED_MAX = 10_000
"""Accepted tokens and certificates that are known again, one for each identity; beyond, the oldest is checked
anew."""
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """What a client presents.

    :param token: SAS token as sent; empty when the certificate is the credential. It wins over certificates.
    :param auth_chain: text of an on-behalf-of chain, or None for a client that speaks for itself.
    :param certificates: DER, the client's own first. It has the key of that; nothing else is known.
    """

    identity: IdentityId
    token: str = field(repr=False)
    auth_chain: str | None = None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Credential:
    """What is kept of an accepted token or certificate while its client is connected: enough to check it
    again, too little to use it elsewhere.

    :param identity: the cache's own object, so that thousands of idle clients share them.
    :param key: base64 key that signed, or thumbprint of the certificate, the cache's own object too; empty
        when an authority vouches for the certificate.
    :param expires_at: Unix time in seconds until which it is taken, skew included.
    :param digest: keyed digest of the token or the certificates, to know them again.
    :param auth_type: `SAS` for a token, else how the certificate was judged.
    """

    identity: IdentityId
    key: str = field(repr=False)
    expires_at: float
    auth_chain: str | None
    digest: bytes = field(repr=False)
    auth_type: AuthType = AuthType.SAS


@dataclass(slots=True)
class Verdict:
    """The outcome of a check.

    :param credential: what to keep; None when refused.
    :param reason: why not, for the log; empty when accepted.
    :param refresh: identity whose data may be out of date, so that asking the parent hub may help.
    :param expired: the time of the credential is over; nobody took it back.
    """

    credential: Credential | None
    reason: str = ""
    refresh: IdentityId | None = None
    expired: bool = False

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
    :param certificates: judges those that clients show in place of a token; None: none is taken.
    """

    def __init__(
        self,
        cache: ScopeCache,
        refresher: Refresher,
        clock: Clock,
        *,
        hosts: Sequence[str],
        nested: bool,
        certificates: ClientCertificates | None = None,
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
        shows_certificate = not request.token and bool(request.certificates)
        digest = self._digest(request)
        known = self._accepted.get(request.identity)
        same_chain = known is not None and known.auth_chain == self._chain_of(request)
        if known is not None and same_chain and hmac.compare_digest(known.digest, digest):
            return self.check_again(known)
        verdict = self._check_certificates(request) if shows_certificate else self._check_token(request)
        if verdict.credential is not None:
            verdict.credential.digest = digest
            self._remember(verdict.credential)
        return verdict

    def check_again(self, credential: Credential) -> Verdict:
        """Whether what was accepted once would be accepted now."""
        by_token = credential.auth_type is AuthType.SAS
        if credential.expires_at < self._clock.wall_s():
            what = "token" if by_token else "certificate"
            return Verdict(None, f"the {what} has expired", expired=True)
        if by_token:
            verdict = self._judge(credential.identity, credential.auth_chain, _KeyProof(credential.key))
        else:
            verdict = self._recheck_certificate(credential)
        if verdict.credential is None:
            self._accepted.pop(credential.identity, None)
            return verdict
        return Verdict(credential)

    def may_refresh(self, verdict: Verdict) -> bool:
        """Whether `authenticate` could come to another verdict."""
        return verdict.refresh is not None and self._refresher.can_refresh()

    def is_undecided(self, verdict: Verdict) -> bool:
        """Whether the refused is unknown only because the scope was never read, and cannot be read now."""
        unknown = verdict.refresh is not None and self._cache.get(verdict.refresh) is None
        return unknown and not self._refresher.can_refresh()

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

    def _check_token(self, request: AuthRequest) -> Verdict:
        try:
            token = parse_token(request.token, EDGE_PROFILE)
        except SasError as error:
            return _refused(f"malformed token: {error}")
        if token.is_expired(self._clock.wall_s(), EDGE_PROFILE.skew_secs):
            return _refused("the token has expired")
        verdict = self._judge(request.identity, self._chain_of(request), _TokenProof(token, self._hosts))
        if verdict.credential is not None:
            verdict.credential.expires_at = token.expires_at + EDGE_PROFILE.skew_secs
        return verdict

    def _check_certificates(self, request: AuthRequest) -> Verdict:
        """I-008 to I-010. A chain for on-behalf-of goes with tokens only."""
        judge, identity_id = self._certificates, request.identity
        if judge is None:
            return _refused("client certificates are not enabled (ClientCertAuthEnabled)")
        if identity_id.is_module:
            return _refused("a module cannot prove itself by a certificate; it has to send a token")
        own = self._cache.get(identity_id)
        if own is None:
            return _refused("unknown identity", identity_id)
        disabled = _disabled([own])
        if disabled is not None:
            return disabled
        device_id, now_s = own.id.device_id, self._clock.wall_s()
        try:
            proof = judge.prove(request.certificates, device_id, own.auth_type, own.thumbprints, now_s)
        except CertificateFault as fault:
            return _refused(str(fault), identity_id if fault.stale else None)
        return Verdict(Credential(own.id, proof.thumbprint, proof.ends_at, None, b"", own.auth_type))

    def _recheck_certificate(self, credential: Credential) -> Verdict:
        """Its dates and its authority are what they were; the registration may be another."""
        own = self._cache.get(credential.identity)
        if own is None:
            return _refused("unknown identity", credential.identity)
        disabled = _disabled([own])
        if disabled is not None:
            return disabled
        wanted = [""] if own.auth_type is AuthType.AUTHORITY else own.thumbprints
        if own.auth_type is not credential.auth_type or not _is_one_of(credential.key, wanted):
            return _refused("the device is no longer registered for this certificate", own.id)
        return Verdict(credential)

    def _chain_of(self, request: AuthRequest) -> str | None:
        return request.auth_chain if self._nested else None

    def _digest(self, request: AuthRequest) -> bytes:
        """Of the credential that counts. A header of HTTP may hold anything, also halves of characters."""
        kind, data = b"token", request.token.encode(errors="surrogatepass")
        if not data:
            kind, data = b"certificates", b"".join(request.certificates)
        return blake2b(data, digest_size=DIGEST_BYTES, key=self._digest_key, person=kind).digest()

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


def _is_one_of(secret: str, registered: Sequence[str]) -> bool:
    return any(hmac.compare_digest(secret.encode(), item.encode()) for item in registered)


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
            audience = parse_audience(self._token.resource, EDGE_PROFILE)
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
        return self._key if _is_one_of(self._key, signer.keys) else None
