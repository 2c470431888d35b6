#!/usr/bin/env python3
"""Write the numbers of a result file into docs/router.md and bench/README.md, between their marks.

Standard library only.

Example:
  bench/micro/write_numbers.py bench/results/2026-11-21-x86-2core-router.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.python_side import OURS
from measuring.scenarios import ROOT
from measuring.tables import duration, rule_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEGIN, END = "<!-- router numbers -->\n", "<!-- end of router numbers -->\n"

# What the page of the router shows, in its words.
SHOWN = (
    ("number AND text property", ("two_clauses/1", "two_clauses/10", "two_clauses/100")),
    ("number OR text property", ("either/1", "either/10", "either/100")),
    ("text property", ("kind/1", "kind/10", "kind/100")),
    ("the same condition in every route", (None, "identical/10", "identical/100")),
    ("body paths, 180-byte body", ("body_180B/1", "body_180B/10_paths_10", "body_180B/10_paths_100")),
    ("body paths, 900-byte body", ("body_900B/1", None, "body_900B/10_paths_100")),
)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def where(result: dict[str, Any], name: str) -> str:
    """On what it was measured."""
    machine = result["machine"]
    return (
        f"Measured on {machine['cores']} cores of {machine['cpu_model']} ({machine['architecture']}), "
        f"load average {result['load_average_1min']} from other work; "
        f"raw results in `bench/results/{name}`.\n"
    )


def page(result: dict[str, Any], name: str) -> str:
    """The short form, for the page of the router: best samples."""
    best = {row["scenario"]: row["best_ns"] for row in result["rust"]}

    def cell(scenario: str | None) -> str:
        return "" if scenario is None else duration(best[scenario])

    rows = [(text, *map(cell, scenarios)) for text, scenarios in SHOWN]
    table = markdown(
        ("CPU time per message, best samples; every route to another endpoint", "1 route", "10", "100"), rows
    )
    return f"{where(result, name)}\n{table}\n{ratio_rows(result)}"


def ratio_rows(result: dict[str, Any]) -> str:
    """How many times as fast the Python side is as each of the others."""
    ratios = {(r["family"], r["rules"], r["other"], r["ours"]): r["ratio"] for r in result["python_ratios"]}
    others = dict.fromkeys(other for _, _, other, _ in ratios)
    sets = dict.fromkeys((family, rules) for family, rules, _, _ in ratios)
    rows = [
        [
            rule_set(*one),
            *(" / ".join(f"{times(ratios[*one, other, ours])}" for ours in OURS) for other in others),
        ]
        for one in sets
    ]
    return markdown([f"`{'` / `'.join(OURS)}`, times as fast as", *others], rows)


def times(ratio: float) -> str:
    """A ratio with as many digits as say something."""
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:,.0f}x"


def full(result: dict[str, Any], name: str) -> str:
    """The long form: every scenario beside its bar."""
    rows = [
        (
            row["scenario"],
            duration(row["median_ns"]),
            duration(row["best_ns"]),
            "" if row["bar_ns"] is None else duration(row["bar_ns"]),
            verdict(row),
            "" if row["instructions"] is None else f"{row['instructions']:,.0f}",
        )
        for row in result["rust"]
    ]
    table = markdown(("scenario", "median", "best", "bar", "", "instructions"), rows)
    return f"{where(result, name)}\n{table}\n{ratio_rows(result)}"


def verdict(row: dict[str, Any]) -> str:
    """As in the report."""
    return "" if row["ok"] is None else "ok" if row["ok"] else "best" if row["best_ok"] else "not"


def replaced(text: str, numbers: str) -> str:
    """The text with new numbers between the marks.

    :raises ValueError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{numbers}{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, help="a result file of router_report.py with all parts")
    path = parser.parse_args(arguments).result
    result = json.loads(path.read_text())
    for target, form in (("docs/router.md", page), ("bench/README.md", full)):
        file = ROOT / target
        file.write_text(replaced(file.read_text(), form(result, path.name)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
