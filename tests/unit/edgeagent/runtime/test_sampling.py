"""The sampler of metrics with the engine's door (agent spec 3.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.metrics.host import HostSample
from edgeagent.metrics.resources import Resources
from edgeagent.metrics.sampler import ResourceSampler
from edgeagent.runtime.containers import Containers
from edgeagent.runtime.labels import OWNER, OWNER_VALUE

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine


async def test_containers_of_ours_are_sampled(fake: FakeEngine, engine: Engine) -> None:
    fake.state.add_image("sensor:1")
    containers = Containers(engine)
    body = {"Image": "sensor:1", "Labels": {OWNER: OWNER_VALUE}}
    container_id = await containers.create("sensor", body)
    await containers.start("sensor")
    resources = Resources(60)
    running = {"sensor": container_id, "gone": "x"}
    sampler = ResourceSampler(containers, lambda: running, resources, 300, HostSample)
    await sampler.sample()
    assert {name: sample.stats.memory_bytes for name, sample in resources.modules.items()} == {"sensor": 2000}
