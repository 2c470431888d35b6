"""Keeps the server certificate up to date while the hub runs (settings spec 7.5).

One of the workload API is issued anew before it ends; files are read again when they change. Connections
stay; what cannot be used leaves the certificate in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.clock import Clock
    from edgehub.hub.certificates import ServerCertificate

RENEW_BEFORE_S = 150.0
"""Time before the end of validity at which a new one is asked for."""
SLEEP_S_MAX = 3600.0
"""Longest sleep: the wall clock of a device may jump after its first contact with a time server."""
FILE_POLL_S = 60.0
"""Period of looking whether the files changed."""
RETRY_S = 30.0
"""Wait after an attempt, failed or not, before the next that nobody asks for."""

log = logging.getLogger(__name__)


def renewal_due_s(expires: str, renew_after_ms: int, now_s: float) -> float | None:
    """Wall-clock second at which the certificate is to be renewed, None if its end cannot be read.

    :param expires: end of validity, ISO 8601.
    :param renew_after_ms: renewal is forced after that time even if the certificate lasts longer.
    """
    try:
        end = datetime.fromisoformat(expires)
    except ValueError:
        return None
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return min(end.timestamp() - RENEW_BEFORE_S, now_s + renew_after_ms / 1000)


class CertificateSource(Protocol):
    """Where the certificate comes from."""

    async def server(self, clock: Clock, renew_after_ms: int) -> ServerCertificate | None:
        """The certificate to use from now on.

        :raises EdgehubError: there is none that can be used.
        """
        ...

    def file_marks(self) -> tuple[object, ...]:
        """Something that differs once the files are others; empty without files."""
        ...


class CertificateKeeper:
    """Replaces the certificate when its end comes near, when its files change, and on request.

    :param renew_after_ms: renewal is forced after that time.
    :param replace: puts a certificate in force; raises `EdgehubError` when it cannot be used.
    """

    def __init__(
        self,
        source: CertificateSource,
        clock: Clock,
        renew_after_ms: int,
        replace: Callable[[ServerCertificate], None],
    ) -> None:
        self._source = source
        self._clock = clock
        self._renew_after_ms = renew_after_ms
        self._replace = replace
        self._asked = asyncio.Event()
        self._due_s: float | None = None
        self._marks: tuple[object, ...] = ()

    async def first(self) -> ServerCertificate | None:
        """The certificate to begin with, None without a source. Nobody is told.

        :raises EdgehubError: there is none that can be used.
        """
        self._marks = self._source.file_marks()
        certificate = await self._source.server(self._clock, self._renew_after_ms)
        if certificate is not None:
            self._set_due(certificate)
        return certificate

    def renew_now(self) -> None:
        """Asks for a renewal at once, whatever the end of the present one."""
        self._asked.set()

    async def run(self) -> None:
        """Keeps it up to date until cancelled."""
        while True:
            await self._wait()
            await self._renew()

    async def _wait(self) -> None:
        while not (self._asked.is_set() or self._is_due() or self._files_changed()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._asked.wait()
        self._asked.clear()

    async def _renew(self) -> None:
        self._marks = self._source.file_marks()
        try:
            certificate = await self._source.server(self._clock, self._renew_after_ms)
            if certificate is None:
                return
            self._replace(certificate)
        except EdgehubError as error:
            log.error("The server certificate stays, another one cannot be used: %s", error)
            if self._due_s is not None:
                self._due_s = max(self._due_s, self._clock.wall_s() + RETRY_S)
            return
        log.info("The server certificate was replaced; connections stay")
        self._set_due(certificate)

    def _set_due(self, certificate: ServerCertificate) -> None:
        """Not before a while has passed: an agent may issue one that is about to end."""
        due_s = certificate.renewal_due_s
        if due_s is not None:
            due_s = max(due_s, self._clock.wall_s() + RETRY_S)
            text = datetime.fromtimestamp(due_s, UTC).isoformat()
            log.info("Scheduling server certificate renewal for %s.", text)
        self._due_s = due_s

    def _is_due(self) -> bool:
        return self._due_s is not None and self._clock.wall_s() >= self._due_s

    def _files_changed(self) -> bool:
        return self._source.file_marks() != self._marks

    def _pause_s(self) -> float:
        pause_s = FILE_POLL_S if self._marks else SLEEP_S_MAX
        if self._due_s is not None:
            pause_s = min(pause_s, max(self._due_s - self._clock.wall_s(), 0.0))
        return pause_s
