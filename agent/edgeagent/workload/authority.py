"""Where the CA of this device comes from: made here, or the operator's own (agent spec 7.6, rows X06, X07).

Everything here reads and writes files and makes keys: slow, for a thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from edgeagent.files import make_folder, read_limited, set_aside, write_secret
from edgeagent.workload.certificates import CertificateAuthority, key_to_pem, self_signed_ca, to_pem
from edgeagent.workload.errors import AuthorityError
from edgeagent.workload.pem import read_authority, read_certificates, unexpired
from edgeagent.workload.renewal import renewal_due

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

QUICK_START = "quickstart"
OPERATOR = "operator"
QUICK_START_VALIDITY = timedelta(days=90)
FILE_BYTES_MAX = 1024 * 1024
QUICK_START_FILE = "quickstart-ca.pem"
"""Key and certificate in one file, so that a renewal replaces both at once."""

PREVIOUS_FILE = "previous-cas.pem"
PREVIOUS_MAX = 3
"""Earlier CA certificates that stay trusted until they end, for modules that were not restarted yet."""

log = logging.getLogger(__name__)


class CaSource(Protocol):
    """A CA that may become another one in the course of time."""

    @property
    def kind(self) -> str:
        """`QUICK_START` or `OPERATOR`."""

    @property
    def ca(self) -> CertificateAuthority: ...

    def refresh(self, now: datetime) -> None:
        """Takes the next CA when it is time.

        :raises AuthorityError: that failed; the CA is as it was.
        """

    def trusted(self, now: datetime) -> tuple[x509.Certificate, ...]:
        """What modules have to trust because of this CA."""


class QuickStartCa:
    """A CA that signs itself, is made at the first start and again when 80 % of its validity are over."""

    kind = QUICK_START

    def __init__(
        self, folder: Path, device_id: str, now: datetime, validity: timedelta = QUICK_START_VALIDITY
    ) -> None:
        """:raises AuthorityError: the CA can neither be read nor be made."""
        self._path = folder / QUICK_START_FILE
        self._previous_path = folder / PREVIOUS_FILE
        self._device_id = device_id
        self._validity = validity
        try:
            make_folder(folder)
            self._previous = self._read_previous()
            self._ca = self._read() or self._make(now)
        except OSError as error:
            raise AuthorityError(f"CA in {folder}: {error}") from None

    @property
    def ca(self) -> CertificateAuthority:
        return self._ca

    def refresh(self, now: datetime) -> None:
        certificate = self._ca.certificate
        if not renewal_due(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now):
            return
        earlier = [each for each in self._previous if each != certificate]
        previous = unexpired((certificate, *earlier), now)[:PREVIOUS_MAX]
        try:
            # The old one first: whenever the power goes, everything that may be in use is trusted.
            write_secret(self._previous_path, to_pem(previous).encode())
            self._ca = self._make(now)
        except OSError as error:
            raise AuthorityError(f"the CA is due for renewal, but cannot be written: {error}") from None
        self._previous = previous
        log.warning(
            "The quick-start CA was renewed; it ends on %s. Modules have to be restarted, the agent last",
            self._ca.certificate.not_valid_after_utc.isoformat(),
        )

    def trusted(self, now: datetime) -> tuple[x509.Certificate, ...]:
        known = [each for each in unexpired(self._previous, now) if each != self._ca.certificate]
        return (*self._ca.chain, *known)

    def _make(self, now: datetime) -> CertificateAuthority:
        ca = self_signed_ca(self._device_id, now, self._validity)
        write_secret(self._path, (key_to_pem(ca.key) + to_pem(ca.chain)).encode())
        return ca

    def _read(self) -> CertificateAuthority | None:
        """The CA of an earlier run. A damaged file is of no use to anybody: a new CA takes its place."""
        try:
            pem = read_limited(self._path, FILE_BYTES_MAX)
            return read_authority(pem, pem, str(self._path))
        except FileNotFoundError:
            return None
        except (AuthorityError, ValueError) as error:
            log.error("%s. It is kept as %s; a new CA is made", error, set_aside(self._path))
            return None

    def _read_previous(self) -> tuple[x509.Certificate, ...]:
        try:
            pem = read_limited(self._previous_path, FILE_BYTES_MAX)
            return read_certificates(pem, str(self._previous_path), PREVIOUS_MAX) if pem else ()
        except FileNotFoundError:
            return ()
        except (AuthorityError, ValueError) as error:
            log.warning("%s. Earlier CAs are no longer trusted", error)
            return ()


@dataclass(frozen=True, slots=True)
class _Mark:
    """Differs once a file was replaced."""

    modified_ns: int
    size: int
    inode: int


class OperatorCa:
    """The operator's own CA: read, never written; taken anew when its files are replaced."""

    kind = OPERATOR

    def __init__(self, certificate_path: Path, key_path: Path) -> None:
        """:raises AuthorityError: the files cannot be used."""
        self._certificate_path = certificate_path
        self._key_path = key_path
        self._marks = self._file_marks()
        self._ca = self._read()

    @property
    def ca(self) -> CertificateAuthority:
        return self._ca

    def refresh(self, now: datetime) -> None:
        marks = self._file_marks()
        if marks == self._marks:
            return
        # A pair that does not fit is most likely half replaced: it is looked at again next time.
        ca = self._read()
        self._marks = marks
        if ca.fingerprint != self._ca.fingerprint:
            log.warning("The operator's CA was replaced. Modules have to be restarted, the agent last")
        self._ca = ca

    def trusted(self, now: datetime) -> tuple[x509.Certificate, ...]:
        return self._ca.chain

    def _file_marks(self) -> tuple[_Mark | None, ...]:
        return tuple(_mark(path) for path in (self._certificate_path, self._key_path))

    def _read(self) -> CertificateAuthority:
        try:
            certificate_pem = read_limited(self._certificate_path, FILE_BYTES_MAX)
            key_pem = read_limited(self._key_path, FILE_BYTES_MAX)
        except (OSError, ValueError) as error:
            raise AuthorityError(f"the operator's CA: {error}") from None
        place = f"the operator's CA ({self._certificate_path}, {self._key_path})"
        return read_authority(certificate_pem, key_pem, place)


class ExtraBundle:
    """A file with certificates that modules trust beside the CA, or none.

    It is read whenever it is asked for; when it cannot be read any more, what was read last stays.
    """

    def __init__(self, path: Path | None) -> None:
        """:raises AuthorityError: the file cannot be used."""
        self._path = path
        self._last = self._read(path) if path else ""

    @property
    def pem(self) -> str:
        """Empty without a file."""
        if self._path:
            try:
                self._last = self._read(self._path)
            except AuthorityError as error:
                log.warning("%s. What was read before stays", error)
        return self._last

    @staticmethod
    def _read(path: Path) -> str:
        try:
            pem = read_limited(path, FILE_BYTES_MAX)
        except (OSError, ValueError) as error:
            raise AuthorityError(f"trust bundle: {error}") from None
        return to_pem(read_certificates(pem, f"trust bundle {path}"))


def _mark(path: Path) -> _Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Mark(status.st_mtime_ns, status.st_size, status.st_ino)
