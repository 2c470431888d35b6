"""A real engine and registries for the tests of this folder; without root or Docker they are skipped."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from edgeagent.runtime.engine import Engine
from testkit.docker_engine import NoEngine, running_dockerd, running_registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from testkit.docker_engine import Dockerd, Registry


REQUIRED = "EDGEAGENT_TEST_ENGINE"
"""With the value `required` in the environment these tests fail rather than be skipped."""


def _cannot(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def session_dockerd() -> Iterator[Dockerd]:
    """One engine for all tests."""
    with contextlib.ExitStack() as stack:
        try:
            dockerd = stack.enter_context(running_dockerd())
        except NoEngine as reason:
            _cannot(f"no container engine: {reason}")
        yield dockerd


@pytest.fixture
def dockerd(session_dockerd: Dockerd) -> Iterator[Dockerd]:
    """The engine, with images and nothing else."""
    yield session_dockerd
    session_dockerd.remove_all()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry that is open to all."""
    with contextlib.ExitStack() as stack:
        try:
            registry = stack.enter_context(running_registry())
        except NoEngine as reason:
            _cannot(f"no registry: {reason}")
        yield registry


@pytest.fixture(scope="session")
def secured_registry() -> Iterator[Registry]:
    """A registry that wants a password."""
    with contextlib.ExitStack() as stack:
        try:
            registry = stack.enter_context(running_registry(secured=True))
        except NoEngine as reason:
            _cannot(f"no registry: {reason}")
        yield registry


@pytest.fixture(scope="session")
def image(session_dockerd: Dockerd) -> str:
    """An image that is on the engine; its containers sleep until they are stopped."""
    session_dockerd.add_image("sensor:1", "one")
    return "sensor:1"


@pytest.fixture
async def engine(dockerd: Dockerd) -> AsyncIterator[Engine]:
    async with Engine(dockerd.address) as engine:
        yield engine
