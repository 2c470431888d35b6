"""Pulls against a registry that fails when told to (rows C12, C13)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.model.module import RegistryCredentials
from edgeagent.runtime import pull as pulling
from edgeagent.runtime.errors import EngineUnreachable, PullError
from edgeagent.runtime.pull import LAYERS_MAX, PullProgress, pull
from testkit.fake_engine import Fault
from testkit.fake_engine_state import Pullable

if TYPE_CHECKING:
    from edgeagent.runtime.engine import Engine
    from testkit.fake_engine import FakeEngine

IMAGE = "reg.example.net/sensor:1"
SECRET = "p4ssw0rd"
CREDENTIALS = RegistryCredentials("reg.example.net", "u", SECRET)


async def test_a_pull_brings_the_image_and_tells_of_its_progress(fake: FakeEngine, engine: Engine) -> None:
    fake.state.registry[IMAGE] = Pullable("one")
    seen: list[str] = []
    await pull(engine, IMAGE, on_progress=lambda progress: seen.append(str(progress)))
    assert IMAGE in fake.state.images
    assert "0 of 1 layers, 0.0 of 0.0 MB" in seen
    assert seen[-1].startswith("1 of 1 layers")
    assert fake.journal[-1].query == {"fromImage": IMAGE}
    assert "X-Registry-Auth" not in fake.journal[-1].headers


async def test_c12_error_detail_in_the_stream_fails_the_pull(fake: FakeEngine, engine: Engine) -> None:
    fake.state.registry[IMAGE] = Pullable("one", error="no space left on device")
    with pytest.raises(PullError, match=f"cannot pull {IMAGE}: no space left on device"):
        await pull(engine, IMAGE)
    assert IMAGE not in fake.state.images


async def test_c13_right_wrong_and_no_password(
    fake: FakeEngine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.state.registry[IMAGE] = Pullable("one", credentials=("u", SECRET))
    for wrong in (None, RegistryCredentials("reg.example.net", "u", "wrong-one")):
        with pytest.raises(PullError, match="authentication required") as caught:
            await pull(engine, IMAGE, wrong)
        assert "wrong-one" not in repr(caught.value)
    await pull(engine, IMAGE, CREDENTIALS)
    assert IMAGE in fake.state.images
    assert SECRET not in caplog.text
    assert "wrong-one" not in caplog.text


async def test_an_unknown_image_fails_with_the_words_of_the_registry(engine: Engine) -> None:
    with pytest.raises(PullError, match="manifest unknown"):
        await pull(engine, IMAGE)


async def test_an_engine_that_goes_away_in_the_middle(fake: FakeEngine, engine: Engine) -> None:
    fake.state.registry[IMAGE] = Pullable("one", gate=asyncio.Event())
    began = asyncio.Event()
    task = asyncio.create_task(pull(engine, IMAGE, on_progress=lambda _: began.set()))
    await began.wait()
    await fake.stop()
    with pytest.raises(EngineUnreachable):
        await task


async def test_a_pull_without_progress_ends(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "IDLE_S", 0.05)
    fake.state.registry[IMAGE] = Pullable("one", gate=asyncio.Event())
    with pytest.raises(EngineUnreachable, match="/images/create"):
        await pull(engine, IMAGE)


async def test_what_is_not_json_fails_the_pull(fake: FakeEngine, engine: Engine) -> None:
    fake.garbage["/images/create"] = b"<html>"
    with pytest.raises(PullError, match="not JSON"):
        await pull(engine, IMAGE)


async def test_a_long_pull_is_logged_now_and_then(
    fake: FakeEngine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake.state.registry[IMAGE] = Pullable("one")
    times = iter(range(0, 1000, 10))
    await pull(engine, IMAGE, monotonic_s=lambda: float(next(times)))
    texts = [record.getMessage() for record in caplog.records if record.name == pulling.__name__]
    assert texts[0] == f"pulling {IMAGE}"
    assert f"pulling {IMAGE}: 0 of 1 layers" in texts
    assert texts[-1] == f"pulled {IMAGE}: Status: Downloaded newer image for {IMAGE}"


async def test_the_engine_refusing_is_a_pull_error(fake: FakeEngine, engine: Engine) -> None:
    fake.faults.append(Fault("POST", "/images/create", status=500, message="disk full"))
    with pytest.raises(PullError, match="disk full"):
        await pull(engine, IMAGE)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"error": "old form"}, "old form"),
        ({"errorDetail": {"code": 401, "message": "new form"}}, "new form"),
        ({"errorDetail": {"message": "detail"}, "error": "short"}, "detail"),
        ({"errorDetail": {}}, "the engine gave no reason"),
        ({"status": "Downloading", "id": "x", "error": None}, None),
    ],
)
def test_c12_forms_of_errors(message: dict[str, Any], error: str | None) -> None:
    progress = PullProgress()
    progress.take(message)
    assert progress.error == error


def test_progress_counts_layers_and_bytes() -> None:
    progress = PullProgress()
    for layer, status, done in [
        ("a", "Pulling fs layer", 0),
        ("b", "Already exists", 0),
        ("a", "Downloading", 1_500_000),
    ]:
        progress.take(
            {"id": layer, "status": status, "progressDetail": {"current": done, "total": 3_000_000}}
        )
    assert str(progress) == "1 of 2 layers, 1.5 of 3.0 MB"
    progress.take({"id": "a", "status": "Pull complete", "progressDetail": {}})
    assert str(progress) == "2 of 2 layers, 3.0 of 3.0 MB"


def test_layers_without_end_take_no_memory_without_end() -> None:
    progress = PullProgress()
    for number in range(LAYERS_MAX + 1):
        progress.take({"id": str(number), "status": "Waiting"})
    assert str(progress) == f"0 of {LAYERS_MAX} layers"


@given(st.dictionaries(st.sampled_from(["status", "id", "progressDetail", "error", "errorDetail"]), st.one_of(
    st.none(), st.text(), st.integers(), st.sampled_from(["Downloading", "Pull complete"]),
    st.dictionaries(st.sampled_from(["current", "total", "message"]), st.none() | st.integers() | st.text()),
)))  # fmt: skip
def test_no_message_breaks_it(message: dict[str, Any]) -> None:
    progress = PullProgress()
    progress.take(message)
    assert str(progress)
