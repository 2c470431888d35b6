"""The rule for names of devices (agent spec 8.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.checks.hostname import check_hostname
from edgeagent.checks.model import Result


@pytest.mark.parametrize(
    ("name", "system", "result"),
    [
        ("192.0.2.1", "gw1", Result.OK),
        ("2001:db8::1", "gw1", Result.OK),
        ("gw1", "gw1", Result.OK),
        ("GW1", "gw1", Result.OK),
        ("gw1.example.net", "gw1", Result.OK),
        ("gw1", "gw1.example.net", Result.OK),
        ("gw2", "gw1", Result.ERROR),
        ("gw10.example.net", "gw1", Result.ERROR),
        ("gw_1", "gw_1", Result.WARNING),
        ("1gw", "1gw", Result.WARNING),
        ("gw1-.example.net", "gw1-", Result.WARNING),
        ("gw1..example.net", "gw1", Result.WARNING),
        ("g" * 63, "g" * 63, Result.OK),
        ("g" * 64, "g" * 64, Result.WARNING),
        (f"gw1.{'a' * 60}", "gw1", Result.OK),
        (f"gw1.{'a' * 61}", "gw1", Result.WARNING),
        (f"gw1{'.aaaaaaaa' * 30}", "gw1", Result.WARNING),
    ],
)
def test_names(name: str, system: str, result: Result) -> None:
    finding = check_hostname(name, system)
    assert finding.result is result
    assert bool(finding.details) == (result is not Result.OK)


@given(st.text(), st.text())
def test_any_name_gives_a_finding(name: str, system: str) -> None:
    assert check_hostname(name, system).result in (Result.OK, Result.WARNING, Result.ERROR)
