"""Acts on containers of ours (rows C11, C18)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.runtime import labels
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.errors import EngineAnswerError, EngineDeadline, EngineError, ForeignContainerError
from testkit.fake_engine import Fault

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine

IMAGE = "sensor:1"


@pytest.fixture
def containers(fake: FakeEngine, engine: Engine) -> Containers:
    fake.state.add_image(IMAGE)
    return Containers(engine)


def body(**members: Any) -> dict[str, Any]:
    return {"Image": IMAGE, "Labels": {labels.OWNER: labels.OWNER_VALUE}} | members


async def test_from_create_to_remove(fake: FakeEngine, containers: Containers) -> None:
    made = await containers.create("sensor", body())
    assert (await containers.inspect("sensor"))["Id"] == made
    await containers.start("sensor")
    assert fake.state.by_name("sensor").state == "running"
    await containers.stop("sensor", grace_s=3)
    assert fake.state.by_name("sensor").state == "exited"
    await containers.rename("sensor", "other")
    await containers.rename("other", "sensor")
    await containers.restart("sensor")
    assert fake.state.by_name("sensor").starts == 2
    assert await containers.remove("sensor") == fake.state.images[IMAGE]
    assert not fake.state.containers
    acts = [entry for entry in fake.journal if entry.method != "GET"]
    verbs = ("start", "stop", "rename", "rename", "restart")
    assert [entry.path for entry in acts[1:-1]] == [f"/containers/{made}/{verb}" for verb in verbs]
    assert (acts[2].query, acts[3].query, acts[5].query) == ({"t": "3"}, {"name": "other"}, {})


async def test_c11_start_of_a_running_and_stop_of_a_stopped_one_succeed(
    fake: FakeEngine, containers: Containers
) -> None:
    await containers.create("sensor", body())
    await containers.stop("sensor")
    await containers.start("sensor")
    await containers.start("sensor")
    await containers.stop("sensor")
    await containers.stop("sensor")
    assert fake.state.by_name("sensor").starts == 1


async def test_c18_volumes_stay_at_a_removal(fake: FakeEngine, containers: Containers) -> None:
    await containers.create("sensor", body())
    await containers.remove("sensor")
    assert fake.journal[-1].query == {"v": "false", "force": "true", "link": "false"}


async def test_removing_what_is_gone_is_done_already(containers: Containers) -> None:
    assert await containers.remove("sensor") is None


async def test_a_removal_that_is_refused_is_an_error(fake: FakeEngine, containers: Containers) -> None:
    await containers.create("sensor", body())
    fake.faults.append(Fault("DELETE", "/containers/.*", status=500, message="device is busy"))
    with pytest.raises(EngineError, match="device is busy"):
        await containers.remove("sensor")


async def test_a_removal_that_goes_on_already_is_waited_for(fake: FakeEngine, containers: Containers) -> None:
    await containers.create("sensor", body())
    fake.faults.append(Fault("DELETE", "/containers/.*", status=409, message="already in progress"))
    task = asyncio.create_task(containers.remove("sensor"))
    await fake.received("POST", "/containers/.*/wait")
    assert not task.done()
    fake.state.remove(fake.state.by_name("sensor"), force=True)
    await task
    assert fake.journal[-1].query == {"condition": "removed"}


@pytest.mark.parametrize("act", ["start", "stop", "restart", "remove", "inspect", "process_ids", "stats"])
async def test_foreign_containers_are_never_touched(
    fake: FakeEngine, containers: Containers, act: str
) -> None:
    fake.state.add_foreign("sensor")
    with pytest.raises(ForeignContainerError, match="sensor was not made by this agent and is left alone"):
        await getattr(containers, act)("sensor")
    assert fake.paths("POST", "DELETE") == []
    assert fake.state.by_name("sensor").state == "running"


async def test_a_foreign_one_that_takes_the_name_in_between_is_not_touched(
    fake: FakeEngine, containers: Containers
) -> None:
    made = await containers.create("sensor", body())
    go_on = asyncio.Event()
    fake.faults.append(Fault("DELETE", "/containers/.*", hold=go_on))
    task = asyncio.create_task(containers.remove("sensor"))
    await fake.received("DELETE", ".*")
    fake.state.remove(fake.state.find(made), force=True)
    fake.state.add_foreign("sensor")
    go_on.set()
    assert await task is None
    assert fake.state.names() == {"sensor"}


async def test_create_without_image_and_with_a_taken_name(fake: FakeEngine, containers: Containers) -> None:
    with pytest.raises(EngineError) as caught:
        await containers.create("sensor", body(Image="none:1"))
    assert caught.value.is_missing
    fake.state.add_foreign("sensor")
    with pytest.raises(EngineError) as caught:
        await containers.create("sensor", body())
    assert caught.value.is_conflict


async def test_an_answer_without_id_is_an_error(fake: FakeEngine, containers: Containers) -> None:
    fake.garbage["/containers/create"] = b"[]"
    with pytest.raises(EngineAnswerError, match="did not say its id"):
        await containers.create("sensor", body())
    fake.garbage["/containers/sensor/json"] = b"[]"
    with pytest.raises(EngineAnswerError, match="did not describe sensor"):
        await containers.inspect("sensor")


async def test_a_stop_may_take_the_grace_and_a_minute(
    fake: FakeEngine, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeagent.runtime.containers.DEADLINE_S", 0.05)
    await containers.create("sensor", body(StopTimeout=0))
    await containers.start("sensor")
    fake.faults.append(Fault("POST", ".*/stop", hold=asyncio.Event()))
    with pytest.raises(EngineDeadline, match=r"within 0\.05 s"):
        await containers.stop("sensor")
    fake.faults.append(Fault("POST", ".*/stop", hold=asyncio.Event()))
    task = asyncio.create_task(containers.stop("sensor", grace_s=5000))
    await fake.received("POST", ".*/stop", count=2)
    assert fake.journal[-1].query == {"t": "3600"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_processes_and_statistics(fake: FakeEngine, containers: Containers) -> None:
    await containers.create("sensor", body())
    with pytest.raises(EngineError) as caught:
        await containers.process_ids("sensor")
    assert caught.value.is_conflict
    await containers.start("sensor")
    assert await containers.process_ids("sensor") == {4711}
    assert (await containers.stats("sensor")).memory_bytes == 2000
    assert fake.journal[-1].query == {"stream": "false", "one-shot": "true"}
    fake.garbage[f"/containers/{fake.state.by_name('sensor').container_id}/top"] = b'{"Titles":["UID"]}'
    with pytest.raises(EngineAnswerError, match="no column PID"):
        await containers.process_ids("sensor")
