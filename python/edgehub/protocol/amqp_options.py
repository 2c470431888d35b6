"""How an `AmqpEngine` behaves, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FRAME_BYTES_MAX: Final = 65536
CHANNEL_MAX: Final = 8191
LINKS_MAX: Final = 32768
SESSION_BYTES_MAX: Final = 4 * 1024 * 1024
MESSAGE_BYTES_MAX: Final = 1024 * 1024
PARTIAL_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one connection behaves.

    :ivar role: which side we are.
    :ivar container_id: our name in the open frame.
    :ivar hostname: client only: the host in the open frame.
    :ivar idle_timeout_ms: advertised to the peer; a silent peer is dropped after twice this time. 0 = never.
    :ivar heartbeat_default_ms: empty frames at half this period for a peer that advertises no idle time-out;
        0 = none.
    :ivar sasl_mechanisms: server: what is offered to peers that start with SASL (they may also start
        without). Client: at most one, `()` starts without SASL.
    :ivar sasl_user: client with PLAIN.
    :ivar sasl_password: client with PLAIN.
    :ivar frame_bytes_max: largest frame taken; a larger one ends the connection.
    :ivar channel_max: highest channel number, so one more session than that.
    :ivar links_max: links on the connection, refused ones included until the peer has detached them; one more
        closes the connection.
    :ivar session_bytes_max: bytes of incoming transfers held for one session; at the limit its window is
        shut.
    :ivar message_bytes_max: larger incoming messages detach their link.
    :ivar partial_bytes_max: bytes of incomplete messages on all links; more closes the connection.
    """

    role: Literal["client", "server"]
    container_id: str
    hostname: str | None = None
    idle_timeout_ms: int = 240_000
    heartbeat_default_ms: int = 0
    sasl_mechanisms: tuple[str, ...] = ()
    sasl_user: str = ""
    sasl_password: str = ""
    frame_bytes_max: int = FRAME_BYTES_MAX
    channel_max: int = CHANNEL_MAX
    links_max: int = LINKS_MAX
    session_bytes_max: int = SESSION_BYTES_MAX
    message_bytes_max: int = MESSAGE_BYTES_MAX
    partial_bytes_max: int = PARTIAL_BYTES_MAX
