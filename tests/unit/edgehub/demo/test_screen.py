from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgehub.demo.latency import LatencySummary
from edgehub.demo.screen import PlainScreen, duration_text, plain_line, render_frame, sparkline
from edgehub.demo.tracking import Frame, Link, RouteRow

FRAME = Frame(
    elapsed_s=17.0,
    seconds=30.0,
    phase="the link is cut",
    link=Link.CUT,
    rows=(
        RouteRow("readings", "devices -> filter", 100.2, 1700, 2),
        RouteRow("alerts", "filter -> $upstream", 0.0, 560, 1240),
    ),
    sent=1702,
    unrouted=900,
    delivered=560,
    latency=LatencySummary(3, 14.0, 2041.0, 2041.0),
    backlog=(0, 0, 600, 1240),
)


def rendered(frame: Frame, *, unicode: bool) -> str:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(render_frame(frame, unicode=unicode))
    return out.getvalue()


def test_the_table_shows_what_matters() -> None:
    text = rendered(FRAME, unicode=True)
    for piece in (
        "17 / 30 s",
        "CUT",
        "100/s",
        "1,700",
        "1,240",
        "devices → filter",
        "p50 14 ms p99 2.0 s",
        "900",
    ):
        assert piece in text


def test_markup_in_a_frame_is_shown_as_it_is() -> None:
    odd = replace(FRAME, rows=(RouteRow("[bold]x", "[/]", 1.0, 1, 0),))
    assert "[bold]x" in rendered(odd, unicode=True)


def test_a_plain_line_is_ascii() -> None:
    line = plain_line(FRAME)
    assert line.isascii()
    assert "link cut" in line
    assert "alerts 0/s lag 1240" in line
    assert "iothub 560" in line


def test_plain_lines_come_at_times_and_at_changes_of_the_link() -> None:
    out = io.StringIO()
    screen = PlainScreen(Console(file=out, width=300, color_system=None), every_s=3.0)
    shown = [
        (0.0, Link.UP),
        (1.0, Link.UP),
        (2.0, Link.CUT),
        (2.5, Link.CUT),
        (4.9, Link.CUT),
        (5.0, Link.CUT),
    ]
    for elapsed_s, link in shown:
        screen.show(replace(FRAME, elapsed_s=elapsed_s, link=link))
    times = [line.split()[0] for line in out.getvalue().splitlines()]
    assert times == ["0.0", "2.0", "5.0"]


@given(st.lists(st.integers(0, 10**6), max_size=100), st.integers(1, 60), st.booleans())
def test_a_curve_has_one_bar_per_value(values: list[int], width: int, unicode: bool) -> None:
    curve = sparkline(values, width, unicode=unicode)
    assert len(curve) == min(width, len(values))
    assert unicode or curve.isascii()
    shown = values[-width:]
    if max(shown, default=0) > 0:
        tallest = {bar for bar, value in zip(curve, shown, strict=True) if value == max(shown)}
        flat = {bar for bar, value in zip(curve, shown, strict=True) if value == 0}
        assert len(tallest) == 1
        assert not tallest & flat


@pytest.mark.parametrize(
    ("value_ms", "text"), [(0.4, "0 ms"), (14.0, "14 ms"), (1000.0, "1.0 s"), (61_000, "61.0 s")]
)
def test_durations(value_ms: float, text: str) -> None:
    assert duration_text(value_ms) == text
