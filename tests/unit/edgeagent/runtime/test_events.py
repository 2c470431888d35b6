"""Events of containers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.runtime import labels
from edgeagent.runtime.errors import EngineUnreachable
from edgeagent.runtime.events import parse_event, watch_events

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine

OURS = {labels.OWNER: labels.OWNER_VALUE}


async def test_events_of_ours_and_of_nobody_else(fake: FakeEngine, engine: Engine) -> None:
    fake.state.add_image("x:1")
    fake.state.ends["x:1"] = 3
    async with watch_events(engine) as events:
        fake.state.add_foreign("stranger")
        container = fake.state.create("sensor", {"Image": "x:1", "Labels": OURS})
        fake.state.start(container)
        fake.state.set_health("sensor", "unhealthy")
        seen = [await anext(events) for _ in range(4)]
    assert [event.action for event in seen] == ["create", "start", "die", "health_status"]
    assert {event.name for event in seen} == {"sensor"}
    assert {event.container_id for event in seen} == {container.container_id}
    assert (seen[2].exit_code, seen[3].detail) == (3, "unhealthy")


@pytest.mark.parametrize("how", ["gone", "ended"])
async def test_the_end_of_the_stream_is_the_engine_gone(fake: FakeEngine, engine: Engine, how: str) -> None:
    if how == "ended":
        fake.garbage["/events"] = b""
    async with watch_events(engine) as events:
        if how == "gone":
            await fake.stop()
        with pytest.raises(EngineUnreachable):
            await anext(events)


@pytest.mark.parametrize("message", [{}, {"Type": "network"}, {"Type": "container", "Action": "start"}])
def test_what_is_about_no_container(message: dict[str, Any]) -> None:
    assert parse_event(message) is None


NAMES = st.sampled_from(["Type", "Action", "Actor", "ID", "Attributes", "name", "exitCode", "timeNano"])
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["container", "die", "12", "²"]) | st.text(max_size=4),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, JSON))
def test_no_event_breaks_it(message: dict[str, Any]) -> None:
    parse_event(message)
    parse_event({"Type": "container", "Action": "die", "Actor": message})
    parse_event({"Type": "container", "Action": "die", "Actor": {"Attributes": message}})
