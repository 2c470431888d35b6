"""Publishing to a client whose topics may be spelled in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable


async def publish_to_first(
    topics: Iterable[str], publish: Callable[[str], asyncio.Future[str] | None]
) -> str:
    """Publishes to the first topic that the client subscribed to.

    :param topics: spellings of one topic; the first publish is made before anything is awaited, so that
        messages keep their order.
    :param publish: gives the outcome of `SendDoneEvent`, None if the client is gone.
    :returns: that outcome, `closed` for a client that is gone.
    """
    outcome = "no_subscription"
    for topic in topics:
        sent = publish(topic)
        if sent is None:
            return "closed"
        outcome = await sent
        if outcome != "no_subscription":
            break
    return outcome
