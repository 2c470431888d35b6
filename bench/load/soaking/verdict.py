"""The result of a soak: what was measured, against its bars, as JSON and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from soaking.slope import Slope, least_squares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soaking.ledger import Account

SLOPE_MB_PER_H_MAX = 1.0
BYTES_PER_MB = 1_000_000
KIB = 1024
SECONDS_PER_HOUR = 3600.0
SURE = 2.0
"""Standard errors on either side of a slope within which it is not told from the bar."""


@dataclass(frozen=True)
class Sample:
    """One second.

    Attributes:
        at_s: since the load began.
        hub_kib: resident memory of the hub.
        arrived: messages at the parent hub so far.
        link_is_up: whether the link was not cut.
    """

    at_s: float
    hub_kib: int
    arrived: int
    link_is_up: bool


def memory_slope(samples: Sequence[Sample], warm_up_s: float, until_s: float) -> Slope:
    """Growth of the hub's memory in MB per hour, after the warm-up and while the load lasts.

    Raises:
        ValueError: too few samples.
    """
    points = [
        (sample.at_s / SECONDS_PER_HOUR, sample.hub_kib * KIB / BYTES_PER_MB)
        for sample in samples
        if warm_up_s <= sample.at_s <= until_s
    ]
    return least_squares(points)


def slope_verdict(slope: Slope) -> str:
    """`ok` or `not`; `unsure` when the scatter is too large to tell."""
    if slope.value + SURE * slope.error < SLOPE_MB_PER_H_MAX:
        return "ok"
    return "not" if slope.value - SURE * slope.error >= SLOPE_MB_PER_H_MAX else "unsure"


def loss_verdict(account: Account) -> str:
    """`ok` when nothing is lost."""
    return "ok" if account.lost == 0 else "not"


def bars_json(slope: Slope, account: Account) -> list[dict[str, Any]]:
    """As the result file has them."""
    return [
        {
            "measure": "memory slope, MB/h",
            "limit": f"below {SLOPE_MB_PER_H_MAX:g}",
            "value": slope.value,
            "error": slope.error,
            "verdict": slope_verdict(slope),
        },
        {"measure": "messages lost", "limit": "0", "value": account.lost, "verdict": loss_verdict(account)},
    ]


def text(result: Mapping[str, Any]) -> str:
    """For people."""
    account, load = result["account"], result["load"]
    memory = result["memory_mb"]
    rows = [
        (
            "load",
            f"{account['published']:,} messages in {load['seconds']:,.0f} s, {load['published_per_s']:,.0f}/s"
            f" of {load['rate_per_s']:,}/s asked for",
        ),
        ("link", f"cut {result['cuts']} times for {result['settings']['cut_for_s']:g} s"),
        (
            "ledger",
            f"{account['arrived']:,} arrived, {account['lost']:,} lost, {account['duplicates']:,} twice;"
            f" the last {result['catch_up_s']:,.1f} s after the load",
        ),
        (
            "hub",
            f"{memory['first']:.1f} MB after the warm-up, {memory['last']:.1f} at the end,"
            f" {memory['peak']:.1f} at most",
        ),
        ("cores", ", ".join(f"{name} {share:.0%}" for name, share in result["cpu"].items())),
    ]
    rows += [
        (bar["measure"], f"{bar['value']:,.2f} (bar: {bar['limit']}): {bar['verdict']}")
        for bar in result["bars"]
    ]
    rows += [("problem", problem) for problem in result["problems"]]
    return "".join(f"{name:<20} {told}\n" for name, told in rows)
