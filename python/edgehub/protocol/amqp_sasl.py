"""The SASL layer of AMQP 1.0 (part 5, 5.3), both sides, as bytes in and bytes out.

Proton's own SASL layer offers neither `MSSBCBS` nor a way to judge a PLAIN password in Python, so the layer
is run here and proton only sees what follows it. A password is judged by the owner of `SaslServer`, at
leisure: input that a hasty client sends meanwhile is kept, up to `_PENDING_BYTES_MAX`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edgehub.protocol.amqp_message import describe_list
from edgehub.protocol.amqp_types import (
    AmqpDecodeError,
    Described,
    Symbol,
    SymbolArray,
    Ubyte,
    Value,
    decode_value,
)

SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
FRAME_BYTES_MAX: Final = 65536
"""Largest SASL frame taken: a PLAIN password is a SAS token and may pass the 512 bytes of the standard."""

_PENDING_BYTES_MAX: Final = 131072
_MECHANISMS, _INIT, _CHALLENGE, _RESPONSE, _OUTCOME = 0x40, 0x41, 0x42, 0x43, 0x44
CODE_OK: Final = 0
CODE_AUTH: Final = 1
_OUTCOME_TEXTS: Final = {
    1: "the credentials are not right",
    2: "the server has a fault",
    3: "the server has a permanent fault",
    4: "the server has a temporary fault",
}


class SaslError(AmqpDecodeError):
    """The SASL exchange failed; the connection cannot go on."""


class PlainCredentials(NamedTuple):
    """What a PLAIN initial response holds (RFC 4616)."""

    user: str
    password: str


def _frame(body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body


class _FrameBuffer:
    """Collects SASL frames from arbitrarily cut input."""

    def __init__(self) -> None:
        self.buffered = b""

    def next_body(self) -> bytes | None:
        """Body of the next complete frame, or None until there is one.

        :raises SaslError: not a SASL frame, or too large.
        """
        data = self.buffered
        if len(data) < 8:
            return None
        size = int.from_bytes(data[:4], "big")
        if not 8 <= size <= FRAME_BYTES_MAX:
            raise SaslError(f"a SASL frame of {size} bytes; 8 to {FRAME_BYTES_MAX} are allowed")
        start = 4 * data[4]
        if data[5] != 1 or not 8 <= start <= size:
            raise SaslError("this is not a SASL frame")
        if len(data) < size:
            return None
        self.buffered = data[size:]
        return data[start:size]


def _performative(body: bytes) -> tuple[int, list[Any]]:
    value, end = decode_value(body, 0, len(body))
    if end != len(body) or not isinstance(value, Described) or not isinstance(value.value, list):
        raise SaslError("a SASL frame must hold one performative")
    if not isinstance(value.descriptor, int):
        raise SaslError("unknown SASL performative")
    return int(value.descriptor), value.value


class SaslServer:
    """Server side. Feed bytes after the SASL header; ask `credentials`, answer with `decide`.

    :param mechanisms: names offered, in order.
    """

    def __init__(self, mechanisms: tuple[str, ...]) -> None:
        self._mechanisms = mechanisms
        self._frames = _FrameBuffer()
        self._out = SASL_HEADER + _frame(describe_list(_MECHANISMS, [SymbolArray(mechanisms)]))
        self.mechanism: str | None = None
        self.credentials: PlainCredentials | None = None
        self.outcome: int | None = None

    @property
    def awaits_decision(self) -> bool:
        """Whether PLAIN credentials wait for `decide`."""
        return self.mechanism is not None and self.outcome is None

    def feed(self, data: bytes) -> None:
        """Takes received bytes.

        :raises SaslError: the peer broke the protocol.
        """
        self._frames.buffered += data
        if self.outcome is None and self.mechanism is None:
            body = self._frames.next_body()
            if body is not None:
                self._on_init(body)
        if self.outcome is None and len(self._frames.buffered) > _PENDING_BYTES_MAX:
            raise SaslError("too many bytes before the SASL outcome")

    def decide(self, accepted: bool) -> None:
        """Ends the exchange with an outcome frame."""
        self.outcome = CODE_OK if accepted else CODE_AUTH
        self._out += _frame(describe_list(_OUTCOME, [Ubyte(self.outcome)]))

    def _on_init(self, body: bytes) -> None:
        code, fields = _performative(body)
        if code != _INIT or not fields:
            raise SaslError("expected sasl-init")
        name = fields[0]
        response = fields[1] if len(fields) > 1 else None
        if not isinstance(name, Symbol) or name not in self._mechanisms:
            self.mechanism = ""
            self.decide(False)
            return
        self.mechanism = str(name)
        if name != "PLAIN":
            self.decide(True)
            return
        self.credentials = _parse_plain(response)
        if self.credentials is None:
            self.decide(False)

    def outbound(self) -> bytes:
        """Bytes to send; the SASL header comes first."""
        out, self._out = self._out, b""
        return out

    def take_rest(self) -> bytes:
        """What came after the SASL layer, once `outcome` is OK."""
        rest, self._frames.buffered = self._frames.buffered, b""
        return rest


def _parse_plain(response: Value) -> PlainCredentials | None:
    """`[authzid] NUL authcid NUL password` (RFC 4616, section 2)."""
    if not isinstance(response, bytes):
        return None
    parts = response.split(b"\x00")
    if len(parts) != 3 or not parts[1]:
        return None
    try:
        return PlainCredentials(parts[1].decode(), parts[2].decode())
    except UnicodeDecodeError:
        return None


class SaslClient:
    """Client side: ANONYMOUS, MSSBCBS or PLAIN.

    :param mechanism: name to choose from what the server offers.
    :param initial_response: None for an empty one; for PLAIN see `plain_response`.
    """

    def __init__(self, mechanism: str, initial_response: bytes | None, hostname: str | None) -> None:
        self._mechanism = mechanism
        self._response = initial_response
        self._hostname = hostname
        self._frames = _FrameBuffer()
        self._header_seen = False
        self._out = SASL_HEADER
        self.outcome: int | None = None

    def feed(self, data: bytes) -> None:
        """Takes received bytes, the peer's SASL header included.

        :raises SaslError: the peer broke the protocol, lacks the mechanism, or refused the credentials.
        """
        self._frames.buffered += data
        if not self._header_seen and not self._take_header():
            return
        while self.outcome is None:
            body = self._frames.next_body()
            if body is None:
                return
            self._on_frame(*_performative(body))

    def _take_header(self) -> bool:
        data = self._frames.buffered
        if not SASL_HEADER.startswith(data[:8]):
            raise SaslError("the peer does not speak AMQP with SASL")
        if len(data) < 8:
            return False
        self._frames.buffered = data[8:]
        self._header_seen = True
        return True

    def _on_frame(self, code: int, fields: list[Any]) -> None:
        if code == _MECHANISMS:
            offered = fields[0] if fields else []
            names = [offered] if isinstance(offered, Symbol) else offered or []
            if self._mechanism not in names:
                raise SaslError(f"the peer does not offer {self._mechanism}, only {', '.join(names)}")
            body = [Symbol(self._mechanism), self._response, self._hostname]
            self._out += _frame(describe_list(_INIT, body))
        elif code == _OUTCOME and fields and isinstance(fields[0], int):
            self.outcome = int(fields[0])
            if self.outcome != CODE_OK:
                raise SaslError(f"SASL: {_OUTCOME_TEXTS.get(self.outcome, 'refused')}")
        else:
            raise SaslError("unexpected SASL frame")

    def outbound(self) -> bytes:
        """Bytes to send."""
        out, self._out = self._out, b""
        return out

    def take_rest(self) -> bytes:
        """What came after the SASL layer, once `outcome` is OK."""
        rest, self._frames.buffered = self._frames.buffered, b""
        return rest


def plain_response(user: str, password: str) -> bytes:
    """Initial response of PLAIN (RFC 4616)."""
    return b"\x00" + user.encode() + b"\x00" + password.encode()
