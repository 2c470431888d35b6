"""The door and what goes through it, on a real engine with real registries."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.image_gc.settings import DAY_S, GcSettings
from edgeagent.image_gc.task import GcOutcome, ImageGarbageCollection
from edgeagent.image_gc.uses import ImageUses
from edgeagent.model.current import CurrentModule, RuntimeStatus
from edgeagent.model.module import Module, RegistryCredentials
from edgeagent.runtime import labels
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.errors import EngineError, EngineUnreachable, ForeignContainerError, PullError
from edgeagent.runtime.events import ContainerEvent, watch_events
from edgeagent.runtime.images import find_image, list_images, remove_image
from edgeagent.runtime.lister import ModuleLister
from edgeagent.runtime.logs import LogOptions, read_logs
from edgeagent.runtime.networks import AddressPool, NetworkSettings, ensure_network
from edgeagent.runtime.pull import pull
from edgeagent.runtime.spec import ModuleContext, container_body
from edgeagent.runtime.stats import cpu_percent
from edgeagent.runtime.system import system_info
from testkit.clock import ManualClock
from testkit.docker_engine import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edgeagent.runtime.engine import Engine
    from testkit.docker_engine import Dockerd, Registry

WAIT_S = 20.0
STOPPED_CODES = (143, 137)
"""By SIGTERM, or killed where the shell had not come to its `trap` yet."""
FOR_EVER = "while :; do sleep 0.1; done"
OURS = {labels.OWNER: labels.OWNER_VALUE}


def shell(image: str, script: str, **members: Any) -> dict[str, Any]:
    """A container of ours that runs a script."""
    return {"Image": image, "Cmd": ["sh", "-c", script], "Labels": OURS} | members


async def run(engine: Engine, name: str, body: dict[str, Any]) -> str:
    containers = Containers(engine)
    container_id = await containers.create(name, body)
    await containers.start(name)
    return container_id


async def state_of(engine: Engine, name: str, is_right: Callable[[CurrentModule], bool]) -> CurrentModule:
    """The module when it is as wanted."""
    lister = ModuleLister(engine)
    async with asyncio.timeout(WAIT_S):
        while True:
            lister.touch_all()
            module = (await lister.current())[name]
            if is_right(module):
                return module
            await asyncio.sleep(0.02)


async def output(engine: Engine, image: str, script: str, **members: Any) -> str:
    """What a script writes in a container of its own."""
    await run(engine, "probe", shell(image, script, **members))
    async with read_logs(engine, "probe", LogOptions(follow=True)) as frames:
        text = b"".join([frame.data async for frame in frames])
    await Containers(engine).remove("probe")
    return text.decode()


def context(folder: Path, **members: Any) -> ModuleContext:
    folder.mkdir(parents=True, exist_ok=True)
    return ModuleContext(
        hub_hostname="hub1.example.net",
        device_id="d1",
        device_hostname="gateway1",
        generation_id="1",
        workload_folder=str(folder),
        **members,
    )


async def drain(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


def command_line(process_id: int) -> bytes:
    return Path(f"/proc/{process_id}/cmdline").read_bytes()


async def test_the_engine_says_what_it_is(engine: Engine) -> None:
    version = await engine.version()
    assert version.api >= (1, 41)
    assert version.engine
    info = await system_info(engine)
    assert info.kernel == "linux"
    assert info.server_version == version.engine
    assert info.memory_bytes > 0


async def test_c10_network_made_once_with_ipv6_and_addresses(dockerd: Dockerd, engine: Engine) -> None:
    pools = (AddressPool("10.214.7.0/24", "10.214.7.1", "10.214.7.128/25"), AddressPool("fd00:7::/64"))
    settings = NetworkSettings("edge-net", ipv6=True, pools=pools)
    assert await ensure_network(engine, settings)
    assert not await ensure_network(engine, settings)
    found = [row for row in dockerd.get("/networks") if row["Name"] == "edge-net"]
    assert len(found) == 1
    assert found[0]["EnableIPv6"] is True
    assert found[0]["IPAM"]["Config"][0] == {
        "Subnet": "10.214.7.0/24",
        "Gateway": "10.214.7.1",
        "IPRange": "10.214.7.128/25",
    }
    assert await ensure_network(engine, NetworkSettings("edge"))


async def test_c11_starting_twice_and_stopping_twice(engine: Engine, image: str) -> None:
    containers = Containers(engine)
    await containers.create("sensor", {"Image": image, "Labels": OURS})
    await containers.stop("sensor")
    await containers.start("sensor")
    await containers.start("sensor")
    assert (await state_of(engine, "sensor", lambda _: True)).status is RuntimeStatus.RUNNING
    await containers.stop("sensor", grace_s=2)
    await containers.stop("sensor", grace_s=2)
    module = await state_of(engine, "sensor", lambda _: True)
    assert module.status is RuntimeStatus.FAILED
    assert module.exit_code in STOPPED_CODES
    await containers.restart("sensor", grace_s=2)
    assert (await state_of(engine, "sensor", lambda _: True)).status is RuntimeStatus.RUNNING
    assert await containers.remove("sensor")
    assert await containers.remove("sensor") is None


async def test_c16_states_and_times(engine: Engine, image: str) -> None:
    began_ms = int(time.time() * 1000) - 1000
    await Containers(engine).create("sensor", shell(image, "exit 3"))
    module = await state_of(engine, "sensor", lambda _: True)
    assert (module.status, module.started_at_ms, module.finished_at_ms) == (RuntimeStatus.STOPPED, None, None)
    await Containers(engine).start("sensor")
    module = await state_of(engine, "sensor", lambda now: now.finished_at_ms is not None)
    assert (module.status, module.exit_code) == (RuntimeStatus.FAILED, 3)
    # Not compared with each other: the engine may note the start of a short run after its end.
    assert began_ms < (module.started_at_ms or 0)
    assert began_ms < (module.finished_at_ms or 0)


async def test_a_failing_health_check_is_unhealthy(engine: Engine, image: str) -> None:
    check = {"Test": ["CMD", "false"], "Interval": 50_000_000, "Retries": 1}
    async with watch_events(engine) as events:
        await run(engine, "sensor", {"Image": image, "Labels": OURS, "Healthcheck": check})
        seen: list[ContainerEvent] = []
        async with asyncio.timeout(WAIT_S):
            while not seen or seen[-1].action != "health_status":
                seen.append(await anext(events))
    assert [event.action for event in seen] == ["create", "start", "health_status"]
    assert seen[-1].detail == "unhealthy"
    module = await state_of(engine, "sensor", lambda _: True)
    assert module.status is RuntimeStatus.UNHEALTHY
    assert module.status_text.startswith("the health check failed")


async def test_the_list_notices_an_end_without_events(engine: Engine, image: str) -> None:
    lister = ModuleLister(engine)
    await run(engine, "sensor", {"Image": image, "Labels": OURS})
    assert (await lister.current())["sensor"].status is RuntimeStatus.RUNNING
    await Containers(engine).stop("sensor", grace_s=2)
    assert (await lister.current())["sensor"].exit_code in STOPPED_CODES


async def test_c18_volumes_outlive_the_container(dockerd: Dockerd, engine: Engine, image: str) -> None:
    host = {"Binds": ["named:/named"]}
    await run(
        engine, "sensor", {"Image": image, "Labels": OURS, "Volumes": {"/anonymous": {}}, "HostConfig": host}
    )
    before = {row["Name"] for row in dockerd.get("/volumes")["Volumes"]}
    assert len(before) == 2
    await Containers(engine).remove("sensor")
    assert {row["Name"] for row in dockerd.get("/volumes")["Volumes"]} == before


async def test_c12_a_layer_that_the_registry_lost_fails_the_pull(
    dockerd: Dockerd, engine: Engine, registry: Registry
) -> None:
    dockerd.add_image("broken:1", "a layer that is lost")
    reference = dockerd.push("broken:1", registry, "broken:1")
    await remove_image(engine, "broken:1")
    blobs = registry.folder / "data/docker/registry/v2/blobs/sha256"
    largest = max(blobs.rglob("data"), key=lambda path: path.stat().st_size)
    shutil.rmtree(largest.parent)
    with pytest.raises(PullError, match=f"cannot pull {reference}"):
        await pull(engine, reference)
    assert await find_image(engine, reference) is None


async def test_c12_an_image_that_is_not_there(engine: Engine, registry: Registry) -> None:
    with pytest.raises(PullError, match="not found"):
        await pull(engine, f"{registry.address}/nothing:1")


async def test_a_registry_that_is_down(engine: Engine) -> None:
    with pytest.raises(PullError, match="connection refused"):
        await pull(engine, "127.0.0.1:1/nothing:1")


async def test_a_pull_by_tag_and_by_digest(dockerd: Dockerd, engine: Engine, registry: Registry) -> None:
    image_id = dockerd.add_image("pulled:1", "to be pulled")
    reference = dockerd.push("pulled:1", registry, "deep/path/pulled:1")
    assert await remove_image(engine, "pulled:1")
    assert image_id not in {image.image_id for image in await list_images(engine)}
    await pull(engine, reference)
    assert await find_image(engine, reference) == image_id
    digest = dockerd.get(f"/images/{reference}/json")["RepoDigests"][0]
    await remove_image(engine, image_id)
    await pull(engine, digest)
    assert await find_image(engine, digest) == image_id
    assert await remove_image(engine, image_id)


async def test_c13_right_wrong_and_no_password(
    dockerd: Dockerd, engine: Engine, secured_registry: Registry
) -> None:
    dockerd.add_image("secret:1", "only for those who know")
    reference = dockerd.push("secret:1", secured_registry, "secret:1")
    await remove_image(engine, "secret:1")
    right = RegistryCredentials(secured_registry.address, USER, PASSWORD)
    for wrong in (
        None,
        dataclasses.replace(right, password="wrong"),
        dataclasses.replace(right, username="x"),
    ):
        with pytest.raises(PullError, match=r"(?i)no basic auth|unauthorized|authentication required"):
            await pull(engine, reference, wrong)
    await pull(engine, reference, right)
    assert await find_image(engine, reference)


async def test_logs_of_both_streams(engine: Engine, image: str) -> None:
    await run(engine, "sensor", shell(image, "echo one; echo two >&2; echo three; exit 0"))
    await state_of(engine, "sensor", lambda now: now.finished_at_ms is not None)

    async def read(**options: Any) -> list[tuple[int, bytes]]:
        async with read_logs(engine, "sensor", LogOptions(**options)) as frames:
            return [(int(frame.stream), frame.data) async for frame in frames]

    assert sorted(await read()) == [(1, b"one\n"), (1, b"three\n"), (2, b"two\n")]
    assert await read(stdout=False) == [(2, b"two\n")]
    assert len(await read(tail=2)) == 2
    assert await read(tail=0) == []
    now_ms = int(time.time() * 1000)
    assert await read(since_ms=now_ms + 60_000) == []
    assert await read(until_ms=now_ms - 60_000) == []
    assert len(await read(since_ms=now_ms - 60_000, until_ms=now_ms + 60_000)) == 3
    stamped = await read(timestamps=True, stderr=False)
    assert stamped[0][1].startswith(b"20")
    assert stamped[0][1].endswith(b"Z one\n")


async def test_a_followed_log_ends_with_the_container(engine: Engine, image: str) -> None:
    script = f"trap 'echo last; exit 0' TERM; echo first; {FOR_EVER}"
    await run(engine, "sensor", shell(image, script))
    async with read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        assert (await anext(frames)).data == b"first\n"
        await Containers(engine).stop("sensor", grace_s=5)
        assert [frame.data async for frame in frames] == [b"last\n"]


async def test_the_log_of_a_terminal(engine: Engine, image: str) -> None:
    assert await output(engine, image, "echo on a terminal", Tty=True) == "on a terminal\r\n"


async def test_a_log_driver_that_keeps_nothing_is_an_error(engine: Engine, image: str) -> None:
    host = {"LogConfig": {"Type": "none"}}
    await run(engine, "sensor", shell(image, "echo x", HostConfig=host))
    with pytest.raises(EngineError, match="does not support reading"):
        async with read_logs(engine, "sensor") as frames:
            await anext(frames)


async def test_events_of_ours_alone(dockerd: Dockerd, engine: Engine, image: str) -> None:
    async with watch_events(engine) as events:
        foreign = await engine.call("POST", "/containers/create", {"name": "stranger"}, {"Image": image})
        await engine.call("POST", f"/containers/{foreign.content['Id']}/start")
        container_id = await run(engine, "sensor", shell(image, "exit 3"))
        async with asyncio.timeout(WAIT_S):
            seen = [await anext(events) for _ in range(3)]
    assert [(event.action, event.name, event.container_id) for event in seen] == [
        (action, "sensor", container_id) for action in ("create", "start", "die")
    ]
    assert seen[2].exit_code == 3
    assert abs(seen[2].time_ms - time.time() * 1000) < 60_000


async def test_foreign_containers_are_neither_listed_nor_touched(
    dockerd: Dockerd, engine: Engine, image: str
) -> None:
    body = {"Image": image, "Labels": {labels.OWNER: "somebody"}}
    foreign = (await engine.call("POST", "/containers/create", {"name": "sensor"}, body)).content["Id"]
    await engine.call("POST", f"/containers/{foreign}/start")
    assert await ModuleLister(engine).current() == {}
    containers = Containers(engine)
    for act in (containers.stop, containers.remove, containers.restart, containers.start):
        with pytest.raises(ForeignContainerError):
            await act("sensor")
    with pytest.raises(EngineError) as caught:
        await containers.create("sensor", {"Image": image, "Labels": OURS})
    assert caught.value.is_conflict
    assert dockerd.get(f"/containers/{foreign}/json")["State"]["Running"]


async def test_statistics_and_processes(engine: Engine, image: str) -> None:
    await run(engine, "sensor", shell(image, "while :; do :; done", HostConfig={"Memory": 64 * 1024 * 1024}))
    containers = Containers(engine)
    before = await containers.stats("sensor")
    await asyncio.sleep(0.3)
    now = await containers.stats("sensor")
    assert now.cpu_ns > before.cpu_ns
    share = cpu_percent(before, now)
    assert share is not None
    assert share > 0
    assert 0 < now.memory_bytes < 64 * 1024 * 1024
    assert now.memory_limit_bytes == 64 * 1024 * 1024
    assert now.processes >= 1
    [process_id, *_] = await containers.process_ids("sensor")
    assert b"while" in command_line(process_id)
    await containers.stop("sensor", grace_s=0)
    with pytest.raises(EngineError):
        await containers.process_ids("sensor")


async def test_a_module_as_the_manifest_has_it(
    dockerd: Dockerd, engine: Engine, image: str, tmp_path: Path
) -> None:
    """Environment, folder of the workload socket, limits, and the hub found by the device's name."""
    await ensure_network(engine, NetworkSettings("edge-net"))
    hub = Module("edgeHub", image)
    made = container_body(hub, context(tmp_path / "edgeHub", network="edge-net"))
    await run(engine, "edgeHub", made)
    (tmp_path / "sensor").mkdir()
    (tmp_path / "sensor/workload.sock").write_text("a socket")
    script = "env; cat /var/run/iotedge/workload.sock; ping -c 1 -w 5 gateway1; sleep 1000"
    options = {"Cmd": ["sh", "-c", script], "HostConfig": {"Memory": 32 * 1024 * 1024}}
    sensor = Module("sensor", image, options, env={"INTERVAL": "5"})
    await run(engine, "sensor", container_body(sensor, context(tmp_path / "sensor", network="edge-net")))
    text = ""
    async with asyncio.timeout(WAIT_S), read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        while "packets received" not in text:
            text += (await anext(frames)).data.decode()
    assert {"INTERVAL=5", "IOTEDGE_MODULEID=sensor", "IOTEDGE_GATEWAYHOSTNAME=gateway1"} <= set(
        text.splitlines()
    )
    assert "a socket" in text
    assert "1 packets received" in text
    module = (await ModuleLister(engine).current())["sensor"]
    assert (module.image, module.spec_hash) == (image, sensor.spec_hash)
    details = dockerd.get("/containers/sensor/json")
    assert details["HostConfig"]["Memory"] == 32 * 1024 * 1024
    assert list(details["NetworkSettings"]["Networks"]) == ["edge-net"]


async def test_the_folder_shows_a_socket_that_is_made_anew(
    dockerd: Dockerd, engine: Engine, image: str, tmp_path: Path
) -> None:
    options = {
        "Cmd": ["sh", "-c", f"trap 'cat /var/run/iotedge/*; echo; exit 0' TERM; echo up; {FOR_EVER}"],
    }
    where = context(tmp_path / "mnt/edgeAgent")
    body = container_body(Module("edgeAgent", image, options), where)
    body["NetworkingConfig"] = {"EndpointsConfig": {"none": {}}}
    await run(engine, "edgeAgent", body)
    async with read_logs(engine, "edgeAgent", LogOptions(follow=True)) as frames:
        assert (await anext(frames)).data == b"up\n"
        (tmp_path / "mnt/edgeAgent/workload.sock").write_text(" and later")
        await Containers(engine).stop("edgeAgent", grace_s=5)
        assert b"".join([frame.data async for frame in frames]) == b" and later\n"


async def test_privileges_are_dropped(engine: Engine, image: str, tmp_path: Path) -> None:
    """Row C17."""
    options = {
        "Cmd": ["grep", "CapEff", "/proc/self/status"],
        "HostConfig": {"Privileged": True, "NetworkMode": "none"},
    }
    strict = context(tmp_path / "sensor", allow_elevated=False)
    await run(engine, "sensor", container_body(Module("sensor", image, options), strict))
    async with read_logs(engine, "sensor", LogOptions(follow=True)) as frames:
        effective = int((await anext(frames)).data.split()[1], 16)
    chown, setuid, admin = 1 << 0, 1 << 7, 1 << 21
    assert effective
    assert not effective & (chown | setuid | admin)


async def test_an_image_in_use_stays(engine: Engine, image: str) -> None:
    await run(engine, "sensor", {"Image": image, "Labels": OURS})
    image_id = await find_image(engine, image)
    assert image_id
    with pytest.raises(EngineError) as caught:
        await remove_image(engine, image_id)
    assert caught.value.is_conflict


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_engine_that_is_started_anew(
    dockerd: Dockerd, engine: Engine, image: str, how: signal.Signals
) -> None:
    await run(engine, "sensor", {"Image": image, "Labels": OURS})
    lister = ModuleLister(engine)
    await lister.current()
    async with watch_events(engine) as events:
        await asyncio.to_thread(dockerd.stop, how)
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(EngineUnreachable):
                await drain(events)
    with pytest.raises(EngineUnreachable):
        await lister.current()
    await asyncio.to_thread(dockerd.start)
    lister.touch_all()
    assert set(await lister.current()) == {"sensor"}
    await Containers(engine).start("sensor")
    await state_of(engine, "sensor", lambda now: now.status is RuntimeStatus.RUNNING)


async def test_x10_only_old_images_of_ours_that_nothing_uses_are_deleted(
    dockerd: Dockerd, engine: Engine, image: str, tmp_path: Path
) -> None:
    clock = ManualClock()
    uses = ImageUses(tmp_path / "gc", clock.wall_s)
    names = ("gc-old", "gc-used", "gc-wanted", "gc-strange")
    ids = {name: dockerd.add_image(f"{name}:1", name) for name in names}
    for image_id in ids.values():
        await uses.record(image_id)
    dockerd.add_image("gc-untracked:1", "untracked")
    clock.advance(10 * DAY_S)
    await Containers(engine).create("sensor", shell("gc-used:1", "exit 0"))
    await engine.call("POST", "/containers/create", {"name": "stranger"}, {"Image": "gc-strange:1"})
    wanted = ["gc-wanted:1", "none:1"]
    collection = ImageGarbageCollection(engine, uses, GcSettings(), lambda: wanted, clock.wall_s)
    assert await collection.collect() == GcOutcome(deleted=(ids["gc-old"],))
    left = {tag for found in await list_images(engine) for tag in found.tags}
    assert left >= {image, "gc-used:1", "gc-wanted:1", "gc-strange:1", "gc-untracked:1"}
    assert "gc-old:1" not in left
    assert set(await uses.all()) == {ids[name] for name in ("gc-used", "gc-wanted", "gc-strange")}
