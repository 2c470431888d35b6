"""The live picture: a table on a terminal, else one plain line every few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgehub.demo.tracking import Frame, Link, RouteRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from edgehub.demo.latency import LatencySummary

PLAIN_EVERY_S: Final = 3.0
WIDTH: Final = 92
"""Columns of the picture; fewer on a narrower terminal."""
_BARS: Final = " ▁▂▃▄▅▆▇█"
_BARS_ASCII: Final = " .:-=+*%@"
_LINK_STYLES: Final = {Link.UP: "bold green", Link.CUT: "bold red", Link.COMING_BACK: "bold yellow"}


class Screen(Protocol):
    """Shows steps of the start, then frames."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def step(self, text: str) -> None:
        """A step of the start or the end that begins now."""

    def show(self, frame: Frame) -> None:
        """The picture of now; called several times a second."""


class LiveScreen:
    """For a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def step(self, text: str) -> None:
        self._close()
        self._console.print(Text.assemble(("  · ", "cyan"), text))

    def show(self, frame: Frame) -> None:
        if not self._open:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
            self._open = True
        width = min(WIDTH, self._console.width)
        picture = render_frame(frame, unicode=_speaks_unicode(self._console), width=width)
        self._live.update(picture, refresh=True)

    def _close(self) -> None:
        if self._open:
            self._live.stop()
            self._open = False


class PlainScreen:
    """For files and pipes: plain ASCII, no control codes."""

    def __init__(self, console: Console, every_s: float = PLAIN_EVERY_S) -> None:
        self._console = console
        self._every_s = every_s
        self._next_s = 0.0
        self._link = Link.UP

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def step(self, text: str) -> None:
        self._write(text)

    def show(self, frame: Frame) -> None:
        # A change of the link is worth a line of its own.
        if frame.elapsed_s < self._next_s and frame.link is self._link:
            return
        self._next_s = frame.elapsed_s + self._every_s
        self._link = frame.link
        self._write(plain_line(frame))

    def _write(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def plain_line(frame: Frame) -> str:
    """One line for a frame, in ASCII."""
    rates = "  ".join(f"{row.name} {row.rate:.0f}/s lag {row.lag}" for row in frame.rows)
    return (
        f"{frame.elapsed_s:5.1f} s  link {frame.link.value:<11}  {rates}  iothub {frame.delivered}"
        f"  latency {latency_text(frame.latency)}"
    )


def render_frame(frame: Frame, *, unicode: bool = True, width: int = WIDTH) -> RenderableType:
    """The table for a frame.

    :param unicode: whether the terminal can show more than ASCII.
    :param width: columns.
    """
    title = Text.assemble(("edgehub demo", "bold"), "  ", (frame.phase, "dim"))
    body = Group(
        _clock(frame), Text(), _table(frame.rows, unicode=unicode), Text(), _facts(frame, unicode=unicode)
    )
    return Panel(body, title=title, title_align="left", border_style="cyan", padding=(1, 2), width=width)


def sparkline(values: Sequence[int], width: int, *, unicode: bool = True) -> str:
    """The last values as a row of bars; the highest of them is full height.

    :param width: number of characters.
    """
    bars = _BARS if unicode else _BARS_ASCII
    shown = values[-width:]
    highest = max(shown, default=0)
    if highest <= 0:
        return bars[1] * len(shown)
    top = len(bars) - 1
    # Anything above nothing shows, however small beside the highest.
    return "".join(bars[max(1 if value <= 0 else 2, round(value / highest * top))] for value in shown)


def latency_text(latency: LatencySummary) -> str:
    """Median and 99th percentile for people."""
    if latency.p50_ms is None or latency.p99_ms is None:
        return "-"
    return f"p50 {duration_text(latency.p50_ms)} p99 {duration_text(latency.p99_ms)}"


def duration_text(milliseconds: float) -> str:
    """A duration with a fitting unit."""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _clock(frame: Frame) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=frame.seconds, completed=min(frame.elapsed_s, frame.seconds), width=40)
    link = Text.assemble("upstream link ", (frame.link.value.upper(), _LINK_STYLES[frame.link]))
    grid.add_row(f"{min(frame.elapsed_s, frame.seconds):4.0f} / {frame.seconds:.0f} s", bar, link)
    return grid


def _table(rows: Sequence[RouteRow], *, unicode: bool) -> RenderableType:
    table = Table(box=ROUNDED if unicode else None, header_style="bold", expand=True)
    table.add_column("route")
    table.add_column("from → to" if unicode else "from -> to", style="dim")
    for name in ("rate", "total", "lag"):
        table.add_column(name, justify="right")
    for row in rows:
        lag_style = "bold yellow" if row.lag > row.rate and row.lag > 1 else ""
        path = row.path.replace("->", "→") if unicode else row.path
        lag = Text(f"{row.lag:,}", lag_style)
        table.add_row(Text(row.name), Text(path), f"{row.rate:,.0f}/s", f"{row.total:,}", lag)
    return table


def _facts(frame: Frame, *, unicode: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("sent by devices", f"{frame.sent:,}")
    grid.add_row("kept here by WHERE", f"{frame.unrouted:,}")
    grid.add_row("arrived at iothub", f"{frame.delivered:,}")
    grid.add_row("latency, last 5 s", latency_text(frame.latency))
    curve = Text(sparkline(frame.backlog, 48, unicode=unicode), "yellow" if frame.upstream_lag else "green")
    grid.add_row("waiting for the link", Text.assemble(curve, f"  {frame.upstream_lag:,}"))
    return grid


def _speaks_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
