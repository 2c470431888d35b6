"""What the certificate of a client proves: thumbprints and authorities (heads spec 4.2; I-008, I-009).

Pure: certificates, what is registered and the time come in. The library that reads certificates costs 16 MB,
so it is loaded with the first certificate of an identity that is registered for one.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgehub.errors import EdgehubError
from edgehub.identity.model import AuthType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.identity.certificate_paths import CertificatePaths


class CertificateFault(EdgehubError):
    """A certificate that does not prove an identity; the text says why.

    :ivar stale: what is registered decided, so newer data of the identity may decide otherwise.
    """

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale


@dataclass(frozen=True, slots=True)
class CertificateProof:
    """A certificate that proves an identity.

    :ivar thumbprint: the registered one that it has, as registered; empty when its authority vouches for it.
    :ivar ends_at: Unix time until which that holds: the first end of a certificate of the chain.
    """

    thumbprint: str
    ends_at: float


def registered_thumbprint(certificate: bytes, thumbprints: Sequence[str]) -> str | None:
    """Which of the registered thumbprints a certificate (DER) has: of SHA-1 or SHA-256, in any case.

    Constant time for each of them.
    """
    digests = (
        hashlib.sha1(certificate, usedforsecurity=False).hexdigest().encode(),
        hashlib.sha256(certificate).hexdigest().encode(),
    )
    for thumbprint in thumbprints:
        folded = thumbprint.strip().lower().encode()
        if any(hmac.compare_digest(digest, folded) for digest in digests):
            return thumbprint
    return None


class ClientCertificates:
    """Judges certificates of devices. Whoever shows one has its key; that was proved before.

    :param trust_pem: PEM text with the authorities that may vouch for devices, None for no authority.
    """

    def __init__(self, trust_pem: bytes | None) -> None:
        self._trust_pem = trust_pem
        self._paths: CertificatePaths | None = None

    def prove(
        self,
        certificates: Sequence[bytes],
        device_id: str,
        auth_type: AuthType,
        thumbprints: Sequence[str],
        now_s: float,
    ) -> CertificateProof:
        """That the certificates are those of a device.

        :param certificates: DER, the device's own first; at least that one.
        :param auth_type: how the device is registered.
        :param thumbprints: as registered.
        :param now_s: Unix time.
        :raises CertificateFault: they are not, or not now.
        """
        if auth_type is AuthType.THUMBPRINT:
            return self._by_thumbprint(certificates[0], thumbprints, now_s)
        if auth_type is AuthType.AUTHORITY:
            return self._by_authority(certificates, device_id, now_s)
        raise CertificateFault(f"{device_id} is not registered for certificates", stale=True)

    def _by_thumbprint(
        self, certificate: bytes, thumbprints: Sequence[str], now_s: float
    ) -> CertificateProof:
        thumbprint = registered_thumbprint(certificate, thumbprints)
        if thumbprint is None:
            raise CertificateFault("the certificate has none of the registered thumbprints", stale=True)
        return CertificateProof(thumbprint, self._need_paths().check_dates(certificate, now_s))

    def _by_authority(self, certificates: Sequence[bytes], device_id: str, now_s: float) -> CertificateProof:
        return CertificateProof("", self._need_paths().check_chain(certificates, device_id, now_s))

    def _need_paths(self) -> CertificatePaths:
        if self._paths is None:
            from edgehub.identity.certificate_paths import CertificatePaths  # noqa: PLC0415 - see the module

            self._paths = CertificatePaths(self._trust_pem)
        return self._paths
