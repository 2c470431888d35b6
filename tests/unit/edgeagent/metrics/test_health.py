"""The answer of `/healthz`."""

from __future__ import annotations

from edgeagent.metrics.health import STALLED_S, Health


def test_from_start_to_stop() -> None:
    health = Health()
    assert health.answer(0)[0] == 503
    assert health.answer(0)[1]["status"] == "starting"
    health.round_ended(10, engine_answers=True)
    assert health.answer(11) == (200, {"status": "ok", "engine": "ok"})
    health.stopping()
    assert health.answer(12)[1]["status"] == "stopping"


def test_an_engine_that_is_away_is_no_fault_of_the_agent() -> None:
    health = Health()
    health.round_ended(10, engine_answers=False)
    assert health.answer(11) == (200, {"status": "ok", "engine": "does not answer"})


def test_a_loop_that_hangs_is() -> None:
    health = Health()
    health.round_ended(10, engine_answers=True)
    assert health.answer(10 + STALLED_S)[0] == 200
    status, body = health.answer(11 + STALLED_S)
    assert (status, body["status"]) == (503, "failed")
    assert "121 s" in body["reason"]
    health.round_ended(200, engine_answers=True)
    assert health.answer(200)[0] == 200
