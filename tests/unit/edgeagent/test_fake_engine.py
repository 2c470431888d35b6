"""The fake engine keeps the rules of the real one, and fails exactly when told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.runtime.engine import Engine
from edgeagent.runtime.errors import EngineError, EngineUnreachable
from testkit.fake_engine import Fault, running_engine
from testkit.fake_engine_state import EngineState, Pullable, Refusal, has_labels, matches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from testkit.fake_engine import FakeEngine

BODY = {"Image": "x:1"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with running_engine(lambda: 1000) as fake:
        fake.state.add_image("x:1")
        yield fake


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    async with Engine(fake.address) as engine:
        yield engine


async def create(engine: Engine, name: str = "sensor", body: dict[str, Any] | None = None) -> None:
    await engine.call("POST", "/containers/create", {"name": name}, body or BODY)


async def test_a_fault_skips_fails_and_is_over(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/info", status=503, skip=1, times=2))
    outcomes = []
    for _ in range(5):
        try:
            await engine.get("/info")
            outcomes.append(200)
        except EngineError as fault:
            outcomes.append(fault.status)
    assert outcomes == [200, 503, 503, 200, 200]


@pytest.mark.parametrize("acts", [True, False])
async def test_a_dropped_request_is_obeyed_or_not(fake: FakeEngine, engine: Engine, acts: bool) -> None:
    fake.faults.append(Fault("POST", "/containers/create", drop=True, acts=acts))
    with pytest.raises(EngineUnreachable):
        await create(engine)
    assert fake.state.names() == ({"sensor"} if acts else set())
    assert fake.paths("POST") == ["POST /containers/create"]


async def test_a_held_request_goes_on_when_it_may(fake: FakeEngine, engine: Engine) -> None:
    go_on = asyncio.Event()
    fake.faults.append(Fault("POST", "/containers/create", hold=go_on))
    task = asyncio.create_task(create(engine))
    await fake.received("POST", "/containers/create")
    assert not fake.state.containers
    go_on.set()
    await task
    assert fake.state.names() == {"sensor"}


async def test_state_outlives_the_server(fake: FakeEngine, engine: Engine) -> None:
    await create(engine)
    await fake.stop()
    await fake.start()
    assert (await engine.get("/containers/sensor/json"))["State"]["Status"] == "created"


async def test_a_pull_replaces_what_a_tag_stands_for(fake: FakeEngine, engine: Engine) -> None:
    before = fake.state.images["x:1"]
    fake.state.registry["x:1"] = Pullable("another content")
    async with engine.stream("POST", "/images/create", {"fromImage": "x:1"}) as pieces:
        assert [piece async for piece in pieces]
    assert fake.state.images["x:1"] != before
    assert before in fake.state.images.values()


@pytest.fixture
def state() -> EngineState:
    state = EngineState(lambda: 1000)
    state.add_image("x:1")
    return state


def test_rules_of_names_images_and_removals(state: EngineState) -> None:
    container = state.create("sensor", BODY)
    for name, body, status in [("sensor", BODY, 409), ("new", {"Image": "y"}, 404), ("x", BODY, 400)]:
        with pytest.raises(Refusal) as caught:
            state.create(name, body)
        assert caught.value.status == status
    assert state.start(container)
    assert not state.start(container)
    with pytest.raises(Refusal, match="running container"):
        state.remove(container, force=False)
    with pytest.raises(Refusal, match="being used"):
        state.remove_image(state.images["x:1"])
    assert state.stop(container)
    assert not state.stop(container)
    state.remove(container, force=False)
    assert state.remove_image(state.images["x:1"])[-1]["Deleted"]
    assert not state.images


def test_a_container_cannot_start_without_its_network(state: EngineState) -> None:
    container = state.create("sensor", BODY | {"NetworkingConfig": {"EndpointsConfig": {"n1": {}}}})
    with pytest.raises(Refusal, match="network n1 not found"):
        state.start(container)
    state.create_network({"Name": "n1"})
    assert state.start(container)


def test_containers_of_an_image_may_end_at_once(state: EngineState) -> None:
    state.ends["x:1"] = 7
    container = state.create("sensor", BODY)
    state.start(container)
    assert (container.state, container.exit_code, container.starts) == ("exited", 7, 1)
    assert [event["Action"] for event in state.events] == ["create", "start", "die"]


def test_filters() -> None:
    event = {"Type": "container", "Action": "health_status: healthy", "Actor": {"Attributes": {"a": "b"}}}
    assert matches(event, '{"type":["container"],"event":["health_status"],"label":["a=b"]}')
    assert not matches(event, '{"event":["start"]}')
    assert has_labels({"a": "b"}, ["a"])
    assert not has_labels({"a": "b"}, ["a=c"])
