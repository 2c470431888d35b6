"""What the screen shows, computed from what comes in. Pure: times are passed in."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import Final

from edgehub.demo.hub_metrics import PRIORITY_DEFAULT, UPSTREAM_ENDPOINT, UPSTREAM_TARGET, HubSample
from edgehub.demo.ids import EDGE_DEVICE, MODULE, MODULE_INPUT, READINGS_OUTPUT, SUMMARY_OUTPUT
from edgehub.demo.latency import LatencySummary, LatencyWindow

RATE_WINDOW_S: Final = 2.0
LATENCY_WINDOW_S: Final = 5.0
HISTORY_S: Final = 0.5
"""One point of the backlog's curve."""
HISTORY_POINTS: Final = 60
HIGH_PRIORITY: Final = "0"


class Link(enum.Enum):
    """State of the link between hub and iothub."""

    UP = "up"
    CUT = "cut"
    COMING_BACK = "coming back"


def link_state(*, is_cut: bool, connections: int) -> Link:
    """What the relay sees: it carries, it is cut, or it waits for the hub to come back."""
    if is_cut:
        return Link.CUT
    return Link.UP if connections else Link.COMING_BACK


@dataclass(frozen=True, slots=True)
class RouteKey:
    """How a route of the demo shows in the hub's metrics.

    :param name: its name in the twin of `$edgeHub`.
    :param path: for people.
    :param target: label `to` of the messages it delivered.
    :param output: label `from_route_output`.
    :param queue: labels `endpoint` and `priority` of its queue.
    """

    name: str
    path: str
    target: str
    output: str
    queue: tuple[str, str]


ROUTES: Final = (
    RouteKey(
        "readings",
        "devices -> filter",
        f"{EDGE_DEVICE}/{MODULE}",
        "",
        (f"{EDGE_DEVICE}/{MODULE}/{MODULE_INPUT}", PRIORITY_DEFAULT),
    ),
    RouteKey(
        "alerts",
        "filter -> $upstream",
        UPSTREAM_TARGET,
        READINGS_OUTPUT,
        (UPSTREAM_ENDPOINT, PRIORITY_DEFAULT),
    ),
    RouteKey(
        "summaries",
        "filter -> $upstream, priority 0",
        UPSTREAM_TARGET,
        SUMMARY_OUTPUT,
        (UPSTREAM_ENDPOINT, HIGH_PRIORITY),
    ),
)


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One line of the table.

    :param rate: messages per second, of the last seconds.
    :param lag: messages in its queue.
    """

    name: str
    path: str
    rate: float
    total: int
    lag: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that the screen shows at one moment.

    :param phase: what the demo is doing, for people.
    :param unrouted: messages that the `WHERE` kept on the gateway.
    :param delivered: messages in iothub's log.
    :param backlog: messages that wait for the link, a point for every `HISTORY_S`, oldest first.
    """

    elapsed_s: float
    seconds: float
    phase: str
    link: Link
    rows: tuple[RouteRow, ...]
    sent: int
    unrouted: int
    delivered: int
    latency: LatencySummary
    backlog: tuple[int, ...]

    @property
    def upstream_lag(self) -> int:
        """Messages that wait for iothub."""
        return self.backlog[-1] if self.backlog else 0


class RateMeter:
    """Rate of a growing total over the last seconds."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._points: deque[tuple[float, int]] = deque()

    def observe(self, now_s: float, total: int) -> None:
        """A smaller total than before means that the counting began anew."""
        if self._points and total < self._points[-1][1]:
            self._points.clear()
        self._points.append((now_s, total))
        # One point at or before the window's start is kept, to measure from.
        while len(self._points) > 2 and self._points[1][0] <= now_s - self._window_s:
            self._points.popleft()

    @property
    def total(self) -> int:
        return self._points[-1][1] if self._points else 0

    @property
    def per_s(self) -> float:
        if len(self._points) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class Tracker:
    """Takes in samples and arrivals, gives frames."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rates = {route.name: RateMeter() for route in ROUTES}
        self._sample = HubSample()
        self._latencies = LatencyWindow(LATENCY_WINDOW_S)
        self._backlog: deque[int] = deque(maxlen=HISTORY_POINTS)
        self._next_point_s = 0.0
        self.delivered = 0

    def observe_sample(self, now_s: float, sample: HubSample) -> None:
        """The hub's metrics at this time."""
        self._sample = sample
        for route in ROUTES:
            self._rates[route.name].observe(now_s, sample.sent.get((route.target, route.output), 0))
        if now_s >= self._next_point_s:
            self._next_point_s = now_s + HISTORY_S
            self._backlog.append(self.upstream_lag)

    def observe_arrival(self, now_s: float, latency_ms: float | None) -> None:
        """A message in iothub's log.

        :param latency_ms: since its device began to send it; None for one that no device sent.
        """
        self.delivered += 1
        if latency_ms is not None:
            self._latencies.add(latency_ms, now_s)

    @property
    def upstream_lag(self) -> int:
        """Messages that wait for iothub, of every priority."""
        queued = self._sample.queued.items()
        return sum(length for (endpoint, _), length in queued if endpoint == UPSTREAM_ENDPOINT)

    @property
    def unrouted(self) -> int:
        """Messages that no route took, as the hub counts them."""
        return self._sample.unrouted

    def frame(self, now_s: float, *, elapsed_s: float, phase: str, link: Link, sent: int) -> Frame:
        """The picture of this moment."""
        rows = tuple(
            RouteRow(
                route.name,
                route.path,
                self._rates[route.name].per_s,
                self._rates[route.name].total,
                self._sample.queued.get(route.queue, 0),
            )
            for route in ROUTES
        )
        return Frame(
            elapsed_s=elapsed_s,
            seconds=self._seconds,
            phase=phase,
            link=link,
            rows=rows,
            sent=sent,
            unrouted=self._sample.unrouted,
            delivered=self.delivered,
            latency=self._latencies.summary(now_s),
            backlog=(*self._backlog, self.upstream_lag),
        )
