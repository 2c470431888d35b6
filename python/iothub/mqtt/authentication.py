"""Who an MQTT client is: its token or certificate against the registry (sections 1.2 and 1.5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edgehub.common.ids import IdentityId
from edgehub.identity.authenticator import Credential, Verdict
from edgehub.protocol.connect import ConnectCode, ConnectRefusedError
from edgehub.protocol.sas import SasError, device_audience, parse_audience, parse_token
from iothub.auth import access_denied, actor_key, read_chain
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from edgehub.identity.authenticator import AuthRequest
    from edgehub.protocol.authchain import AuthChain
    from iothub.auth import Authorizer, Principal
    from iothub.registry.service import Registry

DEVICE_SEGMENTS: Final = 2
"""Of the audience of a device's token."""


@dataclass(slots=True, kw_only=True)
class Admission(Credential):
    """What is kept of an accepted client while it is connected.

    :ivar principal: whom its token speaks for.
    :ivar chain: for a client behind edge devices, of which the topmost acts for it.
    :ivar epoch: of the registry when it was judged.
    """

    principal: Principal = field(repr=False)
    chain: AuthChain | None
    epoch: int

    @property
    def devices(self) -> frozenset[str]:
        """Devices that it relies on: its own, and those of the chain."""
        above = self.chain.devices if self.chain is not None else ()
        return frozenset((self.identity.device_id, *above))


class MqttAuthenticator:
    """Judges clients. The registry may have to be read, so nothing is decided at once.

    :param hostname: of this hub.
    """

    def __init__(self, authorizer: Authorizer, registry: Registry, hostname: str) -> None:
        self._authorizer = authorizer
        self._registry = registry
        self._hostname = hostname

    def check(self, request: AuthRequest) -> Verdict:
        """Leaves everything to `authenticate`."""
        return Verdict(None, "its identity was not looked up", request.identity)

    def may_refresh(self, verdict: Verdict) -> bool:
        """Whether `authenticate` decides."""
        return verdict.refresh is not None

    async def authenticate(self, request: AuthRequest) -> Verdict:
        """The verdict of the registry.

        :raises ConnectRefusedError: the registry does not answer, so there is no verdict: the client may try
            again.
        """
        try:
            return Verdict(await self._admit(request))
        except HubError as error:
            if error.code is ErrorCode.ServiceUnavailable:
                raise ConnectRefusedError(
                    ConnectCode.SERVER_UNAVAILABLE, error.message, str(request.identity)
                ) from None
            return Verdict(None, error.message)

    async def _admit(self, request: AuthRequest) -> Admission:
        identity, epoch = request.identity, self._registry.epoch
        chain = read_chain(request.auth_chain) if request.auth_chain else None
        speaker: tuple[str, str | None] = identity if chain is None else actor_key(chain)
        principal = await self._principal(request, speaker)
        if not principal.speaks_for(*speaker):
            raise access_denied(f"The token of {principal.label} does not speak for {IdentityId(*speaker)}.")
        if chain is not None and not chain.is_for(*identity):
            raise access_denied("The auth chain is for another identity.")
        admission = Admission(
            identity,
            "",
            principal.expires_at,
            request.auth_chain,
            b"",
            principal=principal,
            chain=chain,
            epoch=epoch,
        )
        await self._check_registry(admission)
        return admission

    async def _principal(self, request: AuthRequest, speaker: tuple[str, str | None]) -> Principal:
        """By the token, or of a client without one by the certificate of its connection (row 14)."""
        if not request.token and request.certificates:
            return await self._authorizer.certificate_principal(request.certificates[0], *speaker)
        return await self._authorizer.principal(request.token, self._hint(request.token, speaker))

    def _hint(self, text: str, speaker: tuple[str, str | None]) -> str | None:
        """The ids of the client in their own case: one shipped client lower-cases what it signs. A device's
        token that a module shows stays one of the device."""
        try:
            segments = parse_audience(parse_token(text).resource).segments
        except SasError:
            return None
        device_id, module_id = speaker
        return device_audience(
            self._hostname, device_id, module_id if len(segments) > DEVICE_SEGMENTS else None
        )

    async def fault_of(self, admission: Admission) -> HubError | None:
        """What is wrong now with a client that was accepted, after the registry changed; None: nothing.

        :raises HubError: 503001, the registry does not answer.
        """
        fault = await self._authorizer.still_valid(admission.principal)
        if fault is not None:
            return fault
        try:
            await self._check_registry(admission)
        except HubError as error:
            if error.code is ErrorCode.ServiceUnavailable:
                raise
            return error
        return None

    async def _check_registry(self, admission: Admission) -> None:
        if admission.chain is not None:
            await self._authorizer.verify_chain(admission.chain)
        await self._authorizer.require_identity(*admission.identity)
