"""Issuing without holding up the event loop, and the trust that goes with it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from edgeagent.workload.authority import QUICK_START
from edgeagent.workload.certificates import issue, to_pem, utc_now
from edgeagent.workload.errors import AuthorityError
from edgeagent.workload.renewal import expiry_warning

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from edgeagent.workload.authority import CaSource, ExtraBundle
    from edgeagent.workload.certificates import CertificateWanted, IssuedCertificate

log = logging.getLogger(__name__)


class Issuer:
    """Issues one certificate at a time, in a thread: a key takes half a second and more of a small board.

    Each module waits for its own last certificate first, so that one which asks without end delays the
    others by one certificate each. Connections limit how many wait.

    :param now: UTC clock.
    """

    def __init__(
        self,
        source: CaSource,
        extra: ExtraBundle,
        manifest_bundle: ExtraBundle,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.source = source
        self._extra = extra
        self._manifest_bundle = manifest_bundle
        self._now = now
        self._thread = ThreadPoolExecutor(1, "issue")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def issue(self, module_name: str, wanted: CertificateWanted) -> IssuedCertificate:
        """A certificate for a module.

        :raises AuthorityError: the CA expired.
        """
        turn = self._turns.setdefault(module_name, asyncio.Lock())
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._issue, wanted)

    async def refresh(self) -> None:
        """Takes the next CA when it is time; a failure is logged, and tried again by the next call."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._refresh)

    def trust_bundle(self) -> str | None:
        """PEM text of what modules trust, None when there is nothing."""
        return (to_pem(self.source.trusted(self._now())) + self._extra.pem) or None

    def manifest_trust_bundle(self) -> str:
        """PEM text of what may sign manifests; empty without."""
        return self._manifest_bundle.pem

    @property
    def ca_common_name(self) -> str:
        return self.source.ca.common_name

    def warning(self) -> str | None:
        """What the operator should do about the CA, None when there is nothing."""
        ca = self.source.ca.certificate
        renewed_here = self.source.kind == QUICK_START
        start, end = ca.not_valid_before_utc, ca.not_valid_after_utc
        return expiry_warning(start, end, self._now(), renewed_here=renewed_here)

    def close(self) -> None:
        """Gives up what waits; a key in the making is finished first."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _issue(self, wanted: CertificateWanted) -> IssuedCertificate:
        self._refresh()
        return issue(self.source.ca, wanted, self._now())

    def _refresh(self) -> None:
        try:
            self.source.refresh(self._now())
        except AuthorityError as error:
            log.error("%s", error)
