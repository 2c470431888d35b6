"""Settings of the link, built once by the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgehub.errors import EdgehubError
from edgehub.protocol.addresses import split_identity
from edgehub.protocol.authchain import EDGE_HUB_MODULE, direct_chain

if TYPE_CHECKING:
    import ssl

    from edgehub.upstream.tokens import TokenProvider

AuthChainOf = Callable[[str], str | None]
"""Auth chain of a sender (`device` or `device/module`), or None when it is not (or no longer) in our
scope."""

SESSIONS_MAX: Final = 1000


class UpstreamSettingsError(EdgehubError):
    """A setting cannot work."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """How to reach the parent hub and how hard to push. Names in brackets are the environment's.

    :ivar host: where to connect: the parent edge device or the hub itself.
    :ivar hub_hostname: host name of the hub, for tokens and the open frame.
    :ivar device_id: this edge device.
    :ivar tokens: tokens of our own `$edgeHub` module.
    :ivar tls: None speaks AMQP without TLS (tests only).
    :ivar product_info: told to the parent with every link.
    :ivar auth_chain: of a sender; by default that of a client connected directly to this device.
    :ivar fan_out: senders whose batches travel at the same time (UpstreamFanOutFactor).
    :ivar batch_msgs_max: messages in one transfer (MaxUpstreamBatchSize).
    :ivar batch_bytes_max: bytes in one transfer.
    :ivar operation_timeout_s: one operation (CloudOperationTimeoutSecs).
    :ivar connectivity_check_s: quiet time after which the parent is probed, negative never
        (ConnectivityCheckFrequencySecs).
    :ivar idle_timeout_ms: a silent parent is dropped after twice this time, 0 never.
    :ivar sender_idle_s: a sender's session is closed after this quiet time (CloudConnectionIdleTimeoutSecs).
    :ivar sessions_max: sender sessions on the connection; beyond, the one quiet longest is closed.
    :ivar held_max: senders waiting out a refusal; beyond, their batch goes back to the queue at once.
    :ivar reconnect_min_s: first wait before connecting again; doubles up to `reconnect_max_s`.
    :ivar hold_min_s: first wait before a refused sender is tried again; doubles up to `hold_max_s`.
    :ivar twin_requests_max: twin operations on their way; more wait here.
    :ivar twin_sessions_max: twins in use; beyond, the one quiet longest is closed.
    :ivar method_sessions_max: clients that the parent can call; beyond, the one quiet longest is not.
    :ivar message_sessions_max: devices that get messages of the cloud; beyond, as for methods.
    :ivar drain_s: time that `stop` gives to what is in flight.
    """

    host: str
    hub_hostname: str
    device_id: str
    tokens: TokenProvider
    tls: ssl.SSLContext | None
    port: int = 5671
    product_info: str = "EdgeHub"
    auth_chain: AuthChainOf | None = None
    fan_out: int = 10
    batch_msgs_max: int = 10
    batch_bytes_max: int = 262_144
    operation_timeout_s: float = 20.0
    connectivity_check_s: float = 300.0
    idle_timeout_ms: int = 60_000
    sender_idle_s: float = 3600.0
    sessions_max: int = SESSIONS_MAX
    held_max: int = 10_000
    reconnect_min_s: float = 0.2
    reconnect_max_s: float = 30.0
    hold_min_s: float = 1.0
    hold_max_s: float = 60.0
    twin_requests_max: int = 100
    twin_sessions_max: int = SESSIONS_MAX
    method_sessions_max: int = SESSIONS_MAX
    message_sessions_max: int = SESSIONS_MAX
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        if self.fan_out < 1 or self.batch_msgs_max < 1:
            raise UpstreamSettingsError("fan_out and batch_msgs_max must be at least 1")
        if self.sessions_max < self.fan_out:
            raise UpstreamSettingsError(
                f"sessions_max ({self.sessions_max}) must be at least fan_out ({self.fan_out})"
            )

    @property
    def identity(self) -> str:
        """Our own identity."""
        return f"{self.device_id}/{EDGE_HUB_MODULE}"

    def chain_of(self, sender: str) -> str | None:
        """Auth chain to send for a sender; empty for ourselves, who need none."""
        if sender == self.identity:
            return ""
        if self.auth_chain is not None:
            return self.auth_chain(sender)
        return str(direct_chain(self.device_id, *split_identity(sender)))
