"""What the parent hub hears when serving its calls and messages goes wrong here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from edgehub.protocol.cloud_messages import CloudMessage, Settlement
from edgehub.upstream import message_links
from edgehub.upstream.message_channel import ParentMessage
from edgehub.upstream.message_links import MessageLinks
from edgehub.upstream.method_channel import MethodRequest
from edgehub.upstream.method_links import MethodLinks

if TYPE_CHECKING:
    import pytest


class Channel:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.settlements: list[Settlement] = []
        self.told = asyncio.Event()

    def answer(self, _request: MethodRequest, status: int, payload: bytes) -> bool:
        self.answers.append((status, payload))
        self.told.set()
        return True

    def settle(self, _message: ParentMessage, settlement: Settlement) -> bool:
        self.settlements.append(settlement)
        self.told.set()
        return True

    async def heard(self) -> None:
        async with asyncio.timeout(30):
            await self.told.wait()


async def broken(*_parts: Any) -> Any:
    raise ValueError("a fault")


async def test_a_call_that_fails_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    links, channel = MethodLinks(lambda: None, lambda: None), Channel()
    links.serve_with(broken)
    links.requested(cast("Any", channel), MethodRequest("leaf", 1, "reset", b"null"))
    await channel.heard()
    assert channel.answers == [(500, b"")]
    assert "A call of the parent hub to leaf failed" in caplog.text


async def test_a_message_that_fails_goes_back_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(message_links, "FAULT_WAIT_S", 0.0)
    links, channel = MessageLinks(lambda: None, lambda: None), Channel()
    links.serve_with(broken)
    links.received(cast("Any", channel), ParentMessage("leaf", CloudMessage(b""), cast("Any", None)))
    await channel.heard()
    assert channel.settlements == [Settlement.NOTHING]
    assert "A message of the parent hub for leaf failed" in caplog.text


async def test_a_message_of_a_hub_that_stops_goes_back() -> None:
    links, channel = MessageLinks(lambda: None, lambda: None), Channel()
    started = asyncio.Event()

    async def waits(*_parts: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    links.serve_with(waits)
    links.received(cast("Any", channel), ParentMessage("leaf", CloudMessage(b""), cast("Any", None)))
    await started.wait()
    await links.stop()
    assert channel.settlements == [Settlement.NOTHING]
