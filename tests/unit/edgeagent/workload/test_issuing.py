from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from edgeagent.workload.authority import ExtraBundle, QuickStartCa
from edgeagent.workload.certificates import IssuedCertificate, ServerWanted
from edgeagent.workload.errors import AuthorityError
from edgeagent.workload.issuing import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from edgeagent.workload.certificates import CertificateAuthority

DAY = timedelta(days=1)
NO_BUNDLE = ExtraBundle(None)


@dataclass
class Source:
    """A CA under the control of a test."""

    ca: CertificateAuthority
    kind: str = "quickstart"
    error: str = ""
    refreshed: list[datetime] = field(default_factory=list)

    def refresh(self, now: datetime) -> None:
        self.refreshed.append(now)
        if self.error:
            raise AuthorityError(self.error)

    def trusted(self, now: datetime) -> tuple[Any, ...]:
        return self.ca.chain if now else ()


@pytest.fixture
def source(quick_start_ca: CertificateAuthority) -> Source:
    return Source(quick_start_ca)


@pytest.fixture
def issuer(source: Source, now: datetime) -> Iterator[Issuer]:
    made = Issuer(source, NO_BUNDLE, NO_BUNDLE, lambda: now)
    yield made
    made.close()


async def test_the_loop_runs_on_while_a_key_is_made(issuer: Issuer) -> None:
    """The thread waits for the event loop, so this ends only when the two run side by side."""
    loop_ran = threading.Event()

    def slow(*_: object) -> IssuedCertificate:
        assert loop_ran.wait(20)
        return IssuedCertificate("c", "k", issuer.source.ca.certificate.not_valid_after_utc)

    with patch("edgeagent.workload.issuing.issue", slow):
        waiting = asyncio.create_task(issuer.issue("m1", ServerWanted("h", "m1")))
        asyncio.get_running_loop().call_soon(loop_ran.set)
        assert (await waiting).chain_pem == "c"


async def test_one_module_delays_others_by_one_certificate(issuer: Issuer) -> None:
    order: list[str] = []

    def note(_ca: object, wanted: ServerWanted, _now: object) -> str:
        order.append(wanted.common_name)
        return ""

    with patch("edgeagent.workload.issuing.issue", note):
        greedy = [issuer.issue("m1", ServerWanted(f"m1-{number}", "m1")) for number in range(5)]
        await asyncio.gather(*greedy, issuer.issue("m2", ServerWanted("m2", "m2")))
    assert order.index("m2") <= 1
    assert len(order) == 6


async def test_a_waiting_call_may_be_given_up(issuer: Issuer) -> None:
    release = threading.Event()
    with patch("edgeagent.workload.issuing.issue", lambda *_: release.wait(20)):
        first = asyncio.create_task(issuer.issue("m1", ServerWanted("h", "m1")))
        second = asyncio.create_task(issuer.issue("m1", ServerWanted("h", "m1")))
        await asyncio.sleep(0)
        second.cancel()
        release.set()
        assert await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await issuer.issue("m1", ServerWanted("h", "m1"))


async def test_every_certificate_looks_at_the_ca_first(issuer: Issuer, source: Source, now: datetime) -> None:
    await issuer.issue("m1", ServerWanted("h", "m1"))
    assert source.refreshed == [now]


async def test_a_failed_renewal_is_logged_and_the_old_ca_issues(
    issuer: Issuer, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    source.error = "no space left"
    await issuer.refresh()
    assert (await issuer.issue("m1", ServerWanted("h", "m1"))).chain_pem
    assert caplog.text.count("no space left") == 2


async def test_an_expired_ca_is_renewed_before_it_issues(tmp_path: Path, now: datetime) -> None:
    """Row X06, after the device was off for longer than the CA lasts."""
    clock = [now]
    issuer = Issuer(QuickStartCa(tmp_path, "d", now), NO_BUNDLE, NO_BUNDLE, lambda: clock[0])
    clock[0] = now + 300 * DAY
    assert "it is renewed within a minute" in (issuer.warning() or "")
    issued = await issuer.issue("m1", ServerWanted("h", "m1"))
    assert issued.not_after == clock[0].replace(microsecond=0) + 30 * DAY
    assert issuer.warning() is None
    issuer.close()


def test_bundles(issuer: Issuer, source: Source) -> None:
    assert (issuer.trust_bundle() or "").startswith("-----BEGIN CERTIFICATE-----")
    assert issuer.manifest_trust_bundle() == ""
    assert issuer.ca_common_name == "aziot-edge CA dev1"
    assert issuer.warning() is None
    with patch.object(source, "trusted", return_value=()):
        assert issuer.trust_bundle() is None
