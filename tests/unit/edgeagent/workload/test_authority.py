"""Rows X06 and X07: where the CA comes from, and when it becomes another."""

from __future__ import annotations

import logging
import stat
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from edgeagent.workload.authority import (
    PREVIOUS_FILE,
    PREVIOUS_MAX,
    QUICK_START_FILE,
    ExtraBundle,
    OperatorCa,
    QuickStartCa,
)
from edgeagent.workload.errors import AuthorityError
from testkit import x509 as testing

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

DAY = timedelta(days=1)


def test_the_first_start_makes_a_ca(tmp_path: Path, now: datetime) -> None:
    made = QuickStartCa(tmp_path / "certs", "dev1", now)
    assert made.ca.common_name == "aziot-edge CA dev1"
    path = tmp_path / "certs" / QUICK_START_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.trusted(now) == (made.ca.certificate,)
    again = QuickStartCa(tmp_path / "certs", "dev1", now + DAY)
    assert again.ca.fingerprint == made.ca.fingerprint


def test_x06_renewed_at_80_percent(tmp_path: Path, now: datetime, caplog: pytest.LogCaptureFixture) -> None:
    """Row X06: a new key and a new certificate; the old one stays trusted until it ends."""
    source = QuickStartCa(tmp_path, "dev1", now)
    first = source.ca
    source.refresh(now + 71 * DAY)
    assert source.ca == first
    due = now + 72 * DAY
    source.refresh(due)
    second = source.ca
    assert second.fingerprint != first.fingerprint
    assert second.key.public_key() != first.key.public_key()
    assert second.certificate.not_valid_after_utc == due.replace(microsecond=0) + 90 * DAY
    assert "Modules have to be restarted, the agent last" in caplog.text
    assert source.trusted(due) == (second.certificate, first.certificate)
    assert source.trusted(now + 90 * DAY) == (second.certificate,)
    again = QuickStartCa(tmp_path, "dev1", due)
    assert again.trusted(due) == source.trusted(due)


def test_renewed_at_a_start_after_a_long_time_off(tmp_path: Path, now: datetime) -> None:
    first = QuickStartCa(tmp_path, "dev1", now).ca
    late = now + 1000 * DAY
    source = QuickStartCa(tmp_path, "dev1", late)
    source.refresh(late)
    assert source.ca.fingerprint != first.fingerprint
    assert source.trusted(late) == (source.ca.certificate,)


def test_the_clock_jumps_ahead_and_back(tmp_path: Path, now: datetime) -> None:
    """The CA of the wrong time is replaced, so that certificates are valid again."""
    source = QuickStartCa(tmp_path, "dev1", now)
    source.refresh(now + 4000 * DAY)
    assert source.ca.certificate.not_valid_before_utc > now + 3999 * DAY
    source.refresh(now + DAY)
    assert source.ca.certificate.not_valid_before_utc == now.replace(microsecond=0) + DAY


def test_earlier_cas_are_limited(tmp_path: Path, now: datetime) -> None:
    source = QuickStartCa(tmp_path, "dev1", now, validity=10 * DAY)
    for _ in range(PREVIOUS_MAX + 2):
        with patch("edgeagent.workload.authority.renewal_due", return_value=True):
            source.refresh(now)
    assert len(source.trusted(now)) == PREVIOUS_MAX + 1
    assert len(QuickStartCa(tmp_path, "dev1", now).trusted(now)) == PREVIOUS_MAX + 1


def test_power_goes_between_the_two_files_of_a_renewal(tmp_path: Path, now: datetime) -> None:
    source = QuickStartCa(tmp_path, "dev1", now)
    first = source.ca
    due = now + 80 * DAY
    with (
        patch.object(QuickStartCa, "_make", side_effect=OSError("no space left")),
        pytest.raises(AuthorityError, match="due for renewal, but cannot be written: no space left"),
    ):
        source.refresh(due)
    assert source.ca == first
    again = QuickStartCa(tmp_path, "dev1", due)
    assert again.trusted(due) == (first.certificate,)
    again.refresh(due)
    assert again.trusted(due) == (again.ca.certificate, first.certificate)


@pytest.mark.parametrize("content", [b"", b"damaged", b"x" * (1024 * 1024 + 1)])
def test_a_damaged_quick_start_ca_is_made_anew(
    tmp_path: Path, now: datetime, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = QuickStartCa(tmp_path, "dev1", now).ca
    (tmp_path / QUICK_START_FILE).write_bytes(content)
    (tmp_path / PREVIOUS_FILE).write_bytes(content)
    assert QuickStartCa(tmp_path, "dev1", now).ca.fingerprint != first.fingerprint
    assert (tmp_path / f"{QUICK_START_FILE}.damaged").read_bytes() == content
    assert "a new CA is made" in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "certs").write_text("")
    with pytest.raises(AuthorityError, match="CA in"):
        QuickStartCa(tmp_path / "certs", "dev1", now)


def own_ca(folder: Path, now: datetime, name: str = "own CA") -> testing.Issued:
    made = testing.issue(name, now_s=now.timestamp(), authority=True, start_s=0, end_s=100 * testing.DAY_S)
    made.write(folder, "ca")
    return made


def test_x07_the_operators_ca_is_never_made_anew(tmp_path: Path, now: datetime) -> None:
    """Row X07: not at 80 %, not when it expired; its files stay as they are."""
    made = own_ca(tmp_path, now)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    source = OperatorCa(tmp_path / "ca.pem", tmp_path / "ca.key")
    for days in (0, 90, 200):
        source.refresh(now + days * DAY)
        assert source.ca.certificate == made.certificate
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert source.trusted(now) == (made.certificate,)


def test_replaced_files_are_taken(tmp_path: Path, now: datetime, caplog: pytest.LogCaptureFixture) -> None:
    own_ca(tmp_path, now)
    source = OperatorCa(tmp_path / "ca.pem", tmp_path / "ca.key")
    second = own_ca(tmp_path, now, "next CA")
    source.refresh(now)
    assert source.ca.certificate == second.certificate
    assert "Modules have to be restarted" in caplog.text


def test_half_replaced_files_are_looked_at_again(tmp_path: Path, now: datetime) -> None:
    first = own_ca(tmp_path, now)
    source = OperatorCa(tmp_path / "ca.pem", tmp_path / "ca.key")
    second = testing.authority("next CA", now.timestamp())
    (tmp_path / "ca.pem").write_bytes(second.pem)
    for _ in range(2):
        with pytest.raises(AuthorityError, match="the key is not that of the first certificate"):
            source.refresh(now)
    assert source.ca.certificate == first.certificate
    (tmp_path / "ca.key").write_bytes(second.key_pem)
    source.refresh(now)
    assert source.ca.certificate == second.certificate


def test_files_that_vanish(tmp_path: Path, now: datetime) -> None:
    made = own_ca(tmp_path, now)
    source = OperatorCa(tmp_path / "ca.pem", tmp_path / "ca.key")
    (tmp_path / "ca.key").unlink()
    with pytest.raises(AuthorityError, match=r"the operator's CA: .*ca\.key"):
        source.refresh(now)
    assert source.ca.certificate == made.certificate


def test_an_operators_ca_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match=r"the operator's CA: .*none\.pem"):
        OperatorCa(tmp_path / "none.pem", tmp_path / "none.key")


def test_extra_bundle(tmp_path: Path, now: datetime, caplog: pytest.LogCaptureFixture) -> None:
    assert ExtraBundle(None).pem == ""
    path = tmp_path / "bundle.pem"
    with pytest.raises(AuthorityError, match="trust bundle"):
        ExtraBundle(path)
    root = testing.authority("root", now.timestamp())
    path.write_bytes(b"a comment\n" + root.pem)
    bundle = ExtraBundle(path)
    assert bundle.pem.encode() == root.pem
    path.write_bytes(root.pem + root.pem)
    assert bundle.pem.encode() == root.pem * 2
    with caplog.at_level(logging.WARNING):
        path.write_bytes(b"damaged")
        assert bundle.pem.encode() == root.pem * 2
    assert "What was read before stays" in caplog.text
