"""Pure parts of the link: waits, connectivity, tokens, totals, settings."""

from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.sas import identity_path, parse_token, verify_token
from edgehub.upstream.backoff import JITTER, Backoff
from edgehub.upstream.connectivity import Action, Connectivity, State
from edgehub.upstream.settings import UpstreamSettings, UpstreamSettingsError
from edgehub.upstream.stats import OTHER, SENDERS_MAX, UpstreamStats
from edgehub.upstream.tokens import SignedTokens
from unit.edgehub.upstream.upstream_fakes import FakeTokens


def settings(**changes: object) -> UpstreamSettings:
    values: dict[str, object] = {
        "host": "parent",
        "hub_hostname": "hub.example.test",
        "device_id": "edge1",
        "tokens": FakeTokens(),
        "tls": None,
    }
    return UpstreamSettings(**(values | changes))  # type: ignore[arg-type]


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff(0.2, 30.0, lambda: 0.5)
    waits = [backoff.next_s() for _ in range(10)]
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.2)


def test_a_single_wait_can_be_shortened() -> None:
    backoff = Backoff(0.2, 30.0, lambda: 0.5)
    waits = [backoff.next_s(5.0) for _ in range(8)]
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    assert backoff.next_s() == pytest.approx(30.0), "failures count whatever the wait was"


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10_000))
def test_jitter_stays_in_its_bounds(draw: float, failures: int) -> None:
    middle = Backoff(0.2, 30.0, lambda: 0.5).wait_s(failures)
    wait = Backoff(0.2, 30.0, lambda: draw).wait_s(failures)
    assert middle * (1 - JITTER) <= wait <= middle * (1 + JITTER) + 1e-9


def test_row_159_connectivity_states() -> None:
    """Disconnected at the start; success connects; one time-out is probed, a second one disconnects."""
    machine = Connectivity(300.0)
    states = [machine.state]
    actions = [machine.on_timeout(1.0, 0.0)]
    machine.on_success(10.0)
    states.append(machine.state)
    actions.append(machine.on_timeout(20.0, 15.0))
    states.append(machine.state)
    machine.on_success(21.0)
    states.append(machine.state)
    actions.append(machine.on_timeout(30.0, 25.0))
    actions.append(machine.on_timeout(50.0, 30.0))
    states.append(machine.state)
    assert states == [State.DISCONNECTED, State.CONNECTED, State.TRYING, State.CONNECTED, State.DISCONNECTED]
    assert actions == [Action.NONE, Action.PROBE, Action.PROBE, Action.DISCONNECT]


def test_time_outs_of_one_stall_count_once() -> None:
    machine = Connectivity(300.0)
    machine.on_success(0.0)
    assert machine.on_timeout(20.0, 0.0) is Action.PROBE
    assert machine.on_timeout(20.5, 0.5) is Action.NONE
    assert machine.state is State.TRYING
    assert machine.on_timeout(40.0, 20.0) is Action.DISCONNECT


def test_a_lost_connection_needs_no_time_out() -> None:
    machine = Connectivity(300.0)
    machine.on_success(0.0)
    machine.on_lost()
    assert machine.state is State.DISCONNECTED


def test_quiet_connections_are_probed_once_per_period() -> None:
    machine = Connectivity(300.0)
    assert machine.probe_at() is None
    machine.on_success(100.0)
    assert machine.probe_at() == 400.0
    assert machine.on_deadline(399.0) is Action.NONE
    assert machine.on_deadline(400.0) is Action.PROBE
    assert machine.on_deadline(400.1) is Action.NONE
    assert machine.probe_at() == 700.0


def test_a_negative_period_never_probes() -> None:
    machine = Connectivity(-1.0)
    machine.on_success(0.0)
    assert machine.probe_at() is None
    assert machine.on_deadline(1e9) is Action.NONE


async def test_tokens_are_kept_for_half_their_life() -> None:
    key = bytes(range(32))
    now = [1000.0]
    signed: list[bytes] = []

    async def sign(data: bytes) -> bytes:
        signed.append(data)
        return hmac.digest(key, data, "sha256")

    tokens = SignedTokens("Hub.Example.Test", "edge1", sign, lambda: now[0])
    first = await tokens.get()
    now[0] += 1800
    assert await tokens.get() is first
    now[0] += 1
    second = await tokens.get()
    assert second.expires_at == 1000 + 1801 + 3600
    tokens.drop()
    assert await tokens.get() is not second
    assert len(signed) == 3
    verify_token(
        parse_token(first.text),
        now=1000.0,
        hosts=("hub.example.test",),
        keys=(base64.b64encode(key).decode(),),
        path=identity_path("edge1", "$edgeHub"),
    )


def test_chains_of_direct_clients() -> None:
    """Section 1.7.3: target first, this device last; our own links need none."""
    link = settings()
    assert link.chain_of("edge1/$edgeHub") == ""
    assert link.chain_of("edge1/filter") == "edge1/filter;edge1"
    assert link.chain_of("leaf") == "leaf;edge1"
    assert link.chain_of("leaf/m") == "leaf/m;leaf;edge1"
    assert settings(auth_chain=lambda _sender: None).chain_of("leaf") is None


@pytest.mark.parametrize(
    "change", [{"fan_out": 0}, {"batch_msgs_max": 0}, {"fan_out": 10, "sessions_max": 9}]
)
def test_settings_that_cannot_work(change: dict[str, int]) -> None:
    with pytest.raises(UpstreamSettingsError):
        settings(**change)


def test_totals_are_bounded_and_count_outages() -> None:
    stats = UpstreamStats()
    for number in range(SENDERS_MAX + 5):
        stats.count_sent(f"d{number}", 1)
    assert len(stats.sent) == SENDERS_MAX + 1
    assert stats.sent[OTHER] == 5
    stats.count_sent("d0", 2)
    assert stats.sent["d0"] == 3
    stats.offline(10.0)
    stats.offline(12.0)
    assert stats.offline_seconds(15.0) == 5.0
    stats.online(20.0)
    assert stats.offline_seconds(99.0) == 10.0
