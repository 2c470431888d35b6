"""Links on which we hand out what is locked until the receiver settles it: messages to a device, feedback.

Nothing is taken without credit, so nothing waits here. An outcome is settled after the database has it; what
is not settled when the link goes is handed out again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from edgehub.protocol.amqp_events import Disposed, OutcomeKind, Received
    from edgehub.protocol.amqp_handles import AmqpDelivery, AmqpLink

log = logging.getLogger(__name__)


class Taken(NamedTuple):
    """Something that was handed out."""

    token: UUID
    payload: bytes


class LockedSource(Protocol):
    """Where it comes from."""

    def attach(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Asks for a call whenever there may be something, until the returned function is called."""
        ...

    async def take(self) -> Taken | None:
        """The next one, locked; None if there is none."""
        ...

    async def settle(self, token: UUID, outcome: OutcomeKind) -> None:
        """What the receiver decided.

        :raises HubError: the lock is over.
        """
        ...

    def release(self, tokens: list[UUID]) -> None:
        """The receiver is gone."""
        ...


class LockedOutbox:
    """One link's handler. Its work is done by one task, in order: outcomes first, then what comes next.

    :param touched: called after a change that no input caused, so that bytes get written.
    """

    def __init__(self, link: AmqpLink, source: LockedSource, touched: Callable[[], None]) -> None:
        self._link = link
        self._source = source
        self._touched = touched
        self._outcomes: deque[tuple[AmqpDelivery, OutcomeKind]] = deque()
        self._held: dict[UUID, AmqpDelivery] = {}
        self._more = True
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        link.owner_settles = True
        self._detach = source.attach(self._wake)

    def _wake(self) -> None:
        self._more = True
        self._work()

    def on_message(self, event: Received) -> None:
        """We only send here."""

    def on_credit(self) -> None:
        """The receiver has room."""
        self._wake()

    def on_disposed(self, event: Disposed) -> None:
        """The receiver decided."""
        self._outcomes.append((event.delivery, event.outcome.kind))
        self._work()

    def on_closed(self) -> None:
        """What was not settled is handed out again; outcomes that came are still written."""
        self._closed = True
        self._detach()
        self._work()

    def _work(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while await self._step():
                pass
        except HubError as error:
            log.warning("link %s is closed: %s", self._link.name, error)
            self._fail(error.fault())
        except Exception:
            log.exception("messages cannot be handed out on link %s", self._link.name)
            self._fail(AmqpFault(amqp_errors.INTERNAL_ERROR, "the hub has a fault"))
        finally:
            self._task = None
            if self._closed:
                held, self._held = list(self._held), {}
                self._source.release(held)
            self._touched()

    def _fail(self, fault: AmqpFault) -> None:
        self._link.close(fault)
        self._closed = True
        self._detach()

    async def _step(self) -> bool:
        """One outcome, or one more to hand out; False if there is neither."""
        if self._outcomes:
            await self._settle(*self._outcomes.popleft())
            return True
        if self._closed or not self._more or self._link.credit <= 0:
            return False
        self._more = False
        taken = await self._source.take()
        if taken is None:
            # Meanwhile somebody may have woken us, or the receiver decided.
            return self._more or bool(self._outcomes)
        self._more = True
        self._hand_out(taken)
        return True

    def _hand_out(self, taken: Taken) -> None:
        delivery = None if self._closed else self._link.send(taken.payload, tag=taken.token.bytes)
        if delivery is None:
            self._source.release([taken.token])
            return
        delivery.tag = taken.token
        self._held[taken.token] = delivery
        self._touched()

    async def _settle(self, delivery: AmqpDelivery, outcome: OutcomeKind) -> None:
        token = delivery.tag
        if token not in self._held:
            return
        try:
            await self._source.settle(token, outcome)
        except HubError as error:
            if error.code is not ErrorCode.DeviceMessageLockLost:
                # Not stored, so the receiver must not believe it is.
                raise
            log.info("%s on link %s came too late: %s", outcome, self._link.name, error)
        del self._held[token]
        delivery.settle()
        self._touched()
