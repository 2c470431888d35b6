"""The order of work of a link that hands out locked messages, one step at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from edgehub.protocol.amqp_events import Disposed, Outcome
from iothub.amqp.locked_outbox import LockedOutbox, Taken
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub.protocol.amqp_errors import AmqpFault
    from edgehub.protocol.amqp_events import OutcomeKind


class FakeDelivery:
    """A delivery on its way."""

    def __init__(self) -> None:
        self.tag: object = None
        self.settled = False

    def settle(self) -> None:
        self.settled = True


class FakeLink:
    """A receiver with credit for a few messages, who gives no more."""

    name = "device"
    owner_settles = False

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.sent: list[FakeDelivery] = []
        self.closed_with: list[AmqpFault | None] = []

    def close(self, fault: AmqpFault | None = None) -> None:
        self.closed_with.append(fault)

    def send(self, _payload: bytes, *, tag: bytes) -> FakeDelivery:
        assert len(tag) == 16
        self.credit -= 1
        self.sent.append(FakeDelivery())
        return self.sent[-1]


class SlowSource:
    """One message, and a database that takes its time to find that there is no other."""

    def __init__(self) -> None:
        self.waiting = [Taken(UUID(int=1), b"m")]
        self.looking: asyncio.Future[None] | None = None
        self.failure: HubError | None = None
        self.settled: list[tuple[UUID, OutcomeKind]] = []
        self.released: list[UUID] = []

    def attach(self, _wake: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def take(self) -> Taken | None:
        if self.waiting:
            return self.waiting.pop()
        self.looking = asyncio.get_running_loop().create_future()
        await self.looking
        return None

    async def settle(self, token: UUID, outcome: OutcomeKind) -> None:
        if self.failure is not None:
            raise self.failure
        self.settled.append((token, outcome))

    def release(self, tokens: list[UUID]) -> None:
        self.released += tokens


async def pass_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def looking() -> tuple[LockedOutbox, FakeLink, SlowSource]:
    """A link whose message is on its way while the next one is looked for."""
    link, source = FakeLink(credit=2), SlowSource()
    outbox = LockedOutbox(cast("Any", link), source, lambda: None)
    outbox.on_credit()
    await pass_turns()
    assert len(link.sent) == 1
    assert source.looking is not None
    return outbox, link, source


def accepted(link: FakeLink) -> Disposed:
    return Disposed(cast("Any", link.sent[0]), Outcome("accepted"))


async def test_an_outcome_that_comes_while_the_queue_is_found_empty_is_stored() -> None:
    outbox, link, source = await looking()
    outbox.on_disposed(accepted(link))
    assert source.looking is not None
    source.looking.set_result(None)
    await pass_turns()
    assert source.settled == [(UUID(int=1), "accepted")]
    assert link.sent[0].settled


async def test_so_it_is_when_the_link_closes_meanwhile() -> None:
    outbox, link, source = await looking()
    outbox.on_disposed(accepted(link))
    outbox.on_closed()
    assert source.looking is not None
    source.looking.set_result(None)
    await pass_turns()
    assert source.settled == [(UUID(int=1), "accepted")]
    assert source.released == []


async def test_an_outcome_that_cannot_be_stored_is_not_settled() -> None:
    outbox, link, source = await looking()
    source.failure = HubError(ErrorCode.ServiceUnavailable, "The registry database does not answer.")
    outbox.on_disposed(accepted(link))
    assert source.looking is not None
    source.looking.set_result(None)
    await pass_turns()
    assert not link.sent[0].settled
    assert link.closed_with == [source.failure.fault()]
    assert source.released == [UUID(int=1)], "it comes again"


async def test_an_outcome_that_came_too_late_is_settled() -> None:
    outbox, link, source = await looking()
    source.failure = HubError(ErrorCode.DeviceMessageLockLost, "The lock on the message is over.")
    outbox.on_disposed(accepted(link))
    assert source.looking is not None
    source.looking.set_result(None)
    await pass_turns()
    assert link.sent[0].settled
    assert link.closed_with == []
