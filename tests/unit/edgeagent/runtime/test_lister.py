"""Which modules there are, with few questions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.model.current import RuntimeStatus
from edgeagent.runtime import labels, lister
from edgeagent.runtime.engine import Engine
from edgeagent.runtime.errors import EngineAnswerError, EngineUnreachable, RuntimeFault
from edgeagent.runtime.lister import FULL_EVERY, ModuleLister
from testkit.fake_engine import Fault, running_engine

if TYPE_CHECKING:
    from testkit.fake_engine import FakeEngine
    from testkit.fake_engine_state import FakeContainer

NAMES = ("edgeHub", "sensor", "filter")


@pytest.fixture
def modules(fake: FakeEngine) -> dict[str, FakeContainer]:
    fake.state.add_image("x:1")
    given = {labels.OWNER: labels.OWNER_VALUE, labels.SPEC_HASH: "h", labels.ORIGINAL_IMAGE: "x:1"}
    return {name: fake.state.create(name, {"Image": "x:1", "Labels": given}) for name in NAMES}


def inspections(fake: FakeEngine) -> int:
    count = sum(path.endswith("/json") and path != "GET /containers/json" for path in fake.paths("GET"))
    fake.journal.clear()
    return count


async def test_ours_are_listed_and_foreign_ones_are_not(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    fake.state.add_foreign("stranger")
    fake.state.start(modules["sensor"])
    found = await ModuleLister(engine).current()
    assert set(found) == set(NAMES)
    assert found["sensor"].status is RuntimeStatus.RUNNING
    assert found["sensor"].started_at_ms == modules["sensor"].started_ms
    assert found["filter"].status is RuntimeStatus.STOPPED
    assert found["filter"].spec_hash == "h"
    assert inspections(fake) == 3


async def test_only_what_changed_is_inspected_again(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    lister_ = ModuleLister(engine)
    first = await lister_.current()
    inspections(fake)
    assert await lister_.current() == first
    assert inspections(fake) == 0
    fake.state.start(modules["sensor"])
    assert (await lister_.current())["sensor"].status is RuntimeStatus.RUNNING
    assert inspections(fake) == 1
    fake.state.set_health("sensor", "unhealthy")
    assert (await lister_.current())["sensor"].status is RuntimeStatus.UNHEALTHY
    assert inspections(fake) == 1
    fake.state.exit("sensor", 1)
    assert (await lister_.current())["sensor"].exit_code == 1
    assert inspections(fake) == 1


async def test_an_event_makes_a_container_be_inspected(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    sensor = modules["sensor"]
    fake.state.start(sensor)
    lister_ = ModuleLister(engine)
    await lister_.current()
    sensor.started_ms = (sensor.started_ms or 0) + 5
    assert (await lister_.current())["sensor"].started_at_ms == sensor.started_ms - 5
    lister_.touch(sensor.container_id)
    assert (await lister_.current())["sensor"].started_at_ms == sensor.started_ms
    inspections(fake)
    lister_.touch_all()
    await lister_.current()
    assert inspections(fake) == 3


async def test_all_are_inspected_now_and_then(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    lister_ = ModuleLister(engine)
    counts = []
    for _ in range(FULL_EVERY + 2):
        await lister_.current()
        counts.append(inspections(fake))
    assert counts == [3, *[0] * (FULL_EVERY - 1), 3, 0]


async def test_an_event_during_the_inspection_makes_its_answer_old(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    sensor = modules["sensor"]
    go_on = asyncio.Event()
    fake.faults.append(Fault("GET", f"/containers/{sensor.container_id}/json", hold=go_on))
    lister_ = ModuleLister(engine)
    task = asyncio.create_task(lister_.current())
    await fake.received("GET", f"/containers/{sensor.container_id}/json")
    lister_.touch(sensor.container_id)
    go_on.set()
    await task
    inspections(fake)
    await lister_.current()
    assert inspections(fake) == 1


async def test_two_listings_at_once_say_the_same(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    lister_ = ModuleLister(engine)
    found = await asyncio.gather(*(lister_.current() for _ in range(4)))
    assert all(one == found[0] for one in found)
    assert inspections(fake) == 3


async def test_a_cancelled_listing_leaves_nothing_half_known(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    path = f"/containers/{modules['sensor'].container_id}/json"
    fake.faults.append(Fault("GET", path, hold=asyncio.Event()))
    lister_ = ModuleLister(engine)
    task = asyncio.create_task(lister_.current())
    await fake.received("GET", path)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await lister_.current())["sensor"].status is RuntimeStatus.STOPPED


async def test_one_that_vanishes_is_left_out(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    fake.faults.append(Fault("GET", f"/containers/{modules['sensor'].container_id}/json", status=404))
    assert set(await ModuleLister(engine).current()) == {"edgeHub", "filter"}


async def test_one_that_the_engine_cannot_describe_is_unknown(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    path = f"/containers/{modules['sensor'].container_id}/json"
    fake.faults.append(Fault("GET", path, status=500, message="layer is missing"))
    lister_ = ModuleLister(engine)
    module = (await lister_.current())["sensor"]
    assert (module.status, module.status_text) == (RuntimeStatus.UNKNOWN, "layer is missing")
    assert (module.spec_hash, module.container_id) == ("h", modules["sensor"].container_id)
    assert (await lister_.current())["sensor"].status is RuntimeStatus.STOPPED


async def test_a_removed_one_is_forgotten(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    lister_ = ModuleLister(engine)
    await lister_.current()
    fake.state.remove(modules["sensor"], force=True)
    assert set(await lister_.current()) == {"edgeHub", "filter"}
    assert len(lister_._known) == 2


async def test_no_engine_is_an_error(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    lister_ = ModuleLister(engine)
    await lister_.current()
    await fake.stop()
    with pytest.raises(EngineUnreachable):
        await lister_.current()
    await fake.start()
    assert len(await lister_.current()) == 3


async def test_containers_without_end_are_an_error(
    engine: Engine, modules: dict[str, FakeContainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lister, "CONTAINERS_MAX", 3)
    assert len(await ModuleLister(engine).current()) == 3
    monkeypatch.setattr(lister, "CONTAINERS_MAX", 2)
    with pytest.raises(EngineAnswerError, match="3 containers have this agent's label; at most 2"):
        await ModuleLister(engine).current()


ROWS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.dictionaries(
        st.sampled_from(["Id", "Names", "Labels", "State", "Status", "ImageID"]),
        st.none()
        | st.integers()
        | st.text(max_size=3)
        | st.lists(st.text(max_size=3), max_size=2)
        | st.just({}),
    ),
    max_size=3,
)


@given(st.one_of(ROWS, st.none(), st.integers(), st.lists(st.integers(), max_size=2)))
@settings(max_examples=60)
def test_no_list_of_an_engine_raises_anything_but_our_errors(rows: Any) -> None:
    async def run() -> None:
        async with running_engine() as fake, Engine(fake.address) as engine:
            fake.garbage["/containers/json"] = json.dumps(rows).encode()
            lister_ = ModuleLister(engine)
            for _ in range(2):
                with contextlib.suppress(RuntimeFault):
                    assert all(isinstance(name, str) for name in await lister_.current())

    asyncio.run(run())


async def test_an_inspection_of_something_else_is_not_believed(
    fake: FakeEngine, engine: Engine, modules: dict[str, FakeContainer]
) -> None:
    path = f"/containers/{modules['sensor'].container_id}/json"
    for answer in (b"[]", b"{}", b'{"Id": "another", "Name": "/sensor"}'):
        fake.garbage[path] = answer
        assert (await ModuleLister(engine).current())["sensor"].status is RuntimeStatus.UNKNOWN
