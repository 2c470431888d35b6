from __future__ import annotations

from edgehub.demo.outage import DRAINED_SLACK, ON_THE_WAY_MS, Outage


def test_without_an_outage_every_message_counts_as_undisturbed() -> None:
    outage = Outage()
    outage.observe(1.0, 1000.0, 500)
    assert (outage.peak, outage.drained_s) == (0, None)
    assert outage.leaves_alone(0.0)
    assert outage.leaves_alone(1e12)


def test_peak_and_drain_are_followed() -> None:
    outage = Outage()
    outage.begin(10_000.0, waiting=3)
    outage.observe(11.0, 11_000.0, 3)
    assert outage.drained_s is None, "the link is still cut"
    outage.observe(15.0, 15_000.0, 200)
    outage.end(16.0)
    outage.observe(17.0, 17_000.0, 150)
    outage.observe(18.5, 18_500.0, 3 + DRAINED_SLACK)
    outage.observe(30.0, 30_000.0, 900)
    assert outage.drained_s == 2.5
    assert outage.peak == 900


def test_messages_around_the_outage_are_told_apart() -> None:
    outage = Outage()
    outage.begin(10_000.0, waiting=0)
    assert outage.leaves_alone(10_000.0 - ON_THE_WAY_MS - 1)
    assert not outage.leaves_alone(10_000.0 - ON_THE_WAY_MS)
    assert not outage.leaves_alone(99_000.0), "not drained yet"
    outage.end(16.0)
    outage.observe(18.0, 18_000.0, 0)
    assert not outage.leaves_alone(17_999.0)
    assert outage.leaves_alone(18_001.0)
