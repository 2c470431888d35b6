"""Results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from measuring.python_side import OURS, RATIO_BAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from measuring.criterion import Timing
    from measuring.python_side import Rate, Ratio

VERDICTS = {True: "ok", False: "not", None: ""}


def timing_verdict(timing: Timing) -> str:
    """`ok`, `best` if only the best sample meets the bar, `not`; empty without a bar."""
    return "best" if timing.best_ok and not timing.ok else VERDICTS[timing.ok]


def rule_set(family: str, rules: int) -> str:
    """A rule set as rows name it."""
    return f"{family}, {rules} rule{'' if rules == 1 else 's'}"


def duration(nanoseconds: float) -> str:
    """With a unit that suits."""
    for limit, divisor, unit in ((1e3, 1.0, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms")):
        if nanoseconds < limit:
            return (
                f"{nanoseconds / divisor:.3g} {unit}"
                if nanoseconds < 999
                else f"{nanoseconds / divisor:.2f} {unit}"
            )
    return f"{nanoseconds / 1e9:.2f} s"


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]

    def shown(line: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells]).rstrip()

    return "\n".join(shown(line) for line in lines)


def timing_table(timings: Sequence[Timing]) -> str:
    """Scenario, what was measured, bar, verdict."""
    rows = [
        (
            t.scenario,
            duration(t.median_ns),
            duration(t.best_ns),
            "" if t.bar_ns is None else duration(t.bar_ns),
            timing_verdict(t),
            "" if t.instructions is None else f"{t.instructions:,.0f}",
        )
        for t in timings
    ]
    return columns(("scenario", "measured", "best", "bar", "", "instructions"), rows)


def rate_table(rates: Sequence[Rate]) -> str:
    """Every contender, time per message."""
    rows = [
        (f"{rule_set(r.family, r.rules)}, {r.contender}", duration(r.median_ns), duration(r.best_ns))
        for r in rates
    ]
    return columns(("Python, per message", "measured", "best"), rows)


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """One row for each rule set and contender, one pair of columns for each of ours."""
    cells = {(r.family, r.rules, r.other, r.ours): r for r in ratios}
    keys = dict.fromkeys((r.family, r.rules, r.other) for r in ratios)

    def row(key: tuple[str, int, str]) -> list[str]:
        family, rules, other = key
        found = [cells.get((*key, ours)) for ours in OURS]
        shown = [
            cell for r in found for cell in (("", "") if r is None else (f"{r.ratio:,.1f}x", VERDICTS[r.ok]))
        ]
        return [f"{rule_set(family, rules)}, {other}", *shown]

    header = ["times as fast", *(cell for ours in OURS for cell in (ours, ""))]
    return columns(header, [row(key) for key in keys]) + f"\nbar: {RATIO_BAR:.0f}x"
