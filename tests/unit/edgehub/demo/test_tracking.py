from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.hub_metrics import HubSample, MetricsTextError, parse_metrics
from edgehub.demo.tracking import HISTORY_POINTS, Link, RateMeter, Tracker, link_state

EXPOSITION = """\
# HELP edgehub_messages_sent_total Messages delivered
# TYPE edgehub_messages_sent_total counter
edgehub_messages_sent_total{iothub="h",edge_device="gateway",from="b01summer",to="gateway/filter",\
from_route_output="",to_route_input="temperature",priority="2000000000"} 7.0
edgehub_messages_sent_total{iothub="h",edge_device="gateway",from="b01winter",to="gateway/filter",\
from_route_output="",to_route_input="temperature",priority="2000000000"} 5.0
edgehub_messages_sent_total{iothub="h",edge_device="gateway",from="gateway/filter",to="upstream",\
from_route_output="summary",to_route_input="",priority="0"} 2.0
# TYPE edgehub_messages_dropped_total counter
edgehub_messages_dropped_total{reason="no_route",from="gateway/filter",from_route_output="readings"} 3.0
edgehub_messages_dropped_total{reason="ttl_expiry",from="gateway/filter",from_route_output="readings"} 9.0
# TYPE edgehub_queue_length gauge
edgehub_queue_length{endpoint="iothub",priority="0"} 1.0
edgehub_queue_length{endpoint="iothub",priority="2000000000"} 40.0
edgehub_queue_length{endpoint="gateway/filter/temperature",priority="2000000000"} 6.0
# TYPE edgehub_offline_duration_seconds summary
edgehub_offline_duration_seconds{quantile="0.5"} NaN
"""


def test_an_exposition_is_read() -> None:
    sample = parse_metrics(EXPOSITION)
    assert sample.sent == {("gateway/filter", ""): 12, ("upstream", "summary"): 2}
    assert sample.queued["iothub", "2000000000"] == 40
    assert sample.unrouted == 3


@pytest.mark.parametrize(
    "text", ["edgehub_queue_length 3\n", "edgehub_queue_length{endpoint=\n", "a b c d\n"]
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(MetricsTextError):
        parse_metrics(text)


def test_a_frame_has_a_row_for_every_route() -> None:
    tracker = Tracker(30.0)
    tracker.observe_sample(0.0, parse_metrics(EXPOSITION))
    tracker.observe_arrival(0.5, 12.0)
    tracker.observe_arrival(0.5, None)
    frame = tracker.frame(1.0, elapsed_s=1.0, phase="p", link=Link.UP, sent=20)
    assert [(row.name, row.total, row.lag) for row in frame.rows] == [
        ("readings", 12, 6),
        ("alerts", 0, 40),
        ("summaries", 2, 1),
    ]
    assert (frame.upstream_lag, frame.unrouted, frame.delivered) == (41, 3, 2)
    assert (frame.latency.count, frame.latency.p50_ms) == (1, 12.0)


def test_the_backlog_curve_is_bounded() -> None:
    tracker = Tracker(30.0)
    for at in range(500):
        tracker.observe_sample(float(at), HubSample(queued={("iothub", "0"): at}))
    frame = tracker.frame(500.0, elapsed_s=1.0, phase="", link=Link.UP, sent=0)
    assert len(frame.backlog) == HISTORY_POINTS + 1
    assert frame.backlog[-1] == 499


@given(st.floats(0.1, 1000), st.floats(0.05, 0.5), st.integers(50, 100))
def test_a_steady_total_has_a_steady_rate(rate: float, step_s: float, count: int) -> None:
    meter = RateMeter(2.0)
    for at in range(count):
        meter.observe(at * step_s, int(at * step_s * rate))
    assert meter.per_s == pytest.approx(rate, abs=1.0 / min(2.0, (count - 1) * step_s) + 1e-6)
    assert meter.total == int((count - 1) * step_s * rate)


def test_a_rate_falls_to_zero_when_nothing_comes() -> None:
    meter = RateMeter(2.0)
    for at, total in ((0.0, 0), (1.0, 100), (2.0, 100), (3.0, 100), (4.0, 100)):
        meter.observe(at, total)
    assert meter.per_s == 0.0


def test_a_hub_that_starts_again_counts_anew() -> None:
    meter = RateMeter(2.0)
    meter.observe(0.0, 1000)
    meter.observe(1.0, 5)
    assert (meter.per_s, meter.total) == (0.0, 5)
    meter.observe(2.0, 25)
    assert meter.per_s == 20.0


@pytest.mark.parametrize(
    ("is_cut", "connections", "expected"),
    [(False, 1, Link.UP), (False, 0, Link.COMING_BACK), (True, 0, Link.CUT), (True, 1, Link.CUT)],
)
def test_the_state_of_the_link(is_cut: bool, connections: int, expected: Link) -> None:
    assert link_state(is_cut=is_cut, connections=connections) is expected
