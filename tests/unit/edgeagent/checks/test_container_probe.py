"""Connections from containers, on an engine that says what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edgeagent.checks.container_probe import ContainerProbe, commands
from edgeagent.checks.ports import ProbeError, ProbeMissing
from edgeagent.runtime import labels
from edgeagent.runtime.engine import Answer
from edgeagent.runtime.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NO_PROGRAM = EngineError(400, 'exec: "python3": executable file not found in $PATH', "/")


@dataclass
class FakeEngine:
    """Runs programs by name: an exit code, an error of the start, or None for one that never ends."""

    programs: dict[str, int | Exception | None]
    images: list[str] = field(default_factory=lambda: ["i1"])
    said: bytes = b"connection refused\n"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    async def rows(self, path: str, query: Any = None) -> Any:
        return await self.get(path, query)

    async def get(self, path: str, query: Any = None, deadline_s: float = 0.0) -> Any:
        if self.fault is not None:
            raise self.fault
        if path == "/containers/json":
            return [{"Id": image, "Names": [f"/m{image}"]} for image in self.images]
        image = path.split("/")[2]
        config = {"Labels": {labels.OWNER: labels.OWNER_VALUE}}
        return {"Id": image, "Name": f"/m{image}", "Image": image, "Config": config, "State": {}}

    async def call(
        self, method: str, path: str, query: Any = None, body: Any = None, deadline_s: float = 0.0
    ) -> Answer:
        if path == "/containers/create":
            self.bodies.append(body)
            self.alive.add(query["name"])
            return Answer(201, {"Id": query["name"]})
        name = path.split("/")[2]
        program = self.programs.get(self.bodies[-1]["Entrypoint"][0], NO_PROGRAM)
        if method == "DELETE":
            self.alive.discard(name)
        elif path.endswith("/start") and isinstance(program, Exception):
            raise program
        elif path.endswith("/wait"):
            self.waiting.set()
            if program is None:
                await asyncio.Event().wait()
            return Answer(200, {"StatusCode": program})
        return Answer(204, None)

    @contextlib.asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"\1\0\0\0" + len(self.said).to_bytes(4, "big") + self.said

        yield pieces()


async def reach(engine: FakeEngine, probe: ContainerProbe | None = None, **given: Any) -> None:
    options: dict[str, Any] = {"network": "n", "image": "", "host": "h", "port": 8883, **given}
    await (probe or ContainerProbe(engine)).reach(**options)  # type: ignore[arg-type]
    assert not engine.alive


def used(engine: FakeEngine) -> list[tuple[str, str]]:
    return [(body["Image"], body["Entrypoint"][0]) for body in engine.bodies]


async def test_with_the_first_program_that_is_there() -> None:
    engine = FakeEngine({"nc": 0}, ["i1", "i2"])
    probe = ContainerProbe(engine)  # type: ignore[arg-type]
    await reach(engine, probe)
    assert used(engine) == [("i1", "python3"), ("i1", "nc")]
    assert engine.bodies[-1]["Cmd"] == ["-z", "-w", "10", "h", "8883"]
    assert engine.bodies[-1]["HostConfig"] == {"NetworkMode": "n"}
    assert "Labels" not in engine.bodies[-1]
    await reach(engine, probe)
    assert used(engine)[2:] == [("i1", "nc")]


async def test_with_the_image_of_ones_choice() -> None:
    engine = FakeEngine({"python3": 0}, [])
    await reach(engine, image="mine:1", network="")
    assert used(engine) == [("mine:1", "python3")]
    assert engine.bodies[-1]["HostConfig"] == {}


async def test_what_it_says_when_it_does_not_work() -> None:
    engine = FakeEngine({"python3": 1})
    with pytest.raises(ProbeError, match="connection refused"):
        await reach(engine)
    assert not engine.alive
    engine.said = b""
    with pytest.raises(ProbeError, match="it ended with 1"):
        await reach(engine)


async def test_a_program_that_has_not_the_options() -> None:
    engine = FakeEngine({"nc": 1}, said=b"nc: invalid option -- 'z'\nUsage: nc [-w] HOST PORT\n -e PROG\n")
    with pytest.raises(ProbeMissing):
        await reach(engine)
    assert engine.bodies[-1]["Cmd"] == ["-w", "10", "h", "8883", "-e", "true"]


async def test_no_image_has_a_program() -> None:
    for programs in ({}, {"python3": 127, "nc": 126}):
        engine = FakeEngine(dict(programs), ["i1", "i2"])
        with pytest.raises(ProbeMissing, match="--diagnostics-image-name"):
            await reach(engine)
        assert not engine.alive
        assert len(engine.bodies) == 6


async def test_an_engine_that_fails() -> None:
    engine = FakeEngine({"python3": EngineError(404, "network n not found", "/")})
    with pytest.raises(ProbeMissing, match="no network n yet"):
        await reach(engine)
    assert not engine.alive
    engine = FakeEngine({"python3": EngineError(500, "it is broken", "/")})
    with pytest.raises(ProbeError, match="it is broken"):
        await reach(engine)
    assert not engine.alive
    engine.fault = EngineUnreachable("unix:///x", "gone")
    with pytest.raises(ProbeError, match="gone"):
        await reach(engine)


async def test_one_that_is_given_up_leaves_no_container() -> None:
    engine = FakeEngine({"python3": None})
    task = asyncio.create_task(reach(engine))
    await engine.waiting.wait()
    assert engine.alive
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not engine.alive


def test_programs() -> None:
    assert [command[0] for command in commands("h", 1)] == ["python3", "nc", "nc"]
    assert [command[0] for command in commands("h", None)] == ["python3", "nslookup"]
