"""What comes before AMQP on a connection: the protocol header, and SASL for peers that begin with it (part 2,
2.2).

A server accepts both kinds of peers (A-001) and answers any other first bytes with the header it speaks; a
client begins the way its options say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgehub.protocol.amqp_sasl import (
    CODE_OK,
    SASL_HEADER,
    SaslClient,
    SaslError,
    SaslServer,
    plain_response,
)

if TYPE_CHECKING:
    from edgehub.protocol.amqp_options import EngineOptions
    from edgehub.protocol.amqp_sasl import PlainCredentials

_AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
_HEADER_BYTES: Final = 8


class Opening:
    """Bytes go through here until AMQP begins.

    :ivar credentials: PLAIN credentials that wait for `decide`; the owner takes them.
    :ivar mechanism: server: the one that the peer passed SASL with, None for a peer without SASL.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._mechanisms = options.sasl_mechanisms
        self._header = b""
        self._header_known = options.role == "client"
        self._sasl: SaslServer | SaslClient | None = _client_sasl(options)
        self._out = b""
        self.credentials: PlainCredentials | None = None
        self.mechanism: str | None = None

    @property
    def passed(self) -> bool:
        """Whether AMQP has begun: received bytes need not come here, and AMQP bytes may be sent."""
        return self._header_known and self._sasl is None

    def feed(self, data: bytes) -> bytes:
        """Takes received bytes; gives those that belong to AMQP.

        :raises AmqpDecodeError: the peer broke the protocol; `SaslError` also when SASL failed.
        """
        if not self._header_known:
            data = self._take_header(data)
        if self._sasl is None or not data:
            return data
        waited = self._awaits_decision
        self._sasl.feed(data)
        if self._awaits_decision and not waited and isinstance(self._sasl, SaslServer):
            self.credentials = self._sasl.credentials
        return self._finish_sasl()

    @property
    def _awaits_decision(self) -> bool:
        return isinstance(self._sasl, SaslServer) and self._sasl.awaits_decision

    def decide(self, accepted: bool) -> bytes:
        """Server: answers PLAIN credentials; gives what the peer sent meanwhile for AMQP.

        :raises SaslError: not accepted, so that the connection ends.
        """
        if not self._awaits_decision or not isinstance(self._sasl, SaslServer):
            return b""
        self._sasl.decide(accepted)
        return self._finish_sasl()

    def outbound(self) -> bytes:
        """Bytes to send before any AMQP bytes."""
        if self._sasl is not None:
            self._out += self._sasl.outbound()
        out, self._out = self._out, b""
        return out

    def _take_header(self, data: bytes) -> bytes:
        """Server: SASL or not, by the first eight bytes. Wrong first bytes are refused as early as
        possible."""
        self._header += data
        head = self._header[:_HEADER_BYTES]
        if not SASL_HEADER.startswith(head) and not _AMQP_HEADER.startswith(head):
            self._out += SASL_HEADER
            raise SaslError("the peer does not speak AMQP 1.0")
        if len(head) < _HEADER_BYTES:
            return b""
        self._header_known = True
        rest, self._header = self._header, b""
        if head == SASL_HEADER and self._mechanisms:
            self._sasl = SaslServer(self._mechanisms)
            return rest[_HEADER_BYTES:]
        return rest

    def _finish_sasl(self) -> bytes:
        sasl = self._sasl
        if sasl is None or sasl.outcome is None:
            return b""
        if sasl.outcome != CODE_OK:
            raise SaslError("SASL authentication failed")
        self._out += sasl.outbound()
        if isinstance(sasl, SaslServer):
            self.mechanism = sasl.mechanism
        self._sasl = None
        return sasl.take_rest()


def _client_sasl(options: EngineOptions) -> SaslClient | None:
    if options.role == "server" or not options.sasl_mechanisms:
        return None
    mechanism = options.sasl_mechanisms[0]
    response = None
    if mechanism == "PLAIN":
        response = plain_response(options.sasl_user, options.sasl_password)
    return SaslClient(mechanism, response, options.hostname)
