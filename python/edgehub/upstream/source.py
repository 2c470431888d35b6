"""Where messages for the parent hub come from, and who hears about the link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Settlement = Literal["delivered", "retry", "rejected"]


class UpstreamBatch(Protocol):
    """Messages of one sender, encoded for AMQP 1.0; made by the core.

    `sender` is `device` or `device/module`. `payload` is one complete bare message when `count` is 1, else
    the body of a transfer with message format 0x80013700.
    """

    @property
    def token(self) -> int: ...
    @property
    def sender(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def message_format(self) -> int: ...


class UpstreamSource(Protocol):
    """The core's queue. At most one batch per sender is lent at a time, so a sender's order holds."""

    def take(self, batch_msgs_max: int, batch_bytes_max: int, senders_max: int) -> Sequence[UpstreamBatch]:
        """Lends up to `senders_max` batches."""
        ...

    def settle(self, token: int, outcome: Settlement) -> None:
        """Ends a batch: sent, back to the front of its queue, or dropped as refused."""
        ...

    def link_down(self) -> None:
        """Takes every lent batch back, in order."""
        ...


class LinkListener(Protocol):
    """Learns about the link; called on the event loop, must not block."""

    def link_up(self) -> None:
        """The parent hub answers."""
        ...

    def link_down(self, reason: str) -> None:
        """It no longer does."""
        ...

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        """The desired properties of our module, or of a client that is followed, changed."""
        ...

    def desired_missed(self, identity: str) -> None:
        """They may have changed unseen, because the parent hub did not follow them for a while."""
        ...

    def client_unauthorized(self, identity: str) -> None:
        """The parent hub refuses to serve a client, although it takes us."""
        ...
