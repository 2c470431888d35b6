"""Events of the engine wake the loop; a timer backs them up."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edgeagent.runtime.errors import RuntimeFault
from edgeagent.runtime.events import watch_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeagent.runtime.engine import Engine
    from edgeagent.runtime.lister import ModuleLister

PAUSE_S = 2.0
"""Before the events are asked for again after the engine went away."""

_log = logging.getLogger(__name__)


async def watch_engine(engine: Engine, lister: ModuleLister, wake: Callable[[], None]) -> None:
    """Tells of everything that happens to our containers, until it is cancelled.

    A gap in the events is told like an event: whatever is known of containers may be old.
    """
    while True:
        try:
            async with watch_events(engine) as events:
                _changed(lister, wake)
                async for event in events:
                    lister.touch(event.container_id)
                    wake()
        except RuntimeFault as fault:
            _log.debug("no events of the engine: %s", fault)
        _changed(lister, wake)
        await asyncio.sleep(PAUSE_S)


def _changed(lister: ModuleLister, wake: Callable[[], None]) -> None:
    lister.touch_all()
    wake()
