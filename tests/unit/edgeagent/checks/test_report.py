"""Texts and JSON of `iotedge check` (row X16), and the order of checks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from edgeagent.checks.catalog import CHECKS, IDS
from edgeagent.checks.model import (
    Category,
    Check,
    Finding,
    Result,
    cannot_be_checked,
    error,
    fatal,
    ignored,
    not_applicable,
    ok,
    warning,
)
from edgeagent.checks.ports import ProbeError
from edgeagent.checks.report import TextReport, as_json, is_failure
from edgeagent.checks.run import run_checks
from testkit.fake_probes import situation

if TYPE_CHECKING:
    from edgeagent.checks.situation import Situation

FOUND = [
    ("a is well", ok()),
    ("b is well", warning("b is ill", "heal it")),
    ("c is well", error("c is dead\nsince long", "bury it")),
    ("d is well", not_applicable("no d")),
    ("e is well", cannot_be_checked()),
    ("f is well", ignored()),
]


def _check(about: str, finding: Finding | Exception = ok()) -> Check:  # noqa: B008 - frozen
    async def run(_: Situation) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    category = Category.CONNECTIVITY if about.startswith("c") else Category.CONFIGURATION
    return Check(about[0], category, about, run)


def _text(*, verbose: bool) -> list[str]:
    report = TextReport(verbose=verbose)
    lines = [line for about, finding in FOUND for line in report.lines(_check(about), finding)]
    return [*lines, *report.summary()]


def test_x16_text() -> None:
    assert _text(verbose=False) == [
        "Configuration checks",
        "--------------------",
        "√ a is well - OK",
        "‼ b is well - Warning",
        "    b is ill",
        "    heal it",
        "",
        "Connectivity checks",
        "-------------------",
        "× c is well - Error",  # noqa: RUF001
        "    c is dead",
        "    bury it",
        "",
        "Configuration checks",
        "--------------------",
        "√ d is well - OK",
        "    skipping because of no d",
        "",
        "2 check(s) succeeded.",
        "1 check(s) raised warnings. Re-run with --verbose for more details.",
        "1 check(s) raised errors. Re-run with --verbose for more details.",
        "1 check(s) were skipped due to errors from other checks. Re-run with --verbose for more details.",
    ]


def test_x16_verbose_text() -> None:
    lines = _text(verbose=True)
    assert "    since long" in lines
    at = lines.index("‼ e is well - Warning")
    assert lines[at + 1] == "    skipping because of previous failures"
    assert lines[-1] == "1 check(s) were skipped due to errors from other checks."


def test_x16_only_what_there_is_any_of() -> None:
    report = TextReport(verbose=False)
    list(report.lines(_check("a"), ok()))
    assert list(report.summary()) == ["", "1 check(s) succeeded."]


def test_json() -> None:
    document = json.loads(as_json([(_check(about), finding) for about, finding in FOUND], {"os": "x"}))
    assert document["additional_info"] == {"os": "x"}
    assert document["checks"]["a"] == {"result": "ok", "additional_info": {}}
    assert document["checks"]["b"]["details"] == ["b is ill", "heal it"]
    assert document["checks"]["d"] == {"result": "skipped", "additional_info": {"reason": "no d"}}
    assert document["checks"]["e"] == {"result": "skipped", "additional_info": {}}
    assert document["checks"]["f"]["result"] == "ignored"


@pytest.mark.parametrize(
    ("finding", "strict", "fails"),
    [
        (ok(), True, False),
        (warning("x"), False, False),
        (warning("x"), True, True),
        (error("x"), False, True),
        (fatal("x"), False, True),
        (cannot_be_checked(), True, False),
    ],
)
def test_x16_exit_code(finding: Finding, strict: bool, fails: bool) -> None:
    assert is_failure([finding], warnings_as_errors=strict) is fails


async def _run(*checks: Check, without: tuple[str, ...] = (), deadline_s: float = 20.0) -> list[Finding]:
    found = run_checks(checks, situation(), without, deadline_s)
    return [finding async for _, finding in found]


async def test_a_fatal_one_ends_it() -> None:
    found = await _run(_check("a", fatal("x")), _check("b"))
    assert [finding.result for finding in found] == [Result.FATAL]


async def test_ones_that_are_left_out() -> None:
    found = await _run(_check("a", error("x")), _check("b"), without=("a",))
    assert [finding.result for finding in found] == [Result.IGNORED, Result.OK]


async def test_one_that_fails_itself_takes_no_other_with_it() -> None:
    found = await _run(_check("a", ProbeError("gone")), _check("b", KeyError("x")), _check("c"))
    assert [finding.details for finding in found] == [
        ("gone",),
        ("the check itself failed: KeyError: 'x'",),
        (),
    ]


async def test_what_may_not_be_read_needs_other_rights() -> None:
    (found,) = await _run(_check("a", ProbeError("x cannot be read: Permission denied")))
    assert found.details == ("x cannot be read: Permission denied", "run the check with sudo")


async def test_one_that_takes_too_long() -> None:
    async def run(_: Situation) -> Finding:
        await asyncio.Event().wait()
        return ok()

    found = await _run(Check("a", Category.CONFIGURATION, "a", run), deadline_s=0.01)
    assert found[0].details == ("the check took longer than 0.01 s",)


def test_each_check_has_its_own_id() -> None:
    assert len(IDS) == len(CHECKS)
    assert {"container-engine-logrotate", "host-connect-iothub-amqp"} < IDS
    assert {"container-default-connect-upstream-mqtt", "container-connect-upstream-https"} < IDS
