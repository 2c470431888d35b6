"""Outcomes of checks as text and as JSON (agent spec 8.2, row X16). Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeagent.checks.model import Category, Check, Finding, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SIGNS = {
    Result.OK: ("√", "OK"),
    Result.WARNING: ("‼", "Warning"),
    Result.ERROR: ("×", "Error"),  # noqa: RUF001 - as in the reference
    Result.FATAL: ("×", "Error"),  # noqa: RUF001
}
_INDENT = "    "
_MORE = " Re-run with --verbose for more details."


class TextReport:
    """Lines for people, as the checks run.

    :param verbose: all that is known, also about what was skipped.
    """

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._counts: Counter[str] = Counter()
        self._category: Category | None = None

    def lines(self, check: Check, finding: Finding) -> Iterator[str]:
        """Of one check, with the heading where a new group begins."""
        if finding.result is Result.IGNORED:
            return
        if check.category is not self._category:
            if self._category is not None:
                yield ""
            self._category = check.category
            yield check.category.value
            yield "-" * len(check.category.value)
        yield from self._one(check, finding)

    def _one(self, check: Check, finding: Finding) -> Iterator[str]:
        if finding.result is Result.SKIPPED:
            yield from self._skipped(check, finding)
            return
        sign, word = _SIGNS[finding.result]
        self._counts[_counted(finding)] += 1
        yield f"{sign} {check.about} - {word}"
        # The last text is what to do, so nothing of a short finding can be left out.
        for detail in finding.details:
            for number, line in enumerate(detail.splitlines() or [""]):
                if number == 0 or self._verbose:
                    yield f"{_INDENT}{line}"

    def _skipped(self, check: Check, finding: Finding) -> Iterator[str]:
        self._counts[_counted(finding)] += 1
        if finding.reason:
            yield f"√ {check.about} - OK"
            yield f"{_INDENT}skipping because of {finding.reason}"
        elif self._verbose:
            yield f"‼ {check.about} - Warning"
            yield f"{_INDENT}skipping because of previous failures"

    def summary(self) -> Iterator[str]:
        """The last lines; only what there is any of."""
        more = "" if self._verbose else _MORE
        texts = {
            "ok": "check(s) succeeded.",
            "warning": f"check(s) raised warnings.{more}",
            "error": f"check(s) raised errors.{more}",
            "skipped": f"check(s) were skipped due to errors from other checks.{more}",
        }
        yield ""
        for name, text in texts.items():
            if self._counts[name]:
                yield f"{self._counts[name]} {text}"


def _counted(finding: Finding) -> str:
    """What is not applicable counts as well."""
    if finding.result is Result.SKIPPED:
        return "ok" if finding.reason else "skipped"
    return "error" if finding.result is Result.FATAL else finding.result.value


def is_failure(findings: Sequence[Finding], *, warnings_as_errors: bool) -> bool:
    """Whether the command ends with an error."""
    bad = {Result.ERROR, Result.FATAL} | ({Result.WARNING} if warnings_as_errors else set())
    return any(finding.result in bad for finding in findings)


def as_json(found: Sequence[tuple[Check, Finding]], info: Mapping[str, Any]) -> str:
    """For machines.

    :param info: of the device: system, versions.
    """
    checks = {check.id: _object(finding) for check, finding in found}
    return json.dumps({"additional_info": info, "checks": checks}, ensure_ascii=False, default=str)


def _object(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {"result": finding.result.value}
    if finding.result in (Result.WARNING, Result.ERROR, Result.FATAL):
        found["details"] = list(finding.details)
    found["additional_info"] = dict(finding.info)
    if finding.reason:
        found["additional_info"]["reason"] = finding.reason
    return found
