"""What the lister remembers is what the engine would say, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.events import parse_event
from edgeagent.runtime.lister import ModuleLister
from testkit.fake_engine import running_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.fake_engine import FakeEngine
    from testkit.fake_engine_state import EngineState

OURS = {labels.OWNER: labels.OWNER_VALUE}
ACTS = ("create", "start", "stop", "fail", "end", "sick", "well", "remove", "restart", "list")
START = [("create", "one"), ("start", "one"), ("list", "one")]
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(("one", "two"))), max_size=25)


def act(state: EngineState, verb: str, name: str) -> None:
    """One thing that happens to a container, if there is one that it can happen to."""
    if verb == "create" and name not in state.names():
        state.create(name, {"Image": "x:1", "Labels": OURS})
    if name not in state.names():
        return
    container = state.by_name(name)
    if verb == "start":
        state.start(container)
    elif verb == "remove":
        state.remove(container, force=True)
    elif container.state == "running":
        happenings: dict[str, Callable[[], object]] = {
            "restart": lambda: state.restart(container),
            "stop": lambda: state.stop(container),
            "fail": lambda: state.exit(name, 1),
            "end": lambda: state.exit(name, 0),
            "sick": lambda: state.set_health(name, "unhealthy"),
            "well": lambda: state.set_health(name, "healthy"),
        }
        if verb in happenings:
            happenings[verb]()


async def check(fake: FakeEngine, steps: list[tuple[str, str]]) -> None:
    fake.state.add_image("x:1")
    async with Engine(fake.address) as engine:
        told, untold = ModuleLister(engine), ModuleLister(engine)
        for verb, name in steps:
            seen = len(fake.state.events)
            act(fake.state, verb, name)
            for message in fake.state.events[seen:]:
                event = parse_event(message)
                assert event is not None
                told.touch(event.container_id)
            if verb == "list":
                truth = await ModuleLister(engine).current()
                assert await told.current() == truth
                without_events = await untold.current()
                assert {key: (value.status, value.exit_code) for key, value in without_events.items()} == {
                    key: (value.status, value.exit_code) for key, value in truth.items()
                }


@settings(max_examples=40)
@given(STEPS)
def test_with_events_all_is_right_and_without_them_the_states(steps: list[tuple[str, str]]) -> None:
    """Each event moves the clock, so that a start that was missed would show."""
    ticks = itertools.count(1_000, 1_000)

    async def run() -> None:
        async with running_engine(lambda: next(ticks)) as fake:
            await check(fake, [*START, *steps, ("list", "one")])

    asyncio.run(run())
