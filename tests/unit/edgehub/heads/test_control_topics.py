"""Publishes of MQTT clients to control topics (heads spec 1.7, 1.8, M-048; DEV-7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.common.state import StateError
from edgehub.errors import EdgehubError
from edgehub.heads import control_topics
from testkit.fake_core import PublishEvent
from testkit.head_bench import HeadBench

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.common.ids import IdentityId

GET = "$iothub/twin/GET/?$rid={}"
PATCH = "$iothub/twin/PATCH/properties/reported/"


@pytest.fixture
def bench() -> HeadBench:
    found = HeadBench()
    found.connect(1, "leaf")
    return found


def replace_twins(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch, name: str, step: Callable[..., Any]
) -> None:
    monkeypatch.setattr(bench.twins, name, step)


async def test_m_045_m_052_a_read_is_acknowledged_and_then_answered(bench: HeadBench) -> None:
    assert bench.feed(PublishEvent(1, 9, GET.format("r1"), b" ", 1)) == ["puback 1 9"]
    assert await bench.settle() == [
        'send 1 $iothub/twin/res/200/?$rid=r1 b\'{"desired":{},"reported":{}}\' qos1'
    ]
    assert bench.feed(PublishEvent(1, 0, GET.format("ä%20&x=1"), b"")) == ["request_done 1"]
    (call,) = await bench.settle()
    assert call.startswith("send 1 $iothub/twin/res/200/?$rid=ä%20 ")


async def test_m_046_a_patch_is_answered_and_acknowledged_when_it_is_stored(bench: HeadBench) -> None:
    stored = asyncio.Event()

    async def report(identity: IdentityId, payload: bytes) -> None:
        assert (str(identity), payload) == ("leaf", b'{"a":1}')
        await stored.wait()

    with pytest.MonkeyPatch.context() as monkeypatch:
        replace_twins(bench, monkeypatch, "report", report)
        bench.feed(PublishEvent(1, 4, PATCH + "?$rid=r2&$version=3", b'{"a":1}', 1))
        assert await bench.settle() == []
        stored.set()
        assert await bench.settle() == ["send 1 $iothub/twin/res/204/?$rid=r2 b'' qos1", "puback 1 4"]


async def test_a_patch_is_read_back(bench: HeadBench) -> None:
    bench.feed(PublishEvent(1, 4, PATCH + "?$rid=r2", b'{"a":{"b":[1]},"c":null}', 1))
    assert await bench.settle() == ["send 1 $iothub/twin/res/204/?$rid=r2 b'' qos1", "puback 1 4"]
    bench.feed(PublishEvent(1, 5, GET.format("r3"), b"", 1))
    (call,) = await bench.settle()
    assert '{"desired":{},"reported":{"a":{"b":[1]}}}' in call


async def test_m_048_a_patch_without_request_id_is_acknowledged(bench: HeadBench) -> None:
    bench.feed(PublishEvent(1, 3, PATCH, b"{}", 1))
    assert await bench.settle() == ["puback 1 3"]
    bench.feed(PublishEvent(1, 0, PATCH, b"{"))
    assert await bench.settle() == ["request_done 1"]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"a.b":1}', b'{"a":[null]}'])
async def test_m_047_a_bad_patch_is_answered_with_400(bench: HeadBench, payload: bytes) -> None:
    bench.feed(PublishEvent(1, 4, PATCH + "?$rid=r", payload, 1))
    assert await bench.settle() == ["send 1 $iothub/twin/res/400/?$rid=r b'' qos1", "puback 1 4"]


@pytest.mark.parametrize("error", [StateError("no disk"), EdgehubError("too much waits")])
async def test_what_cannot_be_stored_is_answered_with_500(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch, error: EdgehubError
) -> None:
    async def report(identity: IdentityId, payload: bytes) -> None:
        raise error

    replace_twins(bench, monkeypatch, "report", report)
    bench.feed(PublishEvent(1, 4, PATCH + "?$rid=r", b"{}", 1))
    assert await bench.settle() == ["send 1 $iothub/twin/res/500/?$rid=r b'' qos1", "puback 1 4"]


async def test_a_twin_that_cannot_be_read_is_answered_with_500(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(identity: IdentityId) -> bytes:
        raise StateError("no disk")

    replace_twins(bench, monkeypatch, "get", get)
    bench.feed(PublishEvent(1, 4, GET.format("r"), b"", 1))
    assert await bench.settle() == ["send 1 $iothub/twin/res/500/?$rid=r b'' qos1"]


async def test_a_slow_read_holds_nothing_back_until_there_are_many(
    bench: HeadBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def get(identity: IdentityId) -> bytes:
        await answered.wait()
        return b"twin"

    monkeypatch.setattr(control_topics, "READS_MAX", 2)
    replace_twins(bench, monkeypatch, "get", get)
    for packet_id in (1, 2):
        assert bench.feed(PublishEvent(1, packet_id, GET.format(packet_id), b"", 1)) == [
            f"puback 1 {packet_id}"
        ]
    bench.feed(PublishEvent(1, 3, PATCH + "?$rid=3", b"{}", 1))
    assert await bench.settle() == ["send 1 $iothub/twin/res/204/?$rid=3 b'' qos1", "puback 1 3"]
    bench.feed(PublishEvent(1, 4, GET.format(4), b"", 1), PublishEvent(1, 5, PATCH + "?$rid=5", b"{}", 1))
    assert await bench.settle() == [], "the third read, and what is behind it"
    answered.set()
    assert await bench.settle() == [
        "send 1 $iothub/twin/res/200/?$rid=1 b'twin' qos1",
        "send 1 $iothub/twin/res/200/?$rid=2 b'twin' qos1",
        "send 1 $iothub/twin/res/200/?$rid=4 b'twin' qos1",
        "puback 1 4",
        "send 1 $iothub/twin/res/204/?$rid=5 b'' qos1",
        "puback 1 5",
    ]
    assert bench.feed(PublishEvent(1, 6, GET.format(6), b"", 1)) == ["puback 1 6"]
    await bench.settle()


@pytest.mark.parametrize("topic", ["$iothub/twin/GET/", "$iothub/twin/PUT/?$rid=1", "$iothub/twin/"])
async def test_bad_twin_requests_close(bench: HeadBench, topic: str) -> None:
    (call,) = bench.feed(PublishEvent(1, 3, topic, b"", 1))
    assert call.startswith("close 1 bad topic")


@pytest.mark.parametrize(
    "topic", ["$iothub/methods/res/200/?$rid=1", "$iothub/methods/res/200/", "$iothub/other", "$iothub/"]
)
async def test_other_control_topics_are_acknowledged(bench: HeadBench, topic: str) -> None:
    assert bench.feed(PublishEvent(1, 3, topic, b"", 1)) == ["puback 1 3"]
    assert bench.feed(PublishEvent(1, 0, topic)) == ["request_done 1"]


async def test_m_051_desired_patches_go_to_the_connection_of_the_identity(bench: HeadBench) -> None:
    identity = next(iter(bench.connections)).identity
    bench.head.deliver_desired(identity, 7, b'{"a":1}')
    bench.head.deliver_desired(identity, None, b"{}")
    bench.head.deliver_desired(identity._replace(device_id="nobody"), 7, b"{}")
    assert bench.calls() == [
        "send 1 $iothub/twin/PATCH/properties/desired/?$version=7 b'{\"a\":1}' qos1",
        "send 1 $iothub/twin/PATCH/properties/desired/ b'{}' qos1",
    ]
