"""Publishes of MQTT clients to `$iothub/...`: requests about their twin, and answers to method calls.

Rules: heads spec 1.7, 1.8. A reported patch is answered and acknowledged once it is stored. Reading a twin
may have to wait for the parent hub, so it is acknowledged at once and answered when it is done, apart from
what the client asks for next.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edgehub.common.method_calls import MethodAnswer
from edgehub.protocol.topics import (
    METHOD_RESPONSE_PREFIX,
    METHOD_STATUS_UNREADABLE,
    TWIN_PREFIX,
    TopicError,
    TwinOperation,
    TwinRequest,
    parse_method_response,
    parse_twin_topic,
    twin_response_topic,
)

if TYPE_CHECKING:
    from edgehub._core import PublishEvent
    from edgehub.common.ids import IdentityId
    from edgehub.heads.backend import MethodAnswers, TwinAnswer, TwinRequests
    from edgehub.heads.base import Step
    from edgehub.heads.connections import Client
    from edgehub.hub.ports import SessionCore

CONTROL_QOS: Final = 1
"""Quality of service of answers, capped by the client's subscription."""
READS_MAX: Final = 64
"""Reads of one connection that may wait for the parent hub; at one more, its next requests wait, too."""

log = logging.getLogger(__name__)


class ControlTopics:
    """Answers publishes to control topics; one at a time for each connection, but for reads of twins.

    :param closes_unknown: whether a topic that nobody serves ends the connection.
    """

    def __init__(
        self, core: SessionCore, twins: TwinRequests, methods: MethodAnswers, *, closes_unknown: bool = False
    ) -> None:
        self._closes_unknown = closes_unknown
        self._core = core
        self._twins = twins
        self._methods = methods
        self._reading: dict[int, set[asyncio.Task[None]]] = {}

    def publish(self, client: Client, event: PublishEvent) -> Step:
        """One publish."""
        try:
            step = self._serve(client, event)
        except TopicError as error:
            log.warning("Client %s: %s in topic %s", client.identity, error, event.topic)
            if error.closes:
                self._core.close(event.conn, f"bad topic: {error}")
                return None
            step = None
        if step is None:
            self._acknowledge(event)
        return step

    async def drain(self) -> None:
        """Waits for the reads that are under way."""
        reads = [task for tasks in self._reading.values() for task in tasks]
        await asyncio.gather(*reads, return_exceptions=True)

    def reads_of(self, conn: int) -> frozenset[asyncio.Task[None]]:
        """Reads of one connection that are under way."""
        return frozenset(self._reading.get(conn, ()))

    def _serve(self, client: Client, event: PublishEvent) -> Step:
        if event.topic.startswith(TWIN_PREFIX):
            request = parse_twin_topic(event.topic)
            if request.operation is TwinOperation.PATCH_REPORTED:
                return self._report(client.identity, event, request)
            return self._begin_read(client.identity, event, request.rid or "")
        if event.topic.startswith(METHOD_RESPONSE_PREFIX):
            self._method_answered(client.identity, event)
        else:
            raise TopicError("unknown control topic", closes=self._closes_unknown)
        return None

    def _method_answered(self, identity: IdentityId, event: PublishEvent) -> None:
        response = parse_method_response(event.topic)
        # What cannot be read as a status cannot be trusted with a payload either (M-044).
        payload = b"" if response.status == METHOD_STATUS_UNREADABLE else event.payload
        if not self._methods.answered(identity, response.rid, MethodAnswer(response.status, payload)):
            log.info("Client %s: no call waits for the method response %.100s", identity, response.rid)

    async def _report(self, identity: IdentityId, event: PublishEvent, request: TwinRequest) -> None:
        answer = await self._twins.report(identity, event.payload, request.version)
        if request.rid is not None:
            self._answer(event.conn, request.rid, answer)
        self._acknowledge(event)

    def _begin_read(self, identity: IdentityId, event: PublishEvent, rid: str) -> Step:
        if len(self._reading.get(event.conn, ())) >= READS_MAX:
            return self._read_and_acknowledge(identity, event, rid)
        task = asyncio.create_task(self._read(identity, event.conn, rid))
        # Counted here and not in the task: many may be made before any of them runs.
        self._reading.setdefault(event.conn, set()).add(task)
        task.add_done_callback(lambda task: self._read_ended(event.conn, task))
        return None

    def _read_ended(self, conn: int, task: asyncio.Task[None]) -> None:
        self._reading[conn].discard(task)
        if not self._reading[conn]:
            del self._reading[conn]

    async def _read_and_acknowledge(self, identity: IdentityId, event: PublishEvent, rid: str) -> None:
        await self._read(identity, event.conn, rid)
        self._acknowledge(event)

    async def _read(self, identity: IdentityId, conn: int, rid: str) -> None:
        self._answer(conn, rid, await self._twins.get(identity))

    def _answer(self, conn: int, rid: str, answer: TwinAnswer) -> None:
        topic = twin_response_topic(answer.status, rid, answer.version)
        self._core.send(conn, topic, answer.body, CONTROL_QOS)

    def _acknowledge(self, event: PublishEvent) -> None:
        if event.packet_id != 0:
            self._core.puback(event.conn, event.packet_id)
        else:
            self._core.request_done(event.conn)
