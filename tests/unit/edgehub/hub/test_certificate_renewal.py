"""A new server certificate while the hub runs (settings spec 7.5)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from edgehub.config.load import SettingsError
from edgehub.config.settings import IdentitySettings
from edgehub.hub.certificates import Certificates, ServerCertificate
from edgehub.hub.renewal import RETRY_S, CertificateKeeper, renewal_due_s
from testkit.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edgehub.common.clock import Clock

NOW_S = 1_767_225_600.0
NEVER_MS = 2_147_483_647


@pytest.mark.parametrize(
    "expires",
    ["2026-01-02T00:00:00+00:00", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00", "2026-01-02T01:00:00+01:00"],
)
def test_it_is_due_before_the_end(expires: str) -> None:
    assert renewal_due_s(expires, NEVER_MS, NOW_S) == NOW_S + 86_400 - 150


def test_it_can_be_forced_earlier() -> None:
    assert renewal_due_s("2030-01-01T00:00:00Z", 5000, NOW_S) == NOW_S + 5


def test_an_end_that_cannot_be_read_is_not_watched() -> None:
    assert renewal_due_s("soon", NEVER_MS, NOW_S) is None


class FakeSource:
    """Issues certificates by number, or reads files."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.lifetime_s: float | None = 9000.0
        self.marks: tuple[object, ...] = ()
        self.broken = False
        self.issued_at: list[float] = []

    async def server(self, clock: Clock, renew_after_ms: int) -> ServerCertificate | None:
        self.issued_at.append(self.clock.wall_s() - NOW_S)
        if self.broken:
            raise SettingsError("cannot be read")
        due_s = None if self.lifetime_s is None else self.clock.wall_s() + self.lifetime_s
        return ServerCertificate(f"chain {len(self.issued_at)}".encode(), b"key", due_s)

    def file_marks(self) -> tuple[object, ...]:
        return self.marks


class Rig:
    """A keeper whose sleeps pass at once."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_S)
        self.source = FakeSource(self.clock)
        self.in_force: list[bytes] = []
        self.refuses = False
        self.keeper = CertificateKeeper(self.source, self.clock, NEVER_MS, self._replace)
        self.slept = list[float]()
        self.on_sleep: Callable[[], None] = lambda: None

    def _replace(self, certificate: ServerCertificate) -> None:
        if self.refuses:
            raise SettingsError("key and certificate do not belong together")
        self.in_force.append(certificate.chain_pem)

    async def run_for(self, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ends after that many sleeps."""
        await self.keeper.first()

        @asynccontextmanager
        async def timeout(delay_s: float) -> AsyncIterator[None]:
            self.slept.append(delay_s)
            self.clock.advance(delay_s)
            self.on_sleep()
            if len(self.slept) > rounds:
                raise asyncio.CancelledError
            raise TimeoutError
            yield

        monkeypatch.setattr(asyncio, "timeout", timeout)
        with pytest.raises(asyncio.CancelledError):
            await self.keeper.run()


async def test_it_is_replaced_when_it_is_due_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    await rig.run_for(6, monkeypatch)
    assert rig.source.issued_at == [0, 9000, 18000]
    assert rig.slept[:6] == [3600, 3600, 1800] * 2
    assert rig.in_force == [b"chain 2", b"chain 3"], "the first is taken by the caller"


async def test_one_that_is_about_to_end_when_it_is_issued_is_not_replaced_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig()
    rig.source.lifetime_s = -100
    await rig.run_for(3, monkeypatch)
    assert rig.source.issued_at == [0, RETRY_S, 2 * RETRY_S, 3 * RETRY_S]


async def test_an_agent_that_does_not_issue_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    await rig.keeper.first()
    rig.source.broken = True

    def mend() -> None:
        rig.source.broken = rig.clock.wall_s() < NOW_S + 9000 + 2 * RETRY_S

    rig.on_sleep = mend
    monkeypatch.setattr(rig.keeper, "first", _nothing)
    await rig.run_for(5, monkeypatch)
    assert rig.source.issued_at == [0, 9000, 9000 + RETRY_S, 9000 + 2 * RETRY_S]
    assert rig.in_force == [b"chain 4"]
    assert "cannot be read" in caplog.text


async def _nothing() -> None:
    return None


async def test_files_are_read_again_when_they_change_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.source.lifetime_s = None
    rig.source.marks = (1,)

    def change() -> None:
        rig.source.marks = (2,) if len(rig.slept) >= 3 else (1,)

    rig.on_sleep = change
    await rig.run_for(5, monkeypatch)
    assert rig.source.issued_at == [0, 180]
    assert set(rig.slept) == {60}


async def test_files_that_cannot_be_used_are_not_tried_again_until_they_change(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.source.lifetime_s = None
    rig.source.marks = (1,)
    rig.refuses = True

    def change() -> None:
        rig.source.marks = (2,) if len(rig.slept) < 5 else (3,)
        rig.refuses = len(rig.slept) < 5

    rig.on_sleep = change
    await rig.run_for(6, monkeypatch)
    assert rig.source.issued_at == [0, 60, 300]
    assert rig.in_force == [b"chain 3"]
    assert caplog.text.count("do not belong together") == 1


async def test_it_is_replaced_on_request() -> None:
    rig = Rig()
    await rig.keeper.first()
    task = asyncio.create_task(rig.keeper.run())
    for _ in range(2):
        rig.keeper.renew_now()
        for _ in range(10):
            await asyncio.sleep(0)
    task.cancel()
    assert rig.in_force == [b"chain 2", b"chain 3"]


async def test_real_files_are_noticed_and_read(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text("-----BEGIN CERTIFICATE-----\n1")
    key.write_text("-----BEGIN PRIVATE KEY-----\n1")
    settings = IdentitySettings(server_certificate_file=str(chain), server_key_file=str(key))
    certificates = Certificates(settings, None, "host")
    before = certificates.file_marks()
    assert before == certificates.file_marks()
    replacement = tmp_path / "new.pem"
    replacement.write_text("-----BEGIN CERTIFICATE-----\n2")
    replacement.rename(chain)
    assert certificates.file_marks() != before
    certificate = await certificates.server(ManualClock(NOW_S), NEVER_MS)
    assert certificate is not None
    assert certificate.chain_pem.endswith(b"2")
    chain.unlink()
    assert certificates.file_marks()[0] is None
    with pytest.raises(SettingsError, match="EdgeHubDevServerCertificateFile"):
        await certificates.server(ManualClock(NOW_S), NEVER_MS)
