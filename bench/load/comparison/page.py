"""The page of results: tables of the newest result files, each row with how to make it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comparison.scenarios import LOAD, SCENARIOS
from comparison.summary import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Result = dict[str, Any]
"""A result file."""

BEGIN, END = "<!-- performance numbers -->\n", "<!-- end of performance numbers -->\n"
HUB_SUFFIX, SOAK_SUFFIX = "-hub.json", "-soak.json"
HUBS, PEER = ("edgehub none", "edgehub group"), "mosquitto"
KIB = 1024


def newest(folder: Path, suffix: str) -> tuple[str, Result] | None:
    """Name and content of the result that was begun last; None without any."""
    found = [(path.name, json.loads(path.read_text())) for path in sorted(folder.glob(f"*{suffix}"))]
    return max(found, key=lambda one: str(one[1]["started"]), default=None)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured_on(name: str, result: Mapping[str, Any]) -> str:
    """Where, when, and what else the machine did."""
    facts, load = result["machine"], [result["load_average_1min"]]
    load += [result["load_average_1min_after"]] if "load_average_1min_after" in result else []
    return (
        f"Measured {result['started'][:10]} on {facts['cores']} cores of {facts['cpu_model']}"
        f" ({facts['architecture']}, {facts['memory_kib'] / KIB / KIB:.0f} GiB, Linux {facts['kernel']}),"
        f" load average {' and '.join(f'{one:g}' for one in load)} before{' and after' if load[1:] else ''};"
        f" raw results in `bench/results/{name}`.\n"
    )


def load_cell(row: Mapping[str, Any]) -> str:
    """Rate and CPU time per message."""
    return f"{number(row['delivered_per_s'])} ({number(row['cpu_us_per_delivered'], '.3g')})"


def paced_cell(row: Mapping[str, Any]) -> str:
    """Latencies."""
    return " / ".join(number(row[f"latency_{name}_us"]) for name in ("p50", "p99", "p999")) + " us"


def hold_cell(row: Mapping[str, Any]) -> str:
    """Memory of a connection."""
    return f"{number(row['bytes_per_connection'])} B"


def connects_cell(row: Mapping[str, Any]) -> str:
    """Rate and CPU time per connection."""
    return f"{number(row['connected_per_s'])} ({number(row['cpu_us_per_connection'], '.3g')})"


def cell(row: Mapping[str, Any] | None) -> str:
    """What a broker did in a scenario."""
    if row is None:
        return ""
    if row["repeats"] == 0:
        return "no result"
    kind = next((one for one in SCENARIOS if one.name == row["scenario"]), None)
    if kind is None or (kind.kind == LOAD and kind.rate_per_s is None):
        return load_cell(row)
    if kind.kind == LOAD:
        return paced_cell(row)
    return hold_cell(row) if kind.kind == "hold" else connects_cell(row)


def bar_cells(bars: Sequence[Mapping[str, Any]], broker: str) -> str:
    """What was reached of each bar, and the verdict."""
    shown = [
        f"{number(bar['median'], ',.3g')} ({bar['limit']}): {bar['verdict']}"
        for bar in bars
        if bar["broker"] == broker
    ]
    return "; ".join(shown)


def hub_tables(name: str, result: Result) -> str:
    """Every scenario beside mosquitto, with bars, and the command that makes the row again."""
    rows = {(row["scenario"], row["broker"]): row for row in result["summary"]}
    scenarios = list(dict.fromkeys(row["scenario"] for row in result["summary"]))
    lines = []
    for scenario in scenarios:
        bars = [bar for bar in result["bars"] if bar["scenario"] == scenario]
        lines.append(
            [
                f"`{scenario}`",
                cell(rows.get((scenario, PEER))),
                *(cell(rows.get((scenario, hub))) for hub in HUBS),
                *(bar_cells(bars, hub) for hub in HUBS),
            ]
        )
    head = ("scenario", PEER, "`none`", "`group`", "bars of `none`", "bars of `group`")
    return f"{measured_on(name, result)}\n{markdown(head, lines)}\n{peer_table(result, rows)}"


def peer_table(result: Result, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """The other brokers, in the rows that they take part in; empty without any."""
    others = [name for name in result["peers"] if name != PEER]
    skipped = "".join(f"Left out: {name} ({reason}).\n" for name, reason in result["peers_skipped"].items())
    scenarios = [
        scenario
        for scenario in dict.fromkeys(scenario for scenario, _ in rows)
        if any((scenario, name) in rows for name in others)
    ]
    if not scenarios:
        return skipped
    names = [PEER, *others, *HUBS]
    lines = [
        [f"`{scenario}`", *(cell(rows.get((scenario, name))) for name in names)] for scenario in scenarios
    ]
    versions = ", ".join(result["peers"].values())
    return f"{markdown(('delivered/s (CPU us/msg)', *names), lines)}\nVersions: {versions}.\n{skipped}"


def soak_table(name: str, result: Result) -> str:
    """The soak in a few lines."""
    account, load, settings = result["account"], result["load"], result["settings"]
    memory, slope = result["memory_mb"], result["slope_mb_per_h"]
    verdicts = {bar["measure"]: f"{bar['limit']}: {bar['verdict']}" for bar in result["bars"]}
    rows = [
        ("load", f"{load['published_per_s']:,.0f} messages/s for {load['seconds']:,.0f} s", ""),
        ("link cut", f"{result['cuts']} times for {settings['cut_for_s']:g} s", ""),
        (
            "messages",
            f"{account['published']:,} sent, {account['arrived']:,} arrived, {account['duplicates']:,} twice,"
            f" {account['lost']:,} lost",
            verdicts["messages lost"],
        ),
        (
            "memory of the hub",
            f"{memory['first']:g} MB after {settings['warm_up_s']:g} s, {memory['last']:g} at the end,"
            f" {memory['peak']:g} at most",
            "",
        ),
        (
            "slope of it",
            f"{slope['value']:.2f} MB/h (standard error {slope['error']:.2f})",
            verdicts["memory slope, MB/h"],
        ),
        ("last message", f"{result['catch_up_s']:,.1f} s after the load", ""),
        ("share of a core", ", ".join(f"{who} {share:.0%}" for who, share in result["cpu"].items()), ""),
    ]
    return f"{measured_on(name, result)}\n{markdown(('soak', '', 'bar'), rows)}"


def numbers(folder: Path) -> str:
    """All tables of the newest results in a folder."""
    parts = []
    for suffix, command, table in (
        (HUB_SUFFIX, "make bench-hub", hub_tables),
        (SOAK_SUFFIX, "make soak", soak_table),
    ):
        found = newest(folder, suffix)
        parts.append(table(*found) if found else f"No result of `{command}` is recorded.\n")
    return "\n".join(parts)


def replaced(text: str, numbers: str) -> str:
    """The page with new numbers between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{numbers}{end}{after}"
