"""Images on the engine, and what it says of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeagent.runtime import labels
from edgeagent.runtime.errors import EngineAnswerError, EngineError
from edgeagent.runtime.images import find_image, list_images, remove_image
from edgeagent.runtime.system import SystemInfo, system_info
from testkit.fake_engine import Fault

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine

NAME = "reg.example.net:5000/a/sensor:1"


async def test_images_are_listed_found_and_removed(fake: FakeEngine, engine: Engine) -> None:
    image_id = fake.state.add_image(NAME)
    listed = await list_images(engine)
    assert [(image.image_id, image.tags, image.size_bytes) for image in listed] == [(image_id, (NAME,), 100)]
    assert await find_image(engine, NAME) == image_id
    assert await find_image(engine, image_id) == image_id
    assert await find_image(engine, "none:1") is None
    assert await remove_image(engine, image_id)
    assert fake.journal[-1].query == {"force": "true", "noprune": "false"}
    assert not await remove_image(engine, image_id)
    assert await list_images(engine) == []


async def test_an_image_in_use_is_not_removed(fake: FakeEngine, engine: Engine) -> None:
    image_id = fake.state.add_image(NAME)
    container = fake.state.create("sensor", {"Image": NAME, "Labels": {labels.OWNER: labels.OWNER_VALUE}})
    fake.state.start(container)
    with pytest.raises(EngineError) as caught:
        await remove_image(engine, image_id)
    assert caught.value.is_conflict


async def test_failures_are_errors(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/images/x/json", status=500))
    with pytest.raises(EngineError):
        await find_image(engine, "x")
    fake.garbage["/images/x/json"] = b"{}"
    with pytest.raises(EngineAnswerError, match="id of the image x"):
        await find_image(engine, "x")


async def test_the_machine(fake: FakeEngine, engine: Engine) -> None:
    assert await system_info(engine) == SystemInfo(
        kernel="linux", architecture="x86_64", processors=2, memory_bytes=4096, server_version="20.10.0"
    )
    fake.garbage["/info"] = b"[]"
    with pytest.raises(EngineAnswerError, match="/info"):
        await system_info(engine)
