"""Checks of the container engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.checks import engine as checks
from edgeagent.checks.engine import storage_mounted
from edgeagent.checks.model import Result
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Engine
from testkit.fake_engine import Fault, running_engine
from testkit.fake_probes import FakeProbes, said, situation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from testkit.fake_engine import FakeEngine

OK, WARNING, ERROR, SKIPPED = Result.OK, Result.WARNING, Result.ERROR, Result.SKIPPED
OURS = {labels.OWNER: labels.OWNER_VALUE}
SETTINGS = Path("/etc/docker/daemon.json")


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with running_engine() as fake:
        fake.state.add_image("x:1")
        yield fake


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    async with Engine(fake.address) as engine:
        yield engine


async def test_an_engine_that_answers(engine: Engine) -> None:
    given = situation(engine=engine)
    assert (await checks.engine_answers(given)).info == {"version": "20.10.0", "api": "1.41"}
    assert given.engine_info is not None


async def test_an_engine_that_is_away(fake: FakeEngine, engine: Engine) -> None:
    await fake.stop()
    given = situation(engine=engine)
    found, texts = said(await checks.engine_answers(given))
    assert found is ERROR
    assert "systemctl status docker" in texts
    assert given.engine_info is None
    for check in (checks.hub_storage, checks.agent_storage):
        assert (await check(given)).reason == ""


async def test_an_engine_that_is_too_old(fake: FakeEngine, engine: Engine) -> None:
    fake.api = "1.24"
    assert "Docker 20.10 or newer" in said(await checks.engine_answers(situation(engine=engine)))[1]


@pytest.mark.parametrize(
    ("settings", "info", "result"),
    [
        (None, {"LoggingDriver": "json-file"}, WARNING),
        (None, {"LoggingDriver": "journald"}, OK),
        ({"log-driver": "journald"}, {}, OK),
        ({"log-driver": "json-file"}, {}, WARNING),
        ({"log-driver": "json-file", "log-opts": {"max-size": "1m"}}, {}, WARNING),
        ({"log-driver": "json-file", "log-opts": {"max-size": "1m", "max-file": "3"}}, {}, OK),
        ({"log-opts": {"max-size": "1m", "max-file": "3"}}, {"LoggingDriver": "json-file"}, OK),
        ({"log-driver": "json-file", "log-opts": []}, {}, WARNING),
    ],
)
async def test_logs_that_fill_the_disk(
    settings: dict[str, Any] | None, info: dict[str, Any], result: Result
) -> None:
    probes = FakeProbes()
    if settings is not None:
        probes.add(SETTINGS, json.dumps(settings))
    given = situation(probes)
    given.engine_info = info
    assert (await checks.engine_logrotate(given)).result is result


async def test_dns() -> None:
    probes = FakeProbes()
    assert (await checks.engine_dns(situation(probes))).result is WARNING
    probes.add(SETTINGS, '{"dns": ["192.0.2.53"]}')
    assert (await checks.engine_dns(situation(probes))).result is OK


@pytest.mark.parametrize("content", ["{", "[]", "\xff", "[" * 50_000])
async def test_settings_that_cannot_be_read(content: str) -> None:
    probes = FakeProbes()
    probes.add(SETTINGS, content.encode("latin-1"))
    for check in (checks.engine_dns, checks.engine_logrotate):
        found, texts = said(await check(situation(probes)))
        assert found is ERROR
        assert "/etc/docker/daemon.json is no" in texts


async def test_ipv6() -> None:
    probes = FakeProbes()
    assert said(await checks.engine_ipv6(situation(probes)))[0] is SKIPPED
    given = situation(probes, "[moby_runtime.network]\nipv6 = true")
    assert said(await checks.engine_ipv6(given))[0] is ERROR
    probes.add(SETTINGS, '{"ipv6": true}')
    assert (await checks.engine_ipv6(given)).result is OK


@pytest.mark.parametrize(
    ("name", "env", "mounts", "volumes", "result"),
    [
        ("edgeHub", ["StorageFolder=/data"], ["/data"], {}, OK),
        ("edgeHub", ["storagefolder=/data/x"], ["/data"], {}, OK),
        ("edgeHub", ["STORAGEFOLDER=/data"], ["/data/edgeHub"], {}, OK),
        ("edgeHub", ["StorageFolder=/data"], ["/datax"], {}, WARNING),
        ("edgeHub", [], ["/tmp"], {}, OK),
        ("edgeHub", [], [], {"/tmp": {}}, OK),
        ("edgeHub", [], [], {}, WARNING),
        ("edgeAgent", [], ["/var/lib/aziot/edged"], {}, OK),
        ("edgeAgent", [], ["/tmp"], {}, WARNING),
        ("edgeAgent", ["StorageFolder=/s"], ["/s"], {}, OK),
    ],
)
def test_storage(
    name: str, env: list[str], mounts: list[str], volumes: dict[str, Any], result: Result
) -> None:
    details = {
        "Config": {"Env": env, "Volumes": volumes},
        "Mounts": [{"Destination": place} for place in mounts],
    }
    assert storage_mounted(name, details, "/var/lib/aziot/edged").result is result


def test_storage_of_a_container_that_is_told_oddly() -> None:
    assert storage_mounted("edgeHub", {"Config": {"Env": None}, "Mounts": [1]}, "/h").result is WARNING


async def test_storage_of_containers(fake: FakeEngine, engine: Engine) -> None:
    given = situation(engine=engine)
    await checks.engine_answers(given)
    assert (await checks.hub_storage(given)).reason == "no container edgeHub"
    fake.state.create("edgeHub", {"Image": "x:1", "Labels": OURS})
    assert (await checks.hub_storage(given)).result is WARNING
    fake.state.add_foreign("edgeAgent")
    assert "was not made by this agent" in said(await checks.agent_storage(given))[1]
    fake.faults.append(Fault("GET", ".*/json", status=500))
    assert (await checks.hub_storage(given)).result is ERROR


async def test_the_agents_image(engine: Engine) -> None:
    given = situation(engine=engine)
    assert "outside of a container" in (await checks.agent_image(given)).reason
    given = situation(config='[agent.config]\nimage = "x:1"', engine=engine)
    assert (await checks.agent_image(given)).reason == ""
    await checks.engine_answers(given)
    assert (await checks.agent_image(given)).result is OK
    given = situation(config='[agent.config]\nimage = "y:1"', engine=engine)
    await checks.engine_answers(given)
    found, texts = said(await checks.agent_image(given))
    assert found is WARNING
    assert "docker pull y:1" in texts


async def test_without_an_engine() -> None:
    assert (await checks.engine_answers(situation())).result is SKIPPED
    for check in (checks.engine_ipv6, checks.agent_image):
        assert (await check(situation(config=None))).result is SKIPPED
