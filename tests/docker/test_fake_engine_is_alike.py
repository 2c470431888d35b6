"""The fake engine answers as the real one does: the same requests, the same statuses, states and events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine, filters
from edgeagent.runtime.errors import EngineError, PullError
from edgeagent.runtime.events import watch_events
from edgeagent.runtime.pull import pull
from testkit.fake_engine import running_engine

if TYPE_CHECKING:
    from testkit.docker_engine import Dockerd

IMAGE = "alike:1"
OURS = {labels.OWNER: labels.OWNER_VALUE}
BODY = {"Image": IMAGE, "Labels": OURS}
WITH_NETWORK = BODY | {"NetworkingConfig": {"EndpointsConfig": {"alike-net": {}}}}
IN_NO_NETWORK = BODY | {"NetworkingConfig": {"EndpointsConfig": {"missing-net": {}}}}
WAIT_S = 20.0

Request = tuple[str, str, dict[str, Any], Any]
ONE = "/containers/one"
REQUESTS: list[Request] = [
    ("GET", f"{ONE}/json", {}, None),
    ("POST", f"{ONE}/start", {}, None),
    ("DELETE", ONE, {"force": True}, None),
    ("POST", "/containers/create", {"name": "one"}, BODY | {"Image": "missing:1"}),
    ("POST", "/containers/create", {"name": "o"}, BODY),
    ("POST", "/containers/create", {"name": "o/ne"}, BODY),
    ("POST", "/containers/create", {"name": "one"}, BODY),
    ("POST", "/containers/create", {"name": "one"}, BODY),
    ("POST", f"{ONE}/rename", {"name": "one"}, None),
    ("POST", f"{ONE}/rename", {"name": "other"}, None),
    ("POST", "/containers/other/rename", {"name": "one"}, None),
    ("POST", f"{ONE}/wait", {"condition": "not-running"}, None),
    ("GET", f"{ONE}/top", {}, None),
    ("POST", f"{ONE}/stop", {"t": 1}, None),
    ("POST", f"{ONE}/start", {}, None),
    ("POST", f"{ONE}/start", {}, None),
    ("DELETE", ONE, {}, None),
    ("DELETE", f"/images/{IMAGE}", {"force": True}, None),
    ("POST", f"{ONE}/restart", {"t": 1}, None),
    ("POST", f"{ONE}/stop", {"t": 1}, None),
    ("POST", f"{ONE}/stop", {"t": 1}, None),
    ("POST", f"{ONE}/restart", {"t": 1}, None),
    ("POST", "/networks/create", {}, {"Name": "alike-net", "CheckDuplicate": True}),
    ("POST", "/networks/create", {}, {"Name": "alike-net", "CheckDuplicate": True}),
    ("POST", "/containers/create", {"name": "two"}, WITH_NETWORK),
    ("POST", "/containers/two/start", {}, None),
    ("DELETE", "/containers/two", {"force": True}, None),
    ("POST", "/containers/create", {"name": "three"}, IN_NO_NETWORK),
    ("POST", "/containers/three/start", {}, None),
    ("DELETE", "/containers/three", {"force": True}, None),
    ("GET", "/images/missing:1/json", {}, None),
    ("DELETE", "/images/missing:1", {}, None),
    ("DELETE", ONE, {"force": True}, None),
    ("DELETE", ONE, {"force": True}, None),
]


async def outcome(engine: Engine, request: Request) -> int:
    """Status of the answer."""
    method, path, query, body = request
    try:
        return (await engine.call(method, path, query, body)).status
    except EngineError as fault:
        return fault.status


async def states(engine: Engine) -> dict[str, tuple[str, bool, bool]]:
    """State of each container of ours, and whether it ever ran and ended."""
    found = {}
    rows = await engine.get("/containers/json", {"all": True, "filters": filters(label=[labels.OURS])})
    for row in rows:
        state = (await engine.get(f"/containers/{row['Id']}/json"))["State"]
        ran, ended = (not state[name].startswith("0001-") for name in ("StartedAt", "FinishedAt"))
        assert row["State"] == state["Status"]
        found[row["Names"][0]] = (state["Status"], ran, ended)
    return found


async def story(engine: Engine) -> list[Any]:
    """What one engine makes of all requests."""
    told: list[Any] = []
    async with watch_events(engine) as events:
        for request in REQUESTS:
            status = await outcome(engine, request)
            told.append((request[:2], status, await states(engine)))
        async with asyncio.timeout(WAIT_S):
            happened = [("", "")]
            while happened[-1] != ("destroy", "one"):
                event = await anext(events)
                happened.append((event.action, event.name))
    # Engines differ in whether they tell of the end of a container first or of its having been stopped.
    in_order = [entry for entry in happened if entry[0] != "stop"]
    return [*told, *in_order, ("stops", len(happened) - len(in_order))]


async def test_the_same_requests_have_the_same_outcome(dockerd: Dockerd, engine: Engine) -> None:
    dockerd.add_image(IMAGE, "alike")
    async with running_engine() as fake, Engine(fake.address) as fake_engine:
        fake.state.add_image(IMAGE)
        real, invented = await story(engine), await story(fake_engine)
        for one, other in zip(real, invented, strict=False):
            assert other == one
        assert len(real) == len(invented)


@pytest.mark.parametrize("image", ["missing:1", "127.0.0.1:1/missing:1"])
async def test_a_pull_that_fails_fails_alike(engine: Engine, image: str) -> None:
    async with running_engine() as fake, Engine(fake.address) as fake_engine:
        for each in (engine, fake_engine):
            with pytest.raises(PullError):
                await pull(each, image)
