"""Sessions, links and deliveries of an `AmqpEngine`, as thin handles on proton's C objects.

A handle owns a reference to its C object where proton may free it first, and knows when it is no longer
valid: using a handle of a closed link does nothing, it never touches freed memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import cproton  # type: ignore[import-untyped]
from cproton import ffi, lib

from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.protocol.amqp_events import Outcome
from edgehub.protocol.amqp_frames import tag_with_format
from edgehub.protocol.amqp_types import AmqpDecodeError, Symbol, decode_value, encode_value

if TYPE_CHECKING:
    from edgehub.protocol.amqp_engine import AmqpEngine

CPointer: TypeAlias = Any
"""A pointer into proton's C library; only this module and the engine hold one."""

_DESCRIPTION_CHARS_MAX: Final = 1024
SettleMode = Literal["unsettled", "settled", "mixed"]
RcvSettleMode = Literal["first", "second"]
_SND_MODES: Final = {
    "unsettled": cproton.PN_SND_UNSETTLED,
    "settled": cproton.PN_SND_SETTLED,
    "mixed": cproton.PN_SND_MIXED,
}
_RCV_MODES: Final = {"first": cproton.PN_RCV_FIRST, "second": cproton.PN_RCV_SECOND}


def pointer_key(impl: CPointer) -> int:
    """Address of a C object, as a dictionary key."""
    return int(ffi.cast("uint64_t", impl))


def read_fault(condition: CPointer) -> AmqpFault | None:
    """Error condition sent by the peer, if one is set. Text that is not UTF-8 is shown as well as it can
    be."""
    if not lib.pn_condition_is_set(condition):
        return None
    name = lib.pn_condition_get_name(condition)
    text = lib.pn_condition_get_description(condition)
    return AmqpFault(_c_text(name), _c_text(text)[:_DESCRIPTION_CHARS_MAX])


def _c_text(chars: CPointer) -> str:
    return "" if chars == ffi.NULL else bytes(ffi.string(chars)).decode("utf-8", "replace")


def write_fault(condition: CPointer, fault: AmqpFault) -> None:
    """Sets our error condition on an endpoint or a disposition."""
    cproton.pn_condition_set_name(condition, fault.condition)
    if fault.description:
        text = fault.description.replace("\x00", " ")[:_DESCRIPTION_CHARS_MAX]
        cproton.pn_condition_set_description(condition, text)


def read_data(data: CPointer) -> CPointer:
    """Value in one of proton's data objects, None when there is none or it cannot be read."""
    if data == ffi.NULL:
        return None
    lib.pn_data_rewind(data)
    size = lib.pn_data_encoded_size(data)
    if size <= 0:
        return None
    buffer = bytearray(size)
    count = lib.pn_data_encode(data, ffi.from_buffer(buffer), size)
    if count <= 0:
        return None
    try:
        return decode_value(bytes(buffer[:count]), 0, count)[0]
    except AmqpDecodeError:
        return None


def write_data(data: CPointer, value: CPointer) -> None:
    """Puts a value into one of proton's data objects."""
    encoded = encode_value(value)
    lib.pn_data_clear(data)
    lib.pn_data_decode(data, ffi.from_buffer(encoded), len(encoded))


class AmqpSession:
    """One session. `tag` is free for the owner of the engine."""

    __slots__ = ("closing", "engine", "impl", "key", "tag", "valid")

    def __init__(self, engine: AmqpEngine, impl: CPointer) -> None:
        self.engine = engine
        self.impl = impl
        self.key = pointer_key(impl)
        self.valid = True
        self.closing = False
        self.tag: Any = None

    @property
    def locally_new(self) -> bool:
        """Whether the peer started this session and we have not answered."""
        return self.valid and bool(lib.pn_session_state(self.impl) & cproton.PN_LOCAL_UNINIT)

    def open(self) -> None:
        """Begins, or answers the peer's begin."""
        if self.valid:
            lib.pn_session_open(self.impl)

    def close(self, fault: AmqpFault | None = None) -> None:
        """Ends the session and with it its links, which are not reported. Idempotent."""
        if not self.valid or self.closing:
            return
        self.closing = True
        self.engine.close_links_of(self)
        if fault is not None:
            write_fault(lib.pn_session_condition(self.impl), fault)
        lib.pn_session_close(self.impl)

    def invalidate(self) -> None:
        """For the engine: both sides have ended the session and its links are gone."""
        if self.valid:
            self.valid = False
            lib.pn_session_free(self.impl)

    def attach_sender(
        self, name: str, target: str, *, properties: dict[str, Any] | None = None, settled: bool = False
    ) -> AmqpLink:
        """Starts a link we send on."""
        link = self.engine.adopt_link(self, cproton.pn_sender(self.impl, name))
        mode: SettleMode = "settled" if settled else "unsettled"
        link.open(target=target, source=name, snd_settle_mode=mode, properties=properties)
        return link

    def attach_receiver(
        self, name: str, source: str, *, properties: dict[str, Any] | None = None, credit: int = 0
    ) -> AmqpLink:
        """Starts a link we receive on."""
        link = self.engine.adopt_link(self, cproton.pn_receiver(self.impl, name))
        link.open(source=source, target=name, properties=properties)
        link.grant(credit)
        return link


class AmqpLink:
    """One link, in either direction. `tag` is free for the owner of the engine.

    :ivar remote_refused: the peer answered our attach with a null terminus; a detach with the reason follows.
    :ivar owner_settles: set it on a link we send on to settle deliveries yourself, after what their outcome
        asks for is done. Else they are settled with the outcome.
    """

    __slots__ = (
        "_remote_properties",
        "closing",
        "engine",
        "impl",
        "is_sender",
        "key",
        "message_format",
        "name",
        "owner_settles",
        "partial",
        "remote_refused",
        "session",
        "tag",
        "unsettled",
        "valid",
    )

    def __init__(self, engine: AmqpEngine, session: AmqpSession, impl: CPointer) -> None:
        self.engine = engine
        self.session = session
        self.impl = impl
        self.key = pointer_key(impl)
        self.name = cproton.pn_link_name(impl) or ""
        self.is_sender = bool(lib.pn_link_is_sender(impl))
        self.valid = True
        self.closing = False
        self.partial = bytearray()
        self.message_format = 0
        self.remote_refused = False
        self.owner_settles = False
        self.unsettled: dict[int, AmqpDelivery] = {}
        self.tag: Any = None
        self._remote_properties: dict[Any, Any] | None = None

    @property
    def locally_new(self) -> bool:
        """Whether the peer started this link and we have not answered."""
        return self.valid and bool(lib.pn_link_state(self.impl) & cproton.PN_LOCAL_UNINIT)

    @property
    def remote_source(self) -> str | None:
        """Source address in the peer's attach."""
        return _address(lib.pn_link_remote_source(self.impl)) if self.valid else None

    @property
    def remote_target(self) -> str | None:
        """Target address in the peer's attach."""
        return _address(lib.pn_link_remote_target(self.impl)) if self.valid else None

    @property
    def remote_properties(self) -> dict[Any, Any]:
        """Properties in the peer's attach."""
        if self._remote_properties is None:
            found = read_data(lib.pn_link_remote_properties(self.impl)) if self.valid else None
            self._remote_properties = found if isinstance(found, dict) else {}
        return self._remote_properties

    @property
    def remote_snd_settled(self) -> bool:
        """Whether the peer, being the sender, asked for pre-settled deliveries."""
        return self.valid and bool(lib.pn_link_remote_snd_settle_mode(self.impl) == cproton.PN_SND_SETTLED)

    @property
    def remote_rcv_settle_mode(self) -> RcvSettleMode:
        """When the peer, being the receiver, settles: with its outcome, or after us."""
        second = self.valid and lib.pn_link_remote_rcv_settle_mode(self.impl) == cproton.PN_RCV_SECOND
        return "second" if second else "first"

    @property
    def remote_message_bytes_max(self) -> int:
        """Largest message the peer takes, 0 for no limit."""
        return int(lib.pn_link_remote_max_message_size(self.impl)) if self.valid else 0

    @property
    def credit(self) -> int:
        """Messages that may still be sent or that the peer may still send."""
        return int(lib.pn_link_credit(self.impl)) if self.valid else 0

    def grant(self, count: int) -> None:
        """Receiver: lets the peer send `count` more messages."""
        if self.valid and not self.closing and count > 0:
            lib.pn_link_flow(self.impl, count)

    def open(
        self,
        *,
        source: str | None = None,
        target: str | None = None,
        snd_settle_mode: SettleMode | None = None,
        rcv_settle_mode: RcvSettleMode = "first",
        message_bytes_max: int = 0,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Attaches; for a link of the peer, termini that are not given are echoed."""
        if not self.valid:
            return
        impl = self.impl
        _set_terminus(lib.pn_link_source(impl), lib.pn_link_remote_source(impl), source)
        _set_terminus(lib.pn_link_target(impl), lib.pn_link_remote_target(impl), target)
        if snd_settle_mode is not None:
            lib.pn_link_set_snd_settle_mode(impl, _SND_MODES[snd_settle_mode])
        lib.pn_link_set_rcv_settle_mode(impl, _RCV_MODES[rcv_settle_mode])
        if message_bytes_max:
            lib.pn_link_set_max_message_size(impl, message_bytes_max)
        if properties:
            write_data(lib.pn_link_properties(impl), {Symbol(k): v for k, v in properties.items()})
        lib.pn_link_open(impl)

    def refuse(self, fault: AmqpFault) -> None:
        """Answers an attach with a null terminus and a detach that says why (part 2, 2.6.3)."""
        if not self.valid:
            return
        impl = self.impl
        if self.is_sender:
            lib.pn_terminus_copy(lib.pn_link_target(impl), lib.pn_link_remote_target(impl))
            lib.pn_terminus_set_type(lib.pn_link_source(impl), cproton.PN_UNSPECIFIED)
        else:
            lib.pn_terminus_copy(lib.pn_link_source(impl), lib.pn_link_remote_source(impl))
            lib.pn_terminus_set_type(lib.pn_link_target(impl), cproton.PN_UNSPECIFIED)
        lib.pn_link_open(impl)
        self.close(fault)

    def close(self, fault: AmqpFault | None = None) -> None:
        """Detaches with `closed`; the link is freed once the peer has answered. Idempotent."""
        if not self.valid or self.closing:
            return
        self.closing = True
        if fault is not None:
            write_fault(lib.pn_link_condition(self.impl), fault)
        lib.pn_link_close(self.impl)

    def note_attached(self) -> None:
        """For the engine: the peer's attach came."""
        terminus = lib.pn_link_remote_target if self.is_sender else lib.pn_link_remote_source
        self.remote_refused = lib.pn_terminus_get_type(terminus(self.impl)) == cproton.PN_UNSPECIFIED

    def invalidate(self) -> None:
        """For the engine: the link is gone, nothing may touch its C object from here on."""
        if not self.valid:
            return
        self.valid = False
        for delivery in self.unsettled.values():
            delivery.impl = None
        self.unsettled.clear()
        self.partial = bytearray()
        lib.pn_link_free(self.impl)

    def send(
        self, payload: bytes, *, message_format: int = 0, tag: bytes | None = None, settled: bool = False
    ) -> AmqpDelivery | None:
        """Sends one message; without credit proton queues it, so check `credit` first.

        :param tag: delivery tag of at most 32 bytes, not `FORMAT_TAG_BYTES` long; by default a number.
        :returns: the delivery that a `Disposed` event will name, or None when sent settled or the link is
            closed.
        """
        if not self.valid or self.closing:
            return None
        if message_format:
            tag = tag_with_format(self.engine.next_tag(), message_format)
        elif tag is None:
            tag = self.engine.next_tag().to_bytes(8, "big")
        impl = lib.pn_delivery(self.impl, (len(tag), ffi.from_buffer(tag)))
        lib.pn_link_send(self.impl, ffi.from_buffer(payload), len(payload))
        lib.pn_link_advance(self.impl)
        if settled:
            lib.pn_delivery_settle(impl)
            return None
        return AmqpDelivery(self, impl)

    def send_settled(self, payload: bytes) -> None:
        """Sends one message the receiver need not acknowledge."""
        self.send(payload, settled=True)


def _address(terminus: CPointer) -> str | None:
    address: str | None
    try:
        address = cproton.pn_terminus_get_address(terminus)
    except UnicodeDecodeError:
        return None
    return address


def _set_terminus(terminus: CPointer, remote: CPointer, address: str | None) -> None:
    if address is not None:
        cproton.pn_terminus_set_address(terminus, address)
    else:
        lib.pn_terminus_copy(terminus, remote)


class AmqpDelivery:
    """One message in flight. `tag` is free for the owner of the engine.

    :ivar decided: for the engine: a `Disposed` event was given for it.
    """

    __slots__ = ("decided", "impl", "link", "tag")

    def __init__(self, link: AmqpLink, impl: CPointer) -> None:
        self.link = link
        self.impl: Any = impl
        self.tag: Any = None
        self.decided = False
        link.unsettled[pointer_key(impl)] = self

    @property
    def valid(self) -> bool:
        """Whether a disposition can still be sent."""
        return self.impl is not None

    def accept(self) -> None:
        """Receiver: the message is stored; settles."""
        if self.impl is not None:
            lib.pn_delivery_update(self.impl, cproton.PN_ACCEPTED)
            self.settle()

    def release(self) -> None:
        """Receiver: the message was not taken and may be sent again; settles."""
        if self.impl is not None:
            lib.pn_delivery_update(self.impl, cproton.PN_RELEASED)
            self.settle()

    def reject(self, fault: AmqpFault) -> None:
        """Receiver: the message is refused; settles."""
        if self.impl is not None:
            write_fault(lib.pn_disposition_condition(lib.pn_delivery_local(self.impl)), fault)
            lib.pn_delivery_update(self.impl, cproton.PN_REJECTED)
            self.settle()

    def settle(self) -> None:
        """Forgets the delivery on this side."""
        impl, self.impl = self.impl, None
        if impl is not None:
            self.link.unsettled.pop(pointer_key(impl), None)
            lib.pn_delivery_settle(impl)

    def read_outcome(self) -> Outcome | None:
        """For the engine: the receiver's decision, None while it is open."""
        state = lib.pn_delivery_remote_state(self.impl)
        if state == cproton.PN_ACCEPTED:
            return Outcome("accepted")
        if state == cproton.PN_REJECTED:
            return Outcome(
                "rejected", read_fault(lib.pn_disposition_condition(lib.pn_delivery_remote(self.impl)))
            )
        if state == cproton.PN_RELEASED:
            return Outcome("released")
        if state == cproton.PN_MODIFIED:
            return Outcome("modified")
        return Outcome("settled") if lib.pn_delivery_settled(self.impl) else None
