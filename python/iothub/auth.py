"""Who may do what: tokens of policies, devices and modules, certificates of devices and modules, and edge
devices acting for those below them.

Order of checks of a token: its shape, expiry, host, the key that should have signed, the signature, the
resource it is for, the permission, and last whether the identity is enabled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgehub.identity.client_certificates import CertificateFault, ClientCertificates
from edgehub.identity.model import AuthType
from edgehub.protocol.authchain import EDGE_HUB_MODULE, AuthChain, AuthChainError, parse_chain
from edgehub.protocol.sas import (
    CLOCK_SKEW_SECS,
    Audience,
    SasError,
    SasToken,
    identity_path,
    parse_audience,
    parse_token,
    verify_token,
)
from iothub.errors import ErrorCode, HubError, device_not_found, module_not_found
from iothub.policies import Permission, Policy
from iothub.registry.model import Device, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iothub.registry.service import Identity, Registry


def unauthorized(text: str) -> HubError:
    """401003: the token itself is no good."""
    return HubError(ErrorCode.IotHubUnauthorized, text)


def access_denied(text: str) -> HubError:
    """401002: the token is good, but not for this."""
    return HubError(ErrorCode.IotHubUnauthorizedAccess, text)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token or certificate speaks for.

    :ivar policy: set for a policy token.
    :ivar device_id: set for a device's or module's token.
    :ivar module_id: set for a module's token.
    :ivar expires_at: Unix time until which the token, skew included, or the certificate is taken.
    :ivar token: for checking again when keys change; None for a certificate.
    :ivar certificate: likewise, DER; None for a token.
    :ivar scope: resource that a policy's token is for, as segments of a path: it permits what is there and
        below; none for the whole hub.
    """

    policy: Policy | None
    device_id: str | None
    module_id: str | None
    expires_at: float
    token: SasToken | None
    certificate: bytes | None = field(default=None, repr=False)
    scope: tuple[str, ...] = ()

    def may(self, permission: Permission, path: Sequence[str] = ()) -> bool:
        """Whether a policy token grants this for a resource.

        :param path: segments of the resource, below the host; none for the whole hub.
        """
        if self.policy is None or not self.policy.permissions & permission:
            return False
        return _is_below(path, self.scope)

    def speaks_for(self, device_id: str, module_id: str | None) -> bool:
        """Whether this is the identity itself, the device of the module, or a policy for all devices."""
        if self.policy is not None:
            return self.may(Permission.DEVICE_CONNECT, identity_path(device_id, module_id))
        return self.device_id == device_id and self.module_id in (None, module_id)

    @property
    def label(self) -> str:
        """Name for logs."""
        if self.policy is not None:
            return f"policy {self.policy.name}"
        return f"{self.device_id}/{self.module_id}" if self.module_id else str(self.device_id)


class Authorizer:
    """Verifies tokens against the registry and the policies.

    :param hosts: names of this hub.
    :param clock: Unix time.
    :param client_ca_pem: authorities that vouch for `certificateAuthority` identities; None: there are none.
    """

    def __init__(
        self,
        registry: Registry,
        policies: dict[str, Policy],
        hosts: tuple[str, ...],
        clock: Callable[[], float],
        client_ca_pem: bytes | None = None,
    ) -> None:
        self._certificates = ClientCertificates(client_ca_pem)
        self._registry = registry
        self._policies = policies
        self._hosts = hosts
        self._clock = clock

    @property
    def epoch(self) -> int:
        """How many changes of the registry there were."""
        return self._registry.epoch

    async def principal(self, text: str, hint: str | None = None) -> Principal:
        """Verifies a token and says whom it speaks for.

        :param hint: an audience named beside the token; decides the case of ids a client lower-cased when
            signing.
        :raises HubError: 401003, 404001 or 404010 for an identity that is not registered, 403012 when
            disabled.
        """
        try:
            token = parse_token(text)
            audience = parse_audience(token.resource)
        except SasError as error:
            raise unauthorized(f"The token cannot be read: {error}.") from None
        if token.policy is not None:
            return self._policy_principal(token, audience)
        candidates = _named_by(hint, audience) + audience.identities()
        if not candidates:
            raise unauthorized("The token is for neither a policy nor a device nor a module.")
        return await self._identity_principal(token, candidates)

    async def certificate_principal(
        self, certificate: bytes, device_id: str, module_id: str | None
    ) -> Principal:
        """Verifies that a certificate (DER) is that of an identity: by its thumbprint, or by an authority and
        the common name `device` or `device/module`. Whoever shows it has its key.

        :raises HubError: 401003; 404001 or 404010 for an identity that is not registered; 403012 when
            disabled.
        """
        identity = await self._registry.identity(device_id, module_id)
        if identity is None:
            raise device_not_found(device_id) if module_id is None else module_not_found(device_id, module_id)
        registered = (identity.module or identity.device).authentication
        name = device_id if module_id is None else f"{device_id}/{module_id}"
        try:
            proof = self._certificates.prove(
                (certificate,), name, AuthType(registered.type), registered.thumbprints, self._clock()
            )
        except CertificateFault as fault:
            raise unauthorized(f"The certificate is refused: {fault}.") from None
        check_enabled(identity.device)
        return Principal(None, device_id, module_id, proof.ends_at, None, certificate)

    def _policy_principal(self, token: SasToken, audience: Audience) -> Principal:
        policy = self._policies.get(token.policy or "")
        self._verify(token, policy.keys if policy else (), audience.segments)
        ends_at = token.expires_at + CLOCK_SKEW_SECS
        return Principal(policy, None, None, ends_at, token, scope=audience.segments)

    async def _identity_principal(
        self, token: SasToken, candidates: list[tuple[str, str | None]]
    ) -> Principal:
        refusal: HubError | None = None
        for device_id, module_id in candidates:
            identity = await self._registry.identity(device_id, module_id)
            if identity is None:
                continue
            try:
                self._verify(token, identity.keys, identity_path(device_id, module_id))
            except HubError as error:
                # An id may look as if it were encoded: then the signature tells which one is meant.
                refusal = refusal or error
                continue
            check_enabled(identity.device)
            return Principal(None, device_id, module_id, token.expires_at + CLOCK_SKEW_SECS, token)
        if refusal is not None:
            raise refusal
        device_id, module_id = candidates[0]
        self._verify(token, None, identity_path(device_id, module_id))
        raise device_not_found(device_id) if module_id is None else module_not_found(device_id, module_id)

    def _verify(self, token: SasToken, keys: tuple[str, ...] | None, path: tuple[str, ...]) -> None:
        """With `keys` None only what needs no key is judged."""
        if keys is None:
            if token.is_expired(self._clock()):
                raise unauthorized("The token has expired.")
            return
        try:
            verify_token(token, now=self._clock(), hosts=self._hosts, keys=keys, path=path)
        except SasError as error:
            raise unauthorized(f"The token is refused: {error}.") from None

    async def still_valid(self, principal: Principal) -> HubError | None:
        """Checks a principal again after the registry changed; gives what is wrong, or None.

        :raises HubError: 503001, the registry does not answer, which says nothing about the principal.
        """
        if principal.policy is not None or principal.device_id is None:
            return None
        named = (principal.device_id, principal.module_id)
        try:
            if principal.certificate is not None:
                await self.certificate_principal(principal.certificate, *named)
            elif principal.token is not None:
                await self._identity_principal(principal.token, [named])
        except HubError as error:
            if error.code is ErrorCode.ServiceUnavailable:
                raise
            return error
        return None

    async def require_identity(self, device_id: str, module_id: str | None) -> Identity:
        """The registered and enabled identity.

        :raises HubError: 404001, 404010, 403012.
        """
        identity = await self._registry.identity(device_id, module_id)
        if identity is None:
            raise device_not_found(device_id) if module_id is None else module_not_found(device_id, module_id)
        check_enabled(identity.device)
        return identity

    async def verify_chain(self, chain: AuthChain) -> None:
        """Checks that each device of a chain really is the child of the next (section 1.7.3).

        :raises HubError: 401002, also for unknown devices: a stranger learns nothing.
        """
        child: Device | None = None
        for device_id in chain.devices:
            identity = await self._registry.identity(device_id, None)
            if identity is None or not identity.device.enabled:
                raise access_denied(f"The auth chain leads over {device_id}, which is not available.")
            device = identity.device
            if child is not None:
                scope = scope_of(device.device_id, device.generation_id)
                if not device.iot_edge or child.parent_scope != scope:
                    raise access_denied(f"{child.device_id} is not a child of {device_id}.")
            child = device
        if child is None or not child.iot_edge:
            raise access_denied(f"{chain.actor} is not an edge device.")


def _is_below(path: Sequence[str], scope: Sequence[str]) -> bool:
    """Whether a path begins with these segments. Ids, which are every second one, are compared to the letter:
    where no key of their own tells them apart, `dev1` must not stand for `DEV1`."""
    if len(scope) > len(path):
        return False
    pairs = enumerate(zip(scope, path, strict=False))
    return all(mine == own if at % 2 else mine.lower() == own.lower() for at, (mine, own) in pairs)


def _named_by(hint: str | None, audience: Audience) -> list[tuple[str, str | None]]:
    """Identities that a hint names and the token covers."""
    try:
        named = parse_audience(hint).identities() if hint else []
    except SasError:
        return []
    return [pair for pair in named if audience.covers(identity_path(*pair))]


def check_enabled(device: Device) -> None:
    """Refuses a disabled device.

    :raises HubError: 403012.
    """
    if not device.enabled:
        raise HubError(ErrorCode.DeviceDisabled, f"Device {device.device_id} is disabled.")


def read_chain(text: str) -> AuthChain:
    """Parses a chain of a request.

    :raises HubError: 401002.
    """
    try:
        return parse_chain(text)
    except AuthChainError as error:
        raise access_denied(str(error)) from None


def actor_key(chain: AuthChain) -> tuple[str, str]:
    """Identity whose token must back a chain."""
    return chain.actor, EDGE_HUB_MODULE
