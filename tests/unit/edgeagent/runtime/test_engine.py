"""The door to the engine, against one that fails when told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgeagent.runtime import engine as door
from edgeagent.runtime.engine import Engine, image_part, part
from edgeagent.runtime.errors import (
    MESSAGE_CHARS_MAX,
    EngineAnswerError,
    EngineDeadline,
    EngineError,
    EngineUnreachable,
    EngineVersionError,
)
from edgeagent.runtime.versions import NEWEST
from testkit.fake_engine import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from testkit.fake_engine import FakeEngine


async def test_the_version_is_agreed_once_and_begins_every_path(fake: FakeEngine, engine: Engine) -> None:
    await asyncio.gather(*(engine.get("/info") for _ in range(5)))
    assert fake.paths() == ["GET /version"] + ["GET /info"] * 5
    assert [entry.api for entry in fake.journal] == [None] + ["1.41"] * 5
    assert (await engine.version()).engine == "20.10.0"


async def test_a_newer_engine_is_spoken_to_in_our_newest_version(fake: FakeEngine, engine: Engine) -> None:
    fake.api, fake.oldest_api = "1.99", "1.44"
    await engine.get("/info")
    assert fake.journal[-1].api == str(NEWEST)


async def test_no_common_version_is_said_clearly(fake: FakeEngine, engine: Engine) -> None:
    fake.api, fake.oldest_api = "2.10", "2.1"
    with pytest.raises(EngineVersionError, match=r"2\.1 and newer"):
        await engine.get("/info")


async def test_a_refused_request_carries_status_message_and_path(engine: Engine) -> None:
    with pytest.raises(EngineError) as caught:
        await engine.get("/containers/nobody/json", {"size": True})
    fault = caught.value
    assert (fault.status, fault.message) == (404, "No such container: nobody")
    assert fault.path == "/containers/nobody/json"
    assert fault.is_missing
    assert not fault.is_conflict


async def test_an_endless_message_is_cut(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/info", status=500, message="x" * 300_000))
    with pytest.raises(EngineError) as caught:
        await engine.get("/info")
    assert len(caught.value.message) == MESSAGE_CHARS_MAX


async def test_a_redirect_is_refused_not_followed(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/info", status=301))
    with pytest.raises(EngineError):
        await engine.get("/info")


async def test_no_socket_is_unreachable(tmp_path: Path) -> None:
    async with Engine(f"unix://{tmp_path}/none.sock") as engine:
        with pytest.raises(EngineUnreachable, match=r"none\.sock: No such file or directory"):
            await engine.get("/info")


async def test_a_socket_that_nobody_listens_on_is_unreachable(fake: FakeEngine, engine: Engine) -> None:
    await engine.get("/info")
    await fake.stop()
    with pytest.raises(EngineUnreachable):
        await engine.get("/info")


async def test_a_broken_connection_is_unreachable(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("POST", "/containers/x/start", drop=True))
    with pytest.raises(EngineUnreachable, match="broke off"):
        await engine.call("POST", "/containers/x/start")
    assert fake.paths("POST") == ["POST /containers/x/start"], "it is not sent twice"


async def test_an_answer_that_does_not_come_ends_at_the_deadline(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/info", hold=asyncio.Event()))
    await engine.version()
    with pytest.raises(EngineDeadline, match=r"no answer for /info within 0\.05 s"):
        await engine.get("/info", deadline_s=0.05)
    assert await engine.get("/info")


async def test_waiting_for_the_version_has_a_deadline_too(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "DEADLINE_S", 0.05)
    fake.faults.append(Fault("GET", "/version", hold=asyncio.Event(), times=None))
    outcomes = await asyncio.gather(*(engine.version() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineDeadline] * 3


@pytest.mark.parametrize(("before", "after"), [("1.41", "1.45"), ("1.47", "1.41")])
async def test_the_version_is_agreed_anew_with_another_engine(
    fake: FakeEngine, engine: Engine, before: str, after: str
) -> None:
    fake.api = before
    await engine.get("/info")
    await fake.stop()
    fake.api = after
    await fake.start()
    await engine.get("/info")
    await engine.get("/info")
    assert fake.journal[-1].api == after


async def test_a_stream_that_another_engine_refuses_brings_a_new_agreement(
    fake: FakeEngine, engine: Engine
) -> None:
    fake.api = "1.47"
    await engine.version()
    fake.api = "1.41"
    with pytest.raises(EngineError):
        async with engine.stream("GET", "/events"):
            pass
    async with engine.stream("GET", "/events"):
        assert fake.journal[-1].api == "1.41"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'"\xff"'])
async def test_an_answer_that_is_not_json(fake: FakeEngine, engine: Engine, body: bytes) -> None:
    fake.garbage["/info"] = body
    with pytest.raises(EngineAnswerError, match="/info is not JSON"):
        await engine.get("/info")


async def test_an_answer_at_the_limit_and_one_beyond(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.version()
    monkeypatch.setattr(door, "BODY_BYTES_MAX", 10)
    fake.garbage["/info"] = b"1234567890"
    assert await engine.get("/info") == 1234567890
    fake.garbage["/info"] = b"12345678901"
    with pytest.raises(EngineAnswerError, match="more than 10 bytes"):
        await engine.get("/info")


async def test_calls_at_once_are_limited(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.version()
    go_on = asyncio.Event()
    fake.faults.append(Fault("GET", "/info", hold=go_on, times=door.CALLS_MAX))
    calls = [asyncio.create_task(engine.get("/info")) for _ in range(door.CALLS_MAX)]
    await fake.received("GET", "/info", count=door.CALLS_MAX)
    with pytest.raises(EngineDeadline):
        await engine.get("/info", deadline_s=0.05)
    go_on.set()
    assert all(await asyncio.gather(*calls))
    assert len(fake.journal) == 1 + door.CALLS_MAX


async def test_a_stream_that_does_not_begin_ends_at_its_deadline(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("GET", "/events", hold=asyncio.Event()))
    with pytest.raises(EngineDeadline, match=r"/events within 0\.05 s"):
        async with engine.stream("GET", "/events", first_s=0.05):
            pass


async def test_streams_at_once_are_limited(engine: Engine) -> None:
    await engine.version()
    engine._streams = asyncio.Semaphore(1)
    async with engine.stream("GET", "/events"):
        with pytest.raises(EngineDeadline):
            async with engine.stream("GET", "/events", first_s=0.05):
                pass
    async with engine.stream("GET", "/events"):
        pass


async def test_a_cancelled_call_frees_its_place(fake: FakeEngine, engine: Engine) -> None:
    engine._calls = asyncio.Semaphore(1)
    await engine.version()
    fake.faults.append(Fault("GET", "/info", hold=asyncio.Event()))
    call = asyncio.create_task(engine.get("/info"))
    await fake.received("GET", "/info")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await engine.get("/info")


async def test_a_pause_of_a_stream_has_a_limit(engine: Engine) -> None:
    async with engine.stream("GET", "/events", idle_s=0.05) as pieces:
        with pytest.raises(EngineDeadline, match=r"0\.05"):
            await anext(pieces)


async def test_a_stream_has_a_limit_in_all(fake: FakeEngine, engine: Engine) -> None:
    fake.state.add_foreign("other")
    async with engine.stream("GET", "/events", idle_s=60, total_s=0.05) as pieces:
        with pytest.raises(EngineDeadline):
            await anext(pieces)


async def test_errors_of_the_reader_of_a_stream_stay_what_they_are(engine: Engine) -> None:
    for error in (TimeoutError("of the reader"), OSError("disk full")):
        with pytest.raises(type(error), match=str(error)):
            async with engine.stream("GET", "/events"):
                raise error


async def test_an_engine_over_tcp() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"ApiVersion":"1.41"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Engine(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}") as engine:
        assert str((await engine.version()).api) == "1.41"


@pytest.mark.parametrize("address", ["", "docker.sock", "unix://relative", "ssh://host", "tcp://", "unix://"])
def test_other_addresses_are_refused_with_what_would_be_right(address: str) -> None:
    with pytest.raises(ValueError, match="expected unix:///path or tcp://host:port"):
        Engine(address)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_lead_elsewhere_are_nobodys(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        part(name)
    assert caught.value.is_missing


def test_names_in_paths_are_quoted() -> None:
    assert part("a/../b?c#d") == "a%2F..%2Fb%3Fc%23d"
    assert image_part("reg:5000/a/b:1@sha256:00?x") == "reg:5000/a/b:1@sha256:00%3Fx"
