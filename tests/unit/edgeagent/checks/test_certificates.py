"""Validity of certificates (agent spec 8.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.checks.certificates import check_pair, check_validity
from edgeagent.checks.model import Result
from testkit.fake_probes import NOW
from testkit.x509 import DAY_S, issue

NOW_S = NOW.timestamp()


@pytest.mark.parametrize(
    ("start_d", "end_d", "result", "word"),
    [
        (-1, 8, Result.OK, ""),
        (-1, 6.9, Result.WARNING, "expires at 2026-01-09"),
        (-9, -1, Result.ERROR, "expired at 2026-01-01"),
        (1, 20, Result.ERROR, "is valid from"),
    ],
)
def test_a_week_before_the_end_is_a_warning(start_d: float, end_d: float, result: Result, word: str) -> None:
    made = issue("ca", now_s=NOW_S, start_s=start_d * DAY_S, end_s=end_d * DAY_S)
    finding = check_validity("ca.pem", made.pem, NOW, "replace it")
    assert finding.result is result
    assert word in " ".join(finding.details)
    if start_d < 0 and result is not Result.OK:
        assert finding.details[1] == "replace it"


def test_no_certificate() -> None:
    assert check_validity("ca.pem", b"x", NOW, "replace it").details == (
        "ca.pem is no PEM certificate",
        "replace it",
    )


def test_pairs() -> None:
    one, other = issue("a", now_s=NOW_S), issue("b", now_s=NOW_S)
    assert check_pair(one.pem, one.key_pem).result is Result.OK
    assert "is not the key" in check_pair(one.pem, other.key_pem).details[0]
    assert "cannot be read" in check_pair(one.pem, b"x").details[0]
    assert "cannot be read" in check_pair(b"", one.key_pem).details[0]


@given(st.binary(), st.integers(0, 400))
def test_damaged_files_give_a_finding(noise: bytes, at: int) -> None:
    pem = _MADE.pem[:at] + noise + _MADE.pem[at:]
    assert check_validity("x", pem, NOW, "").result in set(Result)
    assert check_pair(pem, _MADE.key_pem).result in set(Result)


_MADE = issue("a", now_s=NOW_S)
