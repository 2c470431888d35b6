"""Incoming messages of an AMQP connection: put together from their frames, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cproton import ffi, lib  # type: ignore[import-untyped]

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import LinkClosed, Received
from edgehub.protocol.amqp_handles import AmqpDelivery

if TYPE_CHECKING:
    from edgehub.protocol.amqp_handles import AmqpLink, CPointer


class Transfers:
    """What `AmqpEngine` knows of messages that are not complete yet.

    :param message_bytes_max: larger messages detach their link.
    :ivar held_bytes: of incomplete messages of all links.
    """

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self.held_bytes = 0

    def take(self, link: AmqpLink, impl: CPointer, message_format: int) -> Received | LinkClosed | None:
        """Takes what has come of a delivery.

        :param message_format: of the frame, 0 if it names none.
        :returns: the message when it is complete, or the end of a link whose peer broke a limit.
        """
        if lib.pn_link_current(link.impl) != impl:
            return None  # a disposition for a delivery that was taken before
        if lib.pn_delivery_aborted(impl):
            self.drop(link)
            lib.pn_delivery_settle(impl)
            return None
        if message_format:
            link.message_format = message_format
        pending = lib.pn_delivery_pending(impl)
        if len(link.partial) + pending > self._message_bytes_max:
            text = f"a message may have {self._message_bytes_max} bytes"
            return self._break(link, AmqpFault(amqp_errors.MESSAGE_SIZE, text))
        if lib.pn_delivery_partial(impl):
            self._hold(link, pending)
            return None
        return self._finish(link, impl, pending)

    def drop(self, link: AmqpLink) -> None:
        """Forgets the incomplete message of a link."""
        self.held_bytes -= len(link.partial)
        link.partial = bytearray()
        link.message_format = 0

    def _hold(self, link: AmqpLink, pending: int) -> None:
        """Moves what has come out of proton, so that its session window opens again."""
        if pending:
            link.partial += _read(link, pending)
            self.held_bytes += pending

    def _finish(self, link: AmqpLink, impl: CPointer, pending: int) -> Received | LinkClosed:
        payload = bytes(_read(link, pending))
        message_format, link.message_format = link.message_format, 0
        if link.partial:
            payload = bytes(link.partial) + payload
            self.drop(link)
        lib.pn_link_advance(link.impl)
        if lib.pn_link_credit(link.impl) < 0:
            return self._break(
                link, AmqpFault(amqp_errors.TRANSFER_LIMIT, "a message was sent without credit")
            )
        settled = bool(lib.pn_delivery_settled(impl))
        return Received(link, AmqpDelivery(link, impl), payload, message_format, settled)

    def _break(self, link: AmqpLink, fault: AmqpFault) -> LinkClosed:
        """Detaches a link whose peer broke a limit."""
        self.drop(link)
        link.close(fault)
        return LinkClosed(link, fault)


def _read(link: AmqpLink, size: int) -> bytearray:
    buffer = bytearray(size)
    if size:
        lib.pn_link_recv(link.impl, ffi.from_buffer(buffer), size)
    return buffer
