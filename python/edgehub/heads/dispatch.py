"""Sorts events of the core to those who handle them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgehub.common.logs import log_core_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgehub._core import Event
    from edgehub.heads.mqtt import MqttHead


def event_handler(
    head: MqttHead | None, *, upstream_ready: Callable[[], None], store_failed: Callable[[str], None]
) -> Callable[[Event], None]:
    """A function that takes any event.

    Events are told apart by the name of their class, so that nothing here has to import the core.

    :param head: None when there is none; no connection is ever made then.
    """
    handlers: dict[str, Callable[[Any], None]] = {
        "UpstreamReadyEvent": lambda event: upstream_ready(),
        "LogEvent": log_core_line,
        "StoreFailedEvent": lambda event: store_failed(event.detail),
    }
    if head is not None:
        handlers |= {
            "ConnectEvent": head.on_connect,
            "SubscribeEvent": head.on_subscribe,
            "UnsubscribeEvent": head.on_unsubscribe,
            "PublishEvent": head.on_publish,
            "SendDoneEvent": head.sends.on_done,
            "NoticeEvent": head.on_notice,
            "ClosedEvent": head.on_closed,
        }
    return lambda event: handlers[type(event).__name__](event)
