"""What fits into a twin (row R20)."""

from __future__ import annotations

import pytest

from edgeagent.report.size import NOTE, NOTE_SHORT, STATE_BYTES_MAX, fit, size_of
from edgeagent.report.state import reported_state
from unit.edgeagent.report.samples import many, snapshot


def test_what_fits_stays_as_it_is() -> None:
    state = reported_state(snapshot())
    assert fit(state) is state
    assert fit(state, size_of(state)) is state


def test_r20_the_largest_lose_their_options_first() -> None:
    """Row R20."""
    state = reported_state(many(40, create_options={"Labels": {"x": "y" * 100}}))
    big = state["modules"]["m007"]["env"] = {f"E{number}": {"value": "x" * 3000} for number in range(8)}
    assert big
    fitted = fit(state)
    assert size_of(fitted) <= STATE_BYTES_MAX
    assert fitted["modules"]["m007"]["statusDescription"] == NOTE
    assert fitted["modules"]["m007"]["env"] == {}
    assert fitted["modules"]["m007"]["settings"]["imageHash"] == "sha256:1"
    assert fitted["systemModules"] == state["systemModules"]
    kept = [module for module in fitted["modules"].values() if "statusDescription" not in module]
    assert len(kept) > 30
    assert state["modules"]["m007"]["env"] == big


def test_r20_then_only_states_are_left() -> None:
    """Row R20."""
    fitted = fit(reported_state(many(100)))
    assert size_of(fitted) <= STATE_BYTES_MAX
    assert len(fitted["modules"]) == 101
    short = [module for module in fitted["modules"].values() if module.get("statusDescription") == NOTE_SHORT]
    assert short
    assert short[0]["runtimeStatus"] == "running"


def test_r20_and_last_the_running_ones_go() -> None:
    """Row R20: whoever looks for trouble finds it."""
    fitted = fit(reported_state(many(200)), 20_000)
    assert size_of(fitted) <= 20_000
    assert "sensor" in fitted["modules"]
    gone = 201 - len(fitted["modules"])
    assert gone > 0
    text = fitted["systemModules"]["edgeAgent"]["statusDescription"]
    assert text == f"{gone} modules are not reported: the twin would be too large"


def test_r20_many_registries_do_not_push_modules_out() -> None:
    """Row R20."""
    state = reported_state(many(20))
    credentials = {f"r{number}": {"address": "x" * 1000} for number in range(40)}
    state["runtime"]["settings"]["registryCredentials"] = credentials
    fitted = fit(state)
    assert size_of(fitted) <= STATE_BYTES_MAX
    assert fitted["runtime"]["settings"]["registryCredentials"] == {}
    assert len(fitted["modules"]) == 21
    assert state["runtime"]["settings"]["registryCredentials"] == credentials


@pytest.mark.parametrize("count", [0, 1, 30, 50, 77, 120, 200])
@pytest.mark.parametrize("bytes_max", [4_000, 10_000, STATE_BYTES_MAX])
def test_r20_it_always_fits(count: int, bytes_max: int) -> None:
    """Row R20."""
    state = reported_state(many(count, env={"A": "x" * 200}))
    assert size_of(fit(state, bytes_max)) <= bytes_max
